//! How long a post is, as Mastodon counts: graphemes, each URL as 23, a remote mention without its domain.

use super::{Piece, pieces};
use unicode_segmentation::UnicodeSegmentation;

/// What a URL counts, however long it is.
pub const URL_CHARACTERS: usize = 23;

/// Characters of a text with its content warning.
#[must_use]
pub fn characters(content_warning: &str, text: &str) -> usize {
    let mut counted = String::with_capacity(content_warning.len() + text.len());
    counted.push_str(content_warning);
    for piece in pieces(text) {
        match piece {
            Piece::Plain(text) | Piece::Tag { text, .. } => counted.push_str(text),
            // Placed in the text rather than added up, since a mark behind it belongs to its last character.
            Piece::Link(_) => counted.extend(std::iter::repeat_n('x', URL_CHARACTERS)),
            Piece::Mention { name, .. } => {
                counted.push('@');
                counted.push_str(name);
            }
        }
    }
    counted.graphemes(true).count()
}

#[cfg(test)]
mod tests {
    use super::super::tests::nasty_text;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn graphemes_are_counted() {
        assert_eq!(characters("", ""), 0);
        assert_eq!(characters("", "héllo"), 5);
        assert_eq!(characters("", "he\u{301}llo"), 5);
        assert_eq!(characters("", "👩‍👩‍👧🇩🇪"), 2);
        assert_eq!(characters(&"a".repeat(250), &"b".repeat(251)), 501);
    }

    #[test]
    fn urls_count_23() {
        let url = format!("http://{}.com/example", "b".repeat(30));
        assert_eq!(characters("", &format!("{} {url}", "a".repeat(476))), 500);
        assert_eq!(characters("", "http://a.io"), 23);
    }

    #[test]
    fn a_remote_mention_counts_its_name() {
        let mention = format!("@alice@{}.com", "b".repeat(30));
        assert_eq!(characters("", &format!("{} {mention}", "a".repeat(475))), 482);
    }

    proptest! {
        #[test]
        fn counting_never_fails(warning in "\\PC{0,9}", text in nasty_text()) {
            let chars = warning.chars().count() + text.chars().count();
            // Only a URL shorter than what it counts makes a text longer than its characters.
            prop_assert!(characters(&warning, &text) <= chars + URL_CHARACTERS * text.matches("://").count());
        }
    }
}
