//! Who listens where: the process's own listeners, how others of the installation reach it, its peers, the door, and the
//! public URL.
//!
//! In: settings, and what of it is where this command runs. Peers are asked by gRPC's health protocol on their internal
//! listeners, with the certificates of the settings: a port that takes a connection proves nothing. It refuses to know what
//! a process waits for; that is told by its `ops` listener.

use super::PATIENCE;
use crate::findings::Findings;
use crate::role::Role;
use crate::settings::{Settings, StoreKind};
use p92_chassis::Transport;
use p92_chassis::tls::Credentials;
use p92_chassis::transport::{Network, host_and_port};
use p92_kernel::Service;
use std::fmt;
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// Whether somebody listens at each address of the process that runs here, or would: `part`, or everything.
pub async fn listeners(found: &mut Findings, settings: &Settings, part: Option<Role>, runs: bool) {
    let (http, grpc) = (("http", settings.http), ("grpc", settings.grpc));
    let (ops, internal) = (("ops", settings.ops), ("internal", settings.internal.listen));
    let own = match part {
        Some(Role::Gateway) => vec![http, grpc, ops],
        Some(_) => vec![internal, ops],
        // Only where others may share the store does anybody come in there.
        None if settings.store.kind == StoreKind::Cql => vec![http, grpc, ops, internal],
        None => vec![http, grpc, ops],
    };
    let inner = own.contains(&internal);
    for (name, address) in own {
        let subject = format!("{name} address");
        if address.port() == 0 {
            let advice = "name one, so that others find it";
            found.doubtful(&subject, "the system chooses the port".to_owned(), advice);
            continue;
        }
        match reach(address).await {
            Ok(()) if runs => found.good(&subject, address.to_string()),
            Ok(()) => {
                let advice = "the server could not start: end the other one, or name another address";
                found.broken(&subject, format!("{address} is taken, and not by this server"), advice);
            }
            Err(error) if runs => {
                let advice =
                    "is it what the server was started with? Give doctor the same flags, variables or file";
                found.broken(&subject, format!("nobody answers at {address}: {error}"), advice);
            }
            Err(_) => found.good(&subject, format!("{address} is free")),
        }
    }
    if inner {
        advertised(found, settings, runs).await;
    }
    if part.is_none_or(|part| part == Role::Gateway) {
        public(found, settings, runs).await;
    }
}

/// Whether what this process tells others to call leads to it.
async fn advertised(found: &mut Findings, settings: &Settings, runs: bool) {
    let Some(address) = &settings.internal.advertise else { return };
    let subject = "own address";
    let advice = "say by `internal.advertise` how the other replicas reach this process";
    if !runs {
        return match resolve(address).await {
            Ok(_) => found.good(subject, format!("{address} is a name that resolves")),
            Err(problem) => found.doubtful(subject, problem, advice),
        };
    }
    let Some(credentials) = credentials(found, settings) else { return };
    match ask(settings, credentials.as_ref(), address).await {
        Ok(told) if told.iter().any(|(_, how)| matches!(how, How::Serving | How::NotReady)) => {
            found.good(subject, format!("{address} leads to a process of the installation"));
        }
        Ok(told) if told.iter().any(|(_, how)| *how == How::Mute) => {
            let advice =
                "it may be starting; otherwise look at the certificates (`tls`) and the name that they carry";
            found.doubtful(subject, listed(&told), advice);
        }
        Ok(told) => found.broken(subject, listed(&told), advice),
        Err(problem) => found.broken(subject, problem, advice),
    }
}

/// How each service that the settings say the place of stands, at every address that its names have.
pub async fn peers(found: &mut Findings, settings: &Settings) {
    let named: Vec<_> =
        Service::ALL.into_iter().filter(|service| !settings.peers.of(*service).is_empty()).collect();
    if named.is_empty() {
        return;
    }
    let Some(credentials) = credentials(found, settings) else { return };
    for service in named {
        let (mut told, mut problems) = (Vec::new(), Vec::new());
        for name in settings.peers.of(service) {
            match ask(settings, credentials.as_ref(), name).await {
                Ok(more) => told.extend(more),
                Err(problem) => problems.push(problem),
            }
        }
        peer(found, service, &told, problems);
    }
}

fn peer(found: &mut Findings, service: Service, told: &[Told], problems: Vec<String>) {
    let subject = format!("peer {service}");
    let serving = told.iter().filter(|(_, how)| *how == How::Serving).count();
    let waits = !told.is_empty() && told.iter().all(|(_, how)| *how == How::NotReady);
    let key = format!("peers.{}", service.name());
    let whole = serving > 0 && serving == told.len() && problems.is_empty();
    let text = [told.iter().map(|(at, how)| format!("{at} {how}")).collect(), problems].concat().join(", ");
    if whole {
        found.good(&subject, text);
    } else if serving > 0 {
        let advice = "calls go to the others meanwhile; what the process there waits for is told by its ops listener: p92 health --ops HOST:PORT";
        found.doubtful(&subject, text, advice);
    } else if !waits {
        let advice = format!(
            "start it (p92 serve {}), or say in `{key}` where it is; if it runs, look at the way to it: names, network policies, certificates (`tls`)",
            service.name().replace('_', "-")
        );
        found.broken(&subject, text, &advice);
    } else {
        let advice = "what it waits for is told by its ops listener: p92 health --ops HOST:PORT; usually the store, or slots that have no holder yet";
        found.broken(&subject, text, advice);
    }
}

/// Whether the door answers at this address, and has the first server behind it.
pub async fn door(found: &mut Findings, settings: &Settings, address: &str) {
    let url = settings.public_url();
    let host = url.as_ref().and_then(|url| url.split("://").nth(1)).unwrap_or(address);
    let asked = crate::ops::read(address, host, "/.well-known/nodeinfo");
    let asked = tokio::time::timeout(PATIENCE, asked).await;
    let advice =
        "is a gateway ready, and is the way to it open? p92 health --ops HOST:PORT says what it waits for";
    match asked {
        Ok(Ok(answer)) => match answer.split_whitespace().nth(1) {
            Some("200") => found.good("door", format!("{address} answers for {host}")),
            Some("421") => {
                let advice =
                    "is `public_url` what it was at the first start? p92 server list shows the servers";
                found.broken("door", format!("{address} answers, and knows no server at {host}"), advice);
            }
            code => {
                let text = format!("{address} answers with {}", code.unwrap_or("what is no HTTP"));
                found.broken("door", text, "look into the log of the gateway");
            }
        },
        Ok(Err(error)) => found.broken("door", format!("nobody answers at {address}: {error}"), advice),
        Err(_) => {
            let text = format!("{address} does not answer within {} s", PATIENCE.as_secs());
            found.broken("door", text, advice);
        }
    }
}

/// How one address stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Serving,
    /// It answers, and cannot serve.
    NotReady,
    /// It takes connections and does not say: another program, other certificates, or a process that has not come so far.
    Mute,
    Silent,
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Serving => "serves",
            Self::NotReady => "is not ready",
            Self::Mute => "takes connections, and does not say how it stands",
            Self::Silent => "does not answer",
        })
    }
}

/// An address as it was found, and how it stands.
type Told = (String, How);

fn listed(told: &[Told]) -> String {
    told.iter().map(|(at, how)| format!("{at} {how}")).collect::<Vec<_>>().join(", ")
}

/// The certificates of the settings, if any are named; they cannot be used otherwise, which is told.
fn credentials(found: &mut Findings, settings: &Settings) -> Option<Option<Credentials>> {
    match Credentials::load(&settings.tls) {
        Ok(credentials) => Some(credentials),
        Err(error) => {
            let text = p92_chassis::status::chain(&error);
            found.broken(
                "certificates",
                text,
                "write certificate, key and authority anew, as a pair that fits (`tls`)",
            );
            None
        }
    }
}

/// Asks every address of a name how it stands.
async fn ask(
    settings: &Settings,
    credentials: Option<&Credentials>,
    name: &str,
) -> Result<Vec<Told>, String> {
    let mut told = Vec::new();
    let (host, addresses) = resolve(name).await?;
    // Each by itself, with the name by which it was found for its certificate.
    let server_name = settings.internal.server_name.as_deref().unwrap_or(&host);
    for address in addresses {
        let network = Network::new([address.to_string()]).map_err(|error| error.to_string())?;
        let network = network.with_server_name(Some(server_name)).with_credentials(credentials.cloned());
        let how = stands(address, network).await;
        let at = if name == address.to_string() { name.to_owned() } else { format!("{name} ({address})") };
        told.push((at, how));
    }
    Ok(told)
}

async fn stands(address: SocketAddr, network: Network) -> How {
    if reach(address).await.is_err() {
        return How::Silent;
    }
    let asked = p92_chassis::health::ask(Transport::remote(network), PATIENCE);
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(true)) => How::Serving,
        Ok(Ok(false)) => How::NotReady,
        Ok(Err(_)) | Err(_) => How::Mute,
    }
}

/// The host of an address, and what it stands for now.
async fn resolve(name: &str) -> Result<(String, Vec<SocketAddr>), String> {
    let (host, port) = host_and_port(name).map_err(|error| error.to_string())?;
    let asked = tokio::net::lookup_host((host.as_str(), port));
    let found = tokio::time::timeout(PATIENCE, asked).await.map(|told| told.map(Vec::from_iter));
    match found {
        Ok(Ok(mut addresses)) => {
            addresses.sort();
            addresses.dedup();
            Ok((host, addresses))
        }
        Ok(Err(error)) => Err(format!("{host} does not resolve: {error}")),
        Err(_) => Err(format!("{host} does not resolve within {} s", PATIENCE.as_secs())),
    }
}

async fn public(found: &mut Findings, settings: &Settings, runs: bool) {
    let Some(url) = settings.public_url() else {
        return found.good("public URL", "none is set: this server is for this machine".to_owned());
    };
    let parsed: Option<http::Uri> = url.parse().ok();
    let host = parsed.as_ref().and_then(|url| url.host()).unwrap_or_default().to_owned();
    let port = parsed.as_ref().and_then(|url| url.port_u16());
    let port = port.unwrap_or(if url.starts_with("https") { 443 } else { 80 });
    let addresses = match resolve(&format!("{host}:{port}")).await {
        Ok((_, addresses)) => addresses,
        Err(problem) => {
            return found.broken(
                "public URL",
                problem,
                "make a DNS record for it that leads here, or look at the resolver",
            );
        }
    };
    let mut last = String::new();
    for address in addresses {
        match reach(address).await {
            Ok(()) => {
                return found.good(
                    "public URL",
                    format!("{url}: {address} listens (what it says was not looked at)"),
                );
            }
            Err(error) => last = format!("{address}: {error}"),
        }
    }
    let advice = "is the proxy in front running, and does it pass to the http address?";
    if runs {
        found.broken("public URL", format!("{url}: nobody listens ({last})"), advice);
    } else {
        found.doubtful("public URL", format!("{url}: nobody listens ({last})"), advice);
    }
}

async fn reach(address: SocketAddr) -> Result<(), String> {
    match tokio::time::timeout(PATIENCE, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}
