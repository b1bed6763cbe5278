//! A client as apps have one: HTTP/1.1 over a connection that stays open, one request at a time.

use anyhow::Context as _;
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::net::TcpStream;

/// How often, and after which pause, a server that says that it cannot now is asked again.
const REPEATS: usize = 50;
const PAUSE: Duration = Duration::from_millis(100);

/// One connection.
#[derive(Debug)]
pub struct Client {
    send: SendRequest<Full<Bytes>>,
    host: String,
    token: String,
}

impl Client {
    /// Connects to `127.0.0.1:PORT`; every request carries the token, if it is not empty.
    pub async fn connect(host: &str, token: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(host).await.with_context(|| format!("{host} does not answer"))?;
        stream.set_nodelay(true)?;
        let (send, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { send, host: host.to_owned(), token: token.to_owned() })
    }

    /// From now on requests carry this token.
    pub fn speak_for(&mut self, token: &str) {
        token.clone_into(&mut self.token);
    }

    /// The body of an answer that must be 200.
    pub async fn get(&mut self, path: &str) -> anyhow::Result<Bytes> {
        let (status, body) = self.ask("GET", path, Bytes::new(), None).await?;
        good("GET", path, status, body)
    }

    /// Posts a form.
    pub async fn post(&mut self, path: &str, form: String) -> anyhow::Result<Bytes> {
        let (status, body) = self.ask("POST", path, Bytes::from(form), None).await?;
        good("POST", path, status, body)
    }

    /// The same, and again if the server says that it cannot now, as an app does.
    pub async fn get_patiently(&mut self, path: &str) -> anyhow::Result<Bytes> {
        self.again("GET", path, Bytes::new(), None).await
    }

    /// Posts a form under a key, and again likewise: whatever became of it, it is done once.
    pub async fn post_keyed(&mut self, path: &str, form: String, key: &str) -> anyhow::Result<Bytes> {
        self.again("POST", path, Bytes::from(form), Some(key)).await
    }

    /// Opens a stream of server-sent events over this connection, which is its own from then on.
    pub async fn events(mut self, path: &str) -> anyhow::Result<Events> {
        let answer = self.send("GET", path, Bytes::new(), None).await?;
        let status = answer.status();
        anyhow::ensure!(status == StatusCode::OK, "GET {path}: {status}");
        Ok(Events { body: answer.into_body(), pending: String::new(), _connection: self.send })
    }

    async fn again(
        &mut self,
        method: &str,
        path: &str,
        body: Bytes,
        key: Option<&str>,
    ) -> anyhow::Result<Bytes> {
        let mut repeats = 0;
        loop {
            let (status, answer) = self.ask(method, path, body.clone(), key).await?;
            // A call that took too long is answered so too.
            if status != StatusCode::SERVICE_UNAVAILABLE || repeats == REPEATS {
                return good(method, path, status, answer);
            }
            repeats += 1;
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn ask(
        &mut self,
        method: &str,
        path: &str,
        body: Bytes,
        key: Option<&str>,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let answer = self.send(method, path, body, key).await?;
        let status = answer.status();
        Ok((status, answer.into_body().collect().await?.to_bytes()))
    }

    async fn send(
        &mut self,
        method: &str,
        path: &str,
        body: Bytes,
        key: Option<&str>,
    ) -> anyhow::Result<Response<Incoming>> {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, &self.host);
        if !self.token.is_empty() {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", self.token));
        }
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        self.send.ready().await?;
        Ok(self.send.send_request(request.body(Full::new(body))?).await?)
    }
}

/// Server-sent events as they come.
#[derive(Debug)]
pub struct Events {
    body: Incoming,
    /// What came of a line that has not ended yet.
    pending: String,
    /// Dropped, it would end the connection.
    _connection: SendRequest<Full<Bytes>>,
}

impl Events {
    /// The data of the next event, whatever its name; `None` when the stream has ended. Each of ours is one line.
    pub async fn next(&mut self) -> anyhow::Result<Option<String>> {
        loop {
            while let Some((line, rest)) = self.pending.split_once('\n') {
                let data = line.strip_prefix("data:").map(|data| data.trim().to_owned());
                self.pending = rest.to_owned();
                if data.is_some() {
                    return Ok(data);
                }
            }
            let Some(frame) = self.body.frame().await.transpose()? else { return Ok(None) };
            if let Ok(data) = frame.into_data() {
                self.pending.push_str(&String::from_utf8_lossy(&data));
            }
        }
    }
}

fn good(method: &str, path: &str, status: StatusCode, body: Bytes) -> anyhow::Result<Bytes> {
    let words = String::from_utf8_lossy(&body);
    anyhow::ensure!(status == StatusCode::OK, "{method} {path}: {status} {words}");
    Ok(body)
}
