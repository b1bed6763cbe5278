//! What others write to our subjects is heard by nobody.

use crate::flow::{LOG, group, seq_of};
use crate::server::{Server, bus, config, connected, eventually, shards};
use bytes::Bytes;
use futures::StreamExt as _;
use p92_eventlog::bus::nats::BusKey;
use p92_eventlog::{Bus as _, NatsBus};
use prost::Message as _;
use std::time::Duration;

const SUBJECT: &str = "p92.v1.posting.1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_others_are_dropped() {
    let server = Server::start().await;
    let (ours, listens) = (bus(&server).await, bus(&server).await);
    let mut other = config(&server);
    other.key = BusKey::of_nobody();
    let foreign = NatsBus::connect(other, shards()).await.unwrap();
    for one in [&ours, &listens, &foreign] {
        connected(one).await;
    }
    let mut heard = listens.subscribe(LOG);
    let (mut seq, mut last) = (0, 0);
    // Until the consumer stands what is published is heard by nobody.
    while last == 0 {
        seq += 1;
        ours.publish(LOG, group(LOG, seq));
        if let Ok(body) = tokio::time::timeout(Duration::from_millis(50), heard.next()).await {
            last = seq_of(body.unwrap());
        }
    }
    while last < seq {
        last = seq_of(heard.next().await.unwrap());
    }

    // A true proof, for later: by a listener of the raw stream.
    let client = server.client().await;
    let mut raw = client.subscribe(SUBJECT).await.unwrap();
    client.flush().await.unwrap();
    seq += 1;
    ours.publish(LOG, group(LOG, seq));
    let proven = raw.next().await.unwrap();
    assert_eq!(seq_of(heard.next().await.unwrap()), seq);
    let mut broken = proven.payload.to_vec();
    *broken.last_mut().unwrap() ^= 1;
    let next = p92_proto::event::v1::EventGroup {
        first_seq: seq + 1,
        ..p92_proto::event::v1::EventGroup::decode(proven.payload.clone()).unwrap()
    };
    let next = Bytes::from(next.encode_to_vec());
    let headers = proven.headers.clone().unwrap();
    foreign.publish(LOG, group(LOG, seq + 1));
    client.publish(SUBJECT, next.clone()).await.unwrap();
    client.publish_with_headers(SUBJECT, headers.clone(), next).await.unwrap();
    client.publish_with_headers(SUBJECT, headers.clone(), broken.into()).await.unwrap();
    client.publish_with_headers(SUBJECT, headers.clone(), Bytes::new()).await.unwrap();
    eventually("all of them came", async || listens.counts().unproven == 5).await;

    // The twin: the same message once more, under its own proof, and the next one of ours.
    let mut again = headers;
    again.insert("P92-From", "somebody");
    client.publish_with_headers(SUBJECT, again, proven.payload).await.unwrap();
    client.flush().await.unwrap();
    ours.publish(LOG, group(LOG, seq + 1));
    assert_eq!(seq_of(heard.next().await.unwrap()), seq);
    assert_eq!(seq_of(heard.next().await.unwrap()), seq + 1);
    assert_eq!(listens.counts().unproven, 5);
}
