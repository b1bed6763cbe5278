//! What a process tells of itself: log lines, traces, metrics, panics.
//!
//! One call sets up all of it, before anything else is made. Logs go to standard error; traces to a collector if one is
//! named; metrics are read over the operators' listener. It refuses to know who reads them, and nothing that names a
//! person or a remote host may pass through it.

pub mod context;
pub mod fields;
mod json;
pub mod metrics;
mod panics;
mod process;

pub use metrics::{Meter, Metrics, meter};

use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{KeyValue, global};
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use prometheus::Registry;
use std::io::IsTerminal as _;
use std::time::Duration;
use tracing::Subscriber;
use tracing_subscriber::filter::{EnvFilter, LevelFilter, Targets};
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The collector has this long for a batch; beyond, spans are dropped rather than kept.
const EXPORT: Duration = Duration::from_secs(5);

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    Text,
    Json,
}

crate::config! {
    /// Logs, traces and metrics.
    pub struct TelemetryConfig {
        /// Which log lines are written: `info`, `warn`, or by part: `info,p92_posting=debug`.
        pub log: String = "info".to_owned(),
        /// How they look: `text`, `json`, or `auto`: text on a terminal, JSON elsewhere.
        pub log_format: LogFormat = LogFormat::Auto,
        /// OTLP/gRPC collector that gets the traces, `http://collector:4317`. None: traces stay here.
        pub otlp_endpoint: Option<String> = None,
        /// Share of the traces begun here that is kept, from 0 to 1. Who joins a trace does as its beginner did.
        pub trace_share: f64 = 1.0,
    }
}

/// Who this process is, for whoever reads its traces.
#[derive(Clone, Debug)]
pub struct Process {
    /// `p92` for everything in one process, else the service's name.
    pub service: String,
    pub version: &'static str,
    /// New at every start.
    pub instance: String,
}

/// Telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("`{0}` does not say which log lines to write")]
    Filter(String, #[source] tracing_subscriber::filter::ParseError),
    #[error("a share is a number from 0 to 1, not {0}")]
    Share(f64),
    #[error("the collector's address cannot be used")]
    Collector(#[source] opentelemetry_otlp::ExporterBuildError),
    #[error("the metrics cannot be collected")]
    Metrics(#[source] opentelemetry_sdk::error::OTelSdkError),
    #[error("telemetry was set up before")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

/// What was set up. Dropped, it sends what is still unsent.
#[derive(Debug)]
pub struct Telemetry {
    traces: SdkTracerProvider,
    metrics: Metrics,
    _meters: SdkMeterProvider,
}

/// Sets up logs, traces, metrics and the panic hook of this process, once, in a runtime.
pub fn init(config: &TelemetryConfig, process: &Process) -> Result<Telemetry, TelemetryError> {
    // Libraries say at `info` what they begin and end; whoever wants to know asks for it.
    let filter = EnvFilter::try_new(format!(
        "opentelemetry=warn,fjall=warn,lsm_tree=warn,scylla=warn,async_nats=warn,{}",
        config.log
    ))
    .map_err(|error| TelemetryError::Filter(config.log.clone(), error))?;
    let resource = Resource::builder()
        .with_service_name(process.service.clone())
        .with_attribute(KeyValue::new("service.version", process.version))
        .with_attribute(KeyValue::new("service.instance.id", process.instance.clone()))
        .build();
    let traces = traces(config, resource.clone())?;
    let (meters, metrics) = meters(resource)?;
    // Libraries' own spans would be traced without end: the exporter makes calls itself.
    let ours = Targets::new().with_target("p92", LevelFilter::INFO);
    // Spans are named by what they do. Where they stand in the source, on which thread they ran and how long they idled
    // would be noted for each of the dozen spans of a post.
    let spans = tracing_opentelemetry::layer()
        .with_tracer(traces.tracer(fields::SCOPE))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_filter(ours);
    tracing_subscriber::registry()
        .with(spans)
        .with(logs(config.log_format).with_filter(filter))
        .try_init()
        .map_err(TelemetryError::Twice)?;
    global::set_tracer_provider(traces.clone());
    global::set_meter_provider(meters.clone());
    panics::install();
    process::observe(tokio::runtime::Handle::try_current().ok());
    Ok(Telemetry { traces, metrics, _meters: meters })
}

fn logs<S: Subscriber + for<'a> LookupSpan<'a>>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync> {
    let terminal = std::io::stderr().is_terminal();
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    if format == LogFormat::Json || (format == LogFormat::Auto && !terminal) {
        layer.fmt_fields(json::Members).event_format(json::Json).boxed()
    } else {
        // https://no-color.org
        let color = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        layer.compact().with_ansi(color).boxed()
    }
}

/// Spans have ids and travel even if nobody collects them: logs and events carry them.
fn traces(config: &TelemetryConfig, resource: Resource) -> Result<SdkTracerProvider, TelemetryError> {
    if !(0.0..=1.0).contains(&config.trace_share) {
        return Err(TelemetryError::Share(config.trace_share));
    }
    let builder = SdkTracerProvider::builder().with_resource(resource);
    let Some(endpoint) = &config.otlp_endpoint else {
        return Ok(builder.with_sampler(Sampler::AlwaysOff).build());
    };
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(EXPORT)
        .build()
        .map_err(TelemetryError::Collector)?;
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(config.trace_share)));
    Ok(builder.with_sampler(sampler).with_batch_exporter(exporter).build())
}

fn meters(resource: Resource) -> Result<(SdkMeterProvider, Metrics), TelemetryError> {
    let registry = Registry::new();
    // Names hold their unit already, and there is one scope.
    let exporter = opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        .without_units()
        .scope_info_enabled(false)
        .build()
        .map_err(TelemetryError::Metrics)?;
    let provider = SdkMeterProvider::builder().with_resource(resource).with_view(metrics::of_shards);
    let provider = provider.with_reader(exporter).build();
    Ok((provider, Metrics(registry)))
}

impl Telemetry {
    /// The process's metrics, for the operators' listener.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// Sends what is still unsent. A last step of the process.
    pub async fn flush(self) -> Result<(), String> {
        // It blocks its thread, and the exporter needs the runtime meanwhile.
        tokio::task::spawn_blocking(move || self.traces.force_flush().map_err(|error| error.to_string()))
            .await
            .map_err(|error| error.to_string())?
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        // Unsent spans are no reason to hold up the end.
        let _unsent = self.traces.shutdown_with_timeout(Duration::from_secs(2));
    }
}
