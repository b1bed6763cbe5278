//! What can be subscribed to, by the names that Mastodon has, and the scope that each needs.

/// A channel of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// Home and notifications.
    User,
    /// Notifications only.
    Notifications,
    /// Public posts: of this server, of everywhere else, with media.
    Public { local: bool, remote: bool, media: bool },
    /// Public posts with a tag.
    Tag { tag: String, local: bool },
}

impl Channel {
    /// The channel of that name (`public:local:media`), with the tag that a subscription gives beside it.
    #[must_use]
    pub fn named(name: &str, tag: Option<&str>) -> Option<Self> {
        let public = |local, remote, media| Some(Self::Public { local, remote, media });
        let tagged = |local| {
            let tag = tag?.trim_start_matches('#').to_lowercase();
            (!tag.is_empty() && tag.len() <= 400).then_some(Self::Tag { tag, local })
        };
        match name {
            "user" => Some(Self::User),
            "user:notification" => Some(Self::Notifications),
            "public" => public(false, false, false),
            "public:media" => public(false, false, true),
            "public:local" => public(true, false, false),
            "public:local:media" => public(true, false, true),
            "public:remote" => public(false, true, false),
            "public:remote:media" => public(false, true, true),
            "hashtag" => tagged(false),
            "hashtag:local" => tagged(true),
            _ => None,
        }
    }

    /// The scope that it needs.
    #[must_use]
    pub const fn scope(&self) -> &'static str {
        match self {
            Self::Notifications => "read:notifications",
            _ => "read:statuses",
        }
    }

    /// How messages on a socket name it.
    #[must_use]
    pub fn label(&self) -> Vec<String> {
        let name = match self {
            Self::User => "user",
            Self::Notifications => "user:notification",
            Self::Public { local: true, media: false, .. } => "public:local",
            Self::Public { local: true, media: true, .. } => "public:local:media",
            Self::Public { remote: true, media: false, .. } => "public:remote",
            Self::Public { remote: true, media: true, .. } => "public:remote:media",
            Self::Public { media: false, .. } => "public",
            Self::Public { media: true, .. } => "public:media",
            Self::Tag { local: false, tag } => return vec!["hashtag".to_owned(), tag.clone()],
            Self::Tag { local: true, tag } => return vec!["hashtag:local".to_owned(), tag.clone()],
        };
        vec![name.to_owned()]
    }
}

#[cfg(test)]
mod tests {
    use super::Channel;

    #[test]
    fn names_round_trip() {
        for name in
            ["user", "user:notification", "public", "public:local", "public:remote:media", "public:media"]
        {
            assert_eq!(Channel::named(name, None).unwrap().label(), [name]);
        }
        assert_eq!(Channel::named("hashtag", Some("#Ab")).unwrap().label(), ["hashtag", "ab"]);
        for name in ["", "direct", "list", "hashtag", "USER"] {
            assert_eq!(Channel::named(name, None), None, "{name}");
        }
    }
}
