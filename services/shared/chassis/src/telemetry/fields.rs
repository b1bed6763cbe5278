//! The dictionary of field names in spans, logs and labels: one word per idea, here and nowhere else.
//!
//! Names with a dot are OpenTelemetry's semantic conventions where those have a word, `p92.` is ours. Used as
//! `tracing::info!({ fields::SHARD } = shard, "…")`. Nothing that names a person or a host is here, and nothing may be.

/// Always `grpc`.
pub const RPC_SYSTEM: &str = "rpc.system";
/// Package and service, `p92.posting.v1.PostService`.
pub const RPC_SERVICE: &str = "rpc.service";
/// The method, `GetPost`.
pub const RPC_METHOD: &str = "rpc.method";
/// The number of the gRPC status.
pub const RPC_CODE: &str = "rpc.grpc.status_code";

/// What the span is called where it is shown; `tracing-opentelemetry` reads it.
pub const SPAN_NAME: &str = "otel.name";
/// `client`, `server`, `producer`, `consumer` or `internal`; read likewise.
pub const SPAN_KIND: &str = "otel.kind";
/// `ERROR` where the call failed by the conventions' judgement; read likewise.
pub const SPAN_STATUS: &str = "otel.status_code";

/// The service that a log belongs to, or whose command it is.
pub const SERVICE: &str = "p92.service";
/// A shard's number.
pub const SHARD: &str = "p92.shard";
/// A place in a shard's log.
pub const SEQ: &str = "p92.seq";
/// The type of an event, with its version.
pub const EVENT_TYPE: &str = "p92.event_type";
/// The name of a command.
pub const COMMAND: &str = "p92.command";
/// The name of a reader: a projection or a consumer.
pub const READER: &str = "p92.reader";
/// The name of a view.
pub const VIEW: &str = "p92.view";
/// The server (tenant) that it happened for.
pub const SERVER_ID: &str = "p92.server_id";
/// The stable reason of a failure.
pub const REASON: &str = "error.type";
/// The chain of causes, for the log only.
pub const CAUSES: &str = "exception.message";

/// The name under which all of P92 makes its spans and instruments.
pub const SCOPE: &str = "p92";
/// The same for instruments that have a series for each shard, of which there may be many.
pub const SCOPE_OF_SHARDS: &str = "p92.shards";
