//! The trace that work belongs to, as it travels with calls. In envelopes and bus messages the log carries it itself.
//!
//! W3C Trace Context and nothing else: a propagator chosen at run time would let two processes of one cluster
//! misunderstand each other. It refuses to know who exports the spans.

use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Request};
use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator as _};
use opentelemetry::trace::{SpanContext, TraceContextExt as _};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Writes the context of `span` into the headers of a call.
pub(crate) fn write_headers(span: &Span, headers: &mut HeaderMap) {
    struct Headers<'a>(&'a mut HeaderMap);
    impl Injector for Headers<'_> {
        fn set(&mut self, key: &str, value: String) {
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(key.as_bytes()), HeaderValue::from_str(&value))
            {
                self.0.insert(name, value);
            }
        }
    }
    TraceContextPropagator::new().inject_context(&span.context(), &mut Headers(headers));
}

/// The caller's span, beside a call that does not leave the process: nothing is written and read again.
#[derive(Clone, Debug)]
struct Calling(SpanContext);

/// Puts the context of `span` beside a call within the process.
pub(crate) fn write_beside(span: &Span, extensions: &mut Extensions) {
    let context = span.context();
    let calling = context.span().span_context().clone();
    if calling.is_valid() {
        extensions.insert(Calling(calling));
    }
}

/// Makes the caller's span the parent of `span`, whichever way the call came.
pub(crate) fn join_caller<B>(span: &Span, request: &Request<B>) {
    match request.extensions().get::<Calling>() {
        Some(Calling(caller)) => join_context(span, Context::new().with_remote_span_context(caller.clone())),
        None => join_headers(span, request.headers()),
    }
}

fn join_headers(span: &Span, headers: &HeaderMap) {
    struct Headers<'a>(&'a HeaderMap);
    impl Extractor for Headers<'_> {
        fn get(&self, key: &str) -> Option<&str> {
            self.0.get(key).and_then(|value| value.to_str().ok())
        }

        fn keys(&self) -> Vec<&str> {
            self.0.keys().map(HeaderName::as_str).collect()
        }
    }
    join_extracted(span, &Headers(headers));
}

fn join_extracted(span: &Span, from: &dyn Extractor) {
    join_context(span, TraceContextPropagator::new().extract_with_context(&Context::new(), from));
}

fn join_context(span: &Span, caller: Context) {
    if caller.span().span_context().is_valid() {
        // Refused only if nothing records spans, or the span is disabled; then there is nothing to join.
        let _joined = span.set_parent(caller);
    }
}

/// The span that is entered on this thread.
pub(crate) fn entered() -> Option<SpanContext> {
    Context::map_current(|context| {
        let span = context.span();
        let context = span.span_context();
        context.is_valid().then(|| context.clone())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry::trace::TracerProvider as _;
    use tracing_subscriber::layer::SubscriberExt as _;

    #[test]
    fn a_trace_goes_on_where_the_call_goes() {
        let tracer = opentelemetry_sdk::trace::SdkTracerProvider::builder().build().tracer("test");
        let layer = tracing_opentelemetry::layer().with_tracer(tracer);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let trace = |span: &Span| span.context().span().span_context().trace_id();
            let command = tracing::error_span!("command");
            assert_eq!(command.in_scope(entered).unwrap().trace_id(), trace(&command));
            let (mut beside, mut written) = (Request::new(()), Request::new(()));
            write_beside(&command, beside.extensions_mut());
            write_headers(&command, written.headers_mut());
            assert!(beside.headers().is_empty() && written.extensions().is_empty());
            for request in [beside, written] {
                let answer = tracing::error_span!("answer");
                join_caller(&answer, &request);
                assert_eq!(trace(&answer), trace(&command));
            }
            let mut broken = Request::new(());
            broken.headers_mut().insert("traceparent", HeaderValue::from_static("00-not-a-context"));
            let other = tracing::error_span!("other");
            join_caller(&other, &broken);
            assert_ne!(trace(&other), trace(&command));
        });
        assert_eq!(entered(), None);
    }
}
