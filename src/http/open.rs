//! What anyone may read: the JWKS, the metadata, the probes, the contract, the first page.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::error::{Failure, Problem};
use crate::app::App;
use crate::signing::Published;

const PAGE: &str = include_str!("page.html");

/// A document that any cache may keep and any site may read.
fn document(asked: &HeaderMap, kind: &'static str, document: &Published) -> Result<Response, Failure> {
    let header = |text: &str| HeaderValue::from_str(text).map_err(|_| Failure::from(Problem::Internal));
    let unchanged = asked
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|tag| tag.trim().trim_start_matches("W/"))
        .any(|tag| tag == "*" || tag == document.etag);
    let mut response = if unchanged {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(CONTENT_TYPE, kind)], document.body.clone()).into_response()
    };
    let out = response.headers_mut();
    out.insert(ETAG, header(&document.etag)?);
    out.insert(CACHE_CONTROL, header(&document.cache_control)?);
    out.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    Ok(response)
}

pub(super) async fn jwks(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Failure> {
    let set = app.grants.ring.jwks().map_err(|cause| {
        tracing::error!(%cause, "the JWKS is withheld");
        Failure::from(Problem::Unavailable).with_retry_after(std::time::Duration::from_secs(1))
    })?;
    document(&headers, "application/jwk-set+json", &set)
}

pub(super) async fn metadata(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Failure> {
    document(&headers, "application/json", &app.metadata)
}

pub(super) async fn contract(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Failure> {
    document(&headers, "application/yaml", &app.contract)
}

/// The process answers.
pub(super) async fn livez() -> &'static str {
    "ok\n"
}

/// The process can do its work: keys confirmed, store answering.
pub(super) async fn readyz(State(app): State<Arc<App>>) -> Result<&'static str, Failure> {
    app.ready().await.map_err(|why| {
        tracing::warn!(why, "not ready");
        Failure::from(Problem::Unavailable)
            .with_detail(why)
            .with_retry_after(std::time::Duration::from_secs(1))
    })?;
    Ok("ready\n")
}

pub(super) async fn page(State(app): State<Arc<App>>) -> Response {
    let mut response = axum::response::Html(PAGE.replace("{issuer}", &app.config.issuer)).into_response();
    response.headers_mut().insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    );
    response
}

pub(super) async fn metrics(State(app): State<Arc<App>>) -> Result<Response, Failure> {
    let text = app.metrics.render(&app.grants).map_err(|_| Failure::from(Problem::Internal))?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(CONTENT_TYPE, kind)], text).into_response())
}
