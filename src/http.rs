//! The HTTP side: one table of routes, one ordered list of layers.

use std::sync::Arc;

use axum::Router;
use axum::http::Method;
use axum::routing::{MethodRouter, delete, get, post, put};

use crate::app::App;

pub mod account;
mod body;
pub mod error;
pub mod extract;
mod layers;
pub mod login;
mod open;
mod pulse;
pub mod server;
mod stream;

/// A route of the contract (`openapi.yaml`).
pub struct Route {
    /// Its method.
    pub method: Method,
    /// Its path, as axum and OpenAPI write it.
    pub path: &'static str,
    handler: MethodRouter<Arc<App>>,
}

fn route(method: Method, path: &'static str, handler: MethodRouter<Arc<App>>) -> Route {
    Route { method, path, handler }
}

/// Every public route.
pub fn routes() -> Vec<Route> {
    vec![
        route(Method::POST, "/v1/login", post(login::login)),
        route(Method::POST, "/v1/refresh", post(login::refresh)),
        route(Method::POST, "/v1/logout", post(login::logout)),
        route(Method::GET, "/v1/me", get(account::me)),
        route(Method::PUT, "/v1/me/password", put(account::change_password)),
        route(Method::GET, "/v1/sessions", get(account::sessions)),
        route(Method::DELETE, "/v1/sessions/{id}", delete(account::end_session)),
        route(Method::GET, "/.well-known/jwks.json", get(open::jwks)),
        route(Method::GET, "/.well-known/oauth-authorization-server", get(open::metadata)),
        route(Method::GET, "/.well-known/openid-configuration", get(open::metadata)),
        route(Method::GET, "/livez", get(open::livez)),
        route(Method::GET, "/readyz", get(open::readyz)),
        route(Method::GET, "/openapi.yaml", get(open::contract)),
        route(Method::GET, "/", get(open::page)),
    ]
}

/// Every route of the admin listener.
pub fn admin_routes() -> Vec<Route> {
    vec![
        route(Method::GET, "/metrics", get(open::metrics)),
        route(Method::GET, "/livez", get(open::livez)),
        route(Method::GET, "/readyz", get(open::readyz)),
    ]
}

/// The service behind the public listeners.
pub fn public(app: &Arc<App>) -> Router {
    layers::wrap(assemble(routes()), app, Some(layers::cors(app))).with_state(app.clone())
}

/// The service behind the admin listeners.
pub fn admin(app: &Arc<App>) -> Router {
    layers::wrap(assemble(admin_routes()), app, None).with_state(app.clone())
}

fn assemble(routes: Vec<Route>) -> Router<Arc<App>> {
    routes
        .into_iter()
        .fold(Router::new(), |router, route| router.route(route.path, route.handler))
        .fallback(|| async { error::Failure::from(error::Problem::NotFound) })
        .method_not_allowed_fallback(|| async { error::Failure::from(error::Problem::MethodNotAllowed) })
}
