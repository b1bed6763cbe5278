//! Home, public and tag timelines, notifications, live streams.
