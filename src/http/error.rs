//! The one table from a failure to its HTTP answer: RFC 9457 problem details with stable `type` values.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::grant::Refused;
use crate::secrets::SecretsError;

macro_rules! problems {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $status:ident, $title:literal;)*) => {
        /// What can go wrong, as clients may rely on it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Problem { $($(#[$doc])* $variant,)* }

        impl Problem {
            /// Every problem.
            pub const ALL: &[Problem] = &[$(Problem::$variant,)*];

            /// The stable `type`.
            pub fn uri(self) -> &'static str {
                match self { $(Problem::$variant => concat!("urn:keyward:problem:", $name),)* }
            }

            /// The HTTP status.
            pub fn status(self) -> StatusCode {
                match self { $(Problem::$variant => StatusCode::$status,)* }
            }

            /// The `title`.
            pub fn title(self) -> &'static str {
                match self { $(Problem::$variant => $title,)* }
            }
        }
    };
}

problems! {
    /// The request is not what the contract says.
    MalformedRequest = "malformed-request", BAD_REQUEST, "The request is malformed";
    /// The scope has impossible characters.
    InvalidScope = "invalid-scope", BAD_REQUEST, "The scope is malformed";
    /// No such client.
    UnknownClient = "unknown-client", BAD_REQUEST, "The client is unknown";
    /// Not an audience of this client.
    AudienceNotAllowed = "audience-not-allowed", BAD_REQUEST, "The client may not have this audience";
    /// Wrong identifier or password.
    InvalidCredentials = "invalid-credentials", UNAUTHORIZED, "Identifier or password is wrong";
    /// Reserved: the password was right and a second factor is due.
    SecondFactorRequired = "second-factor-required", UNAUTHORIZED, "A second factor is required";
    /// No access token came with the request.
    MissingToken = "missing-token", UNAUTHORIZED, "An access token is required";
    /// The access token is not accepted.
    InvalidToken = "invalid-token", UNAUTHORIZED, "The access token is not valid";
    /// Not a refresh token of ours.
    RefreshTokenInvalid = "refresh-token-invalid", UNAUTHORIZED, "The refresh token is not valid";
    /// A spent refresh token.
    RefreshTokenReused = "refresh-token-reused", UNAUTHORIZED, "The refresh token was spent; the session has been ended";
    /// The session is over.
    SessionEnded = "session-ended", UNAUTHORIZED, "The session has ended";
    /// The session has expired.
    SessionExpired = "session-expired", UNAUTHORIZED, "The session has expired";
    /// The token lacks a scope.
    InsufficientScope = "insufficient-scope", FORBIDDEN, "The access token lacks the needed scope";
    /// The current password given is wrong.
    WrongPassword = "wrong-password", FORBIDDEN, "The current password is wrong";
    /// Nothing here.
    NotFound = "not-found", NOT_FOUND, "There is nothing at this address";
    /// No such session.
    SessionNotFound = "session-not-found", NOT_FOUND, "There is no such session";
    /// The path exists, not for this method.
    MethodNotAllowed = "method-not-allowed", METHOD_NOT_ALLOWED, "The method is not allowed here";
    /// The body did not arrive in time.
    RequestTimeout = "request-timeout", REQUEST_TIMEOUT, "The request took too long to arrive";
    /// The account changed while the request was under way.
    Conflict = "conflict", CONFLICT, "The account changed meanwhile; try again";
    /// The body is too large.
    BodyTooLarge = "body-too-large", PAYLOAD_TOO_LARGE, "The body is larger than 16 KiB";
    /// The body is not JSON.
    UnsupportedMediaType = "unsupported-media-type", UNSUPPORTED_MEDIA_TYPE, "The body must be application/json";
    /// The new password is not acceptable.
    PasswordRefused = "password-refused", UNPROCESSABLE_ENTITY, "The new password is not acceptable";
    /// Too many attempts.
    TooManyAttempts = "too-many-attempts", TOO_MANY_REQUESTS, "Too many attempts";
    /// A fault of ours.
    Internal = "internal", INTERNAL_SERVER_ERROR, "Something went wrong on our side";
    /// Too much at once.
    Overloaded = "overloaded", SERVICE_UNAVAILABLE, "Too many requests at once";
    /// Something that is needed does not answer.
    Unavailable = "unavailable", SERVICE_UNAVAILABLE, "The service is not available at the moment";
}

impl Problem {
    /// What a bare status without a body of ours becomes.
    pub fn for_status(status: StatusCode) -> Problem {
        match status {
            StatusCode::NOT_FOUND => Problem::NotFound,
            StatusCode::METHOD_NOT_ALLOWED => Problem::MethodNotAllowed,
            StatusCode::REQUEST_TIMEOUT => Problem::RequestTimeout,
            StatusCode::PAYLOAD_TOO_LARGE => Problem::BodyTooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Problem::UnsupportedMediaType,
            StatusCode::SERVICE_UNAVAILABLE => Problem::Unavailable,
            status if status.is_client_error() => Problem::MalformedRequest,
            _ => Problem::Internal,
        }
    }
}

/// A problem on its way out. `detail` is ours alone: no byte of the request is ever in it.
#[derive(Debug)]
pub struct Failure {
    problem: Problem,
    detail: Option<String>,
    retry_after: Option<Duration>,
    scope: Option<&'static str>,
    cause: Option<String>,
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
}

/// Marks an answer that already is a problem document.
#[derive(Clone, Copy)]
pub(super) struct IsProblem;

impl Failure {
    /// With a detail for the person who reads it.
    pub fn with_detail(mut self, detail: impl Into<String>) -> Failure {
        self.detail = Some(detail.into());
        self
    }

    /// With `Retry-After`, rounded up to whole seconds.
    pub fn with_retry_after(mut self, after: Duration) -> Failure {
        self.retry_after = Some(after);
        self
    }

    /// For want of `scope`.
    pub fn for_scope(scope: &'static str) -> Failure {
        Failure { scope: Some(scope), ..Problem::InsufficientScope.into() }
    }

    fn with_cause(mut self, cause: impl ToString) -> Failure {
        self.cause = Some(cause.to_string());
        self
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Failure {
        Failure { problem, detail: None, retry_after: None, scope: None, cause: None }
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Failure {
        let plain = |problem: Problem| Failure::from(problem);
        let soon = Duration::from_secs(1);
        match refused {
            Refused::InvalidCredentials => plain(Problem::InvalidCredentials),
            Refused::WrongPassword => plain(Problem::WrongPassword),
            Refused::TooManyAttempts { retry_after } => {
                plain(Problem::TooManyAttempts).with_retry_after(retry_after)
            }
            Refused::Overloaded { retry_after } => plain(Problem::Overloaded).with_retry_after(retry_after),
            Refused::UnknownClient => plain(Problem::UnknownClient),
            Refused::AudienceNotAllowed => plain(Problem::AudienceNotAllowed),
            Refused::InvalidScope => plain(Problem::InvalidScope),
            Refused::RefreshTokenInvalid => plain(Problem::RefreshTokenInvalid),
            Refused::RefreshTokenReused => plain(Problem::RefreshTokenReused),
            Refused::SessionEnded(_) => plain(Problem::SessionEnded),
            Refused::SessionExpired => plain(Problem::SessionExpired),
            Refused::NoSuchSession => plain(Problem::SessionNotFound),
            Refused::PasswordRefused(why) => plain(Problem::PasswordRefused).with_detail(why.to_string()),
            Refused::Conflict => plain(Problem::Conflict),
            Refused::KeysUnavailable(_) | Refused::Store(_) | Refused::Secrets(SecretsError::Store(_)) => {
                plain(Problem::Unavailable).with_retry_after(soon).with_cause(refused)
            }
            Refused::Secrets(_) | Refused::Random(_) | Refused::Fault(_) => {
                plain(Problem::Internal).with_cause(refused)
            }
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = self.problem.status();
        if let Some(cause) = &self.cause {
            tracing::error!(problem = self.problem.uri(), %cause, "the request failed on our side");
        }
        let body = Body {
            r#type: self.problem.uri(),
            title: self.problem.title(),
            status: status.as_u16(),
            detail: self.detail.as_deref(),
        };
        let mut response = (status, axum::Json(body)).into_response();
        response.extensions_mut().insert(IsProblem);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(after) = self.retry_after {
            let seconds = after.as_millis().div_ceil(1000).max(1);
            if let Ok(value) = HeaderValue::from_str(&seconds.to_string()) {
                headers.insert(header::RETRY_AFTER, value);
            }
        }
        let challenge = match (self.problem, self.scope) {
            (Problem::InvalidToken, _) => Some("Bearer error=\"invalid_token\"".to_owned()),
            (Problem::InsufficientScope, Some(scope)) => {
                Some(format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\""))
            }
            // RFC 9110 §15.5.2: every 401 says how one authenticates here.
            _ if status == StatusCode::UNAUTHORIZED => Some("Bearer".to_owned()),
            _ => None,
        };
        if let Some(value) = challenge.and_then(|text| HeaderValue::from_str(&text).ok()) {
            headers.insert(header::WWW_AUTHENTICATE, value);
        }
        response
    }
}
