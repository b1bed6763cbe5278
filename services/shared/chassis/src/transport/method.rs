//! The name of a call, as spans and measures may say it.
//!
//! It refuses to know which methods exist, and so lets only through what looks like one.

use http::Uri;
use std::sync::Arc;

/// What everything else is called.
pub(crate) const OTHER: &str = "other";

/// `/package.Service/Method`, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Method {
    pub(crate) service: Arc<str>,
    pub(crate) name: Arc<str>,
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
                Self { service: service.into(), name: name.into() }
            }
            _ => Self { service: OTHER.into(), name: OTHER.into() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_methods_become_labels() {
        let method = Method::of(&Uri::from_static("http://a.example/p92.posting.v1.PostService/GetPost"));
        assert_eq!((&*method.service, &*method.name), ("p92.posting.v1.PostService", "GetPost"));
        for strange in ["/", "/a", "/a/", "//b", "/a/b/c", "/a/b%20c"] {
            assert_eq!(&*Method::of(&strange.parse().unwrap()).service, OTHER, "{strange}");
        }
    }
}
