//! Admission: what waits for the hashing threads, how much, and who is refused before any work is done.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::kernel::Arena;
use crate::clock::Stopwatch;

/// What a job is told when its turn comes: the arena, or after how long to try again because the turn came too late.
/// It answers whether it did the work.
pub(super) type Run = Box<dyn FnOnce(Result<&mut Arena, Duration>) -> bool + Send>;

/// Why a job was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Overloaded(Duration),
    TooLarge,
    Closed,
}

pub(super) struct Bounds {
    pub(super) threads: usize,
    pub(super) waiting: usize,
    pub(super) bytes: u64,
    pub(super) deadline: Duration,
}

pub(super) struct Queue {
    pub(super) bounds: Bounds,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    jobs: VecDeque<Job>,
    next: u64,
    busy: usize,
    /// Of all jobs that were admitted and have not ended, whether or not anybody still waits for them.
    bytes: u64,
    rejected: u64,
    /// Moving average of the time that a job takes.
    average: Duration,
    closed: bool,
}

struct Job {
    number: u64,
    bytes: u64,
    waiting: Stopwatch,
    run: Run,
}

impl Queue {
    pub(super) fn new(bounds: Bounds, average: Duration) -> Queue {
        let state =
            State { jobs: VecDeque::new(), next: 0, busy: 0, bytes: 0, rejected: 0, average, closed: false };
        Queue { bounds, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Takes a job, or refuses it at once; never waits. Returns its number.
    pub(super) fn admit(&self, bytes: u64, run: Run) -> Result<u64, Refused> {
        let mut state = self.lock();
        if state.closed {
            return Err(Refused::Closed);
        }
        if bytes > self.bounds.bytes {
            return Err(Refused::TooLarge);
        }
        self.room_for(bytes, &state).inspect_err(|_| state.rejected += 1)?;
        let number = state.next;
        state.next += 1;
        state.bytes += bytes;
        state.jobs.push_back(Job { number, bytes, waiting: Stopwatch::start(), run });
        drop(state);
        self.changed.notify_one();
        Ok(number)
    }

    /// Refuses, and counts it, as [`Queue::admit`] would now.
    pub(super) fn refuse_if_full(&self) -> Result<(), Refused> {
        let mut state = self.lock();
        self.room_for(0, &state).inspect_err(|_| state.rejected += 1)
    }

    fn room_for(&self, bytes: u64, state: &State) -> Result<(), Refused> {
        let wait = self.wait(state);
        let ahead = state.jobs.len() + state.busy;
        if ahead >= self.bounds.threads.saturating_add(self.bounds.waiting)
            || state.bytes.saturating_add(bytes) > self.bounds.bytes
            || wait > self.bounds.deadline
        {
            return Err(Refused::Overloaded(self.retry_after(wait)));
        }
        Ok(())
    }

    /// Takes a job back whose deadline passed; it is left alone if it has begun.
    pub(super) fn withdraw(&self, number: u64) -> Result<(), Refused> {
        let mut state = self.lock();
        let Some(at) = state.jobs.iter().position(|job| job.number == number) else { return Ok(()) };
        if let Some(job) = state.jobs.remove(at) {
            state.bytes = state.bytes.saturating_sub(job.bytes);
        }
        state.rejected += 1;
        Err(Refused::Overloaded(self.retry_after(self.wait(&state))))
    }

    /// What a hashing thread does until the queue is closed and empty.
    pub(super) fn serve(&self, mut arena: Arena) {
        while let Some(job) = self.next() {
            let late = job.waiting.elapsed() > self.bounds.deadline;
            let turn = if late { Err(self.reject_late()) } else { Ok(&mut arena) };
            let watch = Stopwatch::start();
            // A panic in a kernel must not cost a thread: the caller sees its answer dropped.
            let worked = catch_unwind(AssertUnwindSafe(|| (job.run)(turn))).unwrap_or(false);
            self.ended(job.bytes, worked.then(|| watch.elapsed()));
        }
    }

    /// Takes no more jobs; the threads end when those that wait are done.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    pub(super) fn waiting(&self) -> usize {
        self.lock().jobs.len()
    }

    pub(super) fn busy(&self) -> usize {
        self.lock().busy
    }

    pub(super) fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    pub(super) fn rejected(&self) -> u64 {
        self.lock().rejected
    }

    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                state.busy += 1;
                return Some(job);
            }
            if state.closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn reject_late(&self) -> Duration {
        let mut state = self.lock();
        state.rejected += 1;
        self.retry_after(self.wait(&state))
    }

    fn ended(&self, bytes: u64, took: Option<Duration>) {
        let mut state = self.lock();
        state.busy = state.busy.saturating_sub(1);
        state.bytes = state.bytes.saturating_sub(bytes);
        if let Some(took) = took {
            state.average = (state.average * 7 + took) / 8;
        }
    }

    /// How long a new job would wait for its turn.
    fn wait(&self, state: &State) -> Duration {
        let ahead = state.jobs.len() + state.busy;
        let Some(before) = (ahead + 1).checked_sub(self.bounds.threads) else { return Duration::ZERO };
        let threads = u32::try_from(self.bounds.threads).unwrap_or(u32::MAX).max(1);
        state.average.saturating_mul(u32::try_from(before).unwrap_or(u32::MAX)) / threads
    }

    /// `Retry-After` counts whole seconds.
    fn retry_after(&self, wait: Duration) -> Duration {
        Duration::from_secs(wait.saturating_sub(self.bounds.deadline).as_secs().saturating_add(1))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const SECOND: Duration = Duration::from_secs(1);

    fn queue(threads: usize, waiting: usize, deadline: Duration, average: Duration) -> Queue {
        Queue::new(Bounds { threads, waiting, bytes: 100, deadline }, average)
    }

    fn nothing() -> Run {
        Box::new(|_| true)
    }

    #[test]
    fn a_job_that_cannot_start_in_time_is_refused_before_it_is_queued() {
        // Nobody serves, so every admitted job stays: two threads' worth start at once, the third waits 1 s, the
        // fourth would wait 2 s.
        let queue = queue(2, 100, SECOND, 2 * SECOND);
        for _ in 0..3 {
            queue.admit(0, nothing()).unwrap();
        }
        assert_eq!(queue.admit(0, nothing()), Err(Refused::Overloaded(2 * SECOND)));
        assert_eq!((queue.waiting(), queue.rejected()), (3, 1));
    }

    #[test]
    fn no_more_wait_than_the_setting_says() {
        let queue = queue(1, 2, SECOND, Duration::ZERO);
        for _ in 0..3 {
            queue.admit(0, nothing()).unwrap();
        }
        assert_eq!(queue.admit(0, nothing()), Err(Refused::Overloaded(SECOND)));
    }

    #[test]
    fn bytes_are_bounded_and_come_back() {
        let queue = queue(1, 9, SECOND, Duration::ZERO);
        let first = queue.admit(60, nothing()).unwrap();
        assert_eq!(queue.admit(41, nothing()), Err(Refused::Overloaded(SECOND)));
        assert_eq!(queue.admit(101, nothing()), Err(Refused::TooLarge));
        assert!(queue.withdraw(first).is_err());
        assert_eq!(queue.bytes(), 0);
        queue.admit(41, nothing()).unwrap();
    }

    #[test]
    fn a_turn_that_comes_too_late_does_no_work() {
        let queue = queue(1, 9, Duration::ZERO, Duration::ZERO);
        let (tell, told) = mpsc::channel();
        let run: Run = Box::new(move |turn| {
            tell.send(turn.err()).unwrap();
            false
        });
        queue.admit(10, run).unwrap();
        queue.close();
        queue.serve(Arena::new(8).unwrap());
        assert_eq!(told.recv().unwrap(), Some(SECOND));
        assert_eq!((queue.rejected(), queue.bytes(), queue.busy()), (1, 0, 0));
    }

    #[test]
    fn a_panicking_job_costs_neither_the_thread_nor_its_bytes() {
        let queue = queue(1, 9, SECOND, Duration::ZERO);
        let (tell, told) = mpsc::channel();
        queue.admit(10, Box::new(|_| panic!("a kernel failed"))).unwrap();
        queue.admit(10, Box::new(move |turn| tell.send(turn.is_ok()).is_ok())).unwrap();
        queue.close();
        queue.serve(Arena::new(8).unwrap());
        assert!(told.recv().unwrap());
        assert_eq!((queue.bytes(), queue.busy()), (0, 0));
        assert_eq!(queue.admit(0, nothing()), Err(Refused::Closed));
    }

    #[test]
    fn the_average_follows_what_was_measured() {
        let queue = queue(1, 9, SECOND, 8 * SECOND);
        queue.ended(0, Some(Duration::ZERO));
        assert_eq!(queue.lock().average, 7 * SECOND);
    }
}
