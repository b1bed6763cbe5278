//! Bytes to names and values: urlencoded, multipart, JSON. Strict about UTF-8, bounded in size, depth and number.

use crate::error::Problem;
use axum::body::{Body, Bytes};
use axum::extract::multipart::MultipartError;
use axum::extract::{FromRequest as _, Multipart, Request};
use http::{StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Body as _;
use serde_json::Value;
use std::time::Duration;

/// Names and values in one request.
const MOST: usize = 2_000;
/// Levels of JSON, and of brackets.
const DEPTH: usize = 16;

/// A value as it came. Text from forms is text whatever it looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Text(String),
    Number(String),
    Flag(bool),
    Null,
    /// A part with a file name.
    File,
}

type Pieces = Vec<(String, Piece)>;

fn add(pieces: &mut Pieces, name: String, piece: Piece) -> Result<(), Problem> {
    if pieces.len() >= MOST {
        return Err(Problem::malformed("There are too many parameters."));
    }
    pieces.push((name, piece));
    Ok(())
}

/// Reads a body by its content type.
pub async fn body(
    request: Request,
    limit: usize,
    time: Duration,
    pieces: &mut Pieces,
) -> Result<(), Problem> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let (parts, body) = request.into_parts();
    let late = |_| {
        let words = "The body took too long to arrive.";
        Problem::new(StatusCode::REQUEST_TIMEOUT, "BODY_TOO_SLOW", words)
    };
    let bytes = tokio::time::timeout(time, within(body, limit)).await.map_err(late)??;
    if bytes.is_empty() {
        return Ok(());
    }
    match kind.as_str() {
        "application/json" => json(&bytes, pieces),
        "application/x-www-form-urlencoded" => form(&bytes, pieces),
        "multipart/form-data" => multipart(Request::from_parts(parts, Body::from(bytes)), pieces).await,
        _ => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UNSUPPORTED_MEDIA_TYPE",
            "The body must be JSON, a form or multipart.",
        )),
    }
}

async fn within(body: Body, limit: usize) -> Result<Bytes, Problem> {
    let large = || {
        let words = format!("The body must not be larger than {limit} bytes.");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE", words)
    };
    if body.size_hint().lower() > limit as u64 {
        return Err(large());
    }
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(large()),
        Err(_) => Err(Problem::malformed("The body ended before it was whole.")),
    }
}

/// `a=b&c=d`, percent-encoded UTF-8.
pub fn form(bytes: &[u8], pieces: &mut Pieces) -> Result<(), Problem> {
    for pair in bytes.split(|b| *b == b'&').filter(|pair| !pair.is_empty()) {
        let mut sides = pair.splitn(2, |b| *b == b'=');
        let name = decoded(sides.next().unwrap_or_default())?;
        let value = decoded(sides.next().unwrap_or_default())?;
        add(pieces, name, Piece::Text(value))?;
    }
    Ok(())
}

fn decoded(bytes: &[u8]) -> Result<String, Problem> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let pair = rest.next().zip(rest.next()).and_then(|(high, low)| {
                    let digit = |b: &u8| char::from(*b).to_digit(16).and_then(|d| u8::try_from(d).ok());
                    Some(digit(high)? << 4 | digit(low)?)
                });
                out.push(
                    pair.ok_or_else(|| Problem::malformed("A percent sign stands without its digits."))?,
                );
            }
            byte => out.push(*byte),
        }
    }
    String::from_utf8(out).map_err(|_| Problem::malformed("The request is not valid UTF-8."))
}

fn json(bytes: &[u8], pieces: &mut Pieces) -> Result<(), Problem> {
    let text = std::str::from_utf8(bytes).map_err(|_| Problem::malformed("The body is not valid UTF-8."))?;
    let value: Value =
        serde_json::from_str(text).map_err(|_| Problem::malformed("The body is not valid JSON."))?;
    let Value::Object(members) = value else {
        return Err(Problem::malformed("The body must be a JSON object."));
    };
    for (name, value) in members {
        flatten(name, value, 0, pieces)?;
    }
    Ok(())
}

fn flatten(name: String, value: Value, depth: usize, pieces: &mut Pieces) -> Result<(), Problem> {
    if depth > DEPTH {
        return Err(Problem::malformed("The body is nested too deeply."));
    }
    match value {
        Value::Null => add(pieces, name, Piece::Null),
        Value::Bool(flag) => add(pieces, name, Piece::Flag(flag)),
        Value::Number(number) => add(pieces, name, Piece::Number(number.to_string())),
        Value::String(text) => add(pieces, name, Piece::Text(text)),
        Value::Array(items) => items.into_iter().enumerate().try_for_each(|(index, item)| {
            let plain = !(item.is_object() || item.is_array());
            let name = if plain { format!("{name}[]") } else { format!("{name}[{index}]") };
            flatten(name, item, depth + 1, pieces)
        }),
        Value::Object(members) => members
            .into_iter()
            .try_for_each(|(key, value)| flatten(format!("{name}[{key}]"), value, depth + 1, pieces)),
    }
}

async fn multipart(request: Request, pieces: &mut Pieces) -> Result<(), Problem> {
    let broken = |_: MultipartError| Problem::malformed("The multipart body cannot be read.");
    let mut parts = Multipart::from_request(request, &())
        .await
        .map_err(|_| Problem::malformed("The multipart body has no boundary."))?;
    while let Some(part) = parts.next_field().await.map_err(broken)? {
        let name = part.name().unwrap_or_default().to_owned();
        let is_file = part.file_name().is_some();
        let bytes = part.bytes().await.map_err(broken)?;
        if is_file {
            // Browsers send an empty file for a field that was left alone.
            if !bytes.is_empty() {
                add(pieces, name, Piece::File)?;
            }
            continue;
        }
        let text = String::from_utf8(bytes.to_vec())
            .map_err(|_| Problem::malformed("The request is not valid UTF-8."))?;
        add(pieces, name, Piece::Text(text))?;
    }
    Ok(())
}
