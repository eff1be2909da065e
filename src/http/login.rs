//! `/v1/login`, `/v1/refresh`, `/v1/logout`.

use std::sync::Arc;

use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::error::{Failure, Problem};
use super::extract::{Bearer, From, Json, OptionalJson, Shape};
use crate::app::App;
use crate::grant::{Issued, LoginRequest, RefreshRequest};

/// The body of `POST /v1/login`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoginBody {
    identifier: String,
    password: Zeroizing<String>,
    client_id: Option<String>,
    audience: Option<String>,
    scope: Option<String>,
}

impl Shape for LoginBody {
    const SHAPE: &'static str = r#"{"identifier": string, "password": string, "client_id"?: string, "audience"?: string, "scope"?: string}"#;
}

/// The body of `POST /v1/refresh`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefreshBody {
    refresh_token: Zeroizing<String>,
    client_id: Option<String>,
    audience: Option<String>,
    scope: Option<String>,
}

impl Shape for RefreshBody {
    const SHAPE: &'static str =
        r#"{"refresh_token": string, "client_id"?: string, "audience"?: string, "scope"?: string}"#;
}

/// The body of `POST /v1/logout`; all of it may be left out when an access token is in the header.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogoutBody {
    refresh_token: Option<Zeroizing<String>>,
    client_id: Option<String>,
    #[serde(default)]
    all: bool,
}

impl Shape for LogoutBody {
    const SHAPE: &'static str = r#"{"refresh_token"?: string, "client_id"?: string, "all"?: boolean}"#;
}

/// Tokens on their way out: the only way, and never stored by what is between.
pub struct TokenResponse(Issued);

#[derive(Serialize)]
struct TokenBody<'a> {
    access_token: &'a str,
    token_type: &'static str,
    expires_in: u64,
    refresh_token: &'a str,
    scope: String,
    session_id: String,
}

impl IntoResponse for TokenResponse {
    fn into_response(self) -> Response {
        let issued = self.0;
        let body = TokenBody {
            access_token: &issued.access_token,
            token_type: "Bearer",
            expires_in: issued.expires_in,
            refresh_token: &issued.refresh_token,
            scope: issued.scope.to_string(),
            session_id: issued.session_id.to_string(),
        };
        let mut response = axum::Json(body).into_response();
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

pub(super) async fn login(
    State(app): State<Arc<App>>,
    From(origin): From,
    Json(body): Json<LoginBody>,
) -> Result<TokenResponse, Failure> {
    let request = LoginRequest {
        identifier: body.identifier,
        password: body.password,
        client: body.client_id,
        audience: body.audience,
        scope: body.scope,
    };
    let outcome = app.grants.login(&request, &origin).await;
    app.metrics.login(&outcome);
    Ok(TokenResponse(outcome?))
}

pub(super) async fn refresh(
    State(app): State<Arc<App>>,
    From(origin): From,
    Json(body): Json<RefreshBody>,
) -> Result<TokenResponse, Failure> {
    let request = RefreshRequest {
        refresh_token: body.refresh_token,
        client: body.client_id,
        audience: body.audience,
        scope: body.scope,
    };
    let outcome = app.grants.refresh(&request, &origin).await;
    app.metrics.refresh(&outcome);
    Ok(TokenResponse(outcome?))
}

pub(super) async fn logout(
    State(app): State<Arc<App>>,
    From(origin): From,
    request: Request,
) -> Result<StatusCode, Failure> {
    let (mut parts, body) = request.into_parts();
    let bearer = match parts.headers.contains_key(AUTHORIZATION) {
        true => Some(Bearer::from_request_parts(&mut parts, &app).await?),
        false => None,
    };
    let request = Request::from_parts(parts, body);
    let OptionalJson(body) =
        <OptionalJson<LogoutBody> as axum::extract::FromRequest<_>>::from_request(request, &app).await?;
    match (bearer, body.refresh_token) {
        (Some(Bearer(token)), None) if body.client_id.is_none() => {
            app.grants.logout(&token, body.all, &origin).await?;
        }
        (None, Some(token)) => {
            let client = body.client_id.as_deref();
            app.grants.logout_by_refresh_token(token.as_str(), client, body.all, &origin).await?;
        }
        (None, None) => return Err(Problem::MissingToken.into()),
        (Some(_), _) => {
            return Err(Failure::from(Problem::MalformedRequest).with_detail(
                "send an access token in the header or a refresh token (with client_id) in the body, not both",
            ));
        }
    }
    Ok(StatusCode::NO_CONTENT)
}
