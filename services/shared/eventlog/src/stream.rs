//! Names of streams: `kind/id`. They stand in logs and keys for ever and hold no personal data.

use p92_kernel::Id;
use std::fmt;
use std::sync::Arc;

/// The name of an aggregate's stream.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stream(Arc<str>);

impl Stream {
    /// The stream of the aggregate of that kind and id.
    pub fn new(kind: &str, id: impl fmt::Display) -> Self {
        Self(format!("{kind}/{id}").into())
    }

    /// A name as it came out of an event.
    pub fn named(name: &str) -> Self {
        Self(name.into())
    }

    /// The whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before the slash.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.0.split_once('/').map_or(&self.0, |(kind, _)| kind)
    }

    /// What stands behind the slash.
    #[must_use]
    pub fn key(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, key)| key)
    }

    /// What stands behind the slash, if it is an id.
    #[must_use]
    pub fn id(&self) -> Option<Id> {
        self.key().parse().ok()
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Stream;

    #[test]
    fn a_name_comes_apart() {
        let stream = Stream::new("post", 17);
        assert_eq!(
            (stream.kind(), stream.key(), stream.id().map(p92_kernel::Id::get)),
            ("post", "17", Some(17))
        );
        assert_eq!(Stream::named("odd").key(), "");
    }
}
