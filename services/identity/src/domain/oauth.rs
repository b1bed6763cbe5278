//! The rules of OAuth 2.0 that are functions of texts: redirect URIs, PKCE, names of apps, life of codes.
//!
//! Sources: RFC 6749, RFC 7636, RFC 8252, OAuth 2.0 Security Best Current Practice (RFC 9700).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p92_kernel::{Millis, digest};
use std::time::Duration;
use subtle::ConstantTimeEq as _;

/// How long a code may be exchanged (RFC 6749 §4.1.2 recommends at most ten minutes).
pub const CODE_LIFE: Duration = Duration::from_secs(600);
/// The redirect URI of apps that have the code shown to the person.
pub const OUT_OF_BAND: &str = "urn:ietf:wg:oauth:2.0:oob";

const NAME_CHARACTERS: usize = 100;
const WEBSITE_BYTES: usize = 2_000;
const URI_BYTES: usize = 2_000;
const URIS: usize = 20;
const CHOSEN_BYTES: usize = 100;
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 16..=200;

/// Why an app cannot be registered, or a request of one not be granted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadOAuth {
    #[error("An app needs a name of at most {NAME_CHARACTERS} characters.")]
    Name,
    #[error("The website of an app is an http or https address of at most {WEBSITE_BYTES} bytes.")]
    Website,
    #[error("An app needs between 1 and {URIS} redirect URIs.")]
    RedirectUris,
    #[error("A redirect URI is absolute, without a fragment, at most {URI_BYTES} bytes, and no script.")]
    RedirectUri,
    #[error("A chosen client id has 1 to {CHOSEN_BYTES} letters, digits, dashes and underscores.")]
    ClientId,
    #[error("A chosen secret has 16 to 200 printable characters without spaces.")]
    Secret,
    #[error("The redirect URI is not one of those that the app registered.")]
    UnknownRedirectUri,
    #[error("A code challenge has 43 characters and the method S256.")]
    Challenge,
}

/// What an app says of itself when it is registered.
#[derive(Clone, Copy, Debug)]
pub struct Registration<'a> {
    pub name: &'a str,
    pub website: &'a str,
    pub redirect_uris: &'a [String],
    /// Empty for one that is made here.
    pub client_id: &'a str,
    /// Empty for one that is made here.
    pub client_secret: &'a str,
}

/// Whether an app may be registered so.
pub fn check_registration(app: Registration<'_>) -> Result<(), BadOAuth> {
    let characters = app.name.chars().count();
    if !(1..=NAME_CHARACTERS).contains(&characters) || app.name.trim().is_empty() || has_control(app.name) {
        return Err(BadOAuth::Name);
    }
    if !app.website.is_empty() && !is_web_address(app.website) {
        return Err(BadOAuth::Website);
    }
    if !(1..=URIS).contains(&app.redirect_uris.len()) {
        return Err(BadOAuth::RedirectUris);
    }
    if !app.redirect_uris.iter().all(|uri| is_redirect_uri(uri)) {
        return Err(BadOAuth::RedirectUri);
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if app.client_id.len() > CHOSEN_BYTES || !app.client_id.bytes().all(plain) {
        return Err(BadOAuth::ClientId);
    }
    if !app.client_secret.is_empty() && !is_secret(app.client_secret) {
        return Err(BadOAuth::Secret);
    }
    Ok(())
}

/// Whether a secret that an operator chose can stand in a header and is not too easily guessed.
#[must_use]
pub fn is_secret(text: &str) -> bool {
    SECRET_BYTES.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

fn is_web_address(text: &str) -> bool {
    text.len() <= WEBSITE_BYTES
        && url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

fn is_redirect_uri(text: &str) -> bool {
    if text == OUT_OF_BAND {
        return true;
    }
    if text.len() > URI_BYTES || has_control(text) || text.contains(char::is_whitespace) {
        return false;
    }
    url::Url::parse(text).is_ok_and(|url| {
        let script = matches!(url.scheme(), "javascript" | "data" | "vbscript" | "file" | "about" | "blob");
        let web = matches!(url.scheme(), "http" | "https");
        !script && url.fragment().is_none() && (!web || url.has_host())
    })
}

/// Whether codes may be sent there: byte by byte one of those that were registered.
pub fn check_redirect_uri(registered: &[String], asked: &str) -> Result<(), BadOAuth> {
    if registered.iter().any(|uri| uri == asked) { Ok(()) } else { Err(BadOAuth::UnknownRedirectUri) }
}

/// PKCE: what was promised when the code was asked for. `plain` is not taken (RFC 9700 §2.1.1).
pub fn check_challenge(challenge: &str, method: &str) -> Result<(), BadOAuth> {
    if challenge.is_empty() && method.is_empty() {
        return Ok(());
    }
    let shape = challenge.len() == 43
        && challenge.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if shape && method == "S256" { Ok(()) } else { Err(BadOAuth::Challenge) }
}

/// PKCE: whether the verifier fits. Without a challenge there must be no verifier (a downgrade, RFC 9700 §4.8.2).
#[must_use]
pub fn verifier_fits(challenge: &str, verifier: &str) -> bool {
    if challenge.is_empty() {
        return verifier.is_empty();
    }
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    if !(43..=128).contains(&verifier.len()) || !verifier.bytes().all(unreserved) {
        return false;
    }
    let made = URL_SAFE_NO_PAD.encode(digest::sha256(verifier.as_bytes()));
    made.as_bytes().ct_eq(challenge.as_bytes()).into()
}

/// Whether a code made at `made` may still be exchanged.
#[must_use]
pub fn is_code_alive(made: Millis, now: Millis) -> bool {
    now < made.plus(CODE_LIFE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn app<'a>(uris: &'a [String]) -> Registration<'a> {
        Registration { name: "Phone", website: "", redirect_uris: uris, client_id: "", client_secret: "" }
    }

    fn uris(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn redirect_uris_of_real_apps() {
        for good in [
            OUT_OF_BAND,
            "https://app.example/callback?x=1",
            "http://127.0.0.1:4711/",
            "tusky://oauth",
            "com.app:/cb",
            "icecubesapp://",
            "http://localhost:9999/cb",
        ] {
            assert_eq!(check_registration(app(&uris(&[good]))), Ok(()), "{good}");
        }
        let long = format!("https://a.example/{}", "x".repeat(2_000));
        for bad in [
            "",
            "/cb",
            "https://a.example/#x",
            "javascript:alert(1)",
            "JavaScript:x",
            "data:text/html,x",
            "https:",
            "https://a .example",
            "https://a.example/\n",
            &long,
        ] {
            assert_eq!(check_registration(app(&uris(&[bad]))), Err(BadOAuth::RedirectUri), "{bad:?}");
        }
        assert_eq!(check_registration(app(&[])), Err(BadOAuth::RedirectUris));
    }

    #[test]
    fn names_and_choices() {
        let uris = uris(&[OUT_OF_BAND]);
        assert_eq!(check_registration(Registration { name: " ", ..app(&uris) }), Err(BadOAuth::Name));
        assert_eq!(
            check_registration(Registration { name: &"x".repeat(101), ..app(&uris) }),
            Err(BadOAuth::Name)
        );
        assert_eq!(
            check_registration(Registration { website: "javascript:x", ..app(&uris) }),
            Err(BadOAuth::Website)
        );
        assert_eq!(
            check_registration(Registration { client_id: "a b", ..app(&uris) }),
            Err(BadOAuth::ClientId)
        );
        assert_eq!(
            check_registration(Registration { client_secret: "short", ..app(&uris) }),
            Err(BadOAuth::Secret)
        );
    }

    #[test]
    fn a_redirect_uri_is_compared_byte_by_byte() {
        let registered = uris(&["https://a.example/cb"]);
        assert_eq!(check_redirect_uri(&registered, "https://a.example/cb"), Ok(()));
        for near in
            ["https://a.example/cb/", "https://a.example/c", "https://A.example/cb", "https://a.example/cb?"]
        {
            assert_eq!(check_redirect_uri(&registered, near), Err(BadOAuth::UnknownRedirectUri), "{near}");
        }
    }

    #[test]
    fn the_example_of_the_standard() {
        // RFC 7636 appendix B.
        let (verifier, challenge) =
            ("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        assert_eq!(check_challenge(challenge, "S256"), Ok(()));
        assert!(verifier_fits(challenge, verifier));
        assert!(!verifier_fits(challenge, &verifier.replace('d', "e")));
        assert!(!verifier_fits(challenge, "") && !verifier_fits(challenge, challenge));
        assert!(verifier_fits("", "") && !verifier_fits("", verifier));
    }

    #[test]
    fn only_s256() {
        let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        for method in ["plain", "", "s256"] {
            assert_eq!(check_challenge(challenge, method), Err(BadOAuth::Challenge));
        }
        assert_eq!(check_challenge("", "S256"), Err(BadOAuth::Challenge));
        assert_eq!(check_challenge("", ""), Ok(()));
        assert_eq!(check_challenge("short", "S256"), Err(BadOAuth::Challenge));
    }

    #[test]
    fn codes_live_ten_minutes() {
        let made = Millis(1_000_000);
        assert!(is_code_alive(made, Millis(1_599_999)) && !is_code_alive(made, Millis(1_600_000)));
    }

    proptest! {
        #[test]
        fn a_verifier_fits_its_own_challenge_only(a in "[A-Za-z0-9._~-]{43,128}", b in "[A-Za-z0-9._~-]{43,128}") {
            let challenge = URL_SAFE_NO_PAD.encode(digest::sha256(a.as_bytes()));
            prop_assert!(verifier_fits(&challenge, &a));
            prop_assert_eq!(verifier_fits(&challenge, &b), a == b);
        }
    }
}
