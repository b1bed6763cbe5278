//! Between the rules and the contract: events, rows and resources in both directions.
//!
//! Total one way, and the other way refuses only what no version of this service ever wrote. It decides nothing.

pub mod account;
pub mod enums;
pub mod relationship;
pub mod rows;
pub mod server;

use crate::domain::sealed::{BlindKey, Sealed};
use bytes::Bytes;
use p92_proto::event::v1;

#[cfg(test)]
mod arbitrary;

/// What was written cannot be read as what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is missing or unknown")]
pub struct Unreadable(pub &'static str);

/// Sealed content for the wire.
#[must_use]
pub fn sealed_out(sealed: &Sealed) -> v1::Sealed {
    v1::Sealed {
        subject_id: sealed.subject,
        content: sealed.content.clone(),
        nonce: sealed.nonce.clone(),
        ciphertext: sealed.ciphertext.clone(),
        field: sealed.field.clone(),
        key_id: sealed.key,
    }
}

/// Sealed content from the wire.
#[must_use]
pub fn sealed_in(sealed: v1::Sealed) -> Sealed {
    Sealed {
        subject: sealed.subject_id,
        content: sealed.content,
        key: sealed.key_id,
        field: sealed.field,
        nonce: sealed.nonce,
        ciphertext: sealed.ciphertext,
    }
}

fn some_out(sealed: Option<&Sealed>) -> Option<v1::Sealed> {
    sealed.map(sealed_out)
}

fn some_in(sealed: Option<v1::Sealed>) -> Option<Sealed> {
    sealed.map(sealed_in)
}

fn needed(sealed: Option<v1::Sealed>, what: &'static str) -> Result<Sealed, Unreadable> {
    sealed.map(sealed_in).ok_or(Unreadable(what))
}

fn key_out(key: &BlindKey) -> Bytes {
    Bytes::copy_from_slice(key)
}

fn key_in(bytes: &Bytes, what: &'static str) -> Result<BlindKey, Unreadable> {
    <[u8; 32]>::try_from(bytes.as_ref()).map_err(|_| Unreadable(what))
}
