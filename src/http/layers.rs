//! The layers around every route, outermost first, in one list.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceBuilder;
use tower::util::option_layer;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tracing::Instrument as _;

use super::body::take_in;
use super::error::{Failure, IsProblem, Problem};
use crate::app::App;
use crate::clock::Stopwatch;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// On every answer, unless it has its own.
const SECURITY: [(HeaderName, HeaderValue); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
];

/// Puts the layers around `router`; pages of other origins may only read what has `cors`.
pub(super) fn wrap(router: Router<Arc<App>>, app: &Arc<App>, cors: Option<CorsLayer>) -> Router<Arc<App>> {
    let places = Arc::new(Semaphore::new(app.config.http.max_in_flight));
    let layers = ServiceBuilder::new()
        // 1. The request id, first, so that everything below can name the request; one span and one line a request,
        // joined to the caller's trace; metrics. On the way out: whatever failed without a body of ours still speaks
        // RFC 9457, and every answer has the security headers, refusals and preflights as well.
        .layer(from_fn_with_state(app.clone(), accompany))
        // 2. CORS, before anything that may refuse, so that a browser can read the refusal.
        .layer(option_layer(cors))
        // 3. A panic is an answer, not a closed connection.
        .layer(CatchPanicLayer::custom(panicked))
        // 4. The time that the whole request may take; in it the body's, and only then a place to work.
        .layer(from_fn_with_state(Bounds { app: app.clone(), places }, in_time));
    router.layer(layers)
}

/// Names the request and follows it: one span, one closing line, and what is counted. The path is the route's pattern,
/// so no id or token gets into logs.
async fn accompany(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let watch = Stopwatch::start();
    let id = match identify(&app, request.headers()) {
        Ok(id) => id,
        Err(refused) => return dressed(refused.into_response()),
    };
    let route = request.extensions().get::<MatchedPath>().cloned();
    let path = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    let method = known(request.method());
    let trace = request.headers().get("traceparent").and_then(|value| value.to_str().ok());
    let trace = trace.and_then(trace_id).unwrap_or_default();
    let name = id.to_str().unwrap_or_default();
    let span = tracing::info_span!("request", id = %name, method, path, trace_id = trace);
    let mut response = dressed(next.run(request).instrument(span.clone()).await);
    let (status, spent) = (response.status(), watch.elapsed());
    app.metrics.request(method, path, status.as_u16(), spent);
    span.in_scope(|| tracing::info!(status = status.as_u16(), ms = spent.as_millis(), "answered"));
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// A sane `X-Request-Id` of the caller, or a fresh one.
fn identify(app: &App, headers: &HeaderMap) -> Result<HeaderValue, Failure> {
    let sane = |value: &&HeaderValue| {
        (1..=64).contains(&value.len())
            && value.as_bytes().iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    if let Some(given) = headers.get(&REQUEST_ID).filter(sane) {
        return Ok(given.clone());
    }
    let made = app.grants.random.uuid(app.grants.clock.now()).map_err(|_| Problem::Internal)?;
    HeaderValue::try_from(made.to_string()).map_err(|_| Problem::Internal.into())
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

fn dressed(response: Response) -> Response {
    let mut response = spoken(response);
    for (name, value) in SECURITY {
        response.headers_mut().entry(name).or_insert(value);
    }
    response
}

/// Gives a refusal of the machinery below the same form as ours.
fn spoken(response: Response) -> Response {
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

/// What bounds a request: the configured times, and the places for those that are worked on at once.
#[derive(Clone)]
struct Bounds {
    app: Arc<App>,
    places: Arc<Semaphore>,
}

async fn in_time(State(bounds): State<Bounds>, request: Request, next: Next) -> Response {
    let http = &bounds.app.config.http;
    let answer = async {
        // Whoever sends slowly holds no place that others need.
        let request = arrived(request, http.body_timeout).await?;
        // Beyond the limit the answer is 503 at once, never a queue.
        let place = bounds.places.clone().try_acquire_owned();
        let place = place.map_err(|_| again_soon(Problem::Overloaded))?;
        Ok::<Response, Failure>(outlive(request, next, place).await)
    };
    match tokio::time::timeout(http.request_timeout, answer).await {
        Ok(answer) => answer.into_response(),
        Err(_) => {
            tracing::error!("the request took longer than http.request_timeout and was given up");
            again_soon(Problem::Unavailable).into_response()
        }
    }
}

fn again_soon(problem: Problem) -> Failure {
    Failure::from(problem).with_retry_after(Duration::from_secs(1))
}

/// The request with its whole body.
async fn arrived(request: Request, deadline: Duration) -> Result<Request, Failure> {
    let (parts, body) = request.into_parts();
    Ok(Request::from_parts(parts, take_in(body, deadline).await?.into()))
}

/// Runs the rest in a task of its own: what has begun is finished and recorded, even when the client hangs up or time is
/// over.
async fn outlive(request: Request, next: Next, place: OwnedSemaphorePermit) -> Response {
    let rest = async move {
        let response = next.run(request).await;
        drop(place);
        response
    };
    match tokio::spawn(rest.in_current_span()).await {
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
