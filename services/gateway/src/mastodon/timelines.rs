//! Home, public and tag timelines: timelines says which entries, posting what they are.

use super::hydrate::Reader;
use super::page::{ends, window, written};
use super::path::PathWord;
use crate::door::caller::Caller;
use crate::error::Problem;
use crate::gate::{Gate, ask};
use crate::params::Params;
use axum::extract::{OriginalUri, State};
use axum::response::Response;
use http::Uri;
use p92_proto::timelines::v1 as timelines;

async fn entries_page(
    reader: &Reader<'_>,
    uri: &Uri,
    entries: &[timelines::TimelineEntry],
) -> Result<Response, Problem> {
    // Timelines has judged what the viewer may see, so what is public may come from what is at hand.
    let named = entries.iter().map(|entry| (entry.id, [entry.author_id, entry.booster_id]));
    let shown = reader.written(&named.collect::<Vec<_>>()).await?;
    Ok(written(reader.caller, uri, ends(entries.iter().map(|entry| entry.id)), shown))
}

/// `GET /api/v1/timelines/home`.
pub async fn home(
    State(gate): State<Gate>,
    caller: Caller,
    OriginalUri(uri): OriginalUri,
    params: Params,
) -> Result<Response, Problem> {
    let actor = caller.actor("read:statuses")?;
    let reader = Reader::new(&gate, &caller, actor.account_id).await;
    let request = timelines::ListHomeRequest {
        options: reader.options(),
        window: Some(window(&params, 20, 40)?),
        source: timelines::TimelineSource::Unspecified.into(),
    };
    let entries = ask(gate.deps.timelines.clone().list_home(request).await)?.entries;
    entries_page(&reader, &uri, &entries).await
}

/// `GET /api/v1/timelines/public`.
pub async fn public(
    State(gate): State<Gate>,
    caller: Caller,
    OriginalUri(uri): OriginalUri,
    params: Params,
) -> Result<Response, Problem> {
    let reader = Reader::new(&gate, &caller, caller.viewer("read:statuses")?).await;
    let request = timelines::ListPublicRequest {
        options: reader.options(),
        window: Some(window(&params, 20, 40)?),
        local: params.flag("local")?.unwrap_or(false),
        remote: params.flag("remote")?.unwrap_or(false),
        only_media: params.flag("only_media")?.unwrap_or(false),
    };
    let entries = ask(gate.deps.timelines.clone().list_public(request).await)?.entries;
    entries_page(&reader, &uri, &entries).await
}

fn tags(params: &Params, name: &str) -> Result<Vec<String>, Problem> {
    let names = params.list(name)?.into_iter().map(|tag| tag.trim_start_matches('#'));
    Ok(names.filter(|tag| !tag.is_empty()).take(4).map(str::to_owned).collect())
}

/// `GET /api/v1/timelines/tag/:tag`.
pub async fn tag(
    State(gate): State<Gate>,
    caller: Caller,
    PathWord(tag): PathWord,
    OriginalUri(uri): OriginalUri,
    params: Params,
) -> Result<Response, Problem> {
    let reader = Reader::new(&gate, &caller, caller.viewer("read:statuses")?).await;
    let mut any = vec![tag.trim_start_matches('#').to_owned()];
    any.extend(tags(&params, "any")?);
    let request = timelines::ListTagRequest {
        options: reader.options(),
        window: Some(window(&params, 20, 40)?),
        any,
        all: tags(&params, "all")?,
        none: tags(&params, "none")?,
        local: params.flag("local")?.unwrap_or(false),
        remote: params.flag("remote")?.unwrap_or(false),
        only_media: params.flag("only_media")?.unwrap_or(false),
    };
    let entries = ask(gate.deps.timelines.clone().list_tag(request).await)?.entries;
    entries_page(&reader, &uri, &entries).await
}
