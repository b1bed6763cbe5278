//! WebSocket: several subscriptions on one connection, taken and left by messages.

use super::channel::Channel;
use super::feed::{Feed, token_ends};
use super::messages::{Event, Messages};
use super::recognised;
use super::sockets::Open;
use crate::door::caller::Caller;
use crate::error::Problem;
use crate::gate::Gate;
use crate::params::Params;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::json;
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

/// Largest message that a client may send.
const LARGEST: usize = 8 * 1024;
/// Subscriptions on one socket.
const MOST: usize = 16;
const WAITING: usize = 64;

/// What a client says.
#[derive(Deserialize)]
struct Said {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    stream: String,
    tag: Option<String>,
}

/// `GET /api/v1/streaming`.
pub async fn open(
    State(gate): State<Gate>,
    caller: Caller,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    params: Params,
) -> Result<Response, Problem> {
    let upgrade = upgrade.map_err(|_| {
        let words =
            "This address speaks WebSocket; server-sent events are at /api/v1/streaming/user and beside it.";
        Problem::new(StatusCode::BAD_REQUEST, "WEBSOCKET_NEEDED", words)
    })?;
    let offered = headers.get(header::SEC_WEBSOCKET_PROTOCOL).and_then(|value| value.to_str().ok());
    let protocol = offered.and_then(|all| all.split(',').next()).map(|one| one.trim().to_owned());
    let caller = recognised(&gate, caller, &params, protocol.as_deref()).await?;
    let first = params.text("stream")?.filter(|name| !name.is_empty()).map(|name| Said {
        kind: "subscribe".to_owned(),
        stream: name.to_owned(),
        tag: params.text("tag").ok().flatten().map(str::to_owned),
    });
    // The least that any channel asks for; each looks again.
    let actor = caller.actor("read:statuses").or_else(|_| caller.actor("read:notifications"))?;
    if let Some(said) = &first {
        let channel = Channel::named(&said.stream, said.tag.as_deref())
            .ok_or_else(|| Problem::malformed("There is no such stream."))?;
        caller.actor(channel.scope())?;
    }
    let place = gate.sockets.take(actor.account_id, gate.config.sockets_per_account)?;
    let upgrade = upgrade.max_message_size(LARGEST).max_frame_size(LARGEST);
    // Browsers refuse an answer that takes none of the protocols that they offered.
    let upgrade = match protocol {
        Some(protocol) => upgrade.protocols([protocol]),
        None => upgrade,
    };
    let (events, waiting) = mpsc::channel(WAITING);
    let socket = Socket {
        gate,
        caller,
        account_id: actor.account_id,
        events,
        feeds: JoinSet::new(),
        subscribed: HashMap::new(),
        _place: place,
    };
    Ok(upgrade.on_upgrade(move |wire| socket.run(wire, waiting, first)))
}

struct Socket {
    gate: Gate,
    caller: Caller,
    account_id: u64,
    events: mpsc::Sender<Event>,
    feeds: JoinSet<()>,
    subscribed: HashMap<Channel, AbortHandle>,
    _place: Open,
}

impl Socket {
    async fn run(mut self, mut wire: WebSocket, mut waiting: mpsc::Receiver<Event>, first: Option<Said>) {
        if let Some(said) = first {
            let _ = self.take(&said);
        }
        let (gate, caller) = (self.gate.clone(), self.caller.clone());
        let scope =
            if caller.actor("read:statuses").is_ok() { "read:statuses" } else { "read:notifications" };
        let ends = token_ends(&gate, &caller, scope);
        tokio::pin!(ends);
        let mut beat =
            tokio::time::interval(Duration::from(self.gate.config.heartbeat).max(Duration::from_millis(1)));
        beat.tick().await;
        loop {
            let answer = tokio::select! {
                () = &mut ends => break,
                _ = beat.tick() => Some(Message::Ping(bytes::Bytes::new())),
                // A feed that ends by itself may not look any more.
                Some(ended) = self.feeds.join_next() => if ended.is_ok() { break } else { None },
                Some(event) = waiting.recv() => Some(Message::Text(told(&event).into())),
                said = wire.recv() => match said {
                    Some(Ok(Message::Text(text))) => self.heard(&text),
                    Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                    Some(Ok(_)) => None,
                },
            };
            if let Some(message) = answer
                && wire.send(message).await.is_err()
            {
                break;
            }
        }
        self.feeds.abort_all();
        let _ = wire.send(Message::Close(None)).await;
    }

    fn heard(&mut self, text: &str) -> Option<Message> {
        let outcome = match serde_json::from_str::<Said>(text) {
            Ok(said) => self.take(&said),
            Err(_) => Err(Problem::malformed("The message cannot be read.")),
        };
        let problem = outcome.err()?;
        let words = json!({ "error": problem.error, "status": problem.status.as_u16() }).to_string();
        Some(Message::Text(words.into()))
    }

    fn take(&mut self, said: &Said) -> Result<(), Problem> {
        let channel = Channel::named(&said.stream, said.tag.as_deref())
            .ok_or_else(|| Problem::malformed("There is no such stream."))?;
        match said.kind.as_str() {
            "subscribe" => self.subscribe(channel),
            "unsubscribe" => {
                if let Some(feed) = self.subscribed.remove(&channel) {
                    feed.abort();
                }
                Ok(())
            }
            _ => Err(Problem::malformed("A message subscribes or unsubscribes.")),
        }
    }

    fn subscribe(&mut self, channel: Channel) -> Result<(), Problem> {
        self.caller.actor(channel.scope())?;
        if self.subscribed.contains_key(&channel) {
            return Ok(());
        }
        if self.subscribed.len() >= MOST {
            let words = "Too many subscriptions on this socket.";
            return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_SUBSCRIPTIONS", words));
        }
        let feed = Feed {
            gate: self.gate.clone(),
            caller: self.caller.clone(),
            viewer_id: self.account_id,
            shape: Messages::of(&channel),
            channel: channel.clone(),
            cursor: bytes::Bytes::new(),
            events: self.events.clone(),
        };
        self.subscribed.insert(channel, self.feeds.spawn(feed.run()));
        Ok(())
    }
}

/// A message as Mastodon's sockets send it: the payload is a text within.
fn told(event: &Event) -> String {
    json!({ "stream": *event.label, "event": event.name, "payload": event.payload }).to_string()
}
