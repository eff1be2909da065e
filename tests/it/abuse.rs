//! What strangers do to a listener, and what the others notice of it: nothing.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use keyward::http;
use keyward::store::{EndReason, Limits as _, Sessions as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::app::TestApp;

/// Looks again and again, for at most ten seconds.
async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let looking = async {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(10), looking).await.is_ok(), "in vain: {what}");
}

/// How often a step of the store was taken.
fn calls(it: &TestApp, step: &str) -> u64 {
    it.app.grants.store.calls().iter().find(|(name, _)| *name == step).unwrap().1
}

/// A request whose body never comes; returns once the service waits for it.
async fn slow_sender(to: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let head = "POST /v1/refresh HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                content-length: 100\r\nexpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100");
    stream
}

#[tokio::test]
async fn those_who_send_slowly_take_no_place_from_the_others() {
    let it = TestApp::with(|config| config.http.max_in_flight = 2).await;
    it.add_user("alice").await;
    let mut slow = Vec::new();
    for _ in 0..8 {
        slow.push(slow_sender(it.public).await);
    }
    for path in ["/livez", "/readyz", "/.well-known/jwks.json"] {
        it.get(path, None).await.expect(200);
    }
    it.login("alice").await;
}

#[tokio::test]
async fn those_beyond_the_places_are_told_so_at_once_and_the_next_are_served() {
    let it = TestApp::with(|config| {
        config.http.max_in_flight = 1;
        config.password.memory_kib = 64 * 1024;
        config.password.iterations = 40;
    })
    .await;
    let body = r#"{"identifier":"nobody","password":"plenty of tame giraffes"}"#;
    let request = format!(
        "POST /v1/login HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut working = TcpStream::connect(it.public).await.unwrap();
    working.write_all(request.as_bytes()).await.unwrap();
    until("the login is worked on", async || it.app.grants.hasher.busy() > 0).await;
    let refused = it.get("/livez", None).await.expect(503);
    assert_eq!(
        (refused.problem(), &refused.headers["retry-after"]),
        ("overloaded".into(), &"1".parse().unwrap())
    );
    let mut answer = String::new();
    working.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    it.get("/livez", None).await.expect(200);
}

#[tokio::test]
async fn a_client_that_hangs_up_leaves_no_change_unrecorded() {
    let it = TestApp::start().await;
    it.add_user("alice").await;
    let mut sessions = Vec::new();
    for _ in 0..24 {
        let tokens = it.login("alice").await;
        let body = format!("{{\"refresh_token\":\"{}\"}}", tokens.refresh);
        let request = format!(
            "POST /v1/logout HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let looked = calls(&it, "session");
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_zero_linger().unwrap();
        let mut stream = socket.connect(it.public).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        // The service has begun as soon as it looks at the store, and the reset comes right then.
        until("the logout begins", async || calls(&it, "session") > looked).await;
        drop(stream);
        sessions.push(tokens.session);
    }
    let store = &it.app.grants.store;
    for session in sessions {
        let ended = async || store.session(session).await.unwrap().unwrap().ended;
        let recorded = async || {
            let events = store.audit(1_000).await.unwrap();
            events.iter().any(|event| event.session == Some(session) && event.kind == "session_ended")
        };
        until("the end is recorded", async || ended().await.is_some() && recorded().await).await;
        assert_eq!(ended().await.map(|(_, reason)| reason), Some(EndReason::Logout));
    }
}

/// A listener with one place, whose times are short where a test waits for their end and long where it must not.
async fn one_place(header_timeout: Duration, write_timeout: Duration) -> TestApp {
    TestApp::with(|config| {
        config.http.max_connections = 1;
        config.http.header_timeout = header_timeout;
        config.http.write_timeout = write_timeout;
        config.http.body_timeout = Duration::from_secs(1);
        config.http.request_timeout = Duration::from_secs(1);
    })
    .await
}

/// Whether a new connection is answered.
async fn is_served(to: SocketAddr) -> bool {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let mut answer = [0; 12];
    let asked = stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    asked.is_ok() && stream.read_exact(&mut answer).await.is_ok() && &answer == b"HTTP/1.1 200"
}

/// A connection on which far more is asked for than anything between can hold, and nothing is read yet.
async fn greedy(to: SocketAddr, requests: usize) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    let mut stream = socket.connect(to).await.unwrap();
    let request = "GET /openapi.yaml HTTP/1.1\r\nhost: x\r\n\r\n";
    let last = "GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all((request.repeat(requests) + last).as_bytes()).await.unwrap();
    stream
}

const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(75);

#[tokio::test]
async fn a_client_that_never_reads_its_answers_loses_its_place() {
    let it = one_place(LONG, SHORT).await;
    let _held = greedy(it.public, 800).await;
    until("the place is free", async || is_served(it.public).await).await;
}

#[tokio::test]
async fn a_client_that_reads_slowly_but_steadily_gets_everything() {
    let patience = Duration::from_secs(1);
    let it = one_place(LONG, patience).await;
    let requests = 600;
    let mut stream = greedy(it.public, requests).await;
    let mut pace = tokio::time::interval(Duration::from_millis(10));
    let (mut part, mut got) = (vec![0; 128 * 1024], 0);
    let mut end = Vec::new();
    let watch = keyward::clock::Stopwatch::start();
    loop {
        pace.tick().await;
        match stream.read(&mut part).await.unwrap() {
            0 => break,
            read => {
                got += read;
                end = part[..read].to_vec();
            }
        }
    }
    assert!(
        got > requests * keyward::app::CONTRACT.len() && end.ends_with(b"ok\n"),
        "cut off after {got} bytes"
    );
    assert!(watch.elapsed() > 3 * patience / 2, "not slow: {:?}", watch.elapsed());
}

/// An HTTP/2 connection whose client answers every ping, after one request; ends when the service closes it.
async fn polite(
    to: SocketAddr,
    window: u32,
) -> (Response<Incoming>, http2::SendRequest<Empty<Bytes>>, JoinHandle<()>) {
    let stream = TcpStream::connect(to).await.unwrap();
    let mut client = http2::Builder::new(TokioExecutor::new());
    client.initial_stream_window_size(window);
    let (mut ask, connection) = client.handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(async move { drop(connection.await) });
    let request = Request::get(format!("http://{to}/livez")).body(Empty::new()).unwrap();
    let answer = ask.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    (answer, ask, connection)
}

#[tokio::test]
async fn an_http2_connection_that_only_answers_pings_loses_its_place() {
    let it = one_place(SHORT, LONG).await;
    let (_answer, _ask, closed) = polite(it.public, 65_535).await;
    assert!(tokio::time::timeout(Duration::from_secs(10), closed).await.is_ok(), "it is kept");
    until("the place is free", async || is_served(it.public).await).await;
}

#[tokio::test]
async fn an_http2_stream_that_lets_no_byte_of_its_answer_through_holds_no_place() {
    let it = one_place(SHORT, SHORT).await;
    let (_answer, _ask, closed) = polite(it.public, 0).await;
    assert!(tokio::time::timeout(Duration::from_secs(10), closed).await.is_ok(), "it is kept");
    until("the place is free", async || is_served(it.public).await).await;
}

#[tokio::test]
async fn a_waiting_connection_does_not_keep_a_stopping_server() {
    let it = TestApp::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (to, settings) = (listener.local_addr().unwrap(), it.app.config.http.clone());
    let (stop, stopped) = watch::channel(false);
    let router = http::public(&it.app);
    let serving =
        tokio::spawn(async move { http::server::serve(vec![listener], router, &settings, stopped).await });
    let (_answer, _ask, closed) = polite(to, 65_535).await;
    let mut silent = TcpStream::connect(to).await.unwrap();
    silent.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    silent.read_exact(&mut [0; 12]).await.unwrap();
    stop.send(true).unwrap();
    // The deadline for what still runs is twice as long.
    let soon = Duration::from_secs(10);
    assert!(tokio::time::timeout(soon, serving).await.is_ok(), "it waits for connections that only wait");
    assert!(closed.is_finished() || tokio::time::timeout(soon, closed).await.is_ok());
}
