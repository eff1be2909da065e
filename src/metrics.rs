//! What is counted, in OpenMetrics text; every label value comes from a closed set.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::grant::{Grants, Issued, Refused};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Answer {
    method: &'static str,
    path: String,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Route {
    method: &'static str,
    path: String,
}

/// The counters of one process.
pub struct Metrics {
    registry: Registry,
    logins: Family<Outcome, Counter>,
    refreshes: Family<Outcome, Counter>,
    refused_tokens: Family<Outcome, Counter>,
    answers: Family<Answer, Counter>,
    seconds: Family<Route, Histogram>,
    generation: Gauge,
    hashing_queue: Gauge,
    hashing_busy: Gauge,
    hashing_rejected: Counter,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Metrics {
        let buckets = || Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5]);
        let mut metrics = Metrics {
            registry: Registry::with_prefix("keyward"),
            logins: Family::default(),
            refreshes: Family::default(),
            refused_tokens: Family::default(),
            answers: Family::default(),
            seconds: Family::new_with_constructor(buckets),
            generation: Gauge::default(),
            hashing_queue: Gauge::default(),
            hashing_busy: Gauge::default(),
            hashing_rejected: Counter::default(),
        };
        let registry = &mut metrics.registry;
        registry.register("logins", "Logins by outcome", metrics.logins.clone());
        registry.register("refreshes", "Refreshes by outcome", metrics.refreshes.clone());
        let help = "Access tokens refused by Keyward's own routes, by reason";
        registry.register("refused_tokens", help, metrics.refused_tokens.clone());
        registry.register("http_answers", "Answers by route and status", metrics.answers.clone());
        let help = "Seconds to the answer, by route";
        registry.register_with_unit("http", help, Unit::Seconds, metrics.seconds.clone());
        registry.register("ring_generation", "Generation of the key ring", metrics.generation.clone());
        registry.register("hashing_queue", "Passwords waiting to be hashed", metrics.hashing_queue.clone());
        registry.register("hashing_busy", "Hashing threads at work", metrics.hashing_busy.clone());
        let help = "Passwords turned away before hashing";
        registry.register("hashing_rejected", help, metrics.hashing_rejected.clone());
        metrics
    }

    /// Counts a login.
    pub fn login(&self, outcome: &Result<Issued, Refused>) {
        self.logins.get_or_create(&Outcome { outcome: name(outcome) }).inc();
    }

    /// Counts a refresh.
    pub fn refresh(&self, outcome: &Result<Issued, Refused>) {
        self.refreshes.get_or_create(&Outcome { outcome: name(outcome) }).inc();
    }

    /// Counts a refused access token; `reason` is one of the verifier's codes.
    pub fn refused_token(&self, reason: &'static str) {
        self.refused_tokens.get_or_create(&Outcome { outcome: reason }).inc();
    }

    /// Counts an answer; `path` is a route's pattern.
    pub fn request(&self, method: &'static str, path: &str, status: u16, spent: Duration) {
        let path = path.to_owned();
        self.seconds.get_or_create(&Route { method, path: path.clone() }).observe(spent.as_secs_f64());
        self.answers.get_or_create(&Answer { method, path, status }).inc();
    }

    /// The text that a scraper reads.
    ///
    /// # Errors
    /// When a line cannot be written.
    pub fn render(&self, grants: &Grants) -> Result<String, std::fmt::Error> {
        let hasher = &grants.hasher;
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.generation.set(grants.ring.generation());
        self.hashing_queue.set(number(hasher.waiting() as u64));
        self.hashing_busy.set(number(hasher.busy() as u64));
        // The hasher counts; `max`, because another scrape may be ahead of this one.
        self.hashing_rejected.inner().fetch_max(hasher.rejected(), Ordering::Relaxed);
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        let steps = grants.store.calls();
        let mut lines = String::new();
        writeln!(lines, "# HELP keyward_store_steps Steps that the store took, by name.")?;
        writeln!(lines, "# TYPE keyward_store_steps counter")?;
        for (step, count) in steps {
            writeln!(lines, "keyward_store_steps_total{{step=\"{step}\"}} {count}")?;
        }
        let end = text.rfind("# EOF").unwrap_or(text.len());
        text.insert_str(end, &lines);
        Ok(text)
    }
}

fn name(outcome: &Result<Issued, Refused>) -> &'static str {
    match outcome {
        Ok(_) => "ok",
        Err(Refused::InvalidCredentials | Refused::WrongPassword) => "invalid_credentials",
        Err(Refused::TooManyAttempts { .. }) => "too_many_attempts",
        Err(Refused::Overloaded { .. }) => "overloaded",
        Err(Refused::UnknownClient | Refused::AudienceNotAllowed | Refused::InvalidScope) => "refused",
        Err(Refused::RefreshTokenInvalid) => "token_invalid",
        Err(Refused::RefreshTokenReused) => "token_reused",
        Err(Refused::SessionEnded(_) | Refused::NoSuchSession) => "session_ended",
        Err(Refused::SessionExpired) => "session_expired",
        Err(Refused::PasswordRefused(_) | Refused::Conflict) => "refused",
        Err(Refused::KeysUnavailable(_) | Refused::Store(_) | Refused::Secrets(_)) => "unavailable",
        Err(Refused::Random(_) | Refused::Fault(_)) => "fault",
    }
}
