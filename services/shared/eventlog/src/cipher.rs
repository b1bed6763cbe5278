//! One sealed message: AES-256-GCM with a random nonce, and keys wrapped in such messages.
//!
//! It refuses to know whose key it is and where it is kept.

use crate::keyfile::Secret;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use bytes::Bytes;
use p92_kernel::{Random, clock};
use p92_proto::event::v1;
use zeroize::Zeroizing;

/// A message was not made under this key, or not for this place.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the cipher refused")]
pub struct Refused;

/// What a sealed field is bound to.
pub fn associated(content: &str, field: &str) -> Vec<u8> {
    let mut aad = Vec::with_capacity(content.len() + field.len() + 1);
    aad.extend_from_slice(content.as_bytes());
    // A zero stands in no name of a stream, so no two pairs make the same bytes.
    aad.push(0);
    aad.extend_from_slice(field.as_bytes());
    aad
}

fn cipher(secret: &Secret) -> Result<LessSafeKey, Refused> {
    Ok(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, secret.as_slice()).map_err(|_| Refused)?))
}

/// Random nonces: few messages are ever sealed under one key (NIST SP 800-38D allows 2^32).
pub fn encrypt(
    random: &dyn Random,
    secret: &Secret,
    aad: &[u8],
    plaintext: &[u8],
) -> Result<(Bytes, Bytes), Refused> {
    let nonce: [u8; NONCE_LEN] = clock::random_bytes(random);
    let mut text = plaintext.to_vec();
    cipher(secret)?
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut text)
        .map_err(|_| Refused)?;
    Ok((Bytes::copy_from_slice(&nonce), text.into()))
}

/// What is inside a sealed field.
pub fn open(secret: &Secret, sealed: &v1::Sealed) -> Result<Bytes, Refused> {
    decrypt(secret, &associated(&sealed.content, &sealed.field), &sealed.nonce, &sealed.ciphertext)
}

fn decrypt(secret: &Secret, aad: &[u8], nonce: &[u8], ciphertext: &[u8]) -> Result<Bytes, Refused> {
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Refused)?;
    let mut text = ciphertext.to_vec();
    let plain = cipher(secret)?.open_in_place(nonce, Aad::from(aad), &mut text).map_err(|_| Refused)?.len();
    text.truncate(plain);
    Ok(text.into())
}

pub fn wrap(
    random: &dyn Random,
    under: &Secret,
    under_id: u64,
    aad: &[u8],
    secret: &Secret,
) -> Result<v1::WrappedKey, Refused> {
    let (nonce, ciphertext) = encrypt(random, under, aad, secret.as_slice())?;
    Ok(v1::WrappedKey { under: under_id, nonce, ciphertext })
}

pub fn unwrap(under: &Secret, aad: &[u8], wrapped: &v1::WrappedKey) -> Result<Secret, Refused> {
    let plain = Zeroizing::new(decrypt(under, aad, &wrapped.nonce, &wrapped.ciphertext)?.to_vec());
    let array = <[u8; 32]>::try_from(plain.as_slice()).map_err(|_| Refused)?;
    Ok(Zeroizing::new(array))
}
