//! HTML from elsewhere, made safe: the elements, attributes and classes that Mastodon lets through, nothing else.

use ammonia::{Builder, UrlRelative};
use std::borrow::Cow;
use std::sync::LazyLock;

const SCHEMES: [&str; 11] =
    ["http", "https", "dat", "dweb", "ipfs", "ipns", "ssb", "gopher", "xmpp", "magnet", "gemini"];

static STRICT: LazyLock<Builder<'static>> = LazyLock::new(|| {
    let mut builder = Builder::empty();
    builder
        .add_tags([
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
            "ruby",
            "rt",
            "rp",
        ])
        .add_generic_attributes(["lang"])
        .add_tag_attributes("a", ["href", "class", "translate"])
        .add_tag_attributes("span", ["class", "translate"])
        .add_tag_attributes("p", ["class"])
        .add_tag_attributes("ol", ["start", "reversed"])
        .add_tag_attributes("li", ["value"])
        .set_tag_attribute_value("a", "target", "_blank")
        .link_rel(Some("nofollow noopener"))
        .add_url_schemes(SCHEMES)
        .url_relative(UrlRelative::Deny)
        .add_clean_content_tags([
            "script", "style", "template", "noscript", "iframe", "object", "math", "svg",
        ])
        .attribute_filter(|_, attribute, value| match attribute {
            "class" => classes(value),
            "translate" => (value == "no").then_some(Cow::Borrowed(value)),
            _ => Some(Cow::Borrowed(value)),
        });
    builder
});

/// Classes by which clients know mentions, tags and shortened links; microformats.
fn classes(value: &str) -> Option<Cow<'_, str>> {
    let known = |class: &&str| {
        matches!(*class, "mention" | "hashtag" | "ellipsis" | "invisible" | "quote-inline")
            || ["h-", "p-", "u-", "dt-", "e-"].iter().any(|prefix| class.starts_with(prefix))
    };
    let kept: Vec<&str> = value.split_ascii_whitespace().filter(known).collect();
    (!kept.is_empty()).then(|| kept.join(" ").into())
}

/// The same HTML, without what could do harm.
#[must_use]
pub fn html(from_elsewhere: &str) -> String {
    STRICT.clean(from_elsewhere).to_string()
}

#[cfg(test)]
mod tests {
    use super::html;
    use proptest::prelude::*;

    #[test]
    fn what_mastodon_writes_passes() {
        let written = "<p>Hi <span class=\"h-card\" translate=\"no\"><a href=\"https://b.example/@bob\" \
                       class=\"u-url mention\">@<span>bob</span></a></span><br></p>";
        let safe = html(written);
        assert!(
            safe.contains("class=\"h-card\" translate=\"no\"") && safe.contains("class=\"u-url mention\""),
            "{safe}"
        );
        assert!(safe.contains("rel=\"nofollow noopener\"") && safe.contains("target=\"_blank\""), "{safe}");
    }

    #[test]
    fn what_could_do_harm_does_not() {
        for bad in [
            "<script>alert(1)</script>",
            "<img src=x onerror=alert(1)>",
            "<a href=\"javascript:alert(1)\">x</a>",
            "<a href=\"/relative\">x</a>",
            "<p style=\"position:fixed\" onclick=\"x()\">x</p>",
            "<iframe src=\"https://evil.example\"></iframe>",
            "<svg><script>alert(1)</script></svg>",
            "<form action=\"https://evil.example\"><input></form>",
            "<a href=\"data:text/html,x\">x</a>",
        ] {
            let safe = html(bad);
            for sign in [
                "script",
                "onerror",
                "javascript:",
                "style",
                "onclick",
                "iframe",
                "form",
                "data:",
                "relative",
            ] {
                assert!(!safe.contains(sign), "{bad} became {safe}");
            }
        }
        assert_eq!(html("<p class=\"evil mention\">x</p>"), "<p class=\"mention\">x</p>");
    }

    proptest! {
        #[test]
        fn what_is_safe_stays_as_it_is(text in "[<>a-z \"'=/&;]{0,60}") {
            let once = html(&text);
            prop_assert_eq!(html(&once), once);
        }
    }
}
