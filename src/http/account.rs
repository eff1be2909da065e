//! `/v1/me`, `/v1/me/password`, `/v1/sessions`: what an account sees and does with its own access token.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderName, StatusCode};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::error::{Failure, Problem};
use super::extract::{Authorized, From, Json, Manage, Read, Shape};
use crate::app::App;
use crate::grant::PasswordRequest;

/// The answer of `GET /v1/me`.
#[derive(Serialize)]
pub struct MeBody {
    id: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    roles: Vec<String>,
    session_id: String,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    password_changed_at: Option<String>,
}

/// The body of `PUT /v1/me/password`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PasswordBody {
    current_password: Zeroizing<String>,
    new_password: Zeroizing<String>,
}

impl Shape for PasswordBody {
    const SHAPE: &'static str = r#"{"current_password": string, "new_password": string}"#;
}

/// The answer of `GET /v1/sessions`.
#[derive(Serialize)]
pub struct SessionsBody {
    sessions: Vec<SessionBody>,
}

#[derive(Serialize)]
struct SessionBody {
    id: String,
    current: bool,
    client_id: String,
    device: String,
    created_at: String,
    last_used_at: String,
    idle_expires_at: String,
    expires_at: String,
}

/// An answer about a person: no cache keeps it.
type Private<T> = ([(HeaderName, &'static str); 1], axum::Json<T>);

fn private<T>(body: T) -> Private<T> {
    ([(CACHE_CONTROL, "no-store")], axum::Json(body))
}

pub(super) async fn me(Authorized { caller, .. }: Authorized<Read>) -> Private<MeBody> {
    let account = caller.account;
    private(MeBody {
        id: account.id.to_string(),
        name: account.name,
        email: account.email,
        roles: account.roles,
        session_id: caller.session.id.to_string(),
        created_at: account.created_at.rfc3339(),
        password_changed_at: account.password_changed_at.map(|at| at.rfc3339()),
    })
}

pub(super) async fn change_password(
    State(app): State<Arc<App>>,
    From(origin): From,
    Authorized { caller, .. }: Authorized<Manage>,
    Json(body): Json<PasswordBody>,
) -> Result<StatusCode, Failure> {
    let request = PasswordRequest { current: body.current_password, new: body.new_password };
    app.grants.change_password(&caller, &request, &origin).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn sessions(
    State(app): State<Arc<App>>,
    Authorized { caller, .. }: Authorized<Read>,
) -> Result<Private<SessionsBody>, Failure> {
    let listed = app.grants.sessions(&caller).await?;
    let sessions = listed.into_iter().map(|listed| SessionBody {
        id: listed.session.id.to_string(),
        current: listed.current,
        client_id: listed.client,
        device: listed.session.device,
        created_at: listed.session.created_at.rfc3339(),
        last_used_at: listed.session.last_used_at.rfc3339(),
        idle_expires_at: listed.session.idle_expires_at.rfc3339(),
        expires_at: listed.session.expires_at.rfc3339(),
    });
    Ok(private(SessionsBody { sessions: sessions.collect() }))
}

pub(super) async fn end_session(
    State(app): State<Arc<App>>,
    From(origin): From,
    Authorized { caller, .. }: Authorized<Manage>,
    Path(id): Path<String>,
) -> Result<StatusCode, Failure> {
    let id = Uuid::parse_str(&id).map_err(|_| Problem::SessionNotFound)?;
    app.grants.end_session(&caller, id, &origin).await?;
    Ok(StatusCode::NO_CONTENT)
}
