//! Proof that a message comes from this installation: an HMAC of its body, under a key that its processes alone have.
//!
//! NATS knows who may publish, not what. With this whoever can write there can withhold hints, as the server itself can, but
//! give nobody an event that no log holds: what proves nothing is dropped, and the log is read. It refuses to know what a
//! body says.

use async_nats::HeaderMap;
use aws_lc_rs::hmac;
use std::sync::Arc;

/// The header that carries the proof, in hexadecimal digits.
const PROOF: &str = "P92-Proof";

/// The key of an installation's messages.
#[derive(Clone)]
pub struct BusKey(Arc<hmac::Key>);

impl std::fmt::Debug for BusKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BusKey")
    }
}

impl BusKey {
    /// The key that all processes of an installation have.
    #[must_use]
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, bytes)))
    }

    /// A key that nobody else has: whoever only looks whether the bus is there believes nobody and is not believed.
    #[must_use]
    pub fn of_nobody() -> Self {
        Self::new(&rand::random())
    }

    /// Adds the proof of a body.
    pub(super) fn prove(&self, body: &[u8], headers: &mut HeaderMap) {
        headers.insert(PROOF, hex::encode(hmac::sign(&self.0, body)).as_str());
    }

    /// Whether these headers prove that a body comes from somebody with this key.
    pub(super) fn is_proven(&self, body: &[u8], headers: Option<&HeaderMap>) -> bool {
        let told = headers.and_then(|headers| headers.get(PROOF)).map(async_nats::HeaderValue::as_str);
        let mut tag = [0; 32];
        told.is_some_and(|told| hex::decode_to_slice(told, &mut tag).is_ok())
            && hmac::verify(&self.0, body, &tag).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_proven_by_the_same_key_alone() {
        let (ours, theirs) = (BusKey::new(&[1; 32]), BusKey::new(&[2; 32]));
        let mut headers = HeaderMap::new();
        assert!(!ours.is_proven(b"a row", None) && !ours.is_proven(b"a row", Some(&headers)));
        ours.prove(b"a row", &mut headers);
        assert!(ours.is_proven(b"a row", Some(&headers)));
        assert!(!theirs.is_proven(b"a row", Some(&headers)));
        assert!(!ours.is_proven(b"a raw", Some(&headers)));
        for told in ["", "00", "not hexadecimal", &"0".repeat(64), &"0".repeat(66)] {
            headers.insert(PROOF, told);
            assert!(!ours.is_proven(b"a row", Some(&headers)), "{told}");
        }
        assert_eq!(format!("{ours:?}"), "BusKey");
    }
}
