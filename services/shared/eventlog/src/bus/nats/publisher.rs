//! The task that publishes: one after another out of the queue, many acknowledgements under way at once.
//!
//! Nobody waits for it. While there is no connection everything stays in the queue, where the oldest gives way. A message
//! that is not acknowledged is counted and forgotten: it is a hint, and readers read the log.

use super::Inner;
use super::state::Link;
use super::streams;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::{HeaderMap, HeaderValue};
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use p92_kernel::Service;
use p92_proto::event::v1::{Event, EventGroup};
use p92_storage::LogKey;
use prost::Message as _;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The header that names the bus that published: its own messages it has delivered already.
pub(super) const FROM: &str = "P92-From";
/// W3C trace context of the group's first event.
const TRACEPARENT: &str = "traceparent";
/// So long after a stream could not be made it is not tried again.
const AGAIN: Duration = Duration::from_secs(1);

type Acknowledged = BoxFuture<'static, (LogKey, Result<(), PublishError>)>;

/// Publishes what the queue holds, until the bus closes.
#[derive(Debug)]
pub(super) struct Publisher {
    inner: Arc<Inner>,
    link: Link,
    /// Services whose stream stands, as far as this connection knows; for the others, when to try next.
    streams: HashMap<Service, Result<(), Instant>>,
}

impl Publisher {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        Self { inner, link: None, streams: HashMap::new() }
    }

    /// Runs until the bus closes and all that could be sent is acknowledged.
    pub(super) async fn run(mut self) {
        let inner = Arc::clone(&self.inner);
        let mut links = inner.state.links();
        // Each future is awaited here to its end: a publish whose acknowledgement is dropped fails unseen.
        let mut acks = FuturesUnordered::<Acknowledged>::new();
        loop {
            let link = *links.borrow_and_update();
            if self.link != link {
                // Behind a new connection there may be a new server, which has no streams.
                self.streams.clear();
                self.link = link;
            }
            let closing = inner.closing.is_cancelled();
            if closing && acks.is_empty() && (link.is_none() || inner.queue.len() == 0) {
                return;
            }
            tokio::select! {
                Some((log, outcome)) = acks.next(), if !acks.is_empty() => self.settle(log, outcome),
                (log, body) = inner.queue.next(), if link.is_some() && acks.len() < inner.in_flight => {
                    acks.extend(self.send(log, body).await);
                }
                _ = links.changed() => {}
                () = inner.closing.cancelled(), if !closing => {}
            }
        }
    }

    async fn send(&mut self, log: LogKey, body: Bytes) -> Option<Acknowledged> {
        self.ensure(log.service).await;
        let mut headers = HeaderMap::new();
        headers.insert(FROM, self.inner.id.as_str());
        self.inner.key.prove(&body, &mut headers);
        if let Some(traceparent) = traceparent(&body) {
            headers.insert(TRACEPARENT, traceparent);
        }
        let sent = self.inner.streams.jetstream.publish_with_headers(streams::subject(log), headers, body);
        match sent.await {
            Ok(ack) => Some(async move { (log, ack.await.map(|_place| ())) }.boxed()),
            Err(error) => {
                self.settle(log, Err(error));
                None
            }
        }
    }

    /// Before the first message to a stream, and after one that found none.
    async fn ensure(&mut self, service: Service) {
        let due = match self.streams.get(&service) {
            None => true,
            Some(Ok(())) => false,
            Some(Err(next)) => *next <= Instant::now(),
        };
        if due {
            let ensured = self.inner.streams.ensure(service).await;
            self.streams.insert(service, ensured.map_err(|_told| Instant::now() + AGAIN));
        }
    }

    fn settle(&mut self, log: LogKey, outcome: Result<(), PublishError>) {
        let Err(error) = outcome else { return self.inner.tallies.published.of(log.service) };
        tracing::debug!(service = %log.service, shard = %log.shard, %error, "a hint was not published");
        self.inner.tallies.failed.of(log.service);
        if error.kind() == PublishErrorKind::StreamNotFound {
            // Unless it was tried a moment ago, and is known to fail.
            if self.streams.get(&log.service).is_some_and(Result::is_ok) {
                self.streams.remove(&log.service);
            }
        }
    }
}

/// The trace that a group's first command belongs to, as its envelope says. Of a group with several commands the header
/// names only this one; the envelopes name each.
fn traceparent(body: &Bytes) -> Option<HeaderValue> {
    let first = EventGroup::decode(body.clone()).ok()?.events.into_iter().next()?;
    let traceparent = Event::decode(first).ok()?.traceparent;
    if traceparent.is_empty() { None } else { traceparent.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::{Bytes, Event, EventGroup, traceparent};
    use prost::Message as _;

    #[test]
    fn a_message_is_part_of_the_trace_of_its_first_event() {
        let body = |traceparent: &str| -> Bytes {
            let event = Event { traceparent: traceparent.to_owned(), ..Event::default() };
            let events = vec![event.encode_to_vec().into()];
            EventGroup { events, ..EventGroup::default() }.encode_to_vec().into()
        };
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(traceparent(&body(parent)).unwrap().as_str(), parent);
        assert!(traceparent(&body("")).is_none());
        assert!(traceparent(&body("a\r\nForged: header")).is_none());
        assert!(traceparent(&Bytes::from_static(b"\xff\xff\xff")).is_none());
    }
}
