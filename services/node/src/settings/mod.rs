//! What may be set, and from where: a TOML file, then the environment, then flags; the last one wins.
//!
//! In: flags, a file, variables. Out: one struct that was checked as a whole, or everything that is wrong with it, each
//! with its place. It refuses to know what a part does with its section.

mod cluster;
mod edges;

pub use cluster::{
    BusConfig, BusKind, ClientTls, Consistency, Cql, Internal, LogSerial, PeersConfig, StoreKind,
};

use crate::role::Role;
use clap::Args;
use p92_chassis::config::{Loaded, Loader, Problem, Problems, print, process_environment};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// Variables that begin as settings do and are read by the command line itself.
const NOT_SETTINGS: [&str; 5] = ["P92_CONFIG", "P92_DATA", "P92_ENDPOINT", "P92_OPERATOR", "P92_TOKEN_FILE"];

p92_chassis::config! {
    /// P92. A setting is read from the file, then from its variable (`store.cache_mib` is P92_STORE__CACHE_MIB), then
    /// from its flag if it has one; the last one wins.
    pub struct Config {
        /// Address of the public HTTP listener.
        pub http: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 8092)),
        /// Address of the public gRPC listener.
        pub grpc: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 8093)),
        /// Address where operators find health and metrics. Never for strangers.
        pub ops: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 9092)),
        /// Who may use the operator API there.
        pub operators: crate::operator::access::Operators,
        /// The domain behind the @ of handles of the first server; the host of the public URL if not set.
        pub domain: Option<String> = None,
        /// How people reach the first server, as https://social.example; http and the HTTP listener if not set.
        pub public_url: Option<String> = None,
        /// The file of the keys that seal personal content; DATA.keys beside the data directory if not set. Never back it
        /// up together with the data.
        pub keys: Option<PathBuf> = None,
        /// Logs, traces and metrics.
        pub telemetry: p92_chassis::telemetry::TelemetryConfig,
        /// The store.
        pub store: Store,
        /// The bus between processes.
        pub bus: BusConfig,
        /// Where other processes reach this one, if it is one service.
        pub internal: Internal,
        /// Where the services are, if they are not in this process.
        pub peers: PeersConfig,
        /// Mutual TLS between services.
        pub tls: p92_chassis::tls::TlsConfig,
        /// How a process ends.
        pub shutdown: p92_chassis::shutdown::ShutdownConfig,
        /// Servers, accounts, credentials.
        pub identity: p92_identity::Config,
        /// Posts.
        pub posting: p92_posting::Config,
        /// Timelines.
        pub timelines: p92_timelines::Config,
        /// What other hosts must get.
        pub delivery: p92_federation_delivery::Config,
        /// Trends.
        pub ranking: p92_ranking::Config,
        /// The door.
        pub gateway: p92_gateway::Config,
    }
}

p92_chassis::config! {
    /// The store. Space, cache and compression are of the embedded one.
    pub struct Store {
        /// `embedded` or `cql`.
        pub kind: StoreKind = StoreKind::Embedded,
        /// ScyllaDB or Cassandra.
        pub cql: Cql,
        /// Below this much free space writes are refused, in MiB.
        pub free_floor_mib: u64 = 256,
        /// Blocks kept in memory, in MiB.
        pub cache_mib: u64 = 16,
        /// Whether stored blocks are compressed.
        pub compression: bool = true,
        /// Number of shards, at first start only; between 1 and 1,024.
        pub shards: u16 = 16,
    }
}

/// Flags of the settings that everybody sets. Each has a variable too, and a place in the file.
#[derive(Clone, Debug, Default, Args)]
#[command(
    after_help = "Every setting can also be given by a variable (P92_HTTP, P92_STORE__CACHE_MIB) or in the file; `p92 config print` shows all of them with what they mean."
)]
pub struct Flags {
    /// Where the public HTTP listener is [default: 127.0.0.1:8092]
    #[arg(long, value_name = "ADDRESS")]
    http: Option<String>,
    /// Where the public gRPC listener is [default: 127.0.0.1:8093]
    #[arg(long, value_name = "ADDRESS")]
    grpc: Option<String>,
    /// Where operators find health and metrics; never for strangers [default: 127.0.0.1:9092]
    #[arg(long, value_name = "ADDRESS")]
    ops: Option<String>,
    /// The domain behind the @ of handles of the first server [default: the host of the public URL]
    #[arg(long)]
    domain: Option<String>,
    /// How people reach the first server [default: http and the HTTP listener]
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// The file of the keys that seal personal content; never back it up together with the data [default: DATA.keys]
    #[arg(long, value_name = "FILE")]
    keys: Option<String>,
    /// A TOML file with any of the settings
    #[arg(long, env = "P92_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Flags {
    /// The flags of a command that needs to know a store and its keys, and nothing else.
    #[must_use]
    pub fn of_store(config: Option<PathBuf>, keys: Option<String>) -> Self {
        Self { config, keys, ..Self::default() }
    }

    /// No flags: settings come from the file that `P92_CONFIG` names, and from variables.
    #[must_use]
    pub fn of_environment() -> Self {
        Self { config: std::env::var_os("P92_CONFIG").map(PathBuf::from), ..Self::default() }
    }

    /// The same for a process that is one part of an installation.
    pub fn load_for(&self, role: Role) -> Result<Settings, Problems> {
        self.load()?.for_role(role)
    }

    /// The same for a process that runs everything.
    pub fn load_for_whole(&self) -> Result<Settings, Problems> {
        self.load()?.for_whole()
    }

    /// The settings in force, or everything that is wrong.
    pub fn load(&self) -> Result<Settings, Problems> {
        self.over(process_environment())
    }

    fn over(&self, environment: impl Iterator<Item = (String, String)>) -> Result<Settings, Problems> {
        let mut loader = Loader::<Config>::default();
        if let Some(path) = &self.config {
            loader = loader.file(path);
        }
        loader = loader.ignoring(NOT_SETTINGS).environment(environment);
        let flags = [
            ("http", &self.http),
            ("grpc", &self.grpc),
            ("ops", &self.ops),
            ("domain", &self.domain),
            ("public_url", &self.public_url),
            ("keys", &self.keys),
        ];
        for (path, text) in flags {
            if let Some(text) = text {
                loader = loader.flag(path, text);
            }
        }
        Settings::checked(loader.load()?)
    }
}

/// The settings of one process: what was found, where, and what follows from it.
#[derive(Clone, Debug)]
pub struct Settings {
    loaded: Loaded<Config>,
    /// Parsed; without a slash at its end.
    url: http::Uri,
}

impl std::ops::Deref for Settings {
    type Target = Config;
    fn deref(&self) -> &Config {
        &self.loaded.value
    }
}

impl Settings {
    /// Settings that a program gives as a whole, without a file or variables.
    pub fn given(config: Config) -> Result<Self, Problems> {
        Self::checked(Loaded { value: config, origins: std::collections::BTreeMap::new() })
    }

    fn checked(loaded: Loaded<Config>) -> Result<Self, Problems> {
        let (mut problems, config) = (Vec::new(), &loaded.value);
        let url = public_url(&loaded).map_err(|problem| problems.push(problem));
        let listeners = [("http", config.http), ("grpc", config.grpc), ("ops", config.ops)];
        for (at, (name, address)) in listeners.iter().enumerate() {
            let taken = listeners.iter().take(at).find(|(_, other)| other == address && other.port() != 0);
            if let Some((other, _)) = taken {
                problems.push(loaded.problem(name, format!("{address} is the address of `{other}` already")));
            }
        }
        if !(1..=1_024).contains(&config.store.shards) {
            problems.push(loaded.problem("store.shards", "must be between 1 and 1,024"));
        }
        problems.extend(edges::problems(config).into_iter().map(|(key, text)| loaded.problem(key, text)));
        match url {
            Ok(url) if problems.is_empty() => Ok(Self { loaded, url }),
            _ => Err(Problems(problems)),
        }
    }

    /// What one part of an installation needs is there, or everything that is not.
    fn for_role(self, role: Role) -> Result<Self, Problems> {
        let missing = cluster::problems_of(&self.loaded.value, role);
        self.lacking(missing)
    }

    /// What a process that runs everything needs is there, or everything that is not.
    fn for_whole(self) -> Result<Self, Problems> {
        let missing = cluster::problems_of_whole(&self.loaded.value);
        self.lacking(missing)
    }

    fn lacking(self, missing: Vec<(&'static str, String)>) -> Result<Self, Problems> {
        if missing.is_empty() {
            return Ok(self);
        }
        Err(Problems(missing.into_iter().map(|(key, text)| self.loaded.problem(key, text)).collect()))
    }

    /// Whether a setting was set, and is no default.
    #[must_use]
    pub fn is_set(&self, path: &str) -> bool {
        self.loaded.origins.contains_key(path)
    }

    /// How people reach the first server, if that was said; as it is written into ids, without a slash at its end.
    #[must_use]
    pub fn public_url(&self) -> Option<String> {
        self.public_url.as_ref()?;
        Some(self.url.to_string().trim_end_matches('/').to_owned())
    }

    /// Whether only this machine can reach the first server.
    #[must_use]
    pub fn is_local(&self) -> bool {
        is_loopback(self.url.host().unwrap_or_default())
    }

    /// The domain of the first server.
    #[must_use]
    pub fn domain(&self) -> String {
        match &self.domain {
            Some(domain) => domain.clone(),
            None if self.is_local() => "localhost".to_owned(),
            None => self.url.host().unwrap_or_default().to_owned(),
        }
    }

    /// The key file of a data directory.
    #[must_use]
    pub fn keys(&self, data: &Path) -> PathBuf {
        self.keys.clone().unwrap_or_else(|| default_keys(data))
    }

    /// Everything as it is in force, as a file that can be read again, each setting with its meaning and origin.
    pub fn print(&self) -> anyhow::Result<String> {
        Ok(print(&self.loaded.value, &self.loaded.origins)?)
    }
}

/// The key file of a data directory, if no other is named: beside it, so that a copy of the one is not one of both.
#[must_use]
pub fn default_keys(data: &Path) -> PathBuf {
    let mut name = data.file_name().unwrap_or_default().to_owned();
    name.push(".keys");
    data.with_file_name(name)
}

fn public_url(loaded: &Loaded<Config>) -> Result<http::Uri, Problem> {
    let config = &loaded.value;
    let text = config.public_url.clone().unwrap_or_else(|| format!("http://{}", config.http));
    let wrong = |what: &str| loaded.problem("public_url", format!("{text} {what}"));
    let url: http::Uri = text.parse().map_err(|_| wrong("is no URL"))?;
    let (scheme, host) = (url.scheme_str().unwrap_or_default(), url.host().unwrap_or_default());
    let bare = matches!(url.path(), "" | "/") && url.query().is_none();
    if host.is_empty() || !matches!(scheme, "http" | "https") || !bare {
        return Err(wrong(
            "must be http or https, with a host and without a path, such as https://social.example",
        ));
    }
    if config.public_url.is_some() && scheme != "https" && !is_loopback(host) {
        return Err(wrong("is plain http on a public host; use https, or a loopback name for a trial"));
    }
    Ok(url)
}

/// Whether an address is this machine's own.
fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost"
        || bare.ends_with(".localhost")
        || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        flags: Flags,
    }

    fn of(flags: &[&str], variables: &[(&str, &str)]) -> Result<Settings, Problems> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Only::parse_from(["p92"].iter().chain(flags)).flags.over(variables)
    }

    fn wrong(flags: &[&str], variables: &[(&str, &str)]) -> String {
        of(flags, variables).unwrap_err().to_string()
    }

    #[test]
    fn nothing_set_is_a_laptop() {
        let settings = of(&[], &[]).unwrap();
        assert!(settings.is_local());
        assert_eq!((settings.domain().as_str(), settings.public_url()), ("localhost", None));
        assert_eq!(settings.keys(Path::new("./p92-data")), Path::new("./p92-data.keys"));
    }

    #[test]
    fn flags_win_over_variables() {
        let variables = [("P92_HTTP", "127.0.0.1:1"), ("P92_STORE__CACHE_MIB", "7"), ("P92_DATA", "x")];
        assert_eq!(of(&[], &variables).unwrap().http.port(), 1);
        let settings = of(&["--http", "127.0.0.1:2"], &variables).unwrap();
        assert_eq!((settings.http.port(), settings.store.cache_mib), (2, 7));
    }

    #[test]
    fn plain_http_on_a_public_host_is_refused() {
        assert!(wrong(&["--public-url", "http://social.example"], &[]).starts_with("flag --public-url: "));
        assert!(of(&["--public-url", "https://social.example/path"], &[]).is_err());
        let settings = of(&["--public-url", "https://social.example/"], &[]).unwrap();
        assert_eq!(settings.domain(), "social.example");
        assert_eq!(settings.public_url().as_deref(), Some("https://social.example"));
    }

    #[test]
    fn everything_wrong_is_said_at_once_with_its_place() {
        let both = wrong(&["--grpc", "127.0.0.1:8092"], &[("P92_STORE__SHARDS", "0")]);
        let lines: Vec<_> = both.lines().collect();
        assert_eq!(
            lines,
            [
                "flag --grpc: `grpc`: 127.0.0.1:8092 is the address of `http` already",
                "environment variable P92_STORE__SHARDS: `store.shards`: must be between 1 and 1,024",
            ]
        );
        let unknown = wrong(&["--http", "nowhere"], &[("P92_STORE__SHARD", "4")]);
        assert!(unknown.contains("P92_STORE__SHARD: there is no setting `store.shard`; did you mean"));
        assert!(unknown.contains("flag --http: `http`: "), "{unknown}");
    }

    #[test]
    fn one_service_says_at_once_what_it_lacks() {
        let set = [("P92_INTERNAL__LISTEN", "0.0.0.0:8094"), ("P92_PEERS__IDENTITY", r#"["identity:8094"]"#)];
        let text = of(&[], &set).unwrap().for_role(Role::Timelines).unwrap_err().to_string();
        for lacked in ["peers.posting", "internal.advertise", "`store.kind`: an embedded store belongs to"] {
            assert!(text.contains(lacked), "{lacked} in {text}");
        }
        assert!(!text.contains("peers.identity"), "{text}");
        let cql = [
            ("P92_STORE__KIND", "cql"),
            ("P92_INTERNAL__LISTEN", "0.0.0.0:8094"),
            ("P92_INTERNAL__ADVERTISE", "identity-0.members:8094"),
        ];
        assert!(of(&[], &cql).unwrap().for_role(Role::Identity).is_ok());
    }

    #[test]
    fn what_is_printed_can_be_read_back() {
        let text = of(&[], &[("P92_STORE__CACHE_MIB", "7")]).unwrap().print().unwrap();
        let read = Loader::<Config>::default().text("printed", &text).load().unwrap();
        assert_eq!(read.value.store.cache_mib, 7);
        assert!(text.contains("# (from environment variable P92_STORE__CACHE_MIB)\ncache_mib = 7"), "{text}");
    }
}
