//! Everything that is written comes back, as event and as row; what was ever written decodes for ever.

use super::*;
use crate::domain::{account, relationship};
use crate::wire::arbitrary;
use p92_eventlog::{Aggregate, Recorded};
use p92_kernel::{Position, Seq, Service, Shard};
use p92_proto::event::v1::Event as Envelope;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use prost::Message;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// An event as a log holds it.
fn recorded<A: Aggregate>(event: &A::Event) -> Recorded {
    let new = A::encode(event);
    recorded_as(new.event_type(), new.payload().to_vec())
}

fn recorded_as(event_type: &str, payload: Vec<u8>) -> Recorded {
    let envelope = Envelope {
        r#type: event_type.to_owned(),
        schema_version: 1,
        payload: payload.into(),
        ..Envelope::default()
    };
    let position = Position { service: Service::Identity, shard: Shard(0), seq: Seq(1) };
    Recorded::read(position, envelope.encode_to_vec().into()).unwrap()
}

proptest! {
    #[test]
    fn events_of_accounts_come_back(event in arbitrary::account_event()) {
        let recorded = recorded::<Account>(&event);
        prop_assert!(crate::wire::account::is_account_event(recorded.event_type()));
        prop_assert_eq!(Account::decode(&recorded).unwrap(), event);
    }

    #[test]
    fn events_of_relationships_come_back(event in arbitrary::relationship_event()) {
        let recorded = recorded::<Relationship>(&event);
        prop_assert!(crate::wire::relationship::is_relationship_event(recorded.event_type()));
        prop_assert_eq!(Relationship::decode(&recorded).unwrap(), event);
    }

    #[test]
    fn events_of_servers_come_back(event in arbitrary::server_event()) {
        let recorded = recorded::<Server>(&event);
        prop_assert!(crate::wire::server::is_server_event(recorded.event_type()));
        prop_assert_eq!(Server::decode(&recorded).unwrap(), event);
    }

    #[test]
    fn rows_come_back(
        account in arbitrary::account(), relationship in arbitrary::relationship(), server in arbitrary::server()
    ) {
        prop_assert_eq!(account_in(account_out(&account)).unwrap(), account);
        prop_assert_eq!(relationship_in(relationship_out(&relationship)), relationship);
        prop_assert_eq!(server_in(server_out(&server)).unwrap(), server);
    }
}

#[test]
fn what_cannot_be_is_poison() {
    let refused = v1::HandleRefused { account_id: 1, server_id: 2, taken: 99 };
    let event = recorded_as("p92.identity.v1.HandleRefused", refused.encode_to_vec());
    assert!(Account::decode(&event).is_err());
    let broken = recorded_as("p92.identity.v1.AccountCreated", vec![0xff; 9]);
    assert!(Account::decode(&broken).is_err());
    let foreign = recorded_as("p92.posting.v1.PostPublished", Vec::new());
    assert!(Account::decode(&foreign).is_err() && Relationship::decode(&foreign).is_err());
}

/// One event of each type, always the same: what the golden files hold.
fn samples<E: std::fmt::Debug>(
    events: impl Strategy<Value = E>,
    name: fn(&E) -> String,
) -> BTreeMap<String, E> {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(ProptestConfig::default(), rng);
    let mut out = BTreeMap::new();
    for _ in 0..2_000 {
        let event = events.new_tree(&mut runner).unwrap().current();
        out.entry(name(&event)).or_insert(event);
    }
    out
}

fn golden_file(event_type: &str) -> PathBuf {
    let name = event_type.rsplit('.').next().unwrap();
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.hex"))
}

/// Each golden file holds bytes that were once written; they must decode, and be written again to the same bytes.
fn check_golden<A: Aggregate>(events: BTreeMap<String, A::Event>, types: usize)
where
    A::Event: Clone + std::fmt::Debug + PartialEq,
{
    assert_eq!(events.len(), types, "an event of each type");
    for (event_type, event) in events {
        let file = golden_file(&event_type);
        if std::env::var_os("P92_WRITE_GOLDEN").is_some() && !file.exists() {
            std::fs::write(&file, hex::encode(A::encode(&event).payload()) + "\n").unwrap();
        }
        let text =
            std::fs::read_to_string(&file).unwrap_or_else(|_| panic!("no golden file of {event_type}"));
        let bytes = hex::decode(text.trim()).unwrap();
        let decoded = A::decode(&recorded_as(&event_type, bytes.clone())).unwrap();
        let again = A::encode(&decoded);
        assert_eq!(again.payload().to_vec(), bytes, "{event_type} is written otherwise than it was");
    }
}

#[test]
fn golden_events_decode_for_ever() {
    check_golden::<Account>(
        samples(arbitrary::account_event(), |event: &account::Event| {
            Account::encode(event).event_type().to_owned()
        }),
        17,
    );
    check_golden::<Relationship>(
        samples(arbitrary::relationship_event(), |event: &relationship::Event| {
            Relationship::encode(event).event_type().to_owned()
        }),
        10,
    );
    check_golden::<Server>(
        samples(arbitrary::server_event(), |event: &server::Event| {
            Server::encode(event).event_type().to_owned()
        }),
        5,
    );
}
