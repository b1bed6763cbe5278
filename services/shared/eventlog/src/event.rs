//! Events: as a service makes them, and as a log holds them.

use crate::{Poison, Stream};
use bytes::Bytes;
use p92_kernel::{Millis, Position};
use p92_proto::event::v1;
use prost::{Message, Name};

/// An event that a command wants to append.
#[derive(Clone, Debug)]
pub struct NewEvent {
    pub(crate) event_type: String,
    pub(crate) schema_version: u32,
    pub(crate) payload: Bytes,
    pub(crate) after: Vec<Position>,
}

impl NewEvent {
    /// An event whose payload is this message, in version 1 of its meaning.
    pub fn of<M: Message + Name>(message: &M) -> Self {
        Self {
            event_type: M::full_name(),
            schema_version: 1,
            payload: message.encode_to_vec().into(),
            after: Vec::new(),
        }
    }

    /// Its type.
    #[must_use]
    pub fn event_type(&self) -> &str {
        &self.event_type
    }

    /// Its message, encoded.
    #[must_use]
    pub const fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Another version of its meaning.
    #[must_use]
    pub const fn version(mut self, version: u32) -> Self {
        self.schema_version = version;
        self
    }

    /// Positions that readers must have applied before it may be seen.
    #[must_use]
    pub fn after(mut self, positions: Vec<Position>) -> Self {
        self.after = positions;
        self
    }
}

/// An event with its place in a log.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    pub position: Position,
    pub event: v1::Event,
    /// The event as the log holds it.
    pub bytes: Bytes,
}

impl Recorded {
    /// Reads the envelope.
    pub fn read(position: Position, bytes: Bytes) -> Result<Self, Poison> {
        let event = v1::Event::decode(bytes.clone()).map_err(|error| Poison::Unreadable {
            event_type: "an envelope".into(),
            problem: error.to_string(),
        })?;
        Ok(Self { position, event, bytes })
    }

    /// Whether the payload is a message of this type.
    #[must_use]
    pub fn is<M: Name>(&self) -> bool {
        // Compared piece by piece: this runs for every event and every view.
        self.event.r#type.strip_suffix(M::NAME).and_then(|rest| rest.strip_suffix('.')) == Some(M::PACKAGE)
    }

    /// The payload as that message, whose meaning has never changed.
    pub fn decode<M: Message + Name + Default>(&self) -> Result<M, Poison> {
        self.decode_upcast(1, |_, message| message)
    }

    /// The payload as that message in the meaning of version `known`. One of an older version is upcast: it is given with
    /// its version, and returned as it would be written today.
    pub fn decode_upcast<M: Message + Name + Default>(
        &self,
        known: u32,
        upcast: impl FnOnce(u32, M) -> M,
    ) -> Result<M, Poison> {
        if !self.is::<M>() {
            return Err(self.unreadable(format!("it is no {}", M::full_name())));
        }
        self.check_version(known)?;
        let message =
            M::decode(self.event.payload.clone()).map_err(|error| self.unreadable(error.to_string()))?;
        // Events from before versions were written are of the first one.
        let version = self.event.schema_version.max(1);
        Ok(if version < known { upcast(version, message) } else { message })
    }

    /// Refuses versions that this build does not know.
    pub fn check_version(&self, known: u32) -> Result<(), Poison> {
        let version = self.event.schema_version;
        if version > known {
            return Err(Poison::Newer { event_type: self.event.r#type.clone(), version, known });
        }
        Ok(())
    }

    /// Says that the event cannot be.
    pub fn unreadable(&self, problem: impl Into<String>) -> Poison {
        Poison::Unreadable { event_type: self.event.r#type.clone(), problem: problem.into() }
    }

    /// Its stream; `None` for a barrier.
    #[must_use]
    pub fn stream(&self) -> Option<Stream> {
        (!self.event.stream.is_empty()).then(|| Stream::named(&self.event.stream))
    }

    /// Its type.
    #[must_use]
    pub fn event_type(&self) -> &str {
        &self.event.r#type
    }

    /// Its time.
    #[must_use]
    pub const fn time(&self) -> Millis {
        Millis(self.event.time_ms)
    }
}

/// A position as messages carry it.
#[must_use]
pub fn position_to_wire(position: Position) -> v1::Position {
    v1::Position {
        service: position.service.name().to_owned(),
        shard: u32::from(position.shard.0),
        seq: position.seq.0,
    }
}

/// A position out of a message; `None` if no such log can be.
#[must_use]
pub fn position_from_wire(position: &v1::Position) -> Option<Position> {
    Some(Position {
        service: p92_kernel::Service::from_name(&position.service)?,
        shard: p92_kernel::Shard(u16::try_from(position.shard).ok()?),
        seq: p92_kernel::Seq(position.seq),
    })
}
