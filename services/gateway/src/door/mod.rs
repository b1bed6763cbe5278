//! What happens to every request before it reaches a handler: its server is found, its caller known, its rate counted.
//!
//! It knows no route.

pub mod caller;
pub mod host;
pub mod rates;
pub mod session;

use crate::error::Problem;
use crate::gate::Gate;
use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use caller::Caller;
use http::{HeaderMap, Uri, header};
use p92_chassis::transport::route;
use p92_kernel::Id;
use std::net::{IpAddr, SocketAddr};

/// The middleware in front of everything.
pub async fn enter(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let address = address_of(&gate, &request);
    let recognised = recognise(&gate, request.headers(), request.uri(), address);
    let caller = match recognised.await {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    let standing = match gate.limits.count(&caller) {
        Ok(standing) => standing,
        Err(standing) => {
            let mut response = rates::too_many(&standing).into_response();
            standing.write(response.headers_mut(), gate.deps.clock.now());
            return response;
        }
    };
    // What somebody asks is most likely about what is his.
    let about = caller.token.as_ref().and_then(|verified| Id::new(verified.token.account_id)).map(Id::shard);
    request.extensions_mut().insert(caller);
    let mut response = match about {
        Some(shard) => route::about(shard, next.run(request)).await,
        None => next.run(request).await,
    };
    standing.write(response.headers_mut(), gate.deps.clock.now());
    response
}

async fn recognise(
    gate: &Gate,
    headers: &HeaderMap,
    uri: &Uri,
    address: Option<IpAddr>,
) -> Result<Caller, Problem> {
    let host = host::of_request(headers, uri)?;
    let server = gate.server_at(&host).await?;
    let token = match bearer(headers)? {
        Some(secret) => Some(gate.verify(server.id, secret).await?),
        None => None,
    };
    Ok(Caller { server, token, address })
}

/// The secret in the Authorization header. Other schemes belong to the handlers that know them.
pub fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let text = value.to_str().map_err(|_| Problem::unauthenticated())?;
    let Some((scheme, secret)) = text.split_once(' ') else { return Err(Problem::unauthenticated()) };
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Ok(None);
    }
    let secret = secret.trim();
    if secret.is_empty() || secret.len() > 1_024 { Err(Problem::unauthenticated()) } else { Ok(Some(secret)) }
}

/// Where the request comes from: the peer, or, if that is a proxy that the operator trusts, the last address in
/// `X-Forwarded-For` that is no such proxy.
fn address_of(gate: &Gate, request: &Request) -> Option<IpAddr> {
    let peer =
        request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_canonical())?;
    let trusted = &gate.config.trusted_proxies;
    if !trusted.contains(&peer) {
        return Some(peer);
    }
    let values = request.headers().get_all("x-forwarded-for").iter();
    let lines: Vec<&str> = values.filter_map(|value| value.to_str().ok()).collect();
    let mut hops = lines.iter().flat_map(|line| line.split(',')).map(str::trim).rev();
    let client = hops.find_map(|hop| match hop.parse::<IpAddr>() {
        Ok(address) if trusted.contains(&address.to_canonical()) => None,
        Ok(address) => Some(Some(address.to_canonical())),
        // What stands before something unreadable was written by nobody knows whom.
        Err(_) => Some(None),
    });
    client.flatten().or(Some(peer))
}
