//! The name of a call, and the W3C trace context that travels with it in its headers.
//!
//! W3C and nothing else: a propagator chosen at run time would let two processes of one cluster misunderstand each
//! other. It refuses to know who exports the spans.

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator as _};
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// What a method is called in spans and metrics.
pub(crate) const OTHER: &str = "other";

/// `/package.Service/Method`, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Method {
    pub(crate) service: String,
    pub(crate) name: String,
}

impl Method {
    /// The method that a path names. What no generated client would ask for is `other`, so that strangers cannot
    /// invent names of spans and labels.
    pub(crate) fn of(uri: &Uri) -> Self {
        let named = |text: &str| {
            !text.is_empty()
                && text.len() <= 100
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'_')
        };
        match uri.path().strip_prefix('/').and_then(|path| path.split_once('/')) {
            Some((service, name)) if named(service) && named(name) => {
                Self { service: service.to_owned(), name: name.to_owned() }
            }
            _ => Self { service: OTHER.to_owned(), name: OTHER.to_owned() },
        }
    }
}

struct Headers<'a>(&'a mut HeaderMap);

impl Injector for Headers<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(key.as_bytes()), HeaderValue::from_str(&value))
        {
            self.0.insert(name, value);
        }
    }
}

struct ReadHeaders<'a>(&'a HeaderMap);

impl Extractor for ReadHeaders<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

/// Writes the context of `span` into the headers of a call.
pub(crate) fn inject(span: &Span, headers: &mut HeaderMap) {
    TraceContextPropagator::new().inject_context(&span.context(), &mut Headers(headers));
}

/// Makes the caller's span the parent of `span`. To be called before the span is first entered.
pub(crate) fn adopt(span: &Span, headers: &HeaderMap) {
    let caller = TraceContextPropagator::new().extract_with_context(&Context::new(), &ReadHeaders(headers));
    if caller.span().span_context().is_valid() {
        // Refused only if nothing records spans, or the span is disabled; then there is nothing to join.
        let _joined = span.set_parent(caller);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_methods_become_labels() {
        let method = Method::of(&Uri::from_static("http://a.example/p92.posting.v1.PostService/GetPost"));
        assert_eq!(
            (method.service.as_str(), method.name.as_str()),
            ("p92.posting.v1.PostService", "GetPost")
        );
        for strange in ["/", "/a", "/a/", "//b", "/a/b/c", "/a/b%20c"] {
            assert_eq!(Method::of(&strange.parse().unwrap()).service, OTHER, "{strange}");
        }
    }
}
