//! The pages for people: what happens right now, and the documentation of the API. Static, without anything from
//! elsewhere; they use the API like everyone, with the token that the reader gives them.

use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};

use super::Api;

/// Nothing from elsewhere, no inline script, no frames around: a token is typed in here.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(crate) fn routes() -> Vec<(&'static str, MethodRouter<Api>)> {
    vec![
        ("/", get(|| page(HTML, include_str!("pages/live.html")))),
        ("/api/docs", get(|| page(HTML, include_str!("pages/docs.html")))),
        ("/pages/live.js", get(|| page(SCRIPT, include_str!("pages/live.js")))),
        ("/pages/docs.js", get(|| page(SCRIPT, include_str!("pages/docs.js")))),
        ("/pages/style.css", get(|| page(STYLE, include_str!("pages/style.css")))),
        ("/pages/errors.json", get(errors)),
    ]
}

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

async fn page(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (CONTENT_TYPE, kind),
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}

/// The table of errors, for the page of the documentation.
async fn errors() -> axum::Json<Vec<serde_json::Value>> {
    let errors = super::Code::ALL.iter().map(|code| {
        serde_json::json!({
            "code": code.as_str(),
            "status": code.status().as_u16(),
            "title": code.title(),
            "remedy": code.remedy(),
        })
    });
    axum::Json(errors.collect())
}
