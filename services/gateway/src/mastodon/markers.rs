//! How far the actor has read, shared by all his devices.

use super::key::Key;
use crate::door::caller::Caller;
use crate::error::Problem;
use crate::gate::{Gate, ask};
use crate::params::Params;
use axum::Json;
use axum::extract::State;
use p92_kernel::Millis;
use p92_proto::timelines::v1::{GetMarkersRequest, MarkedTimeline, Marker, MarkerChange, SetMarkersRequest};
use serde_json::{Map, Value, json};

const NAMES: [(MarkedTimeline, &str); 2] =
    [(MarkedTimeline::Home, "home"), (MarkedTimeline::Notifications, "notifications")];

fn shown(markers: &[Marker]) -> Value {
    let named = markers.iter().filter_map(|marker| {
        let name = NAMES.iter().find(|(one, _)| *one == marker.timeline())?.1;
        let body = json!({
            "last_read_id": marker.last_read_id.to_string(),
            "version": marker.version,
            "updated_at": Millis(marker.updated_ms).iso8601()
        });
        Some((name.to_owned(), body))
    });
    Value::Object(named.collect::<Map<_, _>>())
}

/// `GET /api/v1/markers?timeline[]=…`.
pub async fn show(State(gate): State<Gate>, caller: Caller, params: Params) -> Result<Json<Value>, Problem> {
    let actor = caller.actor("read:statuses")?;
    let asked = params.list("timeline")?;
    let known: Vec<MarkedTimeline> =
        NAMES.iter().filter(|(_, name)| asked.contains(name)).map(|(one, _)| *one).collect();
    if known.is_empty() {
        return Ok(Json(json!({})));
    }
    let request = GetMarkersRequest {
        options: Some(gate.read_as(&caller, actor.account_id).await),
        timelines: known.into_iter().map(i32::from).collect(),
    };
    Ok(Json(shown(&ask(gate.deps.markers.clone().get_markers(request).await)?.markers)))
}

/// `POST /api/v1/markers` with `home[last_read_id]`.
pub async fn set(
    State(gate): State<Gate>,
    caller: Caller,
    key: Key,
    params: Params,
) -> Result<Json<Value>, Problem> {
    let actor = caller.actor("write:statuses")?;
    let mut changes = Vec::new();
    for (timeline, name) in NAMES {
        let last_read_id = params.id(&format!("{name}[last_read_id]"))?;
        if last_read_id != 0 {
            changes.push(MarkerChange { timeline: timeline.into(), last_read_id });
        }
    }
    if changes.is_empty() {
        return Ok(Json(json!({})));
    }
    let context = Some(gate.command(actor.server_id, actor.account_id, actor.app_id, key.as_deref()));
    let request = SetMarkersRequest { context, changes };
    let answer = ask(gate.deps.markers.clone().set_markers(request).await)?;
    gate.remember(actor.account_id, answer.receipt.as_ref()).await;
    Ok(Json(shown(&answer.markers)))
}
