//! Whatever strangers can send, as plain functions of bytes: `cargo fuzz` and `tests/it/fuzz.rs` call the same ones.
//!
//! A target panics when a rule is broken and tells whether it took the input, so that a corpus which only ever meets
//! the first check is noticed.

use std::path::Path;
use std::sync::LazyLock;

use keyward::config::Config;
use keyward::http::account::PasswordBody;
use keyward::http::extract::{Shape, parse};
use keyward::http::login::{LoginBody, LogoutBody, RefreshBody};
use keyward::session::RefreshToken;
use keyward_envelope::Sealed;
use keyward_verifier::{KeySet, Verifier};

/// A target: whether the input was taken.
pub type Target = fn(&[u8]) -> bool;

/// Every target with its name, which is that of its folder in `fuzz/corpus`.
pub const TARGETS: &[(&str, Target)] = &[
    ("refresh_token", refresh_token),
    ("sealed_value", sealed_value),
    ("request_body", request_body),
    ("configuration", configuration),
    ("access_token", access_token),
    ("published_keys", published_keys),
];

/// What is taken apart is put together to the very same text: there is one spelling of a refresh token.
pub fn refresh_token(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let Ok(token) = RefreshToken::parse(text) else { return false };
    assert_eq!(*token.to_text(), text);
    true
}

/// A sealed value is kept as it was written.
pub fn sealed_value(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let Ok(sealed) = Sealed::parse(text) else { return false };
    assert_eq!(sealed.as_str(), text);
    assert!(text.starts_with(&format!("v{}:", sealed.version())));
    true
}

/// A body is taken by its type or refused with a few words of ours.
pub fn request_body(data: &[u8]) -> bool {
    fn taken<T: Shape>(parsed: Result<T, keyward::http::error::Failure>) -> bool {
        let Err(failure) = parsed else { return true };
        let told = format!("{failure:?}");
        assert!(told.contains("MalformedRequest") && told.len() < 512, "{told}");
        false
    }
    let bodies = [
        taken(parse::<LoginBody>(data)),
        taken(parse::<RefreshBody>(data)),
        taken(parse::<LogoutBody>(data)),
        taken(parse::<PasswordBody>(data)),
    ];
    let how_many = bodies.iter().filter(|taken| **taken).count();
    // Logout and refresh share a body of a refresh token and a client.
    assert!(how_many <= 2, "{bodies:?}");
    how_many > 0
}

/// A configuration is whole or refused in sentences, each on its own line.
pub fn configuration(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    match Config::from_text(text) {
        Ok(config) => {
            assert!(config.access.lifetime > config.refresh.grace);
            assert!(config.session.idle <= config.session.absolute);
            true
        }
        Err(refused) => {
            assert!(!refused.sentences.is_empty());
            for sentence in &refused.sentences {
                assert!(!sentence.is_empty() && !sentence.contains('\n'), "{sentence:?}");
            }
            false
        }
    }
}

/// When `fuzz/corpus/access_token/good.txt` was issued, in seconds since 1970.
const ISSUED: u64 = 1_795_366_748;

struct Known {
    token: String,
    verifier: Verifier,
    keys: KeySet,
}

static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"));
    // The tests compile this file as part of the root package.
    let corpus = if corpus.ends_with("fuzz") { corpus.join("corpus") } else { corpus.join("fuzz/corpus") };
    let read = |name: &str| std::fs::read(corpus.join(name)).unwrap();
    let verifier = Verifier::builder().issuer("http://localhost:8080").audience("http://localhost:8080");
    Known {
        token: String::from_utf8(read("access_token/good.txt")).unwrap(),
        verifier: verifier.rs256().build().unwrap(),
        keys: KeySet::parse(&read("published_keys/good.json")).unwrap(),
    }
});

/// The one token whose key nobody has any more is the only one that is ever trusted.
pub fn access_token(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    match KNOWN.verifier.verify(text, &KNOWN.keys, ISSUED) {
        Ok(_) => {
            assert_eq!(text, KNOWN.token, "a forged token was trusted");
            true
        }
        Err(refusal) => {
            assert!(!refusal.reason.code().is_empty());
            false
        }
    }
}

/// A set without a usable key is refused, so that nobody trusts an empty one.
pub fn published_keys(data: &[u8]) -> bool {
    let Ok(keys) = KeySet::parse(data) else { return false };
    assert!(!keys.is_empty());
    true
}
