//! SHA-256, the one hash by which things are placed and compared.

use sha2::{Digest, Sha256};

/// SHA-256 of the parts, each preceded by its length, so that no two lists of parts collide by concatenation.
#[must_use]
pub fn of_parts(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// SHA-256 of the bytes as they are.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// The first eight bytes of a digest as a number.
#[must_use]
pub fn leading_u64(digest: &[u8; 32]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *digest;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}
