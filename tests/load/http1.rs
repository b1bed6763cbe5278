//! A client as apps have one: HTTP/1.1 over a connection that stays open, one request at a time.

use anyhow::Context as _;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

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

    /// The body of an answer that must be 200.
    pub async fn get(&mut self, path: &str) -> anyhow::Result<Bytes> {
        self.ask("GET", path, Bytes::new()).await
    }

    /// Posts a form.
    pub async fn post(&mut self, path: &str, form: String) -> anyhow::Result<Bytes> {
        self.ask("POST", path, Bytes::from(form)).await
    }

    async fn ask(&mut self, method: &str, path: &str, body: Bytes) -> anyhow::Result<Bytes> {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, &self.host);
        if !self.token.is_empty() {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", self.token));
        }
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        self.send.ready().await?;
        let answer = self.send.send_request(request.body(Full::new(body))?).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        anyhow::ensure!(
            status == StatusCode::OK,
            "{method} {path}: {status} {}",
            String::from_utf8_lossy(&body)
        );
        Ok(body)
    }
}
