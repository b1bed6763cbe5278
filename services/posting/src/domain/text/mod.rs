//! What stands in a text: links, mentions and tags, found as Mastodon finds them, so that clients and peers agree.
//!
//! Functions of text alone. It does not know whom a handle names, nor which server it runs on.

pub mod count;
pub mod link;
pub mod mention;
pub mod render;
pub mod tag;

/// A part of a text. All parts in their order make up the whole text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Nothing special.
    Plain(&'a str),
    /// A URL.
    Link(&'a str),
    /// Somebody is named.
    Mention {
        /// All of it, with the sign.
        text: &'a str,
        /// The part behind the first sign.
        name: &'a str,
        /// The part behind the second sign.
        domain: Option<&'a str>,
    },
    /// A tag.
    Tag {
        /// All of it, with the sign.
        text: &'a str,
        /// The part behind the sign.
        name: &'a str,
    },
}

impl<'a> Piece<'a> {
    /// The part of the text that it is.
    #[must_use]
    pub const fn text(&self) -> &'a str {
        match self {
            Self::Plain(text) | Self::Link(text) | Self::Mention { text, .. } | Self::Tag { text, .. } => {
                text
            }
        }
    }
}

/// Takes a text apart. What begins earlier wins, so a tag within a URL is none.
#[must_use]
pub fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut out = Vec::new();
    let (mut plain_from, mut at, mut before) = (0, 0, None);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let Some(first) = rest.chars().next() else { break };
        let found = match first {
            '#' | '＃' => tag::at(rest, before),
            '@' => mention::at(rest, before),
            letter if letter.is_ascii_alphabetic() => link::at(rest, before),
            _ => None,
        };
        let Some(piece) = found else {
            at += first.len_utf8();
            before = Some(first);
            continue;
        };
        out.extend(text.get(plain_from..at).filter(|plain| !plain.is_empty()).map(Piece::Plain));
        at += piece.text().len();
        plain_from = at;
        before = piece.text().chars().next_back();
        out.push(piece);
    }
    out.extend(text.get(plain_from..).filter(|plain| !plain.is_empty()).map(Piece::Plain));
    out
}

/// A character of a word: letter, mark, digit or connector.
fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || unicode_normalization::char::is_combining_mark(c)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Texts made of what breaks scanners: signs next to each other, halves of URLs, markup, newlines, marks.
    pub(crate) fn nasty_text() -> impl Strategy<Value = String> {
        let fragment = prop_oneof![
            Just("@".to_owned()),
            Just("#".to_owned()),
            Just("＃".to_owned()),
            Just("https://".to_owned()),
            Just("http://a.example/".to_owned()),
            Just("alice".to_owned()),
            Just("@alice@remote.example".to_owned()),
            Just("#tag".to_owned()),
            Just("<script>alert(1)</script>".to_owned()),
            Just("\" onmouseover=\"".to_owned()),
            Just("&amp;'".to_owned()),
            Just("(()".to_owned()),
            Just("\n".to_owned()),
            Just("\n\n\n".to_owned()),
            Just("\r\n".to_owned()),
            Just("e\u{301}👩‍👩‍👧".to_owned()),
            Just("・ざ".to_owned()),
            Just("?q=ü&x".to_owned()),
            Just("javascript:alert(1)".to_owned()),
            any::<char>().prop_map(String::from),
            "[a-zA-Z0-9_.:/@#-]{0,12}",
        ];
        proptest::collection::vec(fragment, 0..24).prop_map(|fragments| fragments.concat())
    }

    proptest! {
        #[test]
        fn pieces_make_up_the_text(text in nasty_text()) {
            let joined: String = pieces(&text).iter().map(Piece::text).collect();
            prop_assert_eq!(joined, text);
        }
    }

    #[test]
    fn what_begins_earlier_wins() {
        let found = pieces("see https://a.example/@bob#x and @bob, #ok");
        let special: Vec<_> = found.iter().filter(|piece| !matches!(piece, Piece::Plain(_))).collect();
        assert_eq!(
            special,
            [
                &Piece::Link("https://a.example/@bob#x"),
                &Piece::Mention { text: "@bob", name: "bob", domain: None },
                &Piece::Tag { text: "#ok", name: "ok" },
            ]
        );
    }
}
