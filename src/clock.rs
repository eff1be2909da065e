//! The only room that asks for the time; everything else is handed a [`Clock`].

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};
use std::time::Duration;

/// Milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Whole seconds since the epoch, rounded down, never negative: the NumericDate of RFC 7519 §2.
    pub fn seconds(self) -> u64 {
        u64::try_from(self.0.div_euclid(1000)).unwrap_or(0)
    }

    /// The moment `by` later, saturating.
    pub fn plus(self, by: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(millis(by)))
    }

    /// The moment `by` earlier, saturating.
    pub fn minus(self, by: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(millis(by)))
    }

    /// How long after `earlier` this is; zero if it is not.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// RFC 3339 in UTC with whole seconds, for people.
    pub fn rfc3339(self) -> String {
        let seconds = self.0.div_euclid(1000);
        time::OffsetDateTime::from_unix_timestamp(seconds)
            .ok()
            .and_then(|moment| moment.format(&time::format_description::well_known::Rfc3339).ok())
            .unwrap_or_else(|| format!("{seconds}s"))
    }

    /// Reads RFC 3339, as `--until` takes it.
    ///
    /// # Errors
    /// A sentence that says what was expected.
    pub fn parse_rfc3339(text: &str) -> Result<Timestamp, String> {
        time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339)
            .map_err(|_| format!("`{text}` is not a time like 2027-01-31T12:00:00Z"))
            .and_then(|moment| {
                i64::try_from(moment.unix_timestamp_nanos() / 1_000_000)
                    .map(Timestamp)
                    .map_err(|_| format!("`{text}` is out of range"))
            })
    }
}

/// A duration in whole milliseconds, saturating.
pub fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Tells the time: the system's, or one that a test winds by hand.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Wound(Arc<AtomicI64>),
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Clock {
        Clock(Source::System)
    }

    /// A clock that stands still until [`Clock::advance`] is called; clones share it.
    pub fn wound(start: Timestamp) -> Clock {
        Clock(Source::Wound(Arc::new(AtomicI64::new(start.0))))
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => system_now(),
            Source::Wound(at) => Timestamp(at.load(Ordering::SeqCst)),
        }
    }

    /// Winds a wound clock forward; the system's clock ignores it.
    pub fn advance(&self, by: Duration) {
        if let Source::Wound(at) = &self.0 {
            at.fetch_add(millis(by), Ordering::SeqCst);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that asks the system for the time")]
fn system_now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Timestamp(since.map_or(0, millis))
}

/// Monotonic readings for measuring how long work took; a test's clock does not move them.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(std::time::Instant);

impl Stopwatch {
    /// Starts now.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks for monotonic time")]
    pub fn start() -> Stopwatch {
        Stopwatch(std::time::Instant::now())
    }

    /// Time since the start.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wound_clock_moves_only_when_it_is_wound() {
        let clock = Clock::wound(Timestamp(1_000));
        let other = clock.clone();
        assert_eq!(clock.now(), Timestamp(1_000));
        other.advance(Duration::from_millis(250));
        assert_eq!(clock.now(), Timestamp(1_250));
    }

    #[test]
    fn rfc3339_goes_there_and_back() {
        let moment = Timestamp::parse_rfc3339("2027-01-31T12:00:00Z").unwrap();
        assert_eq!(moment.rfc3339(), "2027-01-31T12:00:00Z");
        assert!(Timestamp::parse_rfc3339("tomorrow").is_err());
    }
}
