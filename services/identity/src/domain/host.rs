//! Domains and public addresses: one canonical form, or none.

use url::{Host, Url};

/// The longest name that DNS carries.
const DOMAIN_BYTES: usize = 253;
/// The longest public address that is taken.
const URL_BYTES: usize = 300;

/// Why a text is no domain, or no public address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHost {
    #[error("This is no domain name.")]
    Domain,
    #[error("A public address is https, a host and perhaps a port, without a path.")]
    PublicUrl,
    #[error("A public address without https is possible on loopback names only.")]
    NotLoopback,
}

/// A domain (or address) with an optional port, in lower-case ASCII form.
pub fn domain(text: &str) -> Result<String, BadHost> {
    // What would be decoded, stripped or read as something else by a parser of URLs is refused before it gets there.
    let harmless = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    if text.is_empty() || text.len() > DOMAIN_BYTES + 6 || !text.chars().all(harmless) {
        return Err(BadHost::Domain);
    }
    let (name, port) = split_port(text)?;
    let host = Host::parse(name).map_err(|_| BadHost::Domain)?;
    let name = match &host {
        Host::Domain(name) if is_dns_name(name) => name.clone(),
        Host::Domain(_) => return Err(BadHost::Domain),
        address => address.to_string(),
    };
    Ok(port.map_or_else(|| name.clone(), |port| format!("{name}:{port}")))
}

fn split_port(text: &str) -> Result<(&str, Option<u16>), BadHost> {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (text, None),
    };
    let port = match port {
        Some(digits) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(digits.parse().map_err(|_| BadHost::Domain)?)
        }
        Some(_) => return Err(BadHost::Domain),
        None => None,
    };
    Ok((name, port))
}

fn is_dns_name(name: &str) -> bool {
    name.len() <= DOMAIN_BYTES
        && name
            .split('.')
            .all(|label| (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-'))
}

/// A public address in canonical form, and the host (with its port, unless it is the usual one) that requests name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    pub url: String,
    pub web_host: String,
}

/// Reads a public address.
pub fn public_url(text: &str) -> Result<PublicUrl, BadHost> {
    if text.len() > URL_BYTES {
        return Err(BadHost::PublicUrl);
    }
    let url = Url::parse(text).map_err(|_| BadHost::PublicUrl)?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    if !bare
        || !url.username().is_empty()
        || url.password().is_some()
        || !matches!(url.scheme(), "http" | "https")
    {
        return Err(BadHost::PublicUrl);
    }
    let host = url.host_str().ok_or(BadHost::PublicUrl)?;
    let web_host = match url.port() {
        Some(port) => domain(&format!("{host}:{port}")),
        None => domain(host),
    };
    let web_host = web_host.map_err(|_| BadHost::PublicUrl)?;
    if url.scheme() == "http" && !is_loopback(&web_host) {
        return Err(BadHost::NotLoopback);
    }
    Ok(PublicUrl { url: format!("{}://{web_host}", url.scheme()), web_host })
}

/// A host without its port.
#[must_use]
pub fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name,
        _ => host,
    }
}

/// Whether a canonical host names this machine, whatever the network says.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    match Host::parse(without_port(host)) {
        Ok(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Ok(Host::Ipv4(address)) => address.is_loopback(),
        Ok(Host::Ipv6(address)) => address.is_loopback(),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_form_per_domain() {
        for (text, form) in [
            ("Example.ORG", "example.org"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("localhost:3000", "localhost:3000"),
            ("127.0.0.1:8092", "127.0.0.1:8092"),
            ("[::1]:80", "[::1]:80"),
            ("ex\u{ff11}.example", "ex1.example"),
        ] {
            assert_eq!(domain(text).as_deref(), Ok(form), "{text}");
        }
        for bad in [
            "",
            "exam/ple",
            "a.example.",
            "a..b",
            "u@a.example",
            "a%2eb",
            "a b",
            "a.example:",
            "a:b",
            "a:99999",
            "-a.example",
            "a-.example",
            "\u{0}",
            "a\\b",
            "a?b",
            "a#b",
        ] {
            assert_eq!(domain(bad), Err(BadHost::Domain), "{bad:?}");
        }
    }

    #[test]
    fn public_addresses() {
        let url = public_url("https://Social.Example/").unwrap();
        assert_eq!((url.url.as_str(), url.web_host.as_str()), ("https://social.example", "social.example"));
        let local = public_url("http://localhost:3000").unwrap();
        assert_eq!(
            (local.url.as_str(), local.web_host.as_str()),
            ("http://localhost:3000", "localhost:3000")
        );
        assert_eq!(public_url("https://a.example:443").unwrap().web_host, "a.example");
        assert_eq!(public_url("http://a.example"), Err(BadHost::NotLoopback));
        for bad in [
            "",
            "a.example",
            "ftp://a.example",
            "https://a.example/x",
            "https://u@a.example",
            "https://a.example/?q",
            "https://a.example/#f",
        ] {
            assert_eq!(public_url(bad), Err(BadHost::PublicUrl), "{bad:?}");
        }
    }

    #[test]
    fn loopback_names() {
        for yes in ["localhost", "a.localhost:3000", "127.0.0.1", "127.9.9.9:1", "[::1]:3000"] {
            assert!(is_loopback(yes), "{yes}");
        }
        for no in ["localhost.example", "128.0.0.1", "[::2]", "alocalhost"] {
            assert!(!is_loopback(no), "{no}");
        }
    }

    proptest! {
        #[test]
        fn a_canonical_form_is_its_own(text in "\\PC{0,40}") {
            if let Ok(form) = domain(&text) {
                prop_assert_eq!(domain(&form), Ok(form));
            }
        }
    }
}
