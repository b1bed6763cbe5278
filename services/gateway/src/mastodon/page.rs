//! Pages of lists: which part is asked for, and the Link header that leads on and back.

use crate::door::caller::Caller;
use crate::error::Problem;
use crate::params::Params;
use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Uri, header};
use p92_proto::event::v1::IdWindow;
use serde::Serialize;

/// Which part of a list is asked for.
pub fn window(params: &Params, default: u32, most: u32) -> Result<IdWindow, Problem> {
    Ok(IdWindow {
        max_id: params.id("max_id")?,
        since_id: params.id("since_id")?,
        min_id: params.id("min_id")?,
        limit: params.limit(default, most),
    })
}

/// The places of the first and the last entry of a page, as the service that keeps the list cut it.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    pub first: u64,
    pub last: u64,
}

/// The ends of a list of places; `None` for an empty one.
pub fn ends(mut places: impl Iterator<Item = u64>) -> Option<Ends> {
    let first = places.next()?;
    Some(Ends { first, last: places.last().unwrap_or(first) })
}

/// A page with its Link header. An empty page leads nowhere.
pub fn page<T: Serialize>(caller: &Caller, uri: &Uri, ends: Option<Ends>, items: &[T]) -> Response {
    linked(Json(items).into_response(), caller, uri, ends)
}

/// A page that is written already.
pub fn written(caller: &Caller, uri: &Uri, ends: Option<Ends>, json: String) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json")];
    linked((headers, json).into_response(), caller, uri, ends)
}

fn linked(mut response: Response, caller: &Caller, uri: &Uri, ends: Option<Ends>) -> Response {
    let Some(Ends { first, last }) = ends else { return response };
    let kept = kept_query(uri);
    let base = caller.url(uri.path());
    let link =
        format!("<{base}?{kept}max_id={last}>; rel=\"next\", <{base}?{kept}min_id={first}>; rel=\"prev\"");
    if let Ok(link) = HeaderValue::from_str(&link) {
        response.headers_mut().insert(header::LINK, link);
    }
    response
}

/// The rest of the query, to be repeated on every page.
fn kept_query(uri: &Uri) -> String {
    let cut = ["max_id", "min_id", "since_id", "access_token"];
    let mut kept = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        if !cut.contains(&name.as_ref()) {
            kept.append_pair(&name, &value);
        }
    }
    let kept = kept.finish();
    if kept.is_empty() { kept } else { kept + "&" }
}
