//! The pages of consent: sign in, allow or refuse, the code to copy, what went wrong. HTML without scripts.
//!
//! Everything that comes from a request or an app is escaped; headers forbid framing and anything but the one style.

use crate::mastodon::text::escaped;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use http::{StatusCode, header};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::sync::LazyLock;

const STYLE: &str = "\
:root{color-scheme:light dark;--back:#f4f5f8;--card:#fff;--text:#1b1e28;--soft:#5c6377;--line:#d9dce6;--main:#3d5afe}\
@media(prefers-color-scheme:dark){:root{--back:#12141b;--card:#1c1f2a;--text:#eceef5;--soft:#9aa1b5;--line:#333847;--main:#8c9eff}}\
*{box-sizing:border-box}body{margin:0;background:var(--back);color:var(--text);font:16px/1.5 system-ui,sans-serif}\
main{max-width:26rem;margin:8vh auto;padding:2rem;background:var(--card);border:1px solid var(--line);border-radius:.75rem}\
h1{font-size:1.3rem;margin:0 0 1rem}p{color:var(--soft);overflow-wrap:anywhere}label{display:block;margin:1rem 0 .25rem}\
input{width:100%;padding:.6rem;font:inherit;border:1px solid var(--line);border-radius:.4rem;background:var(--back);color:inherit}\
button{margin:1.25rem .5rem 0 0;padding:.6rem 1.25rem;font:inherit;border:1px solid var(--main);border-radius:.4rem;background:var(--main);color:var(--card);cursor:pointer}\
button.quiet{background:none;color:var(--main)}code{display:block;padding:.75rem;background:var(--back);overflow-wrap:anywhere;user-select:all}\
.wrong{color:#c62828}@media(prefers-color-scheme:dark){.wrong{color:#ff8a80}}\
@media(max-width:30rem){main{margin:0;min-height:100vh;border:0;border-radius:0}}";

// `form-action` is left out: browsers hold it against the app's redirect that follows the form.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
});

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

/// A page around this body.
pub fn page(status: StatusCode, title: &str, body: &str) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width,initial-scale=1\"><meta name=\"robots\" content=\"noindex\"><title>{0}</title>\
         <style>{STYLE}</style></head><body><main><h1>{0}</h1>{body}</main></body></html>",
        escaped(title)
    );
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, POLICY.as_str()),
        (header::REFERRER_POLICY, "no-referrer"),
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
    page(StatusCode::OK, &format!("Sign in to {server}"), &body)
}

/// Do you allow this?
pub fn consent(app: &str, website: &str, scopes: &[String], hidden: &Hidden<'_>) -> Response {
    let site = if website.is_empty() { String::new() } else { format!("<p>{}</p>", escaped(website)) };
    let list: String = scopes.iter().map(|scope| format!("<li>{}</li>", escaped(meaning(scope)))).collect();
    let body = format!(
        "{site}<p>This app asks for permission to:</p><ul>{list}</ul><form method=\"post\" action=\"/oauth/authorize\">{}\
         <button type=\"submit\" name=\"decision\" value=\"approve\">Allow</button>\
         <button type=\"submit\" name=\"decision\" value=\"deny\" class=\"quiet\">Refuse</button></form>",
        fields(hidden)
    );
    page(StatusCode::OK, &format!("Allow {app} to use your account?"), &body)
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
pub fn code(app: &str, code: &str) -> Response {
    let body =
        format!("<p>Copy this code and paste it into {}.</p><code>{}</code>", escaped(app), escaped(code));
    page(StatusCode::OK, "Your authorization code", &body)
}

/// What went wrong, where it must not be said to the app.
pub fn wrong(status: StatusCode, words: &str) -> Response {
    page(status, "This did not work", &format!("<p class=\"wrong\" role=\"alert\">{}</p>", escaped(words)))
}
