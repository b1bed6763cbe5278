//! The parameters of a request, however they come: query, form, multipart or JSON, with `id[]`, `a[b]` and `a[0][b]`.
//!
//! One extractor for all routes. What cannot be read is 400; it never guesses at broken bytes.

mod read;

pub use read::Piece;

use crate::error::Problem;
use crate::gate::Gate;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use http::Method;
use p92_kernel::Id;
use std::time::Duration;

/// Names and values in their order; the body's stand behind the query's and win.
#[derive(Clone, Debug, Default)]
pub struct Params {
    pieces: Vec<(String, Piece)>,
}

impl FromRequest<Gate> for Params {
    type Rejection = Response;

    async fn from_request(request: Request, gate: &Gate) -> Result<Self, Response> {
        Self::read(request, gate.config.body_limit, gate.config.body_time.into())
            .await
            .map_err(IntoResponse::into_response)
    }
}

impl Params {
    async fn read(request: Request, limit: usize, time: Duration) -> Result<Self, Problem> {
        let mut pieces = Vec::new();
        if let Some(query) = request.uri().query() {
            read::form(query.as_bytes(), &mut pieces)?;
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            read::body(request, limit, time, &mut pieces).await?;
        }
        Ok(Self { pieces })
    }

    fn last(&self, name: &str) -> Option<&Piece> {
        self.pieces.iter().rev().find(|(one, _)| one == name).map(|(_, piece)| piece)
    }

    /// Whether the request says anything under this name, also by `name[…]`.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.pieces.iter().any(|(one, piece)| is_under(one, name) && !matches!(piece, Piece::Null))
    }

    /// A text.
    pub fn text(&self, name: &str) -> Result<Option<&str>, Problem> {
        match self.last(name) {
            Some(Piece::Text(text)) => Ok(Some(text)),
            Some(Piece::Number(text)) => Err(not(name, text, "must be a text")),
            Some(Piece::Flag(_) | Piece::File) => Err(not(name, "", "must be a text")),
            Some(Piece::Null) => Ok(None),
            None if self.has(name) => Err(not(name, "", "must be a text")),
            None => Ok(None),
        }
    }

    /// A text that must be there.
    pub fn needed(&self, name: &str) -> Result<&str, Problem> {
        let text = self.text(name)?.filter(|text| !text.trim().is_empty());
        text.ok_or_else(|| Problem::invalid(name, "BLANK", "can't be blank"))
    }

    /// Yes or no, as forms and JSON say it.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, Problem> {
        match self.last(name) {
            Some(Piece::Flag(flag)) => Ok(Some(*flag)),
            Some(Piece::Text(text) | Piece::Number(text)) => match text.to_ascii_lowercase().as_str() {
                "true" | "1" | "on" | "t" | "yes" => Ok(Some(true)),
                "false" | "0" | "off" | "f" | "no" => Ok(Some(false)),
                "" => Ok(None),
                _ => Err(not(name, text, "must be true or false")),
            },
            Some(Piece::Null) => Ok(None),
            Some(Piece::File) => Err(not(name, "", "must be true or false")),
            None if self.has(name) => Err(not(name, "", "must be true or false")),
            None => Ok(None),
        }
    }

    /// A number that is not negative.
    pub fn number(&self, name: &str) -> Result<Option<u64>, Problem> {
        match self.last(name) {
            Some(Piece::Text(text)) if text.is_empty() => Ok(None),
            Some(Piece::Text(text) | Piece::Number(text)) => {
                text.parse().map(Some).map_err(|_| not(name, text, "must be a number"))
            }
            Some(Piece::Null) | None => Ok(None),
            Some(Piece::Flag(_) | Piece::File) => Err(not(name, "", "must be a number")),
        }
    }

    /// How many are asked for: clamped, never an error.
    #[must_use]
    pub fn limit(&self, default: u32, most: u32) -> u32 {
        let asked = match self.last("limit") {
            Some(Piece::Text(text) | Piece::Number(text)) => text.trim().parse::<i64>().ok(),
            _ => None,
        };
        asked.map_or(default, |asked| u32::try_from(asked.clamp(1, i64::from(most))).unwrap_or(default))
    }

    /// An id; 0 if there is none.
    pub fn id(&self, name: &str) -> Result<u64, Problem> {
        match self.last(name) {
            Some(Piece::Text(text)) if text.is_empty() => Ok(0),
            Some(Piece::Text(text) | Piece::Number(text)) => {
                text.parse::<Id>().map(Id::get).map_err(|_| not(name, text, "is not an id"))
            }
            Some(Piece::Null) | None => Ok(0),
            Some(Piece::Flag(_) | Piece::File) => Err(not(name, "", "is not an id")),
        }
    }

    /// Everything under `name[]`, `name[0]` and repeated `name`, in their order.
    pub fn list(&self, name: &str) -> Result<Vec<&str>, Problem> {
        let mut all = Vec::new();
        for (key, piece) in &self.pieces {
            if key != name && !is_member(key, name) {
                if is_under(key, name) {
                    return Err(not(name, "", "must be a list of texts"));
                }
                continue;
            }
            match piece {
                Piece::Text(text) | Piece::Number(text) => all.push(text.as_str()),
                Piece::Null => {}
                Piece::Flag(_) | Piece::File => return Err(not(name, "", "must be a list of texts")),
            }
        }
        Ok(all)
    }

    /// A list of ids. Those that are none name nothing and are left out.
    pub fn ids(&self, name: &str) -> Result<Vec<u64>, Problem> {
        Ok(self.list(name)?.into_iter().filter_map(|text| text.parse::<Id>().ok()).map(Id::get).collect())
    }

    /// Rows of `name[0][member]`, by their index: each a list of member names and texts.
    pub fn rows(&self, name: &str) -> Result<Vec<Vec<(&str, &str)>>, Problem> {
        let mut rows: Vec<(u32, Vec<(&str, &str)>)> = Vec::new();
        for (key, piece) in &self.pieces {
            let Some(rest) = key.strip_prefix(name).and_then(|rest| rest.strip_prefix('[')) else { continue };
            let Some((index, member)) = rest.split_once("][") else { continue };
            let (Ok(index), Some(member)) = (index.parse::<u32>(), member.strip_suffix(']')) else {
                return Err(not(name, "", "cannot be read"));
            };
            let (Piece::Text(text) | Piece::Number(text)) = piece else { continue };
            match rows.iter_mut().find(|(one, _)| *one == index) {
                Some((_, members)) => members.push((member, text)),
                None => rows.push((index, vec![(member, text)])),
            }
        }
        rows.sort_by_key(|(index, _)| *index);
        Ok(rows.into_iter().map(|(_, members)| members).collect())
    }

    /// Whether a file was sent under this name.
    #[must_use]
    pub fn is_file(&self, name: &str) -> bool {
        matches!(self.last(name), Some(Piece::File))
    }
}

fn not(name: &str, _value: &str, words: &str) -> Problem {
    Problem::invalid(name, "INVALID", words)
}

/// `name`, or anything `name[…`.
fn is_under(key: &str, name: &str) -> bool {
    key.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('['))
}

/// `name[]` or `name[7]`.
fn is_member(key: &str, name: &str) -> bool {
    let inner = key.strip_prefix(name).and_then(|rest| rest.strip_prefix('[')?.strip_suffix(']'));
    inner.is_some_and(|inner| inner.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    async fn parse(kind: &str, body: impl Into<Body>) -> Result<Params, Problem> {
        let request =
            Request::post("/x?limit=5&id[]=9").header("content-type", kind).body(body.into()).unwrap();
        Params::read(request, 1_000, Duration::from_secs(1)).await
    }

    const FORM: &str = "application/x-www-form-urlencoded";

    #[tokio::test]
    async fn all_bodies_say_the_same() {
        let json = r#"{"status":"Grüße","sensitive":true,"id":["1","2"],"home":{"last_read_id":"7"},"f":[{"n":"a"}]}"#;
        let form = "status=Gr%C3%BC%C3%9Fe&sensitive=on&id[]=1&id%5B%5D=2&home[last_read_id]=7&f[0][n]=a";
        let parts = [
            ("status", "Grüße"),
            ("sensitive", "1"),
            ("id[]", "1"),
            ("id[]", "2"),
            ("home[last_read_id]", "7"),
            ("f[0][n]", "a"),
        ];
        let multipart: String = parts
            .iter()
            .map(|(name, value)| {
                format!("--B\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
            })
            .collect::<String>()
            + "--B--\r\n";
        for (kind, body) in [
            ("application/json; charset=utf-8", json),
            (FORM, form),
            ("multipart/form-data; boundary=B", multipart.as_str()),
        ] {
            let params = parse(kind, body.to_owned()).await.unwrap();
            assert_eq!(params.text("status").unwrap(), Some("Grüße"), "{kind}");
            assert_eq!(params.flag("sensitive").unwrap(), Some(true), "{kind}");
            assert_eq!(params.ids("id").unwrap(), [9, 1, 2], "{kind}");
            assert_eq!(params.id("home[last_read_id]").unwrap(), 7, "{kind}");
            assert_eq!(params.rows("f").unwrap(), [[("n", "a")]], "{kind}");
            assert_eq!(params.limit(20, 40), 5, "{kind}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_refused() {
        let cases: [(&str, &[u8], u16); 9] = [
            ("application/json", b"{\"status\":\"a", 400),
            ("application/json", b"[1]", 400),
            ("application/json", b"{\"status\":\"\xff\"}", 400),
            (FORM, b"status=%FF", 400),
            (FORM, b"status=\xff", 400),
            (FORM, b"status=%4", 400),
            (
                "multipart/form-data; boundary=B",
                b"--B\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\nx",
                400,
            ),
            ("text/plain", b"status=1", 415),
            (FORM, &[b'a'; 1_001], 413),
        ];
        for (kind, body, status) in cases {
            let problem = parse(kind, body.to_vec()).await.unwrap_err();
            assert_eq!(problem.status.as_u16(), status, "{kind} {:?}", String::from_utf8_lossy(body));
        }
    }

    #[tokio::test]
    async fn wrong_types_are_named() {
        let json = r#"{"status":5,"sensitive":"maybe","in_reply_to_id":"x","spoiler_text":{"a":1},"language":["de"]}"#;
        let params = parse("application/json", json).await.unwrap();
        for problem in [
            params.text("status").unwrap_err(),
            params.flag("sensitive").map(|_| ()).unwrap_err(),
            params.id("in_reply_to_id").map(|_| ()).unwrap_err(),
            params.text("spoiler_text").map(|_| ()).unwrap_err(),
            params.text("language").map(|_| ()).unwrap_err(),
        ] {
            assert_eq!(problem.status.as_u16(), 422);
            assert!(problem.details.is_some());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_arrive_is_let_go() {
        let never = Body::from_stream(futures::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
        assert_eq!(parse(FORM, never).await.unwrap_err().status.as_u16(), 408);
    }

    #[tokio::test]
    async fn depth_and_limits_hold() {
        let deep = "{\"a\":".to_owned() + &"[".repeat(400) + &"]".repeat(400) + "}";
        assert_eq!(parse("application/json", deep).await.unwrap_err().status.as_u16(), 400);
        let params = parse(FORM, "limit=-3").await.unwrap();
        assert_eq!(params.limit(20, 40), 1);
        let params = parse(FORM, "limit=99999999999").await.unwrap();
        assert_eq!(params.limit(20, 40), 40);
    }
}
