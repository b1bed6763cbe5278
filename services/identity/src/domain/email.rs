//! E-mail addresses, as far as they must be right to be stored and compared. Whether one works, a mail shows.

use super::host;

/// The longest address that mail can carry.
const ADDRESS_BYTES: usize = 254;
const LOCAL_BYTES: usize = 64;

/// The text is no e-mail address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("This is no e-mail address.")]
pub struct BadEmail;

/// An e-mail address as written, and as it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email {
    pub written: String,
    pub folded: String,
}

impl Email {
    /// Reads an address.
    pub fn parse(text: &str) -> Result<Self, BadEmail> {
        let text = text.trim();
        let (local, domain) = text.rsplit_once('@').ok_or(BadEmail)?;
        let plain = |c: char| {
            !c.is_whitespace() && !c.is_control() && !matches!(c, '@' | '<' | '>' | ',' | ';' | '"')
        };
        let dots = local.starts_with('.') || local.ends_with('.') || local.contains("..");
        if local.is_empty() || local.len() > LOCAL_BYTES || dots || !local.chars().all(plain) {
            return Err(BadEmail);
        }
        let domain = host::domain(domain).map_err(|_| BadEmail)?;
        let written = format!("{local}@{domain}");
        if domain.contains(':') || written.len() > ADDRESS_BYTES {
            return Err(BadEmail);
        }
        let folded = format!("{}@{domain}", local.to_lowercase());
        Ok(Self { written, folded })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_compared_folded() {
        let email = Email::parse(" Ann.Lee+x@Mail.Example ").unwrap();
        assert_eq!(email.written, "Ann.Lee+x@mail.example");
        assert_eq!(email.folded, "ann.lee+x@mail.example");
        assert_eq!(Email::parse("ä@bücher.example").unwrap().folded, "ä@xn--bcher-kva.example");
    }

    #[test]
    fn what_is_no_address() {
        let long = format!("{}@a.example", "x".repeat(65));
        for bad in [
            "",
            "a",
            "@a.example",
            "a@",
            "a b@a.example",
            "a@b@",
            "a@a.example:25",
            "<a@a.example>",
            ".a@b.example",
            "a..b@c.example",
            "a\u{0}@b.example",
            &long,
        ] {
            assert_eq!(Email::parse(bad), Err(BadEmail), "{bad:?}");
        }
    }
}
