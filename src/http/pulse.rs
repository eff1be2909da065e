//! Whether anything happens on a connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Stopwatch;

/// The requests of one connection: how many run, and since when none has.
#[derive(Clone)]
pub(super) struct Pulse(Arc<State>);

struct State {
    watch: Stopwatch,
    running: AtomicU32,
    /// When the last request ended, in milliseconds since the connection began and counted from 1; 0 before the first.
    ended: AtomicU64,
}

impl Pulse {
    /// Of a connection that begins now.
    pub(super) fn start() -> Pulse {
        let (running, ended) = (AtomicU32::new(0), AtomicU64::new(0));
        Pulse(Arc::new(State { watch: Stopwatch::start(), running, ended }))
    }

    /// Runs a request.
    pub(super) fn during<F: Future>(&self, request: F) -> impl Future<Output = F::Output> + use<F> {
        self.0.running.fetch_add(1, Ordering::AcqRel);
        let running = Running(self.0.clone());
        async move {
            let answer = request.await;
            drop(running);
            answer
        }
    }

    /// How long the connection may go on to wait: `first` from its beginning to its first request, `between` after
    /// each; `None` when that is over.
    pub(super) fn rest(&self, first: Duration, between: Duration) -> Option<Duration> {
        if self.0.running.load(Ordering::Acquire) > 0 {
            return Some(between);
        }
        let (limit, since) = match self.0.ended.load(Ordering::Acquire) {
            0 => (first, Duration::ZERO),
            ended => (between, Duration::from_millis(ended - 1)),
        };
        let waited = self.0.watch.elapsed().saturating_sub(since);
        limit.checked_sub(waited).filter(|rest| !rest.is_zero())
    }

    /// Whether a whole request has come.
    pub(super) fn has_spoken(&self) -> bool {
        self.0.running.load(Ordering::Acquire) > 0 || self.0.ended.load(Ordering::Acquire) > 0
    }
}

/// A request that runs; one whose client gave it up ends by being dropped.
struct Running(Arc<State>);

impl Drop for Running {
    fn drop(&mut self) {
        let now = u64::try_from(self.0.watch.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.0.ended.fetch_max(now + 1, Ordering::AcqRel);
        self.0.running.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_given_up_only_when_no_request_runs() {
        let (none, long) = (Duration::ZERO, Duration::from_secs(3600));
        let pulse = Pulse::start();
        assert!(!pulse.has_spoken());
        assert!(pulse.rest(long, none).is_some(), "there is time for the first request");
        assert!(pulse.rest(none, long).is_none(), "the first request did not come in time");

        let [one, other] = [(); 2].map(|()| pulse.during(std::future::pending::<()>()));
        drop(one);
        assert!(pulse.has_spoken());
        assert!(pulse.rest(none, none).is_some(), "a request runs");
        drop(other);
        assert!(pulse.rest(none, long).is_some(), "there is time for the next request");
        assert!(pulse.rest(long, none).is_none(), "the next request did not come in time");
    }
}
