//! What accompanies a command on its way in, and what comes back.

use crate::Stream;
use crate::event::{position_from_wire, position_to_wire};
use bytes::Bytes;
use p92_kernel::{Failure, Position, digest};
use p92_proto::event::v1;
use prost::Message;

/// Keys are at most this long.
pub const KEY_BYTES: usize = 255;

/// Who commands, under which key, and because of what.
#[derive(Clone, Debug, Default)]
pub struct CommandMeta {
    pub server_id: u64,
    pub actor_id: u64,
    pub key: String,
    /// Within what the key counts: server and actor, or app before there is an actor.
    pub scope: String,
    pub digest: Bytes,
    pub after: Vec<Position>,
    pub causation_id: u64,
    pub correlation_id: u64,
    pub traceparent: String,
}

impl CommandMeta {
    /// The context that came with a command, and the digest of what it asks.
    ///
    /// `name` tells commands with equal fields apart; `body` is the request without its context.
    pub fn of(
        context: Option<&v1::CommandContext>,
        name: &str,
        body: &impl Message,
    ) -> Result<Self, Failure> {
        let context = context.cloned().unwrap_or_default();
        if context.idempotency_key.len() > KEY_BYTES {
            return Err(Failure::invalid(
                "context.idempotency_key",
                "IDEMPOTENCY_KEY_TOO_LONG",
                format!("An idempotency key has at most {KEY_BYTES} bytes."),
            ));
        }
        // Nobody means them, and a key of NULs alone would be twice as long as a row of the store may be named.
        if context.idempotency_key.contains(|c: char| c.is_control()) {
            return Err(Failure::invalid(
                "context.idempotency_key",
                "IDEMPOTENCY_KEY_UNPRINTABLE",
                "An idempotency key has no control characters.",
            ));
        }
        let after = context.after.iter().map(position_from_wire).collect::<Option<Vec<_>>>();
        let after = after.ok_or_else(|| {
            Failure::invalid("context.after", "BAD_POSITION", "A position names a log that cannot be.")
        })?;
        let who = if context.actor_id == 0 {
            format!("app/{}", context.app_id)
        } else {
            format!("account/{}", context.actor_id)
        };
        Ok(Self {
            server_id: context.server_id,
            actor_id: context.actor_id,
            scope: format!("{}/{who}", context.server_id),
            digest: Bytes::copy_from_slice(&digest::of_parts(&[name.as_bytes(), &body.encode_to_vec()])),
            key: context.idempotency_key,
            after,
            causation_id: context.causation_id,
            correlation_id: context.correlation_id,
            traceparent: String::new(),
        })
    }

    /// A command that P92 gives itself, such as the finishing of a claim.
    #[must_use]
    pub fn internal(server_id: u64, key: String) -> Self {
        Self { server_id, scope: format!("{server_id}/p92"), key, ..Self::default() }
    }
}

/// The answer to a command: where its events stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Empty if nothing had to change.
    pub positions: Vec<Position>,
    /// Whether this repeats the answer to an earlier call under the same key.
    pub repeated: bool,
    /// Stream of the command's first event, of this call or of the one that it repeats. `None` if nothing had to change.
    pub subject: Option<Stream>,
}

impl From<Receipt> for v1::CommandReceipt {
    fn from(receipt: Receipt) -> Self {
        Self {
            positions: receipt.positions.into_iter().map(position_to_wire).collect(),
            repeated: receipt.repeated,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyed(key: &str) -> Result<CommandMeta, Failure> {
        let context = v1::CommandContext { idempotency_key: key.to_owned(), ..Default::default() };
        CommandMeta::of(Some(&context), "Publish", &v1::Position::default())
    }

    #[test]
    fn keys_are_words_of_some_length() {
        for key in ["", "4f1c", &"k".repeat(KEY_BYTES), "Schlüssel 7"] {
            assert_eq!(keyed(key).unwrap().key, key);
        }
        for (key, reason) in [
            ("k".repeat(KEY_BYTES + 1), "IDEMPOTENCY_KEY_TOO_LONG"),
            ("\0".repeat(KEY_BYTES), "IDEMPOTENCY_KEY_UNPRINTABLE"),
            ("a\nb".to_owned(), "IDEMPOTENCY_KEY_UNPRINTABLE"),
        ] {
            assert_eq!(keyed(&key).unwrap_err().reason, reason, "{key:?}");
        }
    }
}
