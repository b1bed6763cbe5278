//! Log lines for machines: one JSON object a line, the names of its parts fixed, the trace beside them.
//!
//! `{"time":…,"level":…,"target":…,"message":…,<fields>,"span":{…},"trace_id":…,"span_id":…}`. The library's own
//! format knows no trace ids, and without them logs and traces cannot be laid side by side.

use super::{context, fields};
use serde_json::{Map, Value};
use std::fmt;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// Formats events as JSON.
pub(super) struct Json;

/// Keeps a span's fields as members of an object, `"name":value,` each. The library's own way reads all of them again
/// for each that is recorded later, and every call records its end.
pub(super) struct Members;

impl<'w> FormatFields<'w> for Members {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut appended = Appended { writer, done: Ok(()) };
        fields.record(&mut appended);
        appended.done
    }
}

struct Appended<'w> {
    writer: Writer<'w>,
    done: fmt::Result,
}

impl Appended<'_> {
    fn put(&mut self, field: &Field, value: Value) {
        // What only a collector of traces reads has no place in a line.
        let name = field.name();
        if self.done.is_ok() && !name.starts_with("otel.") && name != fields::RPC_SYSTEM {
            self.done = write!(self.writer, "\"{name}\":{value},");
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> FormatEvent<S, Members> for Json {
    fn format_event(
        &self,
        context: &FmtContext<'_, S, Members>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let meta = event.metadata();
        let mut line = Map::new();
        line.insert("time".to_owned(), time.into());
        line.insert("level".to_owned(), meta.level().as_str().into());
        line.insert("target".to_owned(), meta.target().into());
        event.record(&mut Fields(&mut line));
        if let Some(span) = context.lookup_current() {
            let extensions = span.extensions();
            let members = extensions.get::<FormattedFields<Members>>().map_or("", |members| members.as_str());
            let object = format!("{{{}}}", members.trim_end_matches(','));
            let mut object: Map<String, Value> = serde_json::from_str(&object).unwrap_or_default();
            object.insert("name".to_owned(), span.name().into());
            line.insert("span".to_owned(), object.into());
        }
        if let Some(span) = context::entered() {
            line.insert("trace_id".to_owned(), span.trace_id().to_string().into());
            line.insert("span_id".to_owned(), span.span_id().to_string().into());
        }
        writeln!(writer, "{}", Value::Object(line))
    }
}

/// Takes an event's fields.
struct Fields<'a>(&'a mut Map<String, Value>);

impl Fields<'_> {
    fn put(&mut self, field: &Field, value: Value) {
        self.0.insert(field.name().to_owned(), value);
    }
}

/// Both take fields as what they are, and everything else as text.
macro_rules! takes_values {
    ($visitor:ty) => {
        impl Visit for $visitor {
            fn record_f64(&mut self, field: &Field, value: f64) {
                self.put(field, value.into());
            }

            fn record_i64(&mut self, field: &Field, value: i64) {
                self.put(field, value.into());
            }

            fn record_u64(&mut self, field: &Field, value: u64) {
                self.put(field, value.into());
            }

            fn record_bool(&mut self, field: &Field, value: bool) {
                self.put(field, value.into());
            }

            fn record_str(&mut self, field: &Field, value: &str) {
                self.put(field, value.into());
            }

            fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
                self.put(field, format!("{value:?}").into());
            }
        }
    };
}

takes_values!(Fields<'_>);
takes_values!(Appended<'_>);

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry::trace::TracerProvider as _;
    use parking_lot::Mutex;
    use std::io;
    use std::sync::Arc;
    use tracing_subscriber::layer::SubscriberExt as _;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_an_object_with_its_trace() {
        let lines = Lines::default();
        let written = lines.clone();
        let tracer = opentelemetry_sdk::trace::SdkTracerProvider::builder().build().tracer("test");
        let log = tracing_subscriber::fmt::layer()
            .fmt_fields(Members)
            .event_format(Json)
            .with_writer(move || written.clone());
        let subscriber =
            tracing_subscriber::registry().with(tracing_opentelemetry::layer().with_tracer(tracer)).with(log);
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::error_span!(
                "append",
                { fields::SPAN_NAME } = "append 3",
                { fields::SHARD } = 3,
                { fields::REASON } = tracing::field::Empty
            );
            let _entered = span.enter();
            span.record(fields::REASON, "a \"b\"");
            tracing::error!(count = 7, ok = true, text = "two\nlines", "it \"broke\"");
        });
        let text = String::from_utf8(lines.0.lock().clone()).unwrap();
        assert_eq!(text.lines().count(), 1);
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["message"], "it \"broke\"");
        assert_eq!(
            (&line["count"], &line["ok"], &line["text"]),
            (&7.into(), &true.into(), &"two\nlines".into())
        );
        assert_eq!(
            line["span"],
            serde_json::json!({ "p92.shard": 3, "error.type": "a \"b\"", "name": "append" })
        );
        assert_eq!(line["level"], "ERROR");
        assert_eq!(line["trace_id"].as_str().unwrap().len(), 32);
    }
}
