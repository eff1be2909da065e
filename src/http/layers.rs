//! The layers around every route, outermost first, in one list.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::error_handling::HandleErrorLayer;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tower::ServiceBuilder;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::load_shed::LoadShedLayer;
use tower::util::option_layer;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::set_header::SetResponseHeaderLayer;
use tracing::Instrument as _;

use super::error::{Failure, IsProblem, Problem};
use super::extract::read;
use crate::app::App;
use crate::clock::Stopwatch;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Puts the layers around `router`; pages of other origins may only read what has `cors`.
pub(super) fn wrap(router: Router<Arc<App>>, app: &Arc<App>, cors: Option<CorsLayer>) -> Router<Arc<App>> {
    let layers = ServiceBuilder::new()
        // 1. The request id, first, so that everything below can name the request.
        .layer(from_fn_with_state(app.clone(), identify))
        // 2. Tracing: one span and one line a request, joined to the caller's trace; metrics beside it.
        .layer(from_fn_with_state(app.clone(), observe))
        // 3. Whatever fails without a body of ours still speaks RFC 9457.
        .layer(from_fn(speak_problem))
        // 4. Security headers, on refusals and preflights as well.
        .layer(fixed("x-content-type-options", "nosniff"))
        .layer(fixed("referrer-policy", "no-referrer"))
        .layer(fixed("x-frame-options", "DENY"))
        .layer(fixed("content-security-policy", "default-src 'none'; frame-ancestors 'none'"))
        // 5. CORS, before anything that may refuse, so that a browser can read the refusal.
        .layer(option_layer(cors))
        // 6. A panic is an answer, not a closed connection.
        .layer(CatchPanicLayer::custom(panicked))
        // 7. The time that the whole request may take.
        .layer(from_fn_with_state(app.clone(), in_time))
        // 8. The size of a body, and its arrival: whoever sends slowly holds no place that others need.
        .layer(from_fn_with_state(app.clone(), arrived))
        // 9. What has begun is finished and recorded, even when the client hangs up or time is over.
        .layer(from_fn(outlive))
        // 10. Load shedding, at the work itself: beyond the limit the answer is 503 at once, never a queue.
        .layer(HandleErrorLayer::new(shed))
        .layer(LoadShedLayer::new())
        .layer(GlobalConcurrencyLimitLayer::new(app.config.http.max_in_flight));
    router.layer(layers)
}

fn fixed(name: &'static str, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    let (name, value) = (HeaderName::from_static(name), HeaderValue::from_static(value));
    SetResponseHeaderLayer::if_not_present(name, value)
}

/// The id of a request, in its extensions.
#[derive(Clone)]
struct RequestId(String);

/// Keeps a sane `X-Request-Id` of the caller, makes one otherwise, and repeats it in the answer.
async fn identify(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let sane = |text: &&str| {
        (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    let given = request.headers().get(&REQUEST_ID).and_then(|value| value.to_str().ok());
    let id = match given.filter(sane) {
        Some(id) => id.to_owned(),
        None => match app.grants.random.uuid(app.grants.clock.now()) {
            Ok(id) => id.to_string(),
            Err(_) => return Failure::from(Problem::Internal).into_response(),
        },
    };
    request.extensions_mut().insert(RequestId(id.clone()));
    let mut response = next.run(request).await;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// One span and one closing line a request; the path is the route's pattern, so no id or token gets into logs.
async fn observe(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let watch = Stopwatch::start();
    let path = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let method = known(request.method());
    let id = request.extensions().get::<RequestId>().map_or("", |id| &id.0);
    let trace = request.headers().get("traceparent").and_then(|value| value.to_str().ok());
    let trace = trace.and_then(trace_id).unwrap_or_default();
    let span = tracing::info_span!("request", %id, method, path, trace_id = trace);
    let response = next.run(request).instrument(span.clone()).await;
    let (status, spent) = (response.status(), watch.elapsed());
    app.metrics.request(method, &path, status.as_u16(), spent);
    span.in_scope(|| tracing::info!(status = status.as_u16(), ms = spent.as_millis(), "answered"));
    response
}

/// Method names are a closed set in logs and metrics.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        _ => "OTHER",
    }
}

/// The trace id of a W3C `traceparent` (Trace Context §3.2), if it is well-formed.
fn trace_id(header: &str) -> Option<&str> {
    let mut parts = header.split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let zero = |text: &str| text.bytes().all(|b| b == b'0');
    let shaped = hex(version, 2) && version != "ff" && hex(trace, 32) && hex(parent, 16) && hex(flags, 2);
    let whole = version != "00" || parts.next().is_none();
    (shaped && whole && !zero(trace) && !zero(parent)).then_some(trace)
}

/// Gives a refusal of the machinery below the same form as ours.
async fn speak_problem(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    let refusal = status.is_client_error() || status.is_server_error();
    if !refusal || response.extensions().get::<IsProblem>().is_some() {
        return response;
    }
    let mut spoken = Failure::from(Problem::for_status(status)).into_response();
    for (name, value) in response.headers() {
        if name != header::CONTENT_TYPE && name != header::CONTENT_LENGTH {
            spoken.headers_mut().entry(name).or_insert_with(|| value.clone());
        }
    }
    spoken
}

pub(super) fn cors(app: &Arc<App>) -> CorsLayer {
    let allowed = app.config.http.cors_origins.clone();
    let own = app.config.issuer.clone();
    let judge = move |origin: &HeaderValue, parts: &axum::http::request::Parts| {
        let known = allowed.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes());
        // The documents are for everybody and say so themselves; pages of our own origin ask nobody.
        let path = parts.uri.path();
        let open = path.starts_with("/.well-known/") || path == "/openapi.yaml";
        let host = parts.headers.get(header::HOST).map(HeaderValue::as_bytes);
        let behind_scheme = origin.as_bytes().split(|b| *b == b'/').nth(2);
        let ours = origin.as_bytes() == own.as_bytes() || behind_scheme == host;
        if !known && !open && !ours {
            let origin = origin.to_str().unwrap_or("(not ASCII)");
            let origin: String = origin.chars().filter(|c| !c.is_control()).take(200).collect();
            tracing::warn!(
                "a page of {origin:?} was refused by CORS; if it is yours, start with --cors-origin {origin:?}"
            );
        }
        known
    };
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(judge))
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, REQUEST_ID])
        .expose_headers([header::RETRY_AFTER, header::WWW_AUTHENTICATE, REQUEST_ID])
        .max_age(Duration::from_secs(600))
}

fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    tracing::error!(panic = text, "a handler panicked; please report this");
    Failure::from(Problem::Internal).into_response()
}

async fn shed(_overloaded: tower::BoxError) -> Failure {
    Failure::from(Problem::Overloaded).with_retry_after(Duration::from_secs(1))
}

async fn in_time(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(app.config.http.request_timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            tracing::error!("the request took longer than http.request_timeout and was given up");
            Failure::from(Problem::Unavailable).with_retry_after(Duration::from_secs(1)).into_response()
        }
    }
}

/// Waits for the whole body, within its time, before a place is taken.
async fn arrived(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match read(body, app.config.http.body_timeout).await {
        Ok(bytes) => next.run(Request::from_parts(parts, bytes.into())).await,
        Err(refused) => refused.into_response(),
    }
}

/// Runs the rest in a task of its own, which a closed connection does not stop.
async fn outlive(request: Request, next: Next) -> Response {
    match tokio::spawn(next.run(request).in_current_span()).await {
        Ok(response) => response,
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Failure::from(Problem::Internal).into_response(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_taken_only_when_it_is_well_formed() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(trace_id(good), Some("0af7651916cd43dd8448eb211c80319c"));
        for bad in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-extra",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        ] {
            assert_eq!(trace_id(bad), None, "{bad}");
        }
    }
}
