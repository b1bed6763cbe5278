//! Ids as types: whoever holds one need not look again whether it is an address of the web.
//!
//! What two readers of URLs may read in two ways is refused. It refuses to know whether anything is there.

use std::fmt;
use url::{Host, Url};

/// The longest id that is taken; Mastodon stops there too.
const BYTES: usize = 2_048;

/// Why a text is no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadId {
    #[error("an id has at most 2,048 bytes")]
    TooLong,
    #[error("an id is no text in UTF-8")]
    NotText,
    #[error("an id is an address with a scheme, two slashes and a host")]
    NoAddress,
    #[error("an id begins with https://")]
    NotHttps,
    #[error("an id names a host and nobody before it")]
    UserInfo,
    #[error("the host of an id is a name, in one way only")]
    Host,
    #[error("an id of this sort has no fragment")]
    Fragment,
}

/// Whether addresses of this machine are taken, for trials and tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Loopback {
    #[default]
    Refused,
    Allowed,
}

/// Who answers for an id: scheme, host and port, in one form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    https: bool,
    host: String,
    port: u16,
}

impl Origin {
    /// Host, and port unless it is the usual one: how a peer is named.
    #[must_use]
    pub fn authority(&self) -> String {
        let usual = if self.https { 443 } else { 80 };
        if self.port == usual { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }

    /// The host in ASCII.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }
}

/// An id as it was written, and its origin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Address {
    text: String,
    origin: Origin,
}

/// Whether an id may name a part of a document.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fragments {
    Refused,
    Taken,
}

fn parse(bytes: &[u8], loopback: Loopback, fragments: Fragments) -> Result<Address, BadId> {
    if bytes.len() > BYTES {
        return Err(BadId::TooLong);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| BadId::NotText)?;
    // Readers of URLs drop some of these and turn a backslash into a slash.
    if text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\') {
        return Err(BadId::NoAddress);
    }
    let (scheme, rest) = text.split_once("://").ok_or(BadId::NoAddress)?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.is_empty() {
        return Err(BadId::NoAddress);
    }
    if authority.contains('@') {
        return Err(BadId::UserInfo);
    }
    if authority.contains('%') {
        return Err(BadId::Host);
    }
    let https = scheme.eq_ignore_ascii_case("https");
    let plain = scheme.eq_ignore_ascii_case("http") && loopback == Loopback::Allowed;
    if !https && !plain {
        return Err(BadId::NotHttps);
    }
    let url = Url::parse(text).map_err(|_| BadId::NoAddress)?;
    if url.fragment().is_some() && fragments == Fragments::Refused {
        return Err(BadId::Fragment);
    }
    let (host, here) = named(&url)?;
    if here && loopback == Loopback::Refused {
        return Err(BadId::Host);
    }
    if !here && !https {
        return Err(BadId::NotHttps);
    }
    let port = url.port_or_known_default().ok_or(BadId::NoAddress)?;
    Ok(Address { text: text.to_owned(), origin: Origin { https, host, port } })
}

/// The host in one form, and whether it is this machine. Addresses instead of names are taken of this machine only.
fn named(url: &Url) -> Result<(String, bool), BadId> {
    match url.host().ok_or(BadId::Host)? {
        Host::Domain(name) => {
            let here = name == "localhost" || name.ends_with(".localhost");
            let plain = name.split('.').all(|label| {
                (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
            });
            // A name without a dot means something else in every network.
            let full = here || name.contains('.');
            if plain && full && name.len() <= 253 { Ok((name.to_owned(), here)) } else { Err(BadId::Host) }
        }
        Host::Ipv4(address) if address.is_loopback() => Ok((address.to_string(), true)),
        Host::Ipv6(address) if address.is_loopback() => Ok((format!("[{address}]"), true)),
        Host::Ipv4(_) | Host::Ipv6(_) => Err(BadId::Host),
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $fragments:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Address);

        impl $name {
            /// Reads what somebody wrote.
            pub fn parse(bytes: impl AsRef<[u8]>, loopback: Loopback) -> Result<Self, BadId> {
                parse(bytes.as_ref(), loopback, $fragments).map(Self)
            }

            /// As it was written.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0.text
            }

            /// Who answers for it.
            #[must_use]
            pub const fn origin(&self) -> &Origin {
                &self.0.origin
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

id!(
    /// Who acts.
    ActorId,
    Fragments::Refused
);
id!(
    /// A post, or an activity, which hosts name by a fragment of their actor.
    ObjectId,
    Fragments::Taken
);
id!(
    /// Where a peer takes activities.
    InboxUrl,
    Fragments::Refused
);

impl ActorId {
    /// Whether this actor's host may speak for an object.
    #[must_use]
    pub fn may_speak_for(&self, object: &ObjectId) -> bool {
        self.origin() == object.origin()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn inbox(text: &str) -> Result<String, BadId> {
        InboxUrl::parse(text, Loopback::Refused).map(|inbox| inbox.origin().authority())
    }

    #[test]
    fn one_origin_however_it_is_written() {
        for text in ["https://a.example/in", "HTTPS://A.Example:443/in", "https://a.example:443"] {
            assert_eq!(inbox(text).as_deref(), Ok("a.example"), "{text}");
        }
        assert_eq!(inbox("https://a.example:8443/").as_deref(), Ok("a.example:8443"));
        for text in ["https://bücher.example/", "https://BÜCHER.example/", "https://xn--bcher-kva.example/"]
        {
            assert_eq!(inbox(text).as_deref(), Ok("xn--bcher-kva.example"), "{text}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        use BadId::*;
        let long = format!("https://a.example/{}", "x".repeat(2_048));
        for (text, why) in [
            ("", NoAddress),
            ("a.example/in", NoAddress),
            ("https:a.example", NoAddress),
            ("https:///a.example/in", NoAddress),
            ("https://a.example\\@b.example/", NoAddress),
            ("https://a.exa\tmple/", NoAddress),
            (" https://a.example/", NoAddress),
            ("https://a.example:x/", NoAddress),
            ("https://a.example@b.example/", UserInfo),
            ("https://@b.example/", UserInfo),
            ("https://u:p@b.example/", UserInfo),
            ("http://a.example/", NotHttps),
            ("file://a.example/etc", NotHttps),
            ("javascript://a.example/%0aalert(1)", NotHttps),
            ("https://a%2eexample/", Host),
            ("https://a.example./", Host),
            ("https://example/", Host),
            ("https://10.0.0.1/", Host),
            ("https://0x7f000001/", Host),
            ("https://[2001:db8::1]/", Host),
            ("https://localhost/", Host),
            ("https://127.0.0.1/", Host),
            ("https://a.example/in#x", Fragment),
            (long.as_str(), TooLong),
        ] {
            assert_eq!(inbox(text), Err(why), "{text:?}");
        }
        assert_eq!(InboxUrl::parse([0xff, 0xfe], Loopback::Refused), Err(NotText));
    }

    #[test]
    fn loopback_when_told() {
        let here = |text| InboxUrl::parse(text, Loopback::Allowed).map(|inbox| inbox.origin().authority());
        assert_eq!(here("http://127.0.0.1:8092/inbox").as_deref(), Ok("127.0.0.1:8092"));
        assert_eq!(here("http://a.localhost/inbox").as_deref(), Ok("a.localhost"));
        assert_eq!(here("https://[::1]:1/").as_deref(), Ok("[::1]:1"));
        assert_eq!(here("http://a.example/"), Err(BadId::NotHttps));
        assert_eq!(here("https://10.0.0.1/"), Err(BadId::Host));
    }

    #[test]
    fn a_host_speaks_for_itself() {
        let actor = ActorId::parse("https://a.example/users/ann", Loopback::Refused).unwrap();
        let speaks = |text| actor.may_speak_for(&ObjectId::parse(text, Loopback::Refused).unwrap());
        assert!(speaks("https://A.example:443/notes/1"));
        assert!(speaks("https://a.example/users/ann#likes/1"));
        assert!(!speaks("https://a.example:8443/notes/1"));
        assert!(!speaks("https://a.example.evil.example/notes/1"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fall(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = ActorId::parse(&bytes, Loopback::Refused);
            let _ = ObjectId::parse(&bytes, Loopback::Allowed);
        }

        #[test]
        fn an_id_stays_what_it_was(text in "https?://[a-zA-Z0-9äß.@:%\\[\\]-]{0,24}[/?#]?\\PC{0,12}") {
            if let Ok(id) = ObjectId::parse(&text, Loopback::Allowed) {
                prop_assert_eq!(id.as_str(), text.as_str());
                // The authority is its own: reading it again gives the same origin.
                let scheme = if id.origin().https { "https" } else { "http" };
                let again = format!("{scheme}://{}/", id.origin().authority());
                let again = ObjectId::parse(&again, Loopback::Allowed).unwrap();
                prop_assert_eq!(again.origin(), id.origin());
            }
        }
    }
}
