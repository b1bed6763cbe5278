//! What may be set: flags and their variables for what everybody sets, a TOML file for the rest.

use anyhow::Context as _;
use clap::Args;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// Flags of `p92 serve`.
#[derive(Clone, Debug, Args)]
pub struct Settings {
    /// Where the public HTTP listener is.
    #[arg(long, default_value = "127.0.0.1:8092", env = "P92_HTTP", value_name = "ADDRESS")]
    pub http: SocketAddr,
    /// Where the public gRPC listener is.
    #[arg(long, default_value = "127.0.0.1:8093", env = "P92_GRPC", value_name = "ADDRESS")]
    pub grpc: SocketAddr,
    /// Where operators find health and metrics. Never for strangers.
    #[arg(long, default_value = "127.0.0.1:9092", env = "P92_OPS", value_name = "ADDRESS")]
    pub ops: SocketAddr,
    /// The domain behind the @ of handles of the first server; the host of the public URL if not given.
    #[arg(long, env = "P92_DOMAIN")]
    pub domain: Option<String>,
    /// How people reach the first server; http and the HTTP listener if not given.
    #[arg(long, env = "P92_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<String>,
    /// The file of the keys that seal personal content; DATA.keys beside the data directory if not given. Never back it
    /// up together with the data.
    #[arg(long, env = "P92_KEYS", value_name = "FILE")]
    pub keys: Option<PathBuf>,
    /// A TOML file with the settings of the parts; see `p92 config print`.
    #[arg(long, env = "P92_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Settings of the parts.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Parts {
    /// Logs, traces and metrics.
    pub telemetry: p92_chassis::telemetry::TelemetryConfig,
    /// The embedded store.
    pub store: Store,
    /// Servers, accounts, credentials.
    pub identity: p92_identity::Config,
    /// Posts.
    pub posting: p92_posting::Config,
    /// Timelines.
    pub timelines: p92_timelines::Config,
    /// The door. Its `public_url` is that of the flag.
    pub gateway: p92_gateway::Config,
}

/// Settings of the embedded store.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// Below this much free space writes are refused, in MiB.
    pub free_floor_mib: u64,
    /// Blocks kept in memory, in MiB.
    pub cache_mib: u64,
    /// Whether stored blocks are compressed.
    pub compression: bool,
    /// Number of shards, at first start only; between 1 and 1,024.
    pub shards: u16,
}

impl Default for Store {
    fn default() -> Self {
        Self { free_floor_mib: 256, cache_mib: 16, compression: true, shards: 16 }
    }
}

/// Whether an address is this machine's own.
fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost"
        || bare.ends_with(".localhost")
        || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

impl Settings {
    /// Settings of the parts, from the file if there is one.
    pub fn parts(&self) -> anyhow::Result<Parts> {
        let Some(path) = &self.config else { return Ok(Parts::default()) };
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is not in order", path.display()))
    }

    /// The public URL, checked.
    pub fn public_url(&self) -> anyhow::Result<http::Uri> {
        let text = self.public_url.clone().unwrap_or_else(|| format!("http://{}", self.http));
        let url: http::Uri = text.parse().with_context(|| format!("--public-url {text} is no URL"))?;
        let (scheme, host) = (url.scheme_str().unwrap_or_default(), url.host().unwrap_or_default());
        anyhow::ensure!(
            !host.is_empty() && matches!(scheme, "http" | "https") && matches!(url.path(), "" | "/"),
            "--public-url {text} must be http or https, with a host and without a path, such as https://social.example"
        );
        anyhow::ensure!(
            scheme == "https" || is_loopback(host),
            "--public-url {text} is plain http on a public host; use https, or a loopback name for a trial"
        );
        Ok(url)
    }

    /// Whether only this machine can reach the first server.
    pub fn is_local(&self) -> anyhow::Result<bool> {
        Ok(is_loopback(self.public_url()?.host().unwrap_or_default()))
    }

    /// The domain of the first server.
    pub fn domain(&self) -> anyhow::Result<String> {
        if let Some(domain) = &self.domain {
            return Ok(domain.clone());
        }
        let host = self.public_url()?.host().unwrap_or_default().to_owned();
        Ok(if is_loopback(&host) { "localhost".to_owned() } else { host })
    }

    /// The key file of a data directory.
    #[must_use]
    pub fn keys(&self, data: &Path) -> PathBuf {
        self.keys.clone().unwrap_or_else(|| {
            let mut name = data.file_name().unwrap_or_default().to_owned();
            name.push(".keys");
            data.with_file_name(name)
        })
    }

    /// Everything as it is in force, as TOML.
    pub fn print(&self) -> anyhow::Result<String> {
        let mut parts = self.parts()?;
        parts.gateway.public_url = self.public_url()?.to_string().trim_end_matches('/').to_owned();
        let head = format!(
            "# http = {}, grpc = {}, ops = {}, domain = {}: flags or P92_HTTP, P92_GRPC, P92_OPS, P92_DOMAIN\n",
            self.http,
            self.grpc,
            self.ops,
            self.domain()?
        );
        Ok(head + &toml::to_string_pretty(&parts)?)
    }

    /// Says what is wrong.
    pub fn check(&self) -> anyhow::Result<()> {
        self.parts()?;
        self.public_url()?;
        let pairs = [(self.http, self.grpc), (self.http, self.ops), (self.grpc, self.ops)];
        for (one, other) in pairs {
            anyhow::ensure!(one != other || one.port() == 0, "two listeners want {one}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        settings: Settings,
    }

    fn of(flags: &[&str]) -> Settings {
        Only::parse_from(["p92"].iter().chain(flags)).settings
    }

    #[test]
    fn nothing_set_is_a_laptop() {
        let settings = of(&[]);
        assert!(settings.is_local().unwrap());
        assert_eq!(settings.domain().unwrap(), "localhost");
        assert_eq!(settings.keys(Path::new("./p92-data")), Path::new("./p92-data.keys"));
        settings.check().unwrap();
    }

    #[test]
    fn plain_http_on_a_public_host_is_refused() {
        assert!(of(&["--public-url", "http://social.example"]).check().is_err());
        assert!(of(&["--public-url", "https://social.example/path"]).check().is_err());
        assert_eq!(of(&["--public-url", "https://social.example"]).domain().unwrap(), "social.example");
    }

    #[test]
    fn what_is_printed_can_be_read_back() {
        let text = of(&[]).print().unwrap();
        toml::from_str::<Parts>(&text).unwrap();
        assert!(toml::from_str::<Parts>("[store]\nunheard_of = 1").is_err());
    }
}
