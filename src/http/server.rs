//! The accept loop: bounded connections, deadlines on headers, and a shutdown that finishes what runs.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tower::ServiceExt as _;

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
    let graceful = GracefulShutdown::new();
    let mut protocol = auto::Builder::new(TokioExecutor::new());
    protocol.http1().timer(TokioTimer::new()).header_read_timeout(settings.header_timeout);
    protocol.http1().max_buf_size(32 * 1024).max_headers(64);
    protocol
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(Duration::from_secs(20)))
        .keep_alive_timeout(Duration::from_secs(10))
        .max_concurrent_streams(100)
        .max_header_list_size(16 * 1024);

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
        let router = router.clone();
        let spoken = Arc::new(AtomicBool::new(false));
        let heard = spoken.clone();
        let service = hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            heard.store(true, Ordering::Relaxed);
            let mut request = request.map(axum::body::Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            router.clone().oneshot(request)
        });
        let connection = protocol.serve_connection(TokioIo::new(stream), service).into_owned();
        let connection = graceful.watch(connection);
        let patience = settings.header_timeout.min(FIRST_WORD);
        tokio::spawn(async move {
            let mut connection = std::pin::pin!(connection);
            // Hyper's own deadline begins only when it knows the protocol, for which it waits for ever.
            let first = tokio::time::timeout(patience, &mut connection).await;
            let ended = match first {
                Ok(ended) => ended,
                Err(_) if spoken.load(Ordering::Relaxed) => connection.await,
                Err(_) => Ok(()),
            };
            if let Err(broken) = ended {
                tracing::debug!(%broken, "a connection broke");
            }
            drop(permit);
        });
    }
    drop(listeners);
    if tokio::time::timeout(settings.shutdown_deadline, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests were still running at http.shutdown_deadline and were given up");
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
