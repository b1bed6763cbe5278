//! A post as a card of a page. Its HTML passes a cleaner once more, whoever rendered it.

use crate::mastodon::entity::status::Status;
use std::sync::LazyLock;

/// A post, ready to be drawn.
#[derive(Clone, Debug)]
pub struct Card {
    pub id: String,
    pub path: String,
    pub profile: String,
    pub name: String,
    pub handle: String,
    pub letter: String,
    pub booster: String,
    pub moment: String,
    pub when: String,
    pub html: String,
    pub warning: String,
    /// Who sees it, in words; empty for everybody.
    pub visibility: &'static str,
    pub replies: u64,
    pub boosts: u64,
    pub likes: u64,
    pub boosted: bool,
    pub liked: bool,
    pub mine: bool,
    /// Whether others may boost it.
    pub open: bool,
}

// The tags that Mastodon lets through.
static CLEANER: LazyLock<ammonia::Builder<'static>> = LazyLock::new(|| {
    let tags = [
        "p",
        "br",
        "span",
        "a",
        "del",
        "s",
        "pre",
        "blockquote",
        "code",
        "b",
        "strong",
        "u",
        "i",
        "em",
        "ul",
        "ol",
        "li",
    ];
    let mut cleaner = ammonia::Builder::new();
    cleaner
        .tags(tags.into())
        .url_schemes(["http", "https"].into())
        .link_rel(Some("nofollow noopener noreferrer"));
    cleaner
});

/// HTML without anything that could do harm.
pub fn clean(html: &str) -> String {
    CLEANER.clean(html).to_string()
}

/// The first letter of a name.
pub fn letter(name: &str) -> String {
    name.chars().find(|c| c.is_alphanumeric()).map_or_else(|| "·".to_owned(), |c| c.to_uppercase().collect())
}

/// The name that is shown.
pub fn name_of<'a>(shown: &'a str, handle: &'a str) -> &'a str {
    if shown.trim().is_empty() { handle } else { shown }
}

/// `2026-11-24T00:07:12.345Z` as `24 Nov 2026, 00:07`, in UTC since a page without scripts knows no other time; what is
/// no such time stays as it is.
fn moment(stamp: &str) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let read = || {
        let (date, time) = stamp.split_once('T')?;
        let mut parts = date.split('-');
        let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
        let month = MONTHS.get(month.parse::<usize>().ok()?.checked_sub(1)?)?;
        Some(format!("{} {month} {year}, {}", day.trim_start_matches('0'), time.get(..5)?))
    };
    read().unwrap_or_else(|| stamp.to_owned())
}

/// A status as a card; a boost shows what it wraps.
pub fn card(status: &Status, viewer_id: u64) -> Card {
    let (inner, booster) = match &status.reblog {
        Some(inner) => (&**inner, name_of(&status.account.display_name, &status.account.username).to_owned()),
        None => (status, String::new()),
    };
    let account = &inner.account;
    let name = name_of(&account.display_name, &account.username).to_owned();
    let marks = inner.viewer.clone().unwrap_or_default();
    Card {
        id: inner.id.clone(),
        path: format!("/@{}/{}", account.acct, inner.id),
        profile: format!("/@{}", account.acct),
        letter: letter(&name),
        name,
        handle: account.acct.clone(),
        booster,
        when: moment(&inner.created_at),
        moment: inner.created_at.clone(),
        html: clean(&inner.content),
        warning: inner.spoiler_text.clone(),
        visibility: match inner.visibility {
            "public" => "",
            "unlisted" => "quiet",
            "private" => "followers",
            _ => "mentioned people",
        },
        replies: inner.replies_count,
        boosts: inner.reblogs_count,
        likes: inner.favourites_count,
        boosted: marks.reblogged,
        liked: marks.favourited,
        mine: viewer_id != 0 && account.id == viewer_id.to_string(),
        open: matches!(inner.visibility, "public" | "unlisted"),
    }
}

/// Statuses as cards.
pub fn cards(statuses: &[Status], viewer_id: u64) -> Vec<Card> {
    statuses.iter().map(|status| card(status, viewer_id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_people_write_them() {
        assert_eq!(moment("2026-11-04T00:07:12.345Z"), "4 Nov 2026, 00:07");
        for odd in ["", "T", "2026-13-01T00:00", "2026-00-01T00:00", "yesterday", "2026-11-04Tx"] {
            assert_eq!(moment(odd), odd);
        }
    }

    #[test]
    fn what_could_do_harm_is_gone() {
        let html = clean(
            "<p onclick=x>a<script>b</script><img src=x onerror=y><a href=\"javascript:1\">c</a><del>d</del></p>",
        );
        assert_eq!(html, "<p>a<a rel=\"nofollow noopener noreferrer\">c</a><del>d</del></p>");
    }
}
