//! The web pages, HTML without a script: landing, signing up and in, home, profiles, threads, deeds by forms.
//!
//! Every deed is a form with the mark of its session, refused from other sites, and answered by a redirect. It knows
//! what Mastodon routes know (`Reader`), and nothing of how posts are kept.

mod card;
mod deeds;
mod enter;
mod filters;
mod read;
mod visit;

use crate::error::Problem;
use crate::gate::Gate;
use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

/// What pages may load: their style, and nothing from anywhere else.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

#[derive(rust_embed::RustEmbed)]
#[folder = "styles/"]
struct Styles;

/// The pages, to stand behind the door's middleware.
pub fn routes() -> Router<Gate> {
    Router::new()
        .route("/", get(read::landing))
        .route("/home", get(read::home).post(deeds::publish))
        .route("/sign-in", get(enter::sign_in_page).post(enter::sign_in))
        .route("/sign-up", get(enter::sign_up_page).post(enter::sign_up))
        .route("/sign-out", post(enter::sign_out))
        .route("/posts/{id}/{deed}", post(deeds::on_post).fallback(nowhere))
        .route("/accounts/{id}/{deed}", post(deeds::on_account).fallback(nowhere))
        .route("/assets/pages.css", get(style))
        // What is no profile is nothing, whatever the method.
        .route("/{handle}", get(read::profile).fallback(nowhere))
        .route("/{handle}/{id}", get(read::thread).fallback(nowhere))
}

/// The pages alone, behind the door.
pub fn router(gate: &Gate) -> Router {
    routes()
        .layer(axum::middleware::from_fn_with_state(gate.clone(), crate::door::enter))
        .with_state(gate.clone())
}

async fn nowhere() -> Problem {
    Problem::not_found()
}

async fn style() -> Result<Response, Problem> {
    let file = Styles::get("pages.css").ok_or_else(Problem::not_found)?;
    let headers =
        [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "public, max-age=300")];
    Ok((headers, file.data.into_owned()).into_response())
}

/// A template as an answer.
fn drawn(status: StatusCode, page: &impl askama::Template) -> Result<Response, Problem> {
    let html = page.render().map_err(|_| p92_kernel::Failure::internal("a template could not be drawn"))?;
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ];
    Ok((status, headers, html).into_response())
}

/// Sends the browser on to a page of this server. Anything else leads home.
fn onward(to: &str) -> Response {
    let here = to.starts_with('/')
        && !to.starts_with("//")
        && to.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    let to = if here { to } else { "/home" };
    (StatusCode::SEE_OTHER, [(header::LOCATION, to), (header::CACHE_CONTROL, "no-store")]).into_response()
}

#[cfg(test)]
mod tests {
    use super::onward;

    #[test]
    fn nobody_is_sent_elsewhere() {
        for (asked, led) in [
            ("/@ann/1", "/@ann/1"),
            ("//evil.example", "/home"),
            ("/\\evil.example", "/home"),
            ("https://evil.example", "/home"),
            ("/a\r\nb: c", "/home"),
        ] {
            assert_eq!(onward(asked).headers()["location"], led, "{asked:?}");
        }
    }
}
