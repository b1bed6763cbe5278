//! What stands in a home (ARCHITECTURE §6), written once and used by both computations.
//!
//! A home holds the posts and boosts of oneself and of those whom one follows now, their past included, minus what the
//! rules of reading hide; by id; each post once. Once means: where a post stands in its own right, no boost of it is
//! shown, and else only the oldest boost that one may see. So nothing moves when a post is boosted again, pages never
//! show it twice, and every post of somebody whom one follows is in the home as itself.
//!
//! Replies, boosts and named accounts are judged as Mastodon judges them (`FeedManager#filter_from_home`), with one
//! difference that the line above explains: Mastodon drops a boost only if the post stands among the 40 newest.

use super::entry::{Language, Post, Reply, Visibility};

/// What a viewer wants of somebody whom he follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Follow {
    /// Whether boosts are wanted too.
    pub boosts: bool,
}

/// A viewer's relations at the moment of reading.
pub trait Sight {
    /// How accounts are named.
    type Account: Copy + PartialEq;

    /// Who looks.
    fn viewer(&self) -> Self::Account;

    /// Whether the viewer follows the account, the follow being accepted.
    fn follow(&self, account: Self::Account) -> Option<Follow>;

    /// Whether the viewer, who follows the account, wants its posts in this language.
    fn wants_language(&self, account: Self::Account, language: Language) -> bool;

    /// Whether nothing of the account may be shown to the viewer: a block either way, a mute that has not run out, or an
    /// account that is suspended or gone.
    fn bars(&self, account: Self::Account) -> bool;

    /// Whether the viewer himself blocks or mutes the account: then posts that name it are hidden as well.
    fn avoids(&self, account: Self::Account) -> bool;
}

/// Whether the viewer may read the post at all.
pub fn visible<S: Sight>(sight: &S, post: &Post<'_, S::Account>) -> bool {
    let viewer = sight.viewer();
    if post.author == viewer {
        return true;
    }
    if sight.bars(post.author) {
        return false;
    }
    let named = || post.mentions.contains(&viewer);
    match post.visibility {
        Visibility::Public | Visibility::Unlisted => true,
        Visibility::Followers => sight.follow(post.author).is_some() || named(),
        Visibility::Direct => named(),
    }
}

/// Whether the post stands in the home in its own right.
pub fn has_place<S: Sight>(sight: &S, post: &Post<'_, S::Account>) -> bool {
    let viewer = sight.viewer();
    if post.author == viewer {
        return true;
    }
    sight.follow(post.author).is_some()
        && visible(sight, post)
        && !names_avoided(sight, post)
        && (post.language.is_none() || sight.wants_language(post.author, post.language))
        && answer_belongs(sight, post)
}

/// Whether a boost of the post by this account would stand in the home if it were the only one.
pub fn boost_counts<S: Sight>(sight: &S, booster: S::Account, post: &Post<'_, S::Account>) -> bool {
    let wanted = booster == sight.viewer()
        || (sight.follow(booster).is_some_and(|follow| follow.boosts) && !sight.bars(booster));
    // A direct post is nobody's to pass on, and one for followers only its author's.
    let passed_on = match post.visibility {
        Visibility::Public | Visibility::Unlisted => true,
        Visibility::Followers => booster == post.author,
        Visibility::Direct => false,
    };
    wanted && passed_on && visible(sight, post) && !names_avoided(sight, post)
}

/// Whether a boost of the post stands in the home. `older` are the boosts of the same post with smaller ids.
pub fn boost_has_place<S: Sight>(
    sight: &S,
    booster: S::Account,
    post: &Post<'_, S::Account>,
    older: impl IntoIterator<Item = S::Account>,
) -> bool {
    boost_counts(sight, booster, post)
        && !has_place(sight, post)
        && !older.into_iter().any(|other| boost_counts(sight, other, post))
}

fn names_avoided<S: Sight>(sight: &S, post: &Post<'_, S::Account>) -> bool {
    let viewer = sight.viewer();
    post.author != viewer && post.mentions.iter().any(|named| *named != viewer && sight.avoids(*named))
}

/// A reply belongs into a home if it answers the viewer, somebody whom he follows, or its own author.
fn answer_belongs<S: Sight>(sight: &S, post: &Post<'_, S::Account>) -> bool {
    match post.reply {
        Reply::No => true,
        Reply::ToUnknown => false,
        Reply::To(answered) => {
            answered == sight.viewer()
                || answered == post.author
                || (sight.follow(answered).is_some() && !sight.avoids(answered))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Viewer 1 follows 2 and 3 (3 without boosts); 8 is blocked, 9 muted, 7 blocks the viewer.
    struct Table;

    impl Sight for Table {
        type Account = u64;

        fn viewer(&self) -> u64 {
            1
        }

        fn follow(&self, account: u64) -> Option<Follow> {
            matches!(account, 2 | 3 | 7 | 9).then_some(Follow { boosts: account != 3 })
        }

        fn wants_language(&self, account: u64, language: Language) -> bool {
            account != 3 || language == Language::of("en")
        }

        fn bars(&self, account: u64) -> bool {
            matches!(account, 7..=9)
        }

        fn avoids(&self, account: u64) -> bool {
            matches!(account, 8 | 9)
        }
    }

    fn post(author: u64) -> Post<'static, u64> {
        Post {
            author,
            visibility: Visibility::Public,
            reply: Reply::No,
            mentions: &[],
            language: Language::of(""),
        }
    }

    #[test]
    fn languages() {
        for (author, language, expected) in
            [(3, "en", true), (3, "de", false), (3, "", true), (2, "de", true), (1, "de", true)]
        {
            let post = Post { language: Language::of(language), ..post(author) };
            assert_eq!(has_place(&Table, &post), expected, "{author} {language}");
        }
    }

    #[test]
    fn posts_of_those_whom_one_follows_and_of_oneself() {
        for (author, expected) in [(1, true), (2, true), (4, false), (7, false), (8, false), (9, false)] {
            assert_eq!(has_place(&Table, &post(author)), expected, "author {author}");
        }
    }

    #[test]
    fn visibility() {
        let of = |author, visibility, mentions| Post { visibility, mentions, ..post(author) };
        assert!(has_place(&Table, &of(2, Visibility::Followers, &[])));
        assert!(!visible(&Table, &of(4, Visibility::Followers, &[])));
        assert!(visible(&Table, &of(4, Visibility::Followers, &[1])));
        assert!(!has_place(&Table, &of(2, Visibility::Direct, &[])));
        assert!(has_place(&Table, &of(2, Visibility::Direct, &[1])));
        assert!(has_place(&Table, &of(1, Visibility::Direct, &[5])));
        assert!(!visible(&Table, &of(8, Visibility::Public, &[1])));
    }

    #[test]
    fn replies() {
        let answers = |reply| has_place(&Table, &Post { reply, ..post(2) });
        assert!(answers(Reply::To(1)) && answers(Reply::To(2)) && answers(Reply::To(3)));
        assert!(!answers(Reply::To(4)) && !answers(Reply::ToUnknown) && !answers(Reply::To(9)));
        assert!(has_place(&Table, &Post { reply: Reply::To(4), ..post(1) }));
    }

    #[test]
    fn posts_that_name_avoided_accounts() {
        assert!(!has_place(&Table, &Post { mentions: &[8], ..post(2) }));
        assert!(!has_place(&Table, &Post { mentions: &[5, 9], ..post(2) }));
        assert!(has_place(&Table, &Post { mentions: &[7, 5], ..post(2) }));
        assert!(has_place(&Table, &Post { mentions: &[8], ..post(1) }));
    }

    #[test]
    fn boosts() {
        assert!(boost_has_place(&Table, 2, &post(4), []));
        assert!(!boost_has_place(&Table, 3, &post(4), []), "boosts of 3 are not wanted");
        assert!(!boost_has_place(&Table, 9, &post(4), []), "9 is muted");
        assert!(!boost_has_place(&Table, 2, &post(8), []), "8 is blocked");
        assert!(!boost_has_place(&Table, 2, &post(7), []), "7 blocks the viewer");
        assert!(!boost_has_place(&Table, 2, &post(3), []), "the post stands for itself");
        assert!(!boost_has_place(&Table, 2, &post(4), [1]), "an older boost stands");
        assert!(boost_has_place(&Table, 2, &post(4), [3, 5, 9]), "no older boost counts");
        assert!(
            boost_has_place(&Table, 2, &Post { reply: Reply::To(5), ..post(3) }, []),
            "a reply that has no place"
        );
        let hidden = Post { visibility: Visibility::Followers, ..post(2) };
        assert!(!boost_has_place(&Table, 9, &hidden, []) && !boost_counts(&Table, 1, &hidden));
        assert!(boost_counts(&Table, 2, &hidden) && !boost_has_place(&Table, 2, &hidden, []));
    }
}
