//! Text to HTML, exactly as Mastodon writes it, since clients and peers take it apart again by these classes.
//!
//! Everything that a person typed is escaped; the only addresses that become links begin with a scheme of the list.

use super::{Piece, pieces};
use std::fmt::Write as _;

/// What a text needs besides itself to be shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings<'a> {
    /// Whom it mentions: the handle as seen from the author's server, and the page that the link leads to.
    pub mentions: Vec<(&'a str, &'a str)>,
    /// Base of links to tags.
    pub tags_url: &'a str,
    /// Domains that mean the author's own server.
    pub home_hosts: Vec<&'a str>,
}

/// How much of a URL is shown.
const SHOWN: usize = 30;

/// The HTML of a text; empty for a blank one.
#[must_use]
pub fn html(text: &str, around: &Surroundings<'_>) -> String {
    let text = text.trim();
    if text.is_empty() {
        return String::new();
    }
    let mut out = Writer { html: String::with_capacity(text.len() * 2), newlines: 0 };
    out.html.push_str("<p>");
    for piece in pieces(text) {
        match piece {
            Piece::Plain(text) => out.plain(text),
            Piece::Link(url) => out.link(url),
            Piece::Tag { name, .. } => out.tag(name, around.tags_url),
            Piece::Mention { text, name, domain } => out.mention(text, name, domain, around),
        }
    }
    out.html.push_str("</p>");
    out.html
}

struct Writer {
    html: String,
    /// Newlines that wait for what follows them: one makes a break, more a paragraph.
    newlines: usize,
}

impl Writer {
    fn break_lines(&mut self) {
        match std::mem::take(&mut self.newlines) {
            0 => {}
            1 => self.html.push_str("<br />"),
            _ => self.html.push_str("</p><p>"),
        }
    }

    fn plain(&mut self, text: &str) {
        let mut characters = text.chars().peekable();
        while let Some(c) = characters.next() {
            match c {
                '\r' if characters.peek() == Some(&'\n') => {}
                '\n' | '\r' => self.newlines += 1,
                c => {
                    self.break_lines();
                    escape_char(c, &mut self.html);
                }
            }
        }
    }

    fn link(&mut self, url: &str) {
        self.break_lines();
        let lower = url.to_ascii_lowercase();
        let prefix = ["https://www.", "https://", "http://www.", "http://"]
            .into_iter()
            .find(|prefix| lower.starts_with(prefix))
            .map_or(0, str::len);
        let (prefix, rest) = (url.get(..prefix).unwrap_or_default(), url.get(prefix..).unwrap_or_default());
        // One character more costs no more room than the ellipsis that would stand for it.
        let cut = if rest.chars().count() <= SHOWN + 1 { None } else { rest.char_indices().nth(SHOWN) };
        let at = cut.map_or(rest.len(), |(at, _)| at);
        let (shown, hidden) = (rest.get(..at).unwrap_or_default(), rest.get(at..).unwrap_or_default());
        let class = if cut.is_some() { "ellipsis" } else { "" };
        let _ = write!(
            self.html,
            "<a href=\"{}\" target=\"_blank\" rel=\"nofollow noopener\" translate=\"no\">\
             <span class=\"invisible\">{}</span><span class=\"{class}\">{}</span>\
             <span class=\"invisible\">{}</span></a>",
            escaped(url),
            escaped(prefix),
            escaped(shown),
            escaped(hidden),
        );
    }

    fn tag(&mut self, name: &str, base: &str) {
        self.break_lines();
        let _ = write!(
            self.html,
            "<a href=\"{}\" class=\"mention hashtag\" rel=\"tag\">#<span>{}</span></a>",
            escaped(&tag_url(base, name)),
            escaped(name)
        );
    }

    fn mention(&mut self, text: &str, name: &str, domain: Option<&str>, around: &Surroundings<'_>) {
        let Some((handle, url)) = resolved(name, domain, around) else { return self.plain(text) };
        self.break_lines();
        let name_of = |handle: &str| handle.split_once('@').map_or(handle, |(name, _)| name).to_lowercase();
        let same_name = around.mentions.iter().filter(|(other, _)| name_of(other) == name_of(handle)).count();
        let shown =
            if same_name > 1 { handle } else { handle.split_once('@').map_or(handle, |(name, _)| name) };
        let _ = write!(
            self.html,
            "<span class=\"h-card\" translate=\"no\"><a href=\"{}\" class=\"u-url mention\">@<span>{}</span></a></span>",
            escaped(url),
            escaped(shown)
        );
    }
}

/// Whom a mention in the text means, if it could be found out when the post was written.
fn resolved<'a>(name: &str, domain: Option<&str>, around: &Surroundings<'a>) -> Option<(&'a str, &'a str)> {
    let domain =
        domain.filter(|domain| !around.home_hosts.iter().any(|host| host.eq_ignore_ascii_case(domain)));
    let found = around.mentions.iter().find(|(handle, _)| {
        let (other_name, other_domain) = match handle.split_once('@') {
            Some((name, domain)) => (name, Some(domain)),
            None => (*handle, None),
        };
        other_name.eq_ignore_ascii_case(name)
            && match (other_domain, domain) {
                (None, None) => true,
                (Some(a), Some(b)) => a.to_lowercase() == b.to_lowercase(),
                _ => false,
            }
    })?;
    (found.1.starts_with("https://") || found.1.starts_with("http://")).then_some(*found)
}

/// The page of a tag: what is no letter or digit of ASCII is percent-encoded.
#[must_use]
pub fn tag_url(base: &str, name: &str) -> String {
    let mut url = base.to_owned();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            url.push(char::from(byte));
        } else {
            let _ = write!(url, "%{byte:02X}");
        }
    }
    url
}

fn escape_char(c: char, out: &mut String) {
    match c {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        '"' => out.push_str("&quot;"),
        '\'' => out.push_str("&#39;"),
        c => out.push(c),
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|c| escape_char(c, &mut out));
    out
}

#[cfg(test)]
mod tests {
    use super::super::tests::nasty_text;
    use super::*;
    use proptest::prelude::*;

    fn around() -> Surroundings<'static> {
        Surroundings {
            mentions: vec![
                ("alice", "https://p92.example/@alice"),
                ("bob@remote.example", "https://remote.example/@bob"),
            ],
            tags_url: "https://p92.example/tags/",
            home_hosts: vec!["p92.example"],
        }
    }

    fn shown(text: &str) -> String {
        html(text, &around())
    }

    #[test]
    fn paragraphs_and_breaks() {
        assert_eq!(shown("text"), "<p>text</p>");
        assert_eq!(shown("line\nfeed"), "<p>line<br />feed</p>");
        assert_eq!(shown("line\r\nfeed\rmore"), "<p>line<br />feed<br />more</p>");
        assert_eq!(shown("one\n\n\ntwo\n"), "<p>one</p><p>two</p>");
        assert_eq!(shown(" \n "), "");
    }

    #[test]
    fn links_are_shortened() {
        assert_eq!(
            shown("http://google.com"),
            "<p><a href=\"http://google.com\" target=\"_blank\" rel=\"nofollow noopener\" translate=\"no\">\
             <span class=\"invisible\">http://</span><span class=\"\">google.com</span><span class=\"invisible\"></span></a></p>"
        );
        let long = shown("https://www.example.com/abcdefghijklmnopqrstuvwxyz");
        assert!(long.contains("<span class=\"invisible\">https://www.</span>"), "{long}");
        assert!(long.contains("<span class=\"ellipsis\">example.com/abcdefghijklmnopqr</span>"), "{long}");
        assert!(long.contains("<span class=\"invisible\">stuvwxyz</span>"), "{long}");
        let just_over = shown("https://example.com/abcdefghijklmnopqrs");
        assert!(just_over.contains("<span class=\"\">example.com/abcdefghijklmnopqrs</span>"), "{just_over}");
        assert!(shown("https://a.example/?x=1&y=2").contains("href=\"https://a.example/?x=1&amp;y=2\""));
    }

    #[test]
    fn tags_and_mentions_are_links() {
        assert_eq!(
            shown("#hashtagタグ"),
            "<p><a href=\"https://p92.example/tags/hashtag%E3%82%BF%E3%82%B0\" class=\"mention hashtag\" rel=\"tag\">\
             #<span>hashtagタグ</span></a></p>"
        );
        let alice = "<span class=\"h-card\" translate=\"no\"><a href=\"https://p92.example/@alice\" \
                     class=\"u-url mention\">@<span>alice</span></a></span>";
        assert_eq!(shown("@Alice"), format!("<p>{alice}</p>"));
        assert_eq!(shown("@alice@p92.example!"), format!("<p>{alice}!</p>"));
        assert!(shown("@bob@remote.example").contains("@<span>bob</span>"));
        assert_eq!(shown("@bob @carol"), "<p>@bob @carol</p>");
    }

    #[test]
    fn two_of_one_name_are_told_apart() {
        let mut around = around();
        around.mentions.push(("alice@remote.example", "https://remote.example/@alice"));
        let html = html("@alice @alice@remote.example", &around);
        assert!(
            html.contains("@<span>alice</span>") && html.contains("@<span>alice@remote.example</span>"),
            "{html}"
        );
    }

    #[test]
    fn markup_is_text() {
        assert_eq!(
            shown("<script>alert(\"Hello\")</script>"),
            "<p>&lt;script&gt;alert(&quot;Hello&quot;)&lt;/script&gt;</p>"
        );
        assert_eq!(
            shown("<img src=\"javascript:alert('XSS');\">"),
            "<p>&lt;img src=&quot;javascript:alert(&#39;XSS&#39;);&quot;&gt;</p>"
        );
        let html = html("@x", &Surroundings { mentions: vec![("x", "javascript:alert(1)")], ..around() });
        assert_eq!(html, "<p>@x</p>");
    }

    /// Takes HTML apart as strictly as it is written: only elements and attributes of the list, closed in order.
    fn check(html: &str) -> Result<(), String> {
        let mut open = Vec::new();
        let mut rest = html;
        while let Some(at) = rest.find(['<', '>', '"', '\'']) {
            let tail = rest.get(at..).unwrap();
            let end = tail.starts_with('<').then(|| tail.find('>')).flatten();
            let Some(end) = end else { return Err(format!("not escaped: {tail}")) };
            let tag = tail.get(1..end).unwrap();
            if let Some(name) = tag.strip_prefix('/') {
                if open.pop() != Some(name.to_owned()) {
                    return Err(format!("closed out of order: {tag}"));
                }
            } else if tag != "br /" {
                let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
                check_attributes(name, attributes)?;
                open.push(name.to_owned());
            }
            rest = tail.get(end + 1..).unwrap();
        }
        if open.is_empty() { Ok(()) } else { Err(format!("left open: {open:?}")) }
    }

    fn check_attributes(name: &str, attributes: &str) -> Result<(), String> {
        let values: Vec<_> = attributes.split('"').collect();
        let names: Vec<_> = values.iter().step_by(2).map(|n| n.trim()).filter(|n| !n.is_empty()).collect();
        let allowed: &[&str] = match name {
            "p" => &[],
            "span" => &["class=", "translate="],
            "a" => &["href=", "target=", "rel=", "translate=", "class="],
            other => return Err(format!("an element {other}")),
        };
        if let Some(odd) = names.iter().find(|name| !allowed.contains(name)) {
            return Err(format!("an attribute {odd}"));
        }
        let href = values.iter().position(|n| n.trim() == "href=").and_then(|at| values.get(at + 1));
        match href {
            Some(href) if !href.contains("://") => Err(format!("a link to {href}")),
            Some(href) if href.to_ascii_lowercase().starts_with("javascript") => {
                Err(format!("a link to {href}"))
            }
            _ => Ok(()),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn no_text_makes_markup_of_its_own(text in nasty_text(), url in nasty_text(), handle in nasty_text()) {
            let around = Surroundings { mentions: vec![(&handle, &url), ("alice", "https://a.example/\"><b>")], ..around() };
            let html = html(&text, &around);
            prop_assert_eq!(check(&html), Ok(()), "{}", html);
            prop_assert!(!html.contains('\n'));
        }
    }

    #[test]
    fn the_check_itself_notices() {
        for bad in [
            "<p><b>x</b></p>",
            "<p>",
            "a\"b",
            "<p onclick=\"x\"></p>",
            "<a href=\"javascript:x\"></a>",
            "<p></a>",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
