//! What a running server tells its operator: warnings in the log, and the metrics.

use std::collections::BTreeMap;

use crate::process::{Place, Server, ask};

const FROM_ENVIRONMENT: &str = "the master key comes from the environment";
const SLOW: &str = "raise login.quantum";

fn metrics(server: &Server) -> String {
    let answer = ask(server.admin, "GET", "/metrics", &[], "").unwrap().expect(200);
    String::from_utf8(answer.body.to_vec()).unwrap()
}

#[test]
fn a_master_key_in_the_environment_is_warned_of_and_one_in_a_file_is_not() {
    let place = Place::prepared();
    let key = std::fs::read_to_string(place.path("keys/master.key")).unwrap();
    let server = place.serve();
    assert!(!server.log().contains(FROM_ENVIRONMENT), "{}", server.log());
    server.term().ok();

    let server = place.serve_with(&[], &[("KEYWARD_MASTER_KEY", key.trim())]);
    server.logs(FROM_ENVIRONMENT);
    server.logs("master_key_file");
    assert!(!server.log().contains(key.split_whitespace().nth(1).unwrap()), "the key itself is in the log");
    server.login("alice");
}

#[test]
fn a_comparison_slower_than_the_quantum_is_warned_of_once() {
    let place = Place::prepared().set("KEYWARD_PASSWORD__MEMORY_KIB", "19456");
    let server = place.serve_with(&[], &[("KEYWARD_LOGIN__QUANTUM", "5s")]);
    server.login("alice");
    assert!(!server.log().contains(SLOW), "{}", server.log());
    server.term().ok();

    // 19 MiB are not filled in a millisecond.
    let server = place.serve_with(&[], &[("KEYWARD_LOGIN__QUANTUM", "1ms")]);
    server.login("alice");
    server.login_with("alice", "wrong").expect(401);
    server.login("alice");
    let log = server.log();
    assert_eq!(log.matches(SLOW).count(), 1, "{log}");
}

/// OpenMetrics 1.0: the samples of a counter end in `_total`, and durations are in seconds and say so.
#[test]
fn every_metric_is_named_as_its_kind_and_unit_ask() {
    let place = Place::prepared();
    let server = place.serve();
    server.login("alice");
    let text = metrics(&server);
    let kinds: BTreeMap<&str, &str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    for (name, kind) in [
        ("keyward_hashing_rejected", "counter"),
        ("keyward_logins", "counter"),
        ("keyward_store_steps", "counter"),
        ("keyward_hashing_queue", "gauge"),
        ("keyward_hashing_busy", "gauge"),
        ("keyward_ring_generation", "gauge"),
        ("keyward_http_seconds", "histogram"),
    ] {
        assert_eq!(kinds.get(name), Some(&kind), "{name}: {text}");
    }
    assert!(text.contains("\n# UNIT keyward_http_seconds seconds\n"), "{text}");
    assert!(text.contains("\nkeyward_hashing_rejected_total 0\n"), "{text}");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let sample = line.split(['{', ' ']).next().unwrap();
        let whole = |name: &&str| {
            sample.strip_prefix(*name).is_some_and(|end| end.is_empty() || end.starts_with('_'))
        };
        let family = kinds.keys().copied().filter(whole).max_by_key(|name| name.len());
        let kind = kinds[family.unwrap_or_else(|| panic!("{sample} has no type"))];
        assert_eq!(kind == "counter", sample.ends_with("_total"), "{sample} is a {kind}");
    }
}
