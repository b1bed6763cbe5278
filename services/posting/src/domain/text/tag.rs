//! Tags in a text, and how tags are compared.

use super::{Piece, is_word};
use unicode_normalization::UnicodeNormalization;

/// Join words within a tag, but neither begin nor end one: middle dot, katakana middle dot, zero-width non-joiner.
const fn joins(c: char) -> bool {
    matches!(c, '\u{b7}' | '\u{30fb}' | '\u{200c}')
}

/// The tag with which `rest` begins.
pub fn at(rest: &str, before: Option<char>) -> Option<Piece<'_>> {
    if before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '=' | '/' | ')' | '_' | '&')) {
        return None;
    }
    let sign = rest.chars().next()?.len_utf8();
    let name = rest.get(sign..)?;
    let name = name.get(..length(name))?;
    is_name(name).then_some(Piece::Tag { text: rest.get(..sign + name.len())?, name })
}

fn length(text: &str) -> usize {
    if !text.chars().next().is_some_and(is_word) {
        return 0;
    }
    let mut end = 0;
    for (at, c) in text.char_indices() {
        if is_word(c) {
            end = at + c.len_utf8();
        } else if !joins(c) {
            break;
        }
    }
    end
}

/// Whether this can be a tag: words with at least one letter, or joined by something between first and last character.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let whole = !name.is_empty() && length(name) == name.len();
    let inner = name.chars().skip(1).take(name.chars().count().saturating_sub(2));
    whole && (name.chars().any(char::is_alphabetic) || inner.into_iter().any(|c| c == '_' || joins(c)))
}

/// A tag as it is compared: compatibility forms and case folded, accents on Latin letters removed.
#[must_use]
pub fn folded(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    // Whether a mark that comes now is left out: it belongs to a Latin letter, or to something that was left out.
    let mut unmarked = false;
    for c in name.nfkc().flat_map(char::to_lowercase).nfd() {
        if unicode_normalization::char::is_combining_mark(c) && unmarked {
            continue;
        }
        let plain = match c {
            'ß' => Some("ss"),
            'æ' => Some("ae"),
            'œ' => Some("oe"),
            'ø' => Some("o"),
            'đ' | 'ð' => Some("d"),
            'ł' => Some("l"),
            'þ' => Some("th"),
            'ı' => Some("i"),
            _ => None,
        };
        let kept = is_word(c) || joins(c);
        unmarked = plain.is_some() || c.is_ascii_alphabetic() || !kept;
        match plain {
            Some(plain) => out.push_str(plain),
            None if kept => out.push(c),
            None => {}
        }
    }
    out.nfc().collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Piece, pieces, tests::nasty_text};
    use super::{folded, is_name};
    use proptest::prelude::*;

    fn tags(text: &str) -> Vec<&str> {
        pieces(text)
            .into_iter()
            .filter_map(|p| if let Piece::Tag { name, .. } = p { Some(name) } else { None })
            .collect()
    }

    #[test]
    fn tags_are_found() {
        for (text, tag) in [
            ("#hashtagタグ", "hashtagタグ"),
            ("test\u{a0}#foo", "foo"),
            ("this is #ａｅｓｔｈｅｔｉｃ", "ａｅｓｔｈｅｔｉｃ"),
            ("this is ＃ｆｏｏ", "ｆｏｏ"),
            ("hello #3d", "3d"),
            ("hello #l33ts35k", "l33ts35k"),
            ("hello #_test", "_test"),
            ("hello #test_", "test_"),
            ("hello #1_2", "1_2"),
            ("hello #one·two·three·", "one·two·three"),
            ("testing #ぼっち・ざ・ろっく", "ぼっち・ざ・ろっく"),
            ("just add #نرم\u{200c}افزار and", "نرم\u{200c}افزار"),
            ("(#foo)", "foo"),
            ("#foo-bar", "foo"),
            ("#สวัสดี่", "สวัสดี่"),
        ] {
            assert_eq!(tags(text), [tag], "{text}");
        }
    }

    #[test]
    fn what_is_no_tag_stays_text() {
        for text in [
            "#",
            "# x",
            "#0123456",
            "#·one",
            "a#b",
            "x/#b",
            "?a=#b",
            "https://a.example/x#y",
            "#_",
            "#_1",
            "&#39;",
        ] {
            assert_eq!(tags(text), Vec::<&str>::new(), "{text}");
        }
    }

    #[test]
    fn tags_are_compared_folded() {
        for (name, same) in [
            ("HelloWorld", "helloworld"),
            ("Café", "cafe"),
            ("cafe\u{301}", "cafe"),
            ("Straße", "strasse"),
            ("ａｂｃＡＢＣ", "abcabc"),
            ("Й", "й"),
            ("İstanbul", "istanbul"),
            ("ガ", "ガ"),
        ] {
            assert_eq!(folded(name), same);
        }
        assert_ne!(folded("й"), folded("и"));
    }

    proptest! {
        #[test]
        fn folding_twice_is_folding_once(name in "\\PC{0,20}") {
            prop_assert_eq!(folded(&folded(&name)), folded(&name));
        }

        #[test]
        fn folding_marks_twice_is_folding_them_once(name in "[aßиА ´\\u{301}\\u{308}ガ・_İ]{0,12}") {
            prop_assert_eq!(folded(&folded(&name)), folded(&name));
        }

        #[test]
        fn what_is_found_is_a_name(text in nasty_text()) {
            for tag in tags(&text) {
                prop_assert!(is_name(tag), "{:?}", tag);
            }
        }
    }
}
