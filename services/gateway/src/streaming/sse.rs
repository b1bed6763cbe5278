//! Server-sent events: one subscription per connection.

use super::channel::Channel;
use super::feed::{Feed, token_ends};
use super::messages::{Event, Messages};
use super::recognised;
use crate::door::caller::Caller;
use crate::error::Problem;
use crate::gate::Gate;
use crate::params::Params;
use axum::extract::{Path, State};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::StreamExt as _;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Events that wait for a slow client before the watch itself waits.
const WAITING: usize = 64;

/// `GET /api/v1/streaming/user` and the like.
pub async fn one(
    State(gate): State<Gate>,
    caller: Caller,
    path: Result<Path<String>, axum::extract::rejection::PathRejection>,
    params: Params,
) -> Result<Response, Problem> {
    let Path(name) = path.map_err(|_| Problem::not_found())?;
    open(&gate, caller, &name, &params).await
}

/// `GET /api/v1/streaming/public/local` and the like.
pub async fn two(
    State(gate): State<Gate>,
    caller: Caller,
    path: Result<Path<(String, String)>, axum::extract::rejection::PathRejection>,
    params: Params,
) -> Result<Response, Problem> {
    let Path((first, second)) = path.map_err(|_| Problem::not_found())?;
    open(&gate, caller, &format!("{first}:{second}"), &params).await
}

async fn open(gate: &Gate, caller: Caller, name: &str, params: &Params) -> Result<Response, Problem> {
    let media = params.flag("only_media")?.unwrap_or(false) && name.starts_with("public");
    let name = if media { format!("{name}:media") } else { name.to_owned() };
    let channel = Channel::named(&name, params.text("tag")?).ok_or_else(Problem::not_found)?;
    let caller = recognised(gate, caller, params, None).await?;
    let scope = channel.scope();
    let actor = caller.actor(scope)?;
    let place = gate.sockets.take(actor.account_id, gate.config.sockets_per_account)?;
    let (events, waiting) = mpsc::channel::<Event>(WAITING);
    let feed = Feed {
        gate: gate.clone(),
        caller: caller.clone(),
        viewer_id: actor.account_id,
        shape: Messages::of(&channel),
        channel,
        cursor: bytes::Bytes::new(),
        events,
    };
    let gate_of_task = gate.clone();
    tokio::spawn(async move {
        let _place = place;
        tokio::select! {
            () = feed.run() => {}
            () = token_ends(&gate_of_task, &caller, scope) => {}
        }
    });
    let told = ReceiverStream::new(waiting)
        .map(|event| Ok::<_, Infallible>(sse::Event::default().event(event.name).data(event.payload)));
    let beat = KeepAlive::new().interval(Duration::from(gate.config.heartbeat)).text("thump");
    Ok(Sse::new(told).keep_alive(beat).into_response())
}
