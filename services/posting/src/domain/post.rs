//! A post's life.
//!
//! ```text
//!             Publish              Edit, Pin, Unpin
//!  Absent ──────────────► Standing ────────────────┐
//!                            │   ▲                 │
//!                            │   └─────────────────┘
//!                            │ Delete
//!                            ▼
//!                         Deleted        for ever: its id and place stay, its content key is destroyed
//! ```

use super::{EndReason, Kind, Rejection, ReplyTo, Visibility};
use bytes::Bytes;
use p92_kernel::{AccountId, Millis, PostId, ServerId};
use p92_proto::event::v1::Sealed;

/// Edits that a post may have, so that its history stays one page.
pub const EDITS: u64 = 500;
/// Posts that an author may have pinned.
pub const PINS: usize = 5;

/// A tag as events carry it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SealedTag {
    /// HMAC of the folded name.
    pub key: Bytes,
    pub name: Sealed,
}

/// Somebody published a post.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    pub post: PostId,
    pub author: AccountId,
    /// Where the author is at home; `None` for elsewhere.
    pub home: Option<ServerId>,
    pub kind: Kind,
    pub object_id: String,
    /// Empty if the post has no page.
    pub url_key: Bytes,
    pub visibility: Visibility,
    pub content: Sealed,
    pub sensitive: bool,
    pub language: String,
    pub reply: Option<ReplyTo>,
    /// Empty if the post answers nothing.
    pub reply_object_id: String,
    pub conversation: PostId,
    pub mentioned: Vec<AccountId>,
    pub tags: Vec<SealedTag>,
    pub published: Millis,
    /// 0 if unknown.
    pub app_id: u64,
}

/// Its author changed a post.
#[derive(Clone, Debug, PartialEq)]
pub struct Edited {
    pub post: PostId,
    pub author: AccountId,
    pub home: Option<ServerId>,
    pub revision: u64,
    pub content: Sealed,
    pub sensitive: bool,
    pub language: String,
    pub mentioned: Vec<AccountId>,
    pub previous_mentioned: Vec<AccountId>,
    pub tags: Vec<SealedTag>,
    pub previous_tag_keys: Vec<Bytes>,
    pub edited: Millis,
    pub visibility: Visibility,
    pub object_id: String,
    pub reply: Option<ReplyTo>,
    pub is_reply: bool,
}

/// A post is gone.
#[derive(Clone, Debug, PartialEq)]
pub struct Deleted {
    pub post: PostId,
    pub author: AccountId,
    pub home: Option<ServerId>,
    pub object_id: String,
    pub url_key: Bytes,
    pub visibility: Visibility,
    pub reply: Option<ReplyTo>,
    pub conversation: PostId,
    pub mentioned: Vec<AccountId>,
    pub tag_keys: Vec<Bytes>,
    pub reason: EndReason,
    pub was_pinned: bool,
}

/// Its author pinned a post, or unpinned it.
#[derive(Clone, Debug, PartialEq)]
pub struct PinChange {
    pub post: PostId,
    pub author: AccountId,
    pub object_id: String,
}

/// What happens to a post.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Published(Box<Published>),
    Edited(Box<Edited>),
    Deleted(Box<Deleted>),
    Pinned(PinChange),
    Unpinned(PinChange),
}

/// A post that stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    pub post: PostId,
    pub author: AccountId,
    pub home: Option<ServerId>,
    pub object_id: String,
    pub url_key: Bytes,
    pub visibility: Visibility,
    pub content: Sealed,
    pub sensitive: bool,
    pub language: String,
    pub reply: Option<ReplyTo>,
    pub is_reply: bool,
    pub conversation: PostId,
    pub mentioned: Vec<AccountId>,
    pub tag_keys: Vec<Bytes>,
    pub revision: u64,
    pub pinned: bool,
}

/// A post as its events leave it.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Post {
    #[default]
    Absent,
    Standing(Box<Standing>),
    Deleted,
}

/// An edit, with what the round knows of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Edit {
    pub by: AccountId,
    pub content: Sealed,
    /// Whether the new content says the same as the present one.
    pub same_content: bool,
    pub sensitive: bool,
    pub language: String,
    pub mentioned: Vec<AccountId>,
    pub tags: Vec<SealedTag>,
    pub at: Millis,
}

/// What may be asked of a post.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Publish(Box<Published>),
    Edit(Box<Edit>),
    Delete {
        by: AccountId,
        reason: EndReason,
    },
    /// With how many posts the author has pinned already.
    Pin {
        by: AccountId,
        pinned: usize,
    },
    Unpin {
        by: AccountId,
    },
}

impl Post {
    /// The post, if it stands.
    #[must_use]
    pub const fn standing(&self) -> Option<&Standing> {
        match self {
            Self::Standing(post) => Some(post),
            Self::Absent | Self::Deleted => None,
        }
    }

    /// The post, if it stands and this is its author. Everybody else learns nothing, not even that there is one.
    fn of(&self, by: AccountId) -> Result<&Standing, Rejection> {
        self.standing().filter(|post| post.author == by).ok_or(Rejection::NotFound)
    }
}

/// What follows from a command, or why nothing does.
pub fn decide(post: &Post, command: Command) -> Result<Vec<Event>, Rejection> {
    match command {
        Command::Publish(published) => match post {
            Post::Absent => Ok(vec![Event::Published(published)]),
            Post::Standing(_) => Ok(Vec::new()),
            Post::Deleted => Err(Rejection::Deleted),
        },
        Command::Edit(edit) => decide_edit(post.of(edit.by)?, *edit),
        Command::Delete { by, reason } => Ok(vec![Event::Deleted(Box::new(deleted(post.of(by)?, reason)))]),
        Command::Pin { by, pinned } => {
            let post = post.of(by)?;
            match post.visibility {
                _ if post.pinned => Ok(Vec::new()),
                Visibility::Direct => Err(Rejection::NotForPinning),
                _ if pinned >= PINS => Err(Rejection::TooManyPins { allowed: PINS }),
                _ => Ok(vec![Event::Pinned(pin_change(post))]),
            }
        }
        Command::Unpin { by } => {
            let post = post.of(by)?;
            Ok(if post.pinned { vec![Event::Unpinned(pin_change(post))] } else { Vec::new() })
        }
    }
}

fn decide_edit(post: &Standing, edit: Edit) -> Result<Vec<Event>, Rejection> {
    if edit.same_content && edit.sensitive == post.sensitive && edit.language == post.language {
        return Ok(Vec::new());
    }
    if post.revision > EDITS {
        return Err(Rejection::TooManyEdits { allowed: EDITS });
    }
    Ok(vec![Event::Edited(Box::new(Edited {
        post: post.post,
        author: post.author,
        home: post.home,
        revision: post.revision + 1,
        content: edit.content,
        sensitive: edit.sensitive,
        language: edit.language,
        mentioned: edit.mentioned,
        previous_mentioned: post.mentioned.clone(),
        tags: edit.tags,
        previous_tag_keys: post.tag_keys.clone(),
        edited: edit.at,
        visibility: post.visibility,
        object_id: post.object_id.clone(),
        reply: post.reply,
        is_reply: post.is_reply,
    }))])
}

fn deleted(post: &Standing, reason: EndReason) -> Deleted {
    Deleted {
        post: post.post,
        author: post.author,
        home: post.home,
        object_id: post.object_id.clone(),
        url_key: post.url_key.clone(),
        visibility: post.visibility,
        reply: post.reply,
        conversation: post.conversation,
        mentioned: post.mentioned.clone(),
        tag_keys: post.tag_keys.clone(),
        reason,
        was_pinned: post.pinned,
    }
}

fn pin_change(post: &Standing) -> PinChange {
    PinChange { post: post.post, author: post.author, object_id: post.object_id.clone() }
}

fn keys(tags: &[SealedTag]) -> Vec<Bytes> {
    tags.iter().map(|tag| tag.key.clone()).collect()
}

/// The post after the event. Events that cannot follow change nothing.
#[must_use]
pub fn evolve(post: Post, event: &Event) -> Post {
    match (post, event) {
        (Post::Absent, Event::Published(event)) => Post::Standing(Box::new(Standing {
            post: event.post,
            author: event.author,
            home: event.home,
            object_id: event.object_id.clone(),
            url_key: event.url_key.clone(),
            visibility: event.visibility,
            content: event.content.clone(),
            sensitive: event.sensitive,
            language: event.language.clone(),
            reply: event.reply,
            is_reply: event.reply.is_some() || !event.reply_object_id.is_empty(),
            conversation: event.conversation,
            mentioned: event.mentioned.clone(),
            tag_keys: keys(&event.tags),
            revision: 1,
            pinned: false,
        })),
        (Post::Standing(mut post), Event::Edited(event)) => {
            post.content = event.content.clone();
            post.sensitive = event.sensitive;
            post.language.clone_from(&event.language);
            post.mentioned.clone_from(&event.mentioned);
            post.tag_keys = keys(&event.tags);
            post.revision = event.revision;
            Post::Standing(post)
        }
        (Post::Standing(_), Event::Deleted(_)) => Post::Deleted,
        (Post::Standing(mut post), Event::Pinned(_)) => {
            post.pinned = true;
            Post::Standing(post)
        }
        (Post::Standing(mut post), Event::Unpinned(_)) => {
            post.pinned = false;
            Post::Standing(post)
        }
        (post, _) => post,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    fn account(n: u64) -> AccountId {
        AccountId::new(n).unwrap()
    }

    pub(crate) fn published(author: u64) -> Published {
        Published {
            post: PostId::new(100).unwrap(),
            author: account(author),
            home: ServerId::new(9),
            kind: Kind::Personal,
            object_id: "https://p92.example/posts/100".into(),
            url_key: Bytes::from_static(b"key"),
            visibility: Visibility::Public,
            content: Sealed { content: "post/100".into(), ..Sealed::default() },
            sensitive: false,
            language: "de".into(),
            reply: None,
            reply_object_id: String::new(),
            conversation: PostId::new(100).unwrap(),
            mentioned: vec![account(7)],
            tags: vec![SealedTag { key: Bytes::from_static(b"tag"), name: Sealed::default() }],
            published: Millis(5),
            app_id: 0,
        }
    }

    fn edit(by: u64) -> Edit {
        Edit {
            by: account(by),
            content: Sealed { ciphertext: Bytes::from_static(b"new"), ..Sealed::default() },
            same_content: false,
            sensitive: false,
            language: "de".into(),
            mentioned: Vec::new(),
            tags: Vec::new(),
            at: Millis(6),
        }
    }

    fn given(events: &[Event]) -> Post {
        events.iter().fold(Post::default(), evolve)
    }

    fn stands() -> Event {
        Event::Published(Box::new(published(1)))
    }

    fn when(post: &Post, command: Command) -> Result<Vec<Event>, Rejection> {
        decide(post, command)
    }

    #[test]
    fn a_post_is_published_once() {
        let publish = Command::Publish(Box::new(published(1)));
        assert_eq!(when(&given(&[]), publish.clone()), Ok(vec![stands()]));
        assert_eq!(when(&given(&[stands()]), publish.clone()), Ok(vec![]));
        let gone = Command::Delete { by: account(1), reason: EndReason::TakenBack };
        let end = when(&given(&[stands()]), gone).unwrap();
        assert_eq!(when(&given(&[stands(), end[0].clone()]), publish), Err(Rejection::Deleted));
    }

    #[test]
    fn only_its_author_touches_a_post() {
        let post = given(&[stands()]);
        for command in [
            Command::Edit(Box::new(edit(2))),
            Command::Delete { by: account(2), reason: EndReason::TakenBack },
            Command::Pin { by: account(2), pinned: 0 },
            Command::Unpin { by: account(2) },
        ] {
            assert_eq!(when(&post, command.clone()), Err(Rejection::NotFound), "{command:?}");
            assert_eq!(when(&given(&[]), command.clone()), Err(Rejection::NotFound), "{command:?}");
        }
    }

    #[test]
    fn an_edit_says_what_was_before() {
        let events = when(&given(&[stands()]), Command::Edit(Box::new(edit(1)))).unwrap();
        let [Event::Edited(edited)] = events.as_slice() else { panic!("{events:?}") };
        assert_eq!(edited.revision, 2);
        assert_eq!(edited.previous_mentioned, [account(7)]);
        assert_eq!(edited.previous_tag_keys, [Bytes::from_static(b"tag")]);
        let same = Edit { same_content: true, ..edit(1) };
        assert_eq!(when(&given(&[stands()]), Command::Edit(Box::new(same))), Ok(vec![]));
    }

    #[test]
    fn edits_end_somewhere() {
        let mut post = given(&[stands()]);
        for _ in 0..EDITS {
            let events = when(&post, Command::Edit(Box::new(edit(1)))).unwrap();
            post = events.iter().fold(post, evolve);
        }
        let last = when(&post, Command::Edit(Box::new(edit(1))));
        assert_eq!(last, Err(Rejection::TooManyEdits { allowed: EDITS }));
    }

    #[test]
    fn pins_have_a_limit() {
        let post = given(&[stands()]);
        let pin = |post: &Post, pinned| when(post, Command::Pin { by: account(1), pinned });
        assert_eq!(pin(&post, PINS), Err(Rejection::TooManyPins { allowed: PINS }));
        let events = pin(&post, 0).unwrap();
        let pinned = events.iter().fold(post, evolve);
        assert_eq!(pin(&pinned, PINS), Ok(vec![]));
        let direct = Published { visibility: Visibility::Direct, ..published(1) };
        let direct = given(&[Event::Published(Box::new(direct))]);
        assert_eq!(pin(&direct, 0), Err(Rejection::NotForPinning));
    }

    proptest! {
        /// Whatever happens, a deleted post stays deleted and every accepted event changes something.
        #[test]
        fn histories_end_with_a_deletion(steps in proptest::collection::vec(0_u8..5, 0..40)) {
            let mut post = Post::default();
            let mut deleted = false;
            for step in steps {
                let command = match step {
                    0 => Command::Publish(Box::new(published(1))),
                    1 => Command::Edit(Box::new(edit(1))),
                    2 => Command::Pin { by: account(1), pinned: 0 },
                    3 => Command::Unpin { by: account(1) },
                    _ => Command::Delete { by: account(1), reason: EndReason::TakenBack },
                };
                let Ok(events) = decide(&post, command) else { continue };
                prop_assert!(!deleted || events.is_empty());
                for event in &events {
                    let next = evolve(post.clone(), event);
                    prop_assert_ne!(&next, &post);
                    deleted |= matches!(event, Event::Deleted(_));
                    post = next;
                }
            }
            prop_assert_eq!(deleted, post == Post::Deleted);
        }
    }
}
