//! Asks the router and reads its answers.

use super::world::{HOST, World};
use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use p92_chassis::HumanDuration;
use p92_gateway::Config;

use serde_json::Value;
use tower::ServiceExt as _;

pub struct Client {
    pub world: World,
    pub router: axum::Router,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {} {}", self.status, self.text))
    }

    /// The JSON of an answer that must be a success.
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text);
        self.json()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

pub fn client() -> Client {
    // Caches would hide what a test changes between two requests.
    client_with(Config { cache: HumanDuration::default(), ..Config::default() })
}

pub fn client_with(config: Config) -> Client {
    let world = World::new();
    Client { router: world.router_with(config), world }
}

impl Client {
    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response: Response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8(bytes.to_vec()).unwrap_or_default(),
        }
    }

    pub fn request(method: Method, path: &str, token: &str) -> http::request::Builder {
        let request = Request::builder().method(method).uri(path).header("host", HOST);
        if token.is_empty() { request } else { request.header("authorization", format!("Bearer {token}")) }
    }

    pub async fn get(&self, path: &str, token: &str) -> Answer {
        self.send(Self::request(Method::GET, path, token).body(Body::empty()).unwrap()).await
    }

    pub async fn post(&self, path: &str, token: &str, body: Value) -> Answer {
        self.json(Method::POST, path, token, body).await
    }

    pub async fn json(&self, method: Method, path: &str, token: &str, body: Value) -> Answer {
        let request = Self::request(method, path, token).header("content-type", "application/json");
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    pub async fn form(&self, path: &str, token: &str, body: &str) -> Answer {
        let request = Self::request(Method::POST, path, token)
            .header("content-type", "application/x-www-form-urlencoded");
        self.send(request.body(Body::from(body.to_owned())).unwrap()).await
    }
}

/// Every one of these members is there.
#[track_caller]
pub fn has(value: &Value, members: &[&str]) {
    for member in members {
        assert!(value.get(member).is_some(), "{member} is missing in {value}");
    }
}
