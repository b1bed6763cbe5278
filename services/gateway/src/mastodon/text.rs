//! Texts of profiles as HTML: what members typed is escaped, links, mentions and tags become links; what came from
//! elsewhere is cleaned. Pure functions. Posts come rendered from posting.

use linkify::{LinkFinder, LinkKind};
use std::fmt::Write as _;

/// Text with the five characters of HTML escaped.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// What a member wrote about himself: paragraphs, line breaks, links.
#[must_use]
pub fn paragraphs(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    let mut out = String::new();
    for paragraph in text.split("\n\n").map(str::trim).filter(|paragraph| !paragraph.is_empty()) {
        let lines: Vec<String> = paragraph.lines().map(linked).collect();
        let _ = write!(out, "<p>{}</p>", lines.join("<br>"));
    }
    out
}

/// One line with its links.
#[must_use]
pub fn linked(line: &str) -> String {
    let mut finder = LinkFinder::new();
    finder.kinds(&[LinkKind::Url]).url_must_have_scheme(true);
    let mut out = String::new();
    for span in finder.spans(line) {
        let text = span.as_str();
        let web = text.starts_with("https://") || text.starts_with("http://");
        if span.kind().is_some() && web {
            let href = escaped(text);
            let shown = text.split_once("://").map_or(text, |(_, rest)| rest);
            let _ = write!(
                out,
                "<a href=\"{href}\" target=\"_blank\" rel=\"nofollow noopener noreferrer me\">{}</a>",
                escaped(shown)
            );
        } else {
            out.push_str(&escaped(text));
        }
    }
    out
}

/// HTML of a remote profile, without anything that could do harm.
#[must_use]
pub fn cleaned(html: &str) -> String {
    ammonia::Builder::new()
        .tags(
            ["p", "br", "span", "a", "em", "strong", "b", "i", "ul", "ol", "li", "blockquote", "code", "pre"]
                .into(),
        )
        .url_schemes(["http", "https"].into())
        .link_rel(Some("nofollow noopener noreferrer"))
        .clean(html)
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_members_type_cannot_become_markup() {
        let html =
            paragraphs("<script>x</script> \"q\"\nhttps://a.example/?a=1&b=\"2\n\njavascript:alert(1)");
        assert!(!html.contains("<script") && html.contains("&lt;script&gt;"));
        assert!(html.contains("<br><a href=\"https://a.example/?a=1&amp;b=\""));
        assert!(html.ends_with("<p>javascript:alert(1)</p>"));
    }

    #[test]
    fn remote_markup_is_cleaned() {
        let html = cleaned("<p onclick=x>a<script>b</script><a href=\"javascript:1\">c</a></p>");
        assert_eq!(html, "<p>a<a rel=\"nofollow noopener noreferrer\">c</a></p>");
    }
}
