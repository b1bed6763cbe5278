//! What operators see: a stream as of any moment, rows, slots with their epochs, and how far a rebuild is.

use crate::running::{Running, p92};
use p92_chassis::Transport;
use p92_chassis::transport::Network;
use p92_proto::operator::v1::operator_service_client::OperatorServiceClient;
use p92_proto::operator::v1::{RebuildViewRequest, RebuildViewResponse};
use serde_json::Value;
use std::path::Path;

/// Shards of an installation whose settings say nothing of them.
const SHARDS: usize = 16;

fn number(value: &Value) -> u64 {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no number: {value}"))
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| panic!("no JSON: {text}"))
}

/// The body of an answer that went well.
fn body(answer: &str) -> Value {
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    json(answer.split_once("\r\n\r\n").unwrap().1)
}

/// A token of somebody who may write.
fn writer(node: &Running) -> String {
    let secret = ["--email", "writer@example.org", "--password", "a long password"];
    node.command(&[&["account", "create", "writer"][..], &secret].concat());
    let app = json(&node.command(&["app", "create", "--name", "an app", "--json"]));
    let app = app["app"]["clientId"].as_str().unwrap();
    node.command(&["token", "create", "--account", "writer", "--app", app])
}

/// The events of a stream, with these words behind its name.
fn events(node: &Running, stream: &str, words: &[&str]) -> Vec<Value> {
    let told = node.command(&[&["events", "read", stream, "--json"], words].concat());
    told.lines().map(json).collect()
}

#[test]
fn a_stream_is_read_as_of_a_moment_and_its_rows_as_they_stand() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let node = Running::start(&data, &[]);
    let token = writer(&node);
    let id = body(&node.post("/api/v1/statuses", &token, "status=first"));
    let id = id["id"].as_str().unwrap();
    for text in ["status=second", "status=third"] {
        body(&node.send(("PUT", &format!("/api/v1/statuses/{id}")), &token, text));
    }
    let stream = format!("post/{id}");
    let all = events(&node, &stream, &[]);
    let types: Vec<_> = all.iter().map(|event| event["type"].as_str().unwrap()).collect();
    let [published, edited] = ["p92.posting.v1.PostPublished", "p92.posting.v1.PostEdited"];
    assert_eq!(types, [published, edited, edited], "{all:?}");
    let at: Vec<u64> = all.iter().map(|event| number(&event["timeMs"])).collect();
    assert!(at.is_sorted_by(|one, next| one < next), "{at:?}");
    // The moment of an event belongs to it; one millisecond before does not.
    for (until, expected) in [(at[0], 1), (at[1] - 1, 1), (at[1], 2), (at[2] - 1, 2), (at[2], 3)] {
        let read = events(&node, &stream, &["--as-of", &until.to_string()]);
        assert_eq!(read, all[..expected], "as of {until} of {at:?}");
    }
    let before = p92(&["events", "read", &stream, "--as-of", "2020-01-31T12:00:00Z"])
        .arg("--data")
        .arg(&data)
        .output()
        .unwrap();
    let said = String::from_utf8(before.stderr).unwrap();
    assert!(!before.status.success() && said.contains("3 events came later"), "{said}");

    // A row holds what its event says, byte for byte.
    let row = ["table", "get", "posting_history", id, "--json", "--then"];
    for (revision, event) in [("2", &all[1]), ("3", &all[2])] {
        let shown = json(&node.command(&[&row[..], &[revision]].concat()));
        assert_eq!(shown["row"]["content"], event["says"]["content"], "{shown}");
    }
    let none = p92(&row).args(["4", "--data"]).arg(&data).output().unwrap();
    let said = String::from_utf8(none.stderr).unwrap();
    assert!(
        !none.status.success() && none.stdout.is_empty() && said.contains("no row stands there"),
        "{said}"
    );
    assert!(node.stop());
}

/// Member and epoch of every slot of posting, in the order of shards; and the ids of members.
fn owners(node: &Running) -> (Vec<(String, u64)>, Vec<String>) {
    let told = json(&node.command(&["owners", "--json"]));
    let of_posting = |one: &&Value| one["service"] == "posting";
    let slot = |one: &Value| (one["member"].as_str().unwrap().to_owned(), number(&one["epoch"]));
    let members =
        told["members"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned());
    let slots = told["owners"].as_array().unwrap().iter().filter(of_posting).map(slot);
    (slots.collect(), members.collect())
}

#[test]
fn owners_have_epochs_that_rise_with_every_holder() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut last: Option<Vec<(String, u64)>> = None;
    for _ in 0..2 {
        let node = Running::start(&data, &[]);
        let (slots, members) = owners(&node);
        assert_eq!((slots.len(), members.len()), (SHARDS, 1), "{slots:?} {members:?}");
        assert!(slots.iter().all(|(member, epoch)| *member == members[0] && *epoch > 0), "{slots:?}");
        for (before, now) in last.iter().flatten().zip(&slots) {
            assert!(now.0 != before.0 && now.1 > before.1, "{before:?}, then {now:?}");
        }
        // The row that says so.
        let row = json(&node.command(&[
            "table",
            "get",
            "eventlog_ownership",
            "posting",
            "--then",
            "small:3",
            "--json",
        ]));
        assert_eq!(
            (row["row"]["member"].as_str(), number(&row["row"]["epoch"])),
            (Some(&*slots[3].0), slots[3].1)
        );
        assert!(node.stop());
        last = Some(slots);
    }
}

/// Rebuilds a view, and everything that is told of it.
async fn rebuilt(data: &Path, name: &str) -> Vec<RebuildViewResponse> {
    let way = Transport::remote(Network::socket(p92_node::socket::path(data)));
    let request = RebuildViewRequest { name: name.to_owned(), verify: true };
    let steps = OperatorServiceClient::new(way).rebuild_view(request).await.unwrap().into_inner();
    futures::TryStreamExt::try_collect(steps).await.unwrap()
}

#[test]
fn a_rebuild_tells_how_far_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let node = Running::start(&data, &[]);
    let token = writer(&node);
    for text in ["status=one", "status=two"] {
        body(&node.post("/api/v1/statuses", &token, text));
    }
    let heads = json(&node.command(&["lag", "--json"]));
    let of_owners =
        |lag: &&Value| lag["service"] == "posting" && lag["reader"].as_str().unwrap_or_default().is_empty();
    let total: u64 =
        heads["lags"].as_array().unwrap().iter().filter(of_owners).map(|lag| number(&lag["head"])).sum();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let steps = runtime.block_on(rebuilt(&data, "posting_entries"));
    // One behind each log, one when all writers have joined, and the last.
    assert_eq!(steps.len(), SHARDS + 2, "{steps:?}");
    let (last, told) = steps.split_last().unwrap();
    assert!(told.iter().all(|step| !step.done && step.total == total), "of {total}: {steps:?}");
    // No log is empty: each was closed by a barrier.
    let events: Vec<u64> = told.iter().map(|step| step.events).collect();
    assert!(events[..SHARDS].is_sorted_by(|one, next| one < next), "{events:?}");
    assert_eq!((events[0] > 0, events[SHARDS - 1], events[SHARDS]), (true, total, total));
    assert_eq!((last.done, last.events, last.total), (true, total, total));
    assert_eq!((last.compared, &*last.difference), (2, ""));
    assert!(node.stop());
}
