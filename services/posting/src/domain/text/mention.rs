//! Mentions in a text: `@name` and `@name@domain`.

use super::{Piece, is_word};

/// The mention with which `rest` begins.
pub fn at(rest: &str, before: Option<char>) -> Option<Piece<'_>> {
    if before.is_some_and(|c| is_word(c) || matches!(c, '=' | '/')) {
        return None;
    }
    let behind = rest.strip_prefix('@')?;
    let name = behind.get(..name_length(behind))?;
    if name.is_empty() {
        return None;
    }
    let after = behind.get(name.len()..)?;
    let domain = after.strip_prefix('@').and_then(|after| after.get(..domain_length(after)));
    let domain = domain.filter(|domain| domain.chars().count() > 1);
    let length = 1 + name.len() + domain.map_or(0, |domain| 1 + domain.len());
    let follows = rest.get(length..)?;
    let next = follows.chars().next();
    if follows.starts_with("://")
        || next.is_some_and(|c| matches!(c, '@' | '＠' | '\u{c0}'..='\u{24f}' | '\u{300}'..='\u{36f}'))
    {
        return None;
    }
    Some(Piece::Mention { text: rest.get(..length)?, name, domain })
}

/// Letters, digits and underscores, with dots and hyphens only between them.
fn name_length(text: &str) -> usize {
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '_';
    ended_by(text, inner, |c| matches!(c, '.' | '-'))
}

/// As a name, in any writing; with a port on loopback names, which only tests and developers use.
fn domain_length(text: &str) -> usize {
    let length = ended_by(text, is_word, |c| matches!(c, '.' | '-'));
    let host = text.get(..length).unwrap_or_default();
    let loopback = host == "localhost" || host.ends_with(".localhost") || host.starts_with("127.");
    let port = text.get(length..).and_then(|rest| rest.strip_prefix(':')).filter(|_| loopback);
    let digits = port.map_or(0, |port| port.find(|c: char| !c.is_ascii_digit()).unwrap_or(port.len()));
    if digits == 0 { length } else { length + 1 + digits }
}

/// How far the text goes on with inner and joining characters, the last one an inner one.
fn ended_by(text: &str, inner: impl Fn(char) -> bool, joining: impl Fn(char) -> bool) -> usize {
    if !text.chars().next().is_some_and(&inner) {
        return 0;
    }
    let mut end = 0;
    for (at, c) in text.char_indices() {
        if inner(c) {
            end = at + c.len_utf8();
        } else if !joining(c) {
            break;
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::super::{Piece, pieces};

    fn mentions(text: &str) -> Vec<(&str, Option<&str>)> {
        pieces(text)
            .into_iter()
            .filter_map(|piece| match piece {
                Piece::Mention { name, domain, .. } => Some((name, domain)),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn mentions_are_found() {
        for (text, found) in [
            ("@alice", ("alice", None)),
            ("hi @alice!", ("alice", None)),
            ("(@alice)", ("alice", None)),
            ("@alice.", ("alice", None)),
            ("@al.ice-b", ("al.ice-b", None)),
            ("@alice@remote.example.", ("alice", Some("remote.example"))),
            ("@alice@bücher.example", ("alice", Some("bücher.example"))),
            ("@alice@localhost:3000, hi", ("alice", Some("localhost:3000"))),
            ("@aliceさん", ("alice", None)),
        ] {
            assert_eq!(mentions(text), [found], "{text}");
        }
    }

    #[test]
    fn what_is_no_mention_stays_text() {
        for text in [
            "@",
            "@ alice",
            "a@b.example",
            "x/@alice",
            "@alice@",
            "@@",
            "@aliceé",
            "@http://x",
            "ö@alice",
            "=@a",
        ] {
            assert_eq!(mentions(text), Vec::<(&str, Option<&str>)>::new(), "{text}");
        }
    }
}
