//! The accept loop: bounded connections, an end for those that only wait, and a shutdown that finishes what runs.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tower::{BoxError, ServiceExt as _};

use super::pulse::Pulse;
use super::stream::Impatient;
use crate::app::stopped;
use crate::config::Http;

/// How long a new connection may take to say its first request.
const FIRST_WORD: Duration = Duration::from_secs(10);

/// Serves `router` on `listeners` until `stop` turns true, then finishes what runs, at most `shutdown_deadline` long.
pub async fn serve(
    listeners: Vec<TcpListener>,
    router: Router,
    settings: &Http,
    mut stop: watch::Receiver<bool>,
) {
    let room = Arc::new(Semaphore::new(settings.max_connections));
    let host = Arc::new(Host { protocol: protocol(settings), router, settings: settings.clone() });
    loop {
        let accepted = tokio::select! {
            accepted = accept_any(&listeners) => accepted,
            () = stopped(&mut stop) => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(failed) => {
                // Out of file descriptors, most often: give the others time to close.
                tracing::error!(%failed, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Ok(permit) = room.clone().try_acquire_owned() else {
            tracing::warn!("http.max_connections is reached; a connection was closed at once");
            continue;
        };
        let (host, stop) = (host.clone(), stop.clone());
        tokio::spawn(async move {
            if let Err(broken) = host.converse(stream, peer, stop).await {
                tracing::debug!(%broken, "a connection broke");
            }
            drop(permit);
        });
    }
    drop(listeners);
    // Whoever holds every place knows that all connections are over.
    let places = u32::try_from(settings.max_connections).unwrap_or(u32::MAX);
    if tokio::time::timeout(settings.shutdown_deadline, room.acquire_many(places)).await.is_err() {
        tracing::warn!("some requests were still running at http.shutdown_deadline and were given up");
    }
}

fn protocol(settings: &Http) -> auto::Builder<TokioExecutor> {
    let mut protocol = auto::Builder::new(TokioExecutor::new());
    protocol.http1().timer(TokioTimer::new()).header_read_timeout(settings.header_timeout);
    protocol.http1().max_buf_size(32 * 1024).max_headers(64);
    protocol
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(Duration::from_secs(20)))
        .keep_alive_timeout(Duration::from_secs(10))
        .max_concurrent_streams(32)
        .max_header_list_size(16 * 1024);
    protocol
}

/// What all connections of a listener share.
struct Host {
    protocol: auto::Builder<TokioExecutor>,
    router: Router,
    settings: Http,
}

impl Host {
    /// Answers one connection until either side ends it, it only waits, or `stop` turns true.
    async fn converse(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), BoxError> {
        let settings = &self.settings;
        let pulse = Pulse::start();
        let (felt, router) = (pulse.clone(), self.router.clone());
        let service = hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let mut request = request.map(axum::body::Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            felt.during(router.clone().oneshot(request))
        });
        let stream = TokioIo::new(Impatient::new(stream, settings.write_timeout));
        let mut connection = std::pin::pin!(self.protocol.serve_connection(stream, service));

        // Hyper's own deadlines begin only when it knows the protocol, and HTTP/2 has none for a connection that
        // waits, or for an answer that its client does not let through.
        while let Some(rest) = pulse.rest(settings.header_timeout.min(FIRST_WORD), settings.header_timeout) {
            tokio::select! {
                biased;
                ended = &mut connection => return ended,
                () = stopped(&mut stop) => {
                    connection.as_mut().graceful_shutdown();
                    return connection.await;
                }
                () = tokio::time::sleep(rest) => {}
            }
        }
        if !pulse.has_spoken() {
            return Ok(());
        }
        connection.as_mut().graceful_shutdown();
        // Time for a request that crossed the goodbye.
        let goodbye = settings.request_timeout + settings.write_timeout;
        tokio::time::timeout(goodbye, connection).await.unwrap_or(Ok(()))
    }
}

async fn accept_any(listeners: &[TcpListener]) -> io::Result<(TcpStream, SocketAddr)> {
    std::future::poll_fn(|context| {
        for listener in listeners {
            if let std::task::Poll::Ready(accepted) = listener.poll_accept(context) {
                if let Ok((stream, _)) = &accepted {
                    let _ = stream.set_nodelay(true);
                }
                return std::task::Poll::Ready(accepted);
            }
        }
        std::task::Poll::Pending
    })
    .await
}
