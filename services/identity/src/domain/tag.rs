//! Language tags, as far as they must be well formed to be stored and shown: BCP 47 by shape, not by registry.

/// The longest tag that is taken.
pub const TAG_BYTES: usize = 35;

/// Whether the text has the shape of a BCP 47 tag: a language of two or three letters, then parts of up to eight.
#[must_use]
pub fn is_tag(text: &str) -> bool {
    let mut parts = text.split('-');
    let language = parts.next().unwrap_or_default();
    text.len() <= TAG_BYTES
        && (2..=3).contains(&language.len())
        && language.bytes().all(|byte| byte.is_ascii_alphabetic())
        && parts.all(|part| {
            (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
}

#[cfg(test)]
mod tests {
    use super::is_tag;

    #[test]
    fn shapes() {
        for good in ["en", "de-AT", "zh-Hant-TW", "gsw", "sr-Latn-RS-u-ca"] {
            assert!(is_tag(good), "{good}");
        }
        for bad in ["", "e", "engl", "en_US", "en-", "-en", "en-toolongpart", "1n", "en\u{0}", "en-ä"] {
            assert!(!is_tag(bad), "{bad}");
        }
    }
}
