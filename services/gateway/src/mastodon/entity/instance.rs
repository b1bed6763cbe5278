//! The server about itself, in both versions of the document.
//!
//! What this server cannot do stands there as zero, false or empty: apps hide what has no room.

use crate::gate::Usage;
use p92_proto::identity::v1::{RegistrationPolicy, Server};
use serde_json::{Value, json};

/// What apps gate features on: the highest Mastodon API that is whole here.
pub const VERSION: &str = concat!("4.2.0 (compatible; P92 ", env!("CARGO_PKG_VERSION"), ")");

fn streaming(server: &Server) -> String {
    match server.public_url.split_once("://") {
        Some(("https", host)) => format!("wss://{host}"),
        Some((_, host)) => format!("ws://{host}"),
        None => String::new(),
    }
}

/// What members agree to.
#[must_use]
pub fn rules(server: &Server) -> Value {
    server
        .rules
        .iter()
        .map(|rule| json!({ "id": rule.id.to_string(), "text": rule.text, "hint": rule.hint }))
        .collect()
}

/// The longest post, as characters are counted for it.
#[must_use]
pub fn characters(server: &Server) -> u32 {
    match server.policies.as_ref().map_or(0, |policies| policies.post_characters) {
        0 => 500,
        most => most,
    }
}

fn configuration(server: &Server) -> Value {
    json!({
        "urls": {
            "streaming": streaming(server), "status": null, "about": format!("{}/", server.public_url),
            "privacy_policy": null, "terms_of_service": null
        },
        "vapid": { "public_key": "" },
        "accounts": {
            "max_featured_tags": 0, "max_pinned_statuses": 5, "max_profile_fields": 4,
            "profile_field_name_limit": 255, "profile_field_value_limit": 255,
            "max_display_name_length": 30, "max_note_length": 500
        },
        "statuses": {
            "max_characters": characters(server), "max_media_attachments": 0, "characters_reserved_per_url": 23,
            "supported_mime_types": ["text/plain"]
        },
        "media_attachments": {
            "supported_mime_types": [], "description_limit": 0, "image_size_limit": 0, "image_matrix_limit": 0,
            "video_size_limit": 0, "video_frame_rate_limit": 0, "video_matrix_limit": 0
        },
        "polls": { "max_options": 0, "max_characters_per_option": 0, "min_expiration": 0, "max_expiration": 0 },
        "translation": { "enabled": false }
    })
}

/// `GET /api/v2/instance`.
#[must_use]
pub fn v2(server: &Server, active_month: u64, source_url: &str) -> Value {
    json!({
        "domain": server.domain,
        "title": server.name,
        "version": VERSION,
        "source_url": source_url,
        "description": server.description,
        "usage": { "users": { "active_month": active_month } },
        "thumbnail": {
            "url": format!("{}/assets/header.png", server.public_url), "blurhash": null, "description": null,
            "versions": {}
        },
        "icon": [{ "src": format!("{}/assets/avatar.png", server.public_url), "size": "200x200" }],
        "languages": server.languages,
        "configuration": configuration(server),
        "registrations": {
            "enabled": registrations(server), "approval_required": by_approval(server),
            "reason_required": by_approval(server), "message": null, "min_age": null, "url": null
        },
        "api_versions": { "mastodon": 1 },
        "contact": { "email": server.contact_email, "account": null },
        "rules": rules(server)
    })
}

/// `GET /api/v1/instance`.
#[must_use]
pub fn v1(server: &Server, usage: &Usage) -> Value {
    json!({
        "uri": server.domain,
        "title": server.name,
        "short_description": server.description,
        "description": server.description,
        "email": server.contact_email,
        "version": VERSION,
        "urls": { "streaming_api": streaming(server) },
        // Other servers are not known yet: nothing was ever fetched from one.
        "stats": { "user_count": usage.members, "status_count": usage.posts, "domain_count": 0 },
        "thumbnail": format!("{}/assets/header.png", server.public_url),
        "languages": server.languages,
        "registrations": registrations(server),
        "approval_required": by_approval(server),
        "invites_enabled": false,
        "configuration": configuration(server),
        "contact_account": null,
        "rules": rules(server)
    })
}

/// Whether one can sign up.
#[must_use]
pub fn registrations(server: &Server) -> bool {
    matches!(server.registration(), RegistrationPolicy::Open | RegistrationPolicy::Approval)
}

fn by_approval(server: &Server) -> bool {
    server.registration() == RegistrationPolicy::Approval
}
