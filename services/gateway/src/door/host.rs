//! Which server a request is for: its Host says so. An unknown one is refused with 421.

use crate::error::Problem;
use crate::gate::{Answered, Gate, ask};
use http::{HeaderMap, StatusCode, Uri, header};
use p92_proto::event::v1::ReadOptions;
use p92_proto::identity::v1::get_server_request::Server as Which;
use p92_proto::identity::v1::{GetServerRequest, Server, ServerState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

/// The host that a request names, lower case, with its port.
pub fn of_request(headers: &HeaderMap, uri: &Uri) -> Result<String, Problem> {
    let mut named = headers.get_all(header::HOST).iter();
    let text = match (uri.authority(), named.next(), named.next()) {
        (_, Some(_), Some(_)) => return Err(Problem::malformed("There is more than one Host.")),
        (Some(authority), _, _) => authority.as_str(),
        (None, Some(value), None) => {
            value.to_str().map_err(|_| Problem::malformed("The Host cannot be read."))?
        }
        (None, None, _) => return Err(Problem::malformed("There is no Host.")),
    };
    let fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']' | '_');
    if text.is_empty() || text.len() > 255 || !text.chars().all(fit) {
        return Err(Problem::malformed("The Host cannot be read."));
    }
    Ok(text.to_ascii_lowercase())
}

/// Whether a host (with or without port) can only mean this machine.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    let name = without_port(host);
    if let Ok(address) = name.trim_matches(['[', ']']).parse::<IpAddr>() {
        return address.to_canonical().is_loopback();
    }
    let name = name.trim_end_matches('.');
    name == "localhost" || name.ends_with(".localhost")
}

fn without_port(host: &str) -> &str {
    if host.starts_with('[') {
        return host.split_once(']').map_or(host, |(address, _)| address);
    }
    host.split_once(':').map_or(host, |(name, _)| name)
}

/// The host (with its port, if it has one) of a public URL.
#[must_use]
pub fn of_url(public_url: &str) -> &str {
    let rest = public_url.split_once("://").map_or(public_url, |(_, rest)| rest);
    rest.split_once('/').map_or(rest, |(host, _)| host)
}

impl Gate {
    /// The server that a host names.
    pub async fn server_at(&self, host: &str) -> Result<Arc<Server>, Problem> {
        let found = match self.hosts.get(host).await.and_then(|known| known.believed()) {
            Some(found) => found,
            None => {
                let asked = Instant::now();
                let found = self.find_server(host).await?;
                self.hosts.insert(host.to_owned(), Answered::new(asked, found.clone())).await;
                found
            }
        };
        found.ok_or_else(|| {
            let words = "There is no such server here.";
            Problem::new(StatusCode::MISDIRECTED_REQUEST, "UNKNOWN_SERVER", words)
        })
    }

    async fn find_server(&self, host: &str) -> Result<Option<Arc<Server>>, Problem> {
        if let Some(server) = self.server_called(host).await? {
            return Ok(Some(server));
        }
        let home = of_url(&self.home);
        if is_loopback(host) && is_loopback(home) { self.server_called(home).await } else { Ok(None) }
    }

    async fn server_called(&self, host: &str) -> Result<Option<Arc<Server>>, Problem> {
        let request = GetServerRequest {
            options: Some(ReadOptions::default()),
            server: Some(Which::Host(host.to_owned())),
        };
        match ask(self.deps.servers.clone().get_server(request).await) {
            Ok(answer) => {
                let server = answer.server.filter(|one| one.state() == ServerState::Active);
                Ok(server.map(Arc::new))
            }
            Err(problem)
                if matches!(problem.status, StatusCode::NOT_FOUND | StatusCode::UNPROCESSABLE_ENTITY) =>
            {
                Ok(None)
            }
            Err(problem) => Err(problem),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_names_are_known() {
        for host in
            ["localhost", "localhost:3000", "a.localhost:1", "127.0.0.1:8092", "127.9.9.9", "[::1]:80"]
        {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.example", "example.org", "10.0.0.1", "[::2]:80", "127.0.0.1.example"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
