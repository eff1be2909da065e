//! What strangers do to a listener, and what the others notice of it: nothing.

use std::net::SocketAddr;
use std::time::Duration;

use keyward::store::{EndReason, Limits as _, Sessions as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

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
