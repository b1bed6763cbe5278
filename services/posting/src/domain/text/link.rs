//! URLs in a text, by the grammar that Mastodon took over from Twitter: with a scheme, with a domain of at least two
//! labels, and without the punctuation that ends the sentence around them.
//!
//! There is no list of top-level domains here, so a few names that cannot exist become links too.

use super::Piece;

/// Schemes of addresses that name a host.
const SCHEMES: [&str; 9] =
    ["https://", "http://", "gopher://", "gemini://", "ipfs://", "ipns://", "dat://", "dweb://", "ssb://"];

/// Longer ones stay text.
const LONGEST: usize = 4_096;

/// The URL with which `rest` begins.
pub fn at(rest: &str, before: Option<char>) -> Option<Piece<'_>> {
    if before.is_some_and(|c| c.is_ascii_alphanumeric() || "@＠$#＃".contains(c) || is_directional(c)) {
        return None;
    }
    let scheme = SCHEMES
        .into_iter()
        .find(|scheme| rest.get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme)))?;
    let mut end = scheme.len();
    end += domain(rest.get(end..)?)?;
    end += port(rest.get(end..)?);
    let (path, whole) = path(rest.get(end..)?);
    end += path;
    if whole {
        end += query(rest.get(end..)?);
    }
    if end > LONGEST {
        return None;
    }
    rest.get(..end).map(Piece::Link)
}

/// Marks that turn the direction of writing, by which an address can be made to look like another one.
fn is_directional(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// Length of a domain of at least two labels whose last one can be a top-level domain.
fn domain(rest: &str) -> Option<usize> {
    let run =
        rest.find(|c: char| !(c.is_alphanumeric() || matches!(c, '.' | '-' | '_'))).unwrap_or(rest.len());
    let mut name = rest.get(..run)?;
    loop {
        let dot = name.rfind('.')?;
        let (head, last) = (name.get(..dot)?, name.get(dot + 1..)?);
        if head.is_empty() || head.starts_with(['.', '-']) || head.contains("..") || head.ends_with('.') {
            return None;
        }
        if let Some(length) = top_level(last) {
            return Some(dot + 1 + length);
        }
        name = head;
    }
}

/// Length of a top-level domain at the beginning of a label. Other writing that follows Latin letters is text again.
fn top_level(label: &str) -> Option<usize> {
    if label.get(..4).is_some_and(|head| head.eq_ignore_ascii_case("xn--")) {
        return label.get(4..).filter(|rest| !rest.is_empty()).map(|_| label.len());
    }
    let latin = label.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(label.len());
    if latin >= 2 {
        let follows = label.get(latin..).and_then(|rest| rest.chars().next());
        return follows.is_none_or(|c| !c.is_ascii()).then_some(latin);
    }
    let foreign = label.chars().count() >= 2 && label.chars().all(|c| !c.is_ascii() && c.is_alphabetic());
    foreign.then_some(label.len())
}

/// Length of a port with its colon, or 0.
fn port(rest: &str) -> usize {
    let Some(digits) = rest.strip_prefix(':') else { return 0 };
    match digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len()) {
        0 => 0,
        length => length + 1,
    }
}

fn is_general(c: char) -> bool {
    !(c.is_whitespace() || c.is_control() || is_directional(c) || matches!(c, '<' | '>' | '(' | ')' | '?'))
}

/// A character with which a path may end.
fn ends_path(c: char) -> bool {
    is_general(c) && !"!*\"'「」;:=,.$%[]~&|@".contains(c)
}

/// Length of a path, and whether it took all that could belong to one, so that a query may follow.
fn path(rest: &str) -> (usize, bool) {
    if !rest.starts_with('/') {
        return (0, true);
    }
    let (mut at, mut end) = (1, 1);
    while let Some(c) = rest.get(at..).and_then(|rest| rest.chars().next()) {
        if c == '(' {
            let Some(length) = rest.get(at..).and_then(|rest| parentheses(rest, true)) else { break };
            at += length;
            end = at;
        } else if is_general(c) {
            at += c.len_utf8();
            if ends_path(c) {
                end = at;
            }
        } else {
            break;
        }
    }
    (end, end == at)
}

/// Length of balanced parentheses, with at most one more pair inside.
fn parentheses(rest: &str, nested: bool) -> Option<usize> {
    let mut at = 1;
    loop {
        let c = rest.get(at..)?.chars().next()?;
        match c {
            ')' => return (at > 1).then_some(at + 1),
            '(' if nested => at += parentheses(rest.get(at..)?, false)?,
            c if is_general(c) => at += c.len_utf8(),
            _ => return None,
        }
    }
}

/// Length of a query with its question mark, or 0.
fn query(rest: &str) -> usize {
    if !rest.starts_with('?') {
        return 0;
    }
    let foreign = |c: char| !c.is_ascii() && !c.is_whitespace() && !c.is_control() && !is_directional(c);
    let mut end = 0;
    for (at, c) in rest.char_indices().skip(1) {
        let ending = c.is_ascii_alphanumeric() || "_&=#/-".contains(c) || foreign(c);
        if !ending && !"!?*'();:+$%[].,~|@^".contains(c) {
            break;
        }
        if ending {
            end = at + c.len_utf8();
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::super::{Piece, pieces};

    fn links(text: &str) -> Vec<&str> {
        pieces(text)
            .into_iter()
            .filter_map(|p| if let Piece::Link(url) = p { Some(url) } else { None })
            .collect()
    }

    #[test]
    fn urls_end_where_the_sentence_goes_on() {
        for (text, url) in [
            ("http://google.com", "http://google.com"),
            ("(http://google.com/)", "http://google.com/"),
            ("http://www.google.com!", "http://www.google.com"),
            ("http://www.google.com'", "http://www.google.com"),
            ("http://www.google.com>", "http://www.google.com"),
            ("<https://example.com/>", "https://example.com/"),
            ("\"https://example.com/\"", "https://example.com/"),
            ("「[https://example.org/」", "https://example.org/"),
            ("https://example.com/　abc123", "https://example.com/"),
            ("http://example.com/b<del>b</del>", "http://example.com/b"),
            ("https://example.com/a. ", "https://example.com/a"),
            ("https://example.com/a, b", "https://example.com/a"),
            ("HTTPS://Example.COM/A", "HTTPS://Example.COM/A"),
            ("見てhttps://example.comです", "https://example.com"),
        ] {
            assert_eq!(links(text), [url], "{text}");
        }
    }

    #[test]
    fn urls_keep_what_belongs_to_them() {
        for url in [
            "https://en.wikipedia.org/wiki/Diaspora_(software)",
            "https://a.example/x_(y_(z))",
            "https://ja.wikipedia.org/wiki/日本",
            "https://nic.みんな/",
            "https://www.ruby-toolbox.com/search?utf8=%E2%9C%93&utf81=✓&q=autolink",
            "https://example.com?a=b",
            "https://example.com:8080/a#b",
            "https://xn--80ak6aa92e.xn--p1ai/",
            "gemini://example.org/x",
        ] {
            assert_eq!(links(&format!("see {url} there")), [url], "{url}");
        }
    }

    #[test]
    fn what_is_no_url_stays_text() {
        for text in [
            r"http://www\.google\.com",
            "https://",
            "http://localhost:3000/x",
            "http://127.0.0.1/",
            "xhttp://example.com",
            "@http://example.com",
            "http://.example.com",
            "http://a..com",
            "javascript:alert(1)",
            "example.com/without/scheme",
        ] {
            assert_eq!(links(text), Vec::<&str>::new(), "{text}");
        }
        assert_eq!(links(&format!("https://example.com/{}", "a".repeat(5_000))), Vec::<&str>::new());
    }
}
