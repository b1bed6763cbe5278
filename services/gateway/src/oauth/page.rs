//! The pages of consent: sign in, allow or refuse, the code to copy, what went wrong. HTML without scripts.
//!
//! Everything that comes from a request or an app is escaped; headers forbid framing and anything but the style of the
//! other pages.

use crate::mastodon::text::escaped;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use std::fmt::Write as _;

// `form-action` is left out: browsers hold it against the app's redirect that follows the form.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Hidden fields of a form.
pub type Hidden<'a> = [(&'a str, String)];

fn fields(hidden: &Hidden<'_>) -> String {
    let mut out = String::new();
    for (name, value) in hidden {
        let _ =
            write!(out, "<input type=\"hidden\" name=\"{}\" value=\"{}\">", escaped(name), escaped(value));
    }
    out
}

/// A page of a server around this body.
pub fn page(server: &str, status: StatusCode, title: &str, body: &str) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width,initial-scale=1\"><meta name=\"color-scheme\" content=\"light dark\">\
         <meta name=\"robots\" content=\"noindex\"><title>{0} · {1}</title>\
         <link rel=\"stylesheet\" href=\"/assets/pages.css\"></head><body><header class=\"top\"><nav aria-label=\"Main\">\
         <a class=\"brand\" href=\"/\">{1}</a></nav></header><main><section class=\"card narrow\"><h1>{0}</h1>{body}\
         </section></main></body></html>",
        escaped(title),
        escaped(server)
    );
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        // Not `no-referrer`: browsers then say `Origin: null` with the form, which is refused as another site's.
        (header::REFERRER_POLICY, "same-origin"),
    ];
    (status, headers, html).into_response()
}

/// Who are you?
pub fn sign_in(server: &str, app: &str, hidden: &Hidden<'_>, wrong: Option<&str>) -> Response {
    let wrong = wrong
        .map_or_else(String::new, |text| format!("<p class=\"wrong\" role=\"alert\">{}</p>", escaped(text)));
    let body = format!(
        "<p>{} would like to use your account.</p>{wrong}<form method=\"post\" action=\"/oauth/authorize\">{}\
         <label for=\"login\">E-mail address or handle</label><input id=\"login\" name=\"login\" autocomplete=\"username\" \
         autocapitalize=\"none\" required autofocus><label for=\"password\">Password</label><input id=\"password\" \
         name=\"password\" type=\"password\" autocomplete=\"current-password\" required>\
         <button type=\"submit\">Sign in</button></form>",
        escaped(app),
        fields(hidden)
    );
    page(server, StatusCode::OK, &format!("Sign in to {server}"), &body)
}

/// Do you allow this?
pub fn consent(server: &str, app: &str, website: &str, scopes: &[String], hidden: &Hidden<'_>) -> Response {
    let site = if website.is_empty() { String::new() } else { format!("<p>{}</p>", escaped(website)) };
    let list: String = scopes.iter().map(|scope| format!("<li>{}</li>", escaped(meaning(scope)))).collect();
    let body = format!(
        "{site}<p>This app asks for permission to:</p><ul>{list}</ul><form method=\"post\" action=\"/oauth/authorize\">{}\
         <p class=\"row\"><button type=\"submit\" name=\"decision\" value=\"deny\" class=\"outline\">Refuse</button>\
         <button type=\"submit\" name=\"decision\" value=\"approve\">Allow</button></p></form>",
        fields(hidden)
    );
    page(server, StatusCode::OK, &format!("Allow {app} to use your account?"), &body)
}

fn meaning(scope: &str) -> &str {
    match scope {
        "read" => "see everything of your account",
        "write" => "post and change your account",
        "follow" => "follow, mute and block",
        "push" => "send you push messages",
        "profile" => "see your own profile",
        other => other,
    }
}

/// The code, for apps that cannot be redirected to.
pub fn code(server: &str, app: &str, code: &str) -> Response {
    let body =
        format!("<p>Copy this code and paste it into {}.</p><code>{}</code>", escaped(app), escaped(code));
    page(server, StatusCode::OK, "Your authorization code", &body)
}

/// What went wrong, where it must not be said to the app.
pub fn wrong(server: &str, status: StatusCode, words: &str) -> Response {
    page(
        server,
        status,
        "This did not work",
        &format!("<p class=\"wrong\" role=\"alert\">{}</p>", escaped(words)),
    )
}
