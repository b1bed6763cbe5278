//! The pictures of those who have none.

use axum::response::{IntoResponse, Response};
use http::header;

fn png(bytes: &'static [u8]) -> Response {
    let headers = [(header::CONTENT_TYPE, "image/png"), (header::CACHE_CONTROL, "public, max-age=86400")];
    (headers, bytes).into_response()
}

pub async fn avatar() -> Response {
    png(include_bytes!("../../assets/avatar.png"))
}

pub async fn header() -> Response {
    png(include_bytes!("../../assets/header.png"))
}
