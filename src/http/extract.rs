//! What handlers take from a request: a strict JSON body, the caller behind a bearer token, the origin.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Once};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{ConnectInfo, FromRequest, FromRequestParts, Request};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use axum::http::{HeaderMap, request::Parts};
use keyward_verifier::{AccessClaims, External, Verified};
use serde::de::DeserializeOwned;

use super::body::BODY_LIMIT;
use super::error::{Failure, Problem};
use crate::app::{App, TokenRefused};
use crate::grant::{Caller, Origin};
use crate::session::device_label;

/// A body's type that can say how it must look, for the person who got it wrong.
pub trait Shape {
    /// For example `{"refresh_token": string, "client_id"?: string}`.
    const SHAPE: &'static str;
}

/// A strict JSON body: right content type, no unknown or repeated member.
pub struct Json<T>(pub T);

impl<T: DeserializeOwned + Shape> FromRequest<Arc<App>> for Json<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &Arc<App>) -> Result<Self, Failure> {
        if !is_json(request.headers()) {
            return Err(Problem::UnsupportedMediaType.into());
        }
        parse(&body(request).await?).map(Json)
    }
}

/// As [`Json`], but a request without any body is the default.
pub struct OptionalJson<T>(pub T);

impl<T: DeserializeOwned + Shape + Default> FromRequest<Arc<App>> for OptionalJson<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &Arc<App>) -> Result<Self, Failure> {
        let typed = request.headers().contains_key(CONTENT_TYPE);
        let json = is_json(request.headers());
        let bytes = body(request).await?;
        match (bytes.is_empty(), typed, json) {
            (true, false, _) => Ok(OptionalJson(T::default())),
            (_, _, false) => Err(Problem::UnsupportedMediaType.into()),
            _ => parse(&bytes).map(OptionalJson),
        }
    }
}

/// Reads a body of the contract.
///
/// # Errors
/// A [`Failure`] that says where it stopped making sense and how it must look, without repeating a byte of it.
pub fn parse<T: DeserializeOwned + Shape>(bytes: &[u8]) -> Result<T, Failure> {
    // serde would take an array for the object, its members in the order of their declaration.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        let detail = format!("the body is an array; expected {}", T::SHAPE);
        return Err(Failure::from(Problem::MalformedRequest).with_detail(detail));
    }
    serde_json::from_slice(bytes).map_err(|wrong| {
        let what = match wrong.classify() {
            serde_json::error::Category::Data => {
                "the body has a missing, unknown, repeated or mistyped member"
            }
            _ => "the body is not JSON in UTF-8",
        };
        let (line, column) = (wrong.line(), wrong.column());
        Failure::from(Problem::MalformedRequest)
            .with_detail(format!("{what} (line {line}, column {column}); expected {}", T::SHAPE))
    })
}

/// The body that the layers have taken in; it is whole, so nothing is waited for.
async fn body(request: Request) -> Result<Bytes, Failure> {
    axum::body::to_bytes(request.into_body(), BODY_LIMIT).await.map_err(|_| Problem::Internal.into())
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

/// A verified access token of Keyward's own audience; its session may be over.
pub struct Bearer(pub Verified<External, AccessClaims>);

impl FromRequestParts<Arc<App>> for Bearer {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Failure> {
        let verified = app.verify(bearer_token(&parts.headers)?);
        verified.map(Bearer).map_err(|refused| match refused {
            TokenRefused::Invalid => Problem::InvalidToken.into(),
            TokenRefused::Unavailable => {
                Failure::from(Problem::Unavailable).with_retry_after(Duration::from_secs(1))
            }
        })
    }
}

/// The one bearer token of a request (RFC 6750 §2.1).
fn bearer_token(headers: &HeaderMap) -> Result<&str, Failure> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(Problem::MissingToken)?;
    if values.next().is_some() {
        return Err(Failure::from(Problem::MalformedRequest)
            .with_detail("the Authorization header must be there once"));
    }
    let text = value.to_str().map_err(|_| Problem::InvalidToken)?;
    let (scheme, token) = text.split_once(' ').ok_or(Problem::InvalidToken)?;
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() || token.contains([' ', ',']) {
        return Err(Problem::InvalidToken.into());
    }
    Ok(token)
}

/// A scope of Keyward's own API, as a type, so that a route states what it needs.
pub trait Needs {
    /// The scope.
    const SCOPE: &'static str;
}

/// `account:read`.
pub struct Read;
/// `account:manage`.
pub struct Manage;

impl Needs for Read {
    const SCOPE: &'static str = "account:read";
}

impl Needs for Manage {
    const SCOPE: &'static str = "account:manage";
}

/// The living caller behind a bearer token with the scope that the route needs.
pub struct Authorized<N: Needs> {
    /// The caller.
    pub caller: Caller,
    needs: std::marker::PhantomData<N>,
}

impl<N: Needs> FromRequestParts<Arc<App>> for Authorized<N> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Failure> {
        let Bearer(token) = Bearer::from_request_parts(parts, app).await?;
        if !token.claims().scope.contains(N::SCOPE) {
            return Err(Failure::for_scope(N::SCOPE));
        }
        match app.grants.caller(&token).await {
            Ok(caller) => Ok(Authorized { caller, needs: std::marker::PhantomData }),
            Err(crate::grant::Refused::SessionEnded(_)) => Err(Failure::from(Problem::InvalidToken)
                .with_detail("the session behind the access token has ended")),
            Err(refused) => Err(refused.into()),
        }
    }
}

const FORWARDED_FOR: &str = "x-forwarded-for";

/// Where the request came from, through trusted proxies only.
pub struct From(pub Origin);

impl FromRequestParts<Arc<App>> for From {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, std::convert::Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
        let peer = peer.unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED)).to_canonical();
        let trusted = |address: IpAddr| app.config.http.trusted_proxies.iter().any(|p| p.contains(address));
        if !trusted(peer) && parts.headers.contains_key(FORWARDED_FOR) {
            static SAID: Once = Once::new();
            SAID.call_once(|| {
                tracing::warn!(
                    "X-Forwarded-For came from an address that is not in http.trusted_proxies and is not believed; if it is your proxy's, name it there, or all who come through it count as one source address and are paced together (said once)"
                );
            });
        }
        let address = source_address(peer, &parts.headers, trusted);
        let agent = parts.headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
        Ok(From(Origin { address, device: device_label(agent) }))
    }
}

/// The right-most address of `X-Forwarded-For` that is not a trusted proxy, if the peer is one; else the peer.
fn source_address(peer: IpAddr, headers: &HeaderMap, trusted: impl Fn(IpAddr) -> bool) -> IpAddr {
    let mut source = peer;
    let hops = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
    let hops: Vec<&str> = hops.flat_map(|value| value.split(',')).collect();
    for hop in hops.into_iter().rev().take(32) {
        if !trusted(source) {
            break;
        }
        match hop.trim().parse::<IpAddr>() {
            Ok(address) => source = address.to_canonical(),
            Err(_) => break,
        }
    }
    source
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(forwarded: &[&str]) -> HeaderMap {
        forwarded.iter().map(|v| ("x-forwarded-for".parse().unwrap(), v.parse().unwrap())).collect()
    }

    #[test]
    fn only_what_trusted_proxies_added_to_forwarded_for_is_believed() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let proxy = |address: IpAddr| address.is_loopback();
        let (peer, home, fake) = (ip("127.0.0.1"), ip("192.0.2.7"), "203.0.113.9");
        let of = |peer, forwarded: &[&str]| source_address(peer, &headers(forwarded), proxy);
        assert_eq!(of(home, &[fake]), home, "a stranger's header is ignored");
        assert_eq!(of(peer, &["192.0.2.7"]), home);
        assert_eq!(of(peer, &[fake, "192.0.2.7"]), home, "what the client wrote itself is not believed");
        assert_eq!(of(peer, &["203.0.113.9, 192.0.2.7, 127.0.0.2"]), home);
        assert_eq!(of(peer, &["nonsense"]), peer);
        assert_eq!(of(peer, &[]), peer);
    }

    #[test]
    fn the_content_type_is_json_once() {
        let typed = |value: &str| {
            is_json(&[(CONTENT_TYPE, value.parse().unwrap())].into_iter().collect::<HeaderMap>())
        };
        assert!(typed("application/json") && typed("Application/JSON; charset=utf-8"));
        assert!(!typed("text/plain") && !typed("application/jsonp") && !is_json(&HeaderMap::new()));
    }
}
