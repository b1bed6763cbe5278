//! Personal content as the rules see it: carried along, never looked into.

use bytes::Bytes;

/// Encrypted content, and what says by which key it opens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sealed {
    /// Whose key wraps the content key.
    pub subject: u64,
    /// The content stream whose key opens it.
    pub content: String,
    /// Which of that stream's keys.
    pub key: u64,
    /// Which field it was sealed for.
    pub field: String,
    pub nonce: Bytes,
    pub ciphertext: Bytes,
}

/// A name made of content: an HMAC under the installation's key.
pub type BlindKey = [u8; 32];
