//! The one door in: Mastodon HTTP, streaming, public gRPC, pages.
