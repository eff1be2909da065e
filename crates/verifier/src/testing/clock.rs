use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A clock that stands still until it is wound; clones show the same time, in seconds since 1970.
#[derive(Clone, Debug)]
pub struct WoundClock(Arc<AtomicU64>);

impl WoundClock {
    /// Starts at a time.
    pub fn at(seconds: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seconds)))
    }

    /// What it shows.
    pub fn now(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    /// Moves it forward, by whole seconds.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_secs(), Ordering::SeqCst);
    }

    /// Sets it to any time, also to an earlier one.
    pub fn set(&self, seconds: u64) {
        self.0.store(seconds, Ordering::SeqCst);
    }
}

impl Default for WoundClock {
    /// Starts at 1,800,000,000, which is in January 2027.
    fn default() -> Self {
        Self::at(1_800_000_000)
    }
}
