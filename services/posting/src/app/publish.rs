//! A post begins: one that was typed here, or one that its home has published.

use super::people::{Acting, Interactions};
use super::{App, Stopped, actor_of, decide_post, options_of, post_stream};
use crate::domain::draft::{self, Draft, Typed};
use crate::domain::post::{Command, Published, SealedTag};
use crate::domain::rules::{Audience, check_reply};
use crate::domain::text::{render, tag};
use crate::domain::{Rejection, ReplyTo, Visibility, sanitize};
use crate::tables;
use crate::view::entries::{named_by, object_key};
use crate::view::posts::just_published;
use crate::view::queries::{TAG_PURPOSE, URL_PURPOSE};
use crate::wire::published_to_wire;
use crate::wire::visibility_from_wire;
use bytes::Bytes;
use futures::FutureExt as _;
use p92_activitypub::{Loopback, ObjectId};
use p92_eventlog::{CommandMeta, Keyring, Receipt, Round};
use p92_kernel::{AccountId, Failure, Id, Millis, Position, PostId, Service};
use p92_proto::event::v1::ReadOptions;
use p92_proto::posting::v1;
use p92_proto::posting::v1::entry_row::Entry;
use parking_lot::Mutex;
use prost::Message;
use std::sync::Arc;

/// What is known of a post before its round gives it an id.
#[derive(Clone, Debug)]
pub struct Prepared {
    pub acting: Acting,
    /// Complete but for the page of a post that is made here, whose id is not known yet.
    pub content: v1::PostContent,
    pub visibility: Visibility,
    pub sensitive: bool,
    pub language: String,
    pub parent: Option<Parent>,
    pub reply_object_id: String,
    pub app_id: u64,
    pub remote: Option<v1::RemoteOrigin>,
}

/// A post that was published.
#[derive(Debug)]
pub struct Made {
    pub receipt: Receipt,
    pub id: u64,
    /// As its author sees it, if it can be shown at this moment.
    pub post: Option<v1::Post>,
}

/// What a post answers.
#[derive(Clone, Debug)]
pub struct Parent {
    pub reply: ReplyTo,
    pub conversation: PostId,
    pub object_id: String,
    pub at: Position,
}

/// Content, and what its author chose besides.
#[derive(Debug)]
pub struct Composed {
    pub content: v1::PostContent,
    pub sensitive: bool,
    pub language: String,
}

impl App {
    /// Publishes a post.
    pub async fn publish(&self, request: v1::PublishPostRequest) -> Result<Made, Failure> {
        let actor = actor_of(request.context.as_ref())?;
        let body = v1::PublishPostRequest { context: None, ..request.clone() };
        let mut meta = CommandMeta::of(request.context.as_ref(), "p92.posting.v1.PublishPost", &body)?;
        let gathered = self.prepare(request).await;
        let may_act = gathered.is_ok();
        if let Ok(Prepared { parent: Some(parent), .. }) = &gathered {
            meta.after.push(parent.at);
        }
        let begun = Arc::new(Mutex::new(None));
        let (keyring, slot) = (Arc::clone(&self.runtime.platform().keyring), Arc::clone(&begun));
        let receipt = self
            .decide("PublishPost", actor.shard(), meta, gathered, move |round, prepared| {
                let (keyring, slot) = (Arc::clone(&keyring), Arc::clone(&slot));
                async move {
                    *slot.lock() = Some(begin(round, &keyring, &prepared).await?);
                    Ok(())
                }
                .boxed()
            })
            .await?;
        let made = receipt.subject.as_ref().and_then(p92_eventlog::Stream::id).map(Id::get);
        let begun = begun.lock().take();
        // Only a post from elsewhere that is known already has no event, and so no subject.
        let id = made.or(begun.as_ref().map(Begun::id));
        let id = id.ok_or_else(|| Failure::internal("a post was published without an id"))?;
        // Shown at once, which spares its author a question. What is in the way of that is no reason to refuse.
        let post = match begun {
            Some(Begun::New(post)) if post.id == id => Some(*post),
            _ if may_act => self.posts.own(actor, id).await.unwrap_or_default(),
            _ => None,
        };
        Ok(Made { receipt, id, post })
    }

    async fn prepare(&self, request: v1::PublishPostRequest) -> Result<Prepared, Stopped> {
        let options = self.posts.fresh(Some(options_of(request.context.as_ref()))).await?;
        let identity = &self.posts.identity;
        let keyring = &self.runtime.platform().keyring;
        let key = async {
            if let Some(author) = AccountId::new(options.viewer_id) {
                keyring.fetch_ahead(Service::Posting, author).await;
            }
        };
        let (acting, ()) = futures::join!(Acting::ask(identity, &options), key);
        let acting = acting?;
        let visibility = visibility_from_wire(request.visibility()).unwrap_or_else(|| acting.visibility());
        let typed = Typed {
            text: &request.text,
            content_warning: &request.content_warning,
            sensitive: request.sensitive.unwrap_or(acting.preferences.sensitive),
            language: request.language.as_ref().unwrap_or(&acting.preferences.language),
        };
        let mut composed = self.compose(&options, &acting, typed, request.remote.as_ref()).await?;
        let parent = self.parent(request.in_reply_to_id).await?;
        let named = composed.content.mentions.iter().map(|mention| mention.account_id);
        let targets = named.chain(parent.as_ref().map(|(_, row)| row.author_id));
        let interactions = Interactions::ask(identity, &options, targets).await?;
        if let Some((parent, row)) = &parent {
            may_reply(&acting, parent, row, &interactions)?;
        }
        composed.content.mentions = interactions.admit(&acting, visibility, composed.content.mentions)?;
        let parent = parent.map(|(parent, _)| parent);
        let elsewhere = request.remote.as_ref().map(|remote| remote.in_reply_to_object_id.clone());
        Ok(Prepared {
            acting,
            content: composed.content,
            visibility,
            sensitive: composed.sensitive,
            language: composed.language,
            reply_object_id: match &parent {
                Some(parent) => parent.object_id.clone(),
                None => elsewhere.unwrap_or_default(),
            },
            parent,
            app_id: request.context.map_or(0, |context| context.app_id),
            remote: request.remote,
        })
    }

    /// Content out of what was typed, or out of what a home published.
    pub(super) async fn compose(
        &self,
        options: &ReadOptions,
        acting: &Acting,
        typed: Typed<'_>,
        remote: Option<&v1::RemoteOrigin>,
    ) -> Result<Composed, Stopped> {
        match (&acting.home, remote) {
            (Some(_), None) => self.compose_here(options, acting, typed).await,
            (None, Some(remote)) => Ok(compose_elsewhere(typed, remote, &acting.activity_pub.id)?),
            _ => Err(Rejection::OriginMismatch.into()),
        }
    }

    async fn compose_here(
        &self,
        options: &ReadOptions,
        acting: &Acting,
        typed: Typed<'_>,
    ) -> Result<Composed, Stopped> {
        let draft = Draft::of(typed, acting.characters())?;
        // Handles without a domain are of the author's home, wherever the request came in.
        let home = acting.actor.home.map_or(options.server_id, p92_kernel::ServerId::get);
        let at_home = ReadOptions { server_id: home, ..options.clone() };
        let resolved = self.posts.identity.resolve(&at_home, draft.handles).await?;
        let mut mentions: Vec<v1::Mention> = Vec::with_capacity(resolved.len());
        for account in resolved.iter().filter_map(|one| one.account.as_ref()) {
            if !mentions.iter().any(|other| other.account_id == account.id) {
                mentions.push(acting.mention(account));
            }
        }
        let tags_url = acting.tags_url();
        let content = v1::PostContent {
            text: draft.text,
            content_warning: draft.content_warning,
            mentions,
            tags: draft.tags.into_iter().map(|name| tag_of(&tags_url, name)).collect(),
            tags_url,
            home_hosts: acting.home_hosts(),
            ..v1::PostContent::default()
        };
        Ok(Composed { content, sensitive: draft.sensitive, language: draft.language })
    }

    /// The post that is answered, as it stands.
    async fn parent(&self, id: u64) -> Result<Option<(Parent, v1::PostRow)>, Stopped> {
        if id == 0 {
            return Ok(None);
        }
        let id = self.posts.wrapped(id).await?;
        let post = PostId::new(id).ok_or(Rejection::NotFound)?;
        let Some(found) = self.posts.entry(id).await? else { return Err(Rejection::NotFound.into()) };
        let Entry::Post(row) = found.entry else { return Err(Rejection::NotFound.into()) };
        let author = AccountId::new(row.author_id).ok_or(Rejection::NotFound)?;
        let parent = Parent {
            reply: ReplyTo { post, author },
            conversation: PostId::new(row.conversation_id).unwrap_or(post),
            object_id: row.object_id.clone(),
            at: Position { service: Service::Posting, shard: post.shard(), seq: found.at },
        };
        Ok(Some((parent, row)))
    }
}

/// Whether the actor sees the post that he answers, and may answer it.
fn may_reply(
    acting: &Acting,
    parent: &Parent,
    row: &v1::PostRow,
    interactions: &Interactions,
) -> Result<(), Rejection> {
    let (actor, author) = (acting.actor.id, parent.reply.author);
    if actor == author {
        return Ok(());
    }
    let towards = interactions.towards(author.get());
    let mentioned: Vec<AccountId> = row.mentioned_ids.iter().copied().filter_map(AccountId::new).collect();
    let visibility = visibility_from_wire(row.visibility()).ok_or(Rejection::NotFound)?;
    let audience = Audience { author, visibility, mentioned: &mentioned };
    if !audience.admits(Some(actor), towards.standing) {
        return Err(Rejection::NotFound);
    }
    let home = acting.policies();
    check_reply(actor, author, [home.as_ref(), towards.policies.as_ref()], towards.standing)
}

/// A tag with its page and the form in which it is compared.
fn tag_of(tags_url: &str, name: String) -> v1::Tag {
    v1::Tag { url: render::tag_url(tags_url, &name), folded: tag::folded(&name), name }
}

/// Whether this can be an ActivityPub id. Ids of this machine are taken: nobody calls them from here.
pub(super) fn is_object_id(uri: &str) -> bool {
    ObjectId::parse(uri, Loopback::Allowed).is_ok()
}

/// Whether two addresses are of one origin, which answers for both.
fn share_origin(one: &str, other: &str) -> bool {
    let origin = |uri| ObjectId::parse(uri, Loopback::Allowed).map(|id: ObjectId| id.origin().clone());
    origin(one).is_ok_and(|one| origin(other).is_ok_and(|other| one == other))
}

/// `actor`: the author's ActivityPub id, whose origin answers for its objects and for their pages.
fn compose_elsewhere(
    typed: Typed<'_>,
    remote: &v1::RemoteOrigin,
    actor: &str,
) -> Result<Composed, Rejection> {
    if !typed.text.is_empty() {
        return Err(Rejection::OriginMismatch);
    }
    let answers = &remote.in_reply_to_object_id;
    if !share_origin(&remote.object_id, actor) || !(answers.is_empty() || is_object_id(answers)) {
        return Err(Rejection::BadObjectId);
    }
    let bytes = remote.html.len().max(typed.content_warning.len());
    if bytes > draft::REMOTE_BYTES {
        return Err(Rejection::TooManyBytes { bytes, allowed: draft::REMOTE_BYTES });
    }
    let mut mentions = remote.mentions.clone();
    let mut seen = std::collections::BTreeSet::new();
    mentions.retain(|mention| mention.account_id != 0 && seen.insert(mention.account_id));
    if mentions.len() > draft::REMOTE_MENTIONS {
        return Err(Rejection::TooManyMentions { allowed: draft::REMOTE_MENTIONS });
    }
    let mut folded = std::collections::BTreeSet::new();
    let tags = remote.tags.iter().map(|one| v1::Tag { folded: tag::folded(&one.name), ..one.clone() });
    let tags = tags.filter(|one| tag::is_name(&one.name) && folded.insert(one.folded.clone()));
    let content = v1::PostContent {
        html: sanitize::html(&remote.html),
        content_warning: typed.content_warning.trim().to_owned(),
        url: if share_origin(&remote.url, actor) { remote.url.clone() } else { String::new() },
        mentions,
        tags: tags.take(draft::REMOTE_TAGS).collect(),
        ..v1::PostContent::default()
    };
    let sensitive = typed.sensitive || !content.content_warning.is_empty();
    // What its home calls a language is taken if it is one.
    let language = draft::language(typed.language).unwrap_or_default();
    Ok(Composed { content, sensitive, language })
}

/// What became of a post in its round.
#[derive(Debug)]
enum Begun {
    /// It begins, and looks so.
    New(Box<v1::Post>),
    /// It is one from elsewhere that is known already.
    Known(u64),
}

impl Begun {
    fn id(&self) -> u64 {
        match self {
            Self::New(post) => post.id,
            Self::Known(id) => *id,
        }
    }
}

/// Gives the post its id and begins its stream.
async fn begin(round: &mut Round, keyring: &Keyring, prepared: &Prepared) -> Result<Begun, Failure> {
    let author = prepared.acting.actor;
    let received = round.now();
    let (post, object_id, published) = match &prepared.remote {
        Some(remote) => {
            if let Some(known) = known_object(round, &remote.object_id, author.id).await? {
                return Ok(Begun::Known(known));
            }
            let published = Millis(remote.published_ms);
            let id = free_remote_id(round, &remote.object_id, published).await?;
            (PostId(id), remote.object_id.clone(), id.millis())
        }
        None => {
            let post = PostId(round.next_id());
            (post, prepared.acting.object_id("posts", post.get()), received)
        }
    };
    let mut content = prepared.content.clone();
    if prepared.remote.is_none() {
        content.url = format!("{}/{post}", prepared.acting.activity_pub.url);
    }
    let url_key = if content.url.is_empty() {
        Bytes::new()
    } else {
        Bytes::copy_from_slice(&keyring.blind(URL_PURPOSE, content.url.as_bytes()))
    };
    let sealed = seal(round, keyring, author.id, post, &content).await?;
    let published = Published {
        post,
        author: author.id,
        home: author.home,
        kind: author.kind,
        object_id,
        url_key,
        visibility: prepared.visibility,
        content: sealed.content,
        sensitive: prepared.sensitive,
        language: prepared.language.clone(),
        reply: prepared.parent.as_ref().map(|parent| parent.reply),
        reply_object_id: prepared.reply_object_id.clone(),
        conversation: prepared.parent.as_ref().map_or(post, |parent| parent.conversation),
        mentioned: sealed.mentioned,
        tags: sealed.tags,
        published,
        app_id: prepared.app_id,
    };
    let shown = just_published(&published_to_wire(&published), content);
    decide_post(round, post, Command::Publish(Box::new(published))).await?;
    Ok(Begun::New(Box::new(shown)))
}

/// A content as events carry it.
#[derive(Debug)]
pub(super) struct SealedContent {
    pub content: p92_proto::event::v1::Sealed,
    pub mentioned: Vec<AccountId>,
    pub tags: Vec<SealedTag>,
}

/// Seals a content under the key of its post.
pub(super) async fn seal(
    round: &mut Round,
    keyring: &Keyring,
    author: AccountId,
    post: PostId,
    content: &v1::PostContent,
) -> Result<SealedContent, Failure> {
    let stream = post_stream(post);
    let sealed = round.seal(author, &stream, "content", &content.encode_to_vec()).await?;
    let mut tags = Vec::with_capacity(content.tags.len());
    for tag in &content.tags {
        let key = Bytes::copy_from_slice(&keyring.blind(TAG_PURPOSE, tag.folded.as_bytes()));
        let name = round.seal(author, &stream, "tag", tag.name.as_bytes()).await?;
        tags.push(SealedTag { key, name });
    }
    let mentioned =
        content.mentions.iter().filter_map(|mention| AccountId::new(mention.account_id)).collect();
    Ok(SealedContent { content: sealed, mentioned, tags })
}

/// The ActivityPub id of an entry.
fn object_of(entry: &Entry) -> &str {
    match entry {
        Entry::Post(post) => &post.object_id,
        Entry::Boost(boost) => &boost.activity_id,
        Entry::Tombstone(gone) => &gone.object_id,
    }
}

/// The post that an object became, if it is this author's and stands.
async fn known_object(round: &Round, object_id: &str, author: AccountId) -> Result<Option<u64>, Failure> {
    let row = round.row(&tables::URIS, object_key(object_id), Bytes::new()).await?;
    let known = row.map(v1::UriRow::decode).transpose().map_err(Failure::internal)?.map(|row| row.post_id);
    let Some(id) = known.or_else(|| named_by(object_id)) else { return Ok(None) };
    let Some(row) = round.row(&tables::ENTRIES, tables::id(id), Bytes::new()).await? else { return Ok(None) };
    let entry = v1::EntryRow::decode(row).map_err(Failure::internal)?.entry;
    match entry.filter(|entry| known.is_some() || object_of(entry) == object_id) {
        Some(Entry::Post(post)) if post.author_id == author.get() => Ok(Some(id)),
        Some(Entry::Tombstone(gone)) if gone.author_id == author.get() => Err(Rejection::Deleted.into()),
        // An object belongs to one actor for ever; whoever says otherwise is not believed.
        Some(_) => Err(Rejection::BadObjectId.into()),
        None => Ok(None),
    }
}

/// The first free id for something from elsewhere: at its date, counted up from a hash of its ActivityPub id.
pub(super) async fn free_remote_id(round: &Round, uri: &str, published: Millis) -> Result<Id, Failure> {
    let candidates = Id::remote_candidates(uri, published, round.now(), round.log().shard);
    for id in candidates {
        if round.row(&tables::ENTRIES, tables::id(id.get()), Bytes::new()).await?.is_none() {
            return Ok(id);
        }
    }
    Err(Failure::unavailable(
        "MOMENT_FULL",
        "Too many posts claim this moment. Nothing was changed.",
        std::time::Duration::from_secs(60),
    ))
}
