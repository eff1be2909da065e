//! Requests that a well-behaved client would not send.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Bytes;
use axum::http::{Method, Request};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, SizeHint};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use crate::app::Answer;
use crate::schema::{Contract, Listener};

/// A request as it is written.
pub fn request(
    method: &Method,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Request<Bytes> {
    let request = Request::builder().method(method).uri(path);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(body.into()).unwrap()
}

/// Sends to either listener and holds the answer against the contract.
pub async fn raw(address: SocketAddr, listener: Listener, request: Request<Bytes>) -> Answer {
    sent(address, listener, request, Manner::Whole).await
}

/// As [`raw`], with the body sent in any manner.
pub async fn sent(
    address: SocketAddr,
    listener: Listener,
    request: Request<Bytes>,
    manner: Manner,
) -> Answer {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let (mut parts, rest) = request.into_parts();
    parts.uri = format!("http://{address}{}", parts.uri).parse().unwrap();
    let rest = Some(rest).filter(|body| !body.is_empty());
    let client = Client::builder(TokioExecutor::new()).build_http::<Slice>();
    let response = client.request(Request::from_parts(parts, Slice { rest, manner })).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let answer = Answer { status: parts.status, headers: parts.headers, body };
    Contract::load().check(listener, &method, &path, &answer);
    answer
}

/// How a body is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// With its length.
    Whole,
    /// Without.
    Chunked,
    /// Without, and then nothing, for ever.
    Endless,
}

struct Slice {
    rest: Option<Bytes>,
    manner: Manner,
}

impl Body for Slice {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match (self.rest.take(), self.manner) {
            (Some(bytes), _) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            (None, Manner::Endless) => Poll::Pending,
            (None, _) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_none() && self.manner != Manner::Endless
    }

    fn size_hint(&self) -> SizeHint {
        match self.manner {
            Manner::Whole => SizeHint::with_exact(self.rest.as_ref().map_or(0, Bytes::len) as u64),
            _ => SizeHint::default(),
        }
    }
}
