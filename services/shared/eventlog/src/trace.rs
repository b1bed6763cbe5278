//! The trace that a command belongs to, as the envelopes of its events carry it: W3C Trace Context, `traceparent`.
//!
//! It refuses to know who records spans. Where nobody does there is no trace, and nothing is written or begun.

use crate::Recorded;
use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use tracing::Span;

/// The trace of what is done at this moment; empty outside of any.
pub(crate) fn current() -> String {
    Context::map_current(|context| {
        let span = context.span();
        let context = span.span_context();
        if context.is_valid() { write(context) } else { String::new() }
    })
}

/// A span for what a reader does because of an event, in the trace of the command that made it.
#[must_use]
pub fn consuming(reader: &str, event: &Recorded) -> Span {
    let Some(cause) = read(&event.event.traceparent) else { return Span::none() };
    // A span that is begun beside no other belongs to the trace that is attached at that moment.
    let _attached = Context::new().with_remote_span_context(cause).attach();
    tracing::info_span!(
        "consume",
        "otel.kind" = "consumer",
        "p92.reader" = reader,
        "p92.service" = event.position.service.name(),
        "p92.shard" = event.position.shard.0,
        "p92.seq" = event.position.seq.0,
        "p92.event_type" = event.event_type(),
    )
}

/// Version 00 (W3C Trace Context, §3.2): `00-<trace>-<span>-<flags>`, all in lower-case hexadecimal digits.
fn write(context: &SpanContext) -> String {
    let flags = context.trace_flags() & TraceFlags::SAMPLED;
    format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), flags.to_u8())
}

fn read(traceparent: &str) -> Option<SpanContext> {
    let mut parts = traceparent.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let fits = version == "00" && trace.len() == 32 && span.len() == 16 && flags.len() == 2;
    if !fits || parts.next().is_some() {
        return None;
    }
    let trace = TraceId::from_hex(trace).ok()?;
    let span = SpanId::from_hex(span).ok()?;
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    let context = SpanContext::new(trace, span, flags, true, TraceState::default());
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_round_trips_and_others_are_none() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(write(&read(text).unwrap()), text);
        let attached = Context::new().with_remote_span_context(read(text).unwrap()).attach();
        assert_eq!(current(), text);
        drop(attached);
        assert_eq!(current(), "");
        for other in [
            "",
            "00",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-00",
            "00-4bf92f3577b34da6a3ce929d0e0e47-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
        ] {
            assert!(read(other).is_none(), "{other}");
        }
    }
}
