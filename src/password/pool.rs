//! The hashing threads and what may be asked of them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::kernel::{Arena, OUTPUT, Recipe, SALT, Unhashable};
use super::phc::{Found, Stored};
use super::queue::{Bounds, Queue, Refused};
use super::settings::{HashSettings, StartRefused};
use super::{Password, memory};
use crate::clock::Stopwatch;
use crate::random::{NoRandomness, Random};

/// The scheduling priority of the hashing threads, unless the process has a lower one.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// Whether a password was right, and whether its stored hash is out of date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The password was right.
    pub matches: bool,
    /// The password was right, and the stored hash should be replaced by a new one of the same password.
    pub rehash: bool,
}

/// How often one kernel ran with one set of costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// For example `argon2id m=19456 t=2 p=1`.
    pub recipe: String,
    /// Runs since the start.
    pub count: u64,
}

/// Why nothing was hashed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// It could not start before its deadline; no work was done.
    #[error("too many passwords are being hashed; try again in {} s", retry_after.as_secs())]
    Overloaded {
        /// Whole seconds, at least one.
        retry_after: Duration,
    },
    /// The stored string is no hash that can be read; the work was done all the same.
    #[error("the stored password hash cannot be read")]
    Corrupt,
    /// The stored hash alone needs more memory than `queue_bytes` allows.
    #[error("the stored password hash needs more memory than is allowed")]
    TooLarge,
    /// No salt could be made.
    #[error("the operating system's random generator failed")]
    NoRandomness,
    /// The kernel failed, for want of memory perhaps.
    #[error("the password could not be hashed")]
    Failed,
    /// The hasher has been drained.
    #[error("the service is stopping")]
    Stopped,
}

/// A fixed set of threads that hash passwords and do nothing else.
///
/// Work belongs to the pool from the moment it is admitted: a caller that goes away frees nothing until the work ends.
pub struct Hasher {
    queue: Arc<Queue>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    current: Recipe,
    arena_kib: u32,
    /// What is computed where there is no hash: current costs, and an output that no password has.
    dummy: Stored,
    tally: Arc<Tally>,
    quantum: Arc<Quantum>,
    random: Random,
}

#[derive(Default)]
struct Tally(Mutex<BTreeMap<String, u64>>);

impl Tally {
    fn count(&self, recipe: &Recipe) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(recipe.to_string()).or_default() += 1;
    }
}

/// What a comparison must stay below; the first that does not is logged.
struct Quantum {
    length: Duration,
    exceeded: AtomicBool,
}

impl Quantum {
    fn judge(&self, recipe: Recipe, spent: Duration) {
        if spent > self.length && !self.exceeded.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                %recipe,
                "comparing a password took {} ms, longer than login.quantum ({} ms), so the time of a refused login may tell which accounts exist: raise login.quantum above it",
                spent.as_millis(),
                self.length.as_millis()
            );
        }
    }
}

impl Hasher {
    /// Allocates the arenas, measures one hash and starts the threads, at lower priority than everything else.
    ///
    /// # Errors
    /// [`StartRefused`] in a sentence for the operator.
    pub fn start(settings: HashSettings, random: Random) -> Result<Hasher, StartRefused> {
        let current = settings.recipe()?;
        settings.fits(memory::limit())?;
        let threads = settings.threads_here();
        let arenas: Option<Vec<Arena>> = (0..threads).map(|_| Arena::new(settings.memory_kib)).collect();
        let mut arenas = arenas.ok_or(StartRefused::Allocation)?;

        let mut dummy =
            Stored { recipe: current, salt: vec![0; SALT], output: Zeroizing::new(vec![0; OUTPUT]) };
        random.fill(&mut dummy.salt)?;
        random.fill(&mut dummy.output)?;
        let watch = Stopwatch::start();
        if let Some(arena) = arenas.first_mut() {
            let warmed = current.compute(b"warm", &dummy.salt, arena, &mut [0; OUTPUT]);
            warmed.map_err(|Unhashable| StartRefused::Allocation)?;
        }
        let bounds = Bounds {
            threads,
            waiting: settings.queue,
            bytes: settings.queue_bytes,
            deadline: settings.deadline,
        };
        let hasher = Hasher {
            queue: Arc::new(Queue::new(bounds, watch.elapsed())),
            threads: Mutex::default(),
            current,
            arena_kib: settings.memory_kib,
            dummy,
            tally: Arc::default(),
            quantum: Arc::new(Quantum { length: settings.quantum, exceeded: AtomicBool::new(false) }),
            random,
        };
        hasher.spawn(arenas)?;
        Ok(hasher)
    }

    fn spawn(&self, arenas: Vec<Arena>) -> Result<(), StartRefused> {
        let warned = Arc::new(AtomicBool::new(false));
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for (number, arena) in arenas.into_iter().enumerate() {
            let (queue, warned) = (Arc::clone(&self.queue), Arc::clone(&warned));
            let work = move || {
                if !give_way() && !warned.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        "password hashing runs at normal priority: the system does not let it be lowered"
                    );
                }
                queue.serve(arena);
            };
            let thread = std::thread::Builder::new().name(format!("argon2-{number}")).spawn(work);
            threads.push(thread.map_err(StartRefused::Thread)?);
        }
        Ok(())
    }

    /// Hashes a password with the current costs and a new salt into a PHC string.
    ///
    /// # Errors
    /// [`HashError::Overloaded`] before any work, and the others but `Corrupt`.
    pub async fn hash(&self, password: Arc<Password>) -> Result<Zeroizing<String>, HashError> {
        let mut made =
            Stored { recipe: self.current, salt: vec![0; SALT], output: Zeroizing::new(vec![0; OUTPUT]) };
        self.random.fill(&mut made.salt).map_err(|NoRandomness| HashError::NoRandomness)?;
        let (bytes, tally) = (password.bytes_held(), Arc::clone(&self.tally));
        let work = move |arena: &mut Arena| {
            tally.count(&made.recipe);
            made.recipe.compute(password.normal(), &made.salt, arena, &mut made.output)?;
            made.argon2_string().ok_or(Unhashable)
        };
        self.submit(bytes, work).await?.map_err(|Unhashable| HashError::Failed)
    }

    /// Refuses what would be refused now anyway, before its caller has done other work for it.
    ///
    /// # Errors
    /// [`HashError::Overloaded`].
    pub fn refuse_if_full(&self) -> Result<(), HashError> {
        Ok(self.queue.refuse_if_full()?)
    }

    /// Compares a password with a stored hash, or does the same work where there is none.
    ///
    /// The normal form is tried first; bytes as typed that differ from it are tried second, whatever the hash, so that
    /// equal passwords cost equal work. bcrypt sees 72 bytes at most, as everywhere.
    ///
    /// # Errors
    /// [`HashError::Overloaded`] before any work; [`HashError::Corrupt`] after it.
    pub async fn verify(
        &self,
        password: Arc<Password>,
        phc: Option<Zeroizing<String>>,
    ) -> Result<Verdict, HashError> {
        let read = phc.as_ref().map(|text| Stored::parse(text));
        let corrupt = matches!(read, Some(None));
        let (stored, real) =
            read.flatten().map_or_else(|| (self.dummy.clone(), false), |stored| (stored, true));
        let outdated =
            stored.recipe != self.current || stored.output.len() != OUTPUT || stored.salt.len() < SALT;
        let beyond = stored.recipe.memory_beyond(self.arena_kib);
        let bytes = beyond.saturating_add(password.bytes_held());
        let (tally, quantum) = (Arc::clone(&self.tally), Arc::clone(&self.quantum));
        let work = move |arena: &mut Arena| {
            let watch = Stopwatch::start();
            let found = stored.find(&password, arena, |recipe| tally.count(recipe));
            quantum.judge(stored.recipe, watch.elapsed());
            found
        };
        let found = self.submit(bytes, work).await?.map_err(|Unhashable| HashError::Failed)?;
        if corrupt {
            return Err(HashError::Corrupt);
        }
        let matches = real && found != Found::Nothing;
        Ok(Verdict { matches, rehash: matches && (outdated || found == Found::Typed) })
    }

    /// Measures what one comparison with this stored hash takes here, by trying a random password.
    ///
    /// A login may take twice that, see [`Hasher::verify`].
    ///
    /// # Errors
    /// [`HashError::Corrupt`] if it cannot be read, else as [`Hasher::verify`].
    pub async fn cost_of(&self, phc: &str) -> Result<Duration, HashError> {
        let stored = Stored::parse(phc).ok_or(HashError::Corrupt)?;
        let mut guess = [0; 16];
        self.random.fill(&mut guess).map_err(|NoRandomness| HashError::NoRandomness)?;
        let bytes = stored.recipe.memory_beyond(self.arena_kib);
        let tally = Arc::clone(&self.tally);
        let work = move |arena: &mut Arena| {
            tally.count(&stored.recipe);
            let watch = Stopwatch::start();
            let mut out = vec![0; stored.output.len()];
            stored.recipe.compute(&guess, &stored.salt, arena, &mut out).map(|()| watch.elapsed())
        };
        self.submit(bytes, work).await?.map_err(|Unhashable| HashError::Failed)
    }

    /// How often each kernel ran with which costs, in order of the names.
    pub fn work(&self) -> Vec<Work> {
        let counts = self.tally.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().map(|(recipe, count)| Work { recipe: recipe.clone(), count: *count }).collect()
    }

    /// Hashing threads.
    pub fn threads(&self) -> usize {
        self.queue.bounds.threads
    }

    /// Threads that are at work.
    pub fn busy(&self) -> usize {
        self.queue.busy()
    }

    /// Jobs that wait.
    pub fn waiting(&self) -> usize {
        self.queue.waiting()
    }

    /// Bytes that count against `queue_bytes`.
    pub fn bytes_in_flight(&self) -> u64 {
        self.queue.bytes()
    }

    /// Jobs refused as [`HashError::Overloaded`] since the start.
    pub fn rejected(&self) -> u64 {
        self.queue.rejected()
    }

    /// Takes no more work, finishes what was admitted and ends the threads.
    pub async fn drain(&self) {
        let threads = self.close();
        let joined =
            tokio::task::spawn_blocking(move || threads.into_iter().for_each(|thread| drop(thread.join())));
        drop(joined.await);
    }

    fn close(&self) -> Vec<JoinHandle<()>> {
        self.queue.close();
        std::mem::take(&mut self.threads.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn submit<T: Send + 'static>(
        &self,
        bytes: u64,
        work: impl FnOnce(&mut Arena) -> T + Send + 'static,
    ) -> Result<T, HashError> {
        let (tell, mut told) = oneshot::channel();
        let run = move |turn: Result<&mut Arena, Duration>| {
            // Nobody waits any more, and nothing has begun.
            if tell.is_closed() {
                return false;
            }
            let done = turn.map(work).map_err(Refused::Overloaded);
            let worked = done.is_ok();
            drop(tell.send(done));
            worked
        };
        let number = self.queue.admit(bytes, Box::new(run))?;
        let answer = match tokio::time::timeout(self.queue.bounds.deadline, &mut told).await {
            Ok(answer) => answer,
            Err(_) => {
                self.queue.withdraw(number)?;
                told.await
            }
        };
        Ok(answer.map_err(|_| HashError::Failed)??)
    }
}

impl Drop for Hasher {
    fn drop(&mut self) {
        self.close().into_iter().for_each(|thread| drop(thread.join()));
    }
}

impl From<Refused> for HashError {
    fn from(refused: Refused) -> HashError {
        match refused {
            Refused::Overloaded(retry_after) => HashError::Overloaded { retry_after },
            Refused::TooLarge => HashError::TooLarge,
            Refused::Closed => HashError::Stopped,
        }
    }
}

/// Lowers the priority of the calling thread; `false` if that failed.
#[cfg(target_os = "linux")]
fn give_way() -> bool {
    let thread = Some(rustix::thread::gettid());
    let nice = rustix::process::getpriority_process(thread).map_or(NICE, |own| own.max(NICE));
    rustix::process::setpriority_process(thread, nice).is_ok()
}

/// Elsewhere a process has one priority for all its threads.
#[cfg(not(target_os = "linux"))]
fn give_way() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const TINY: HashSettings = HashSettings {
        memory_kib: 64,
        iterations: 1,
        parallelism: 1,
        threads: 1,
        queue: 8,
        queue_bytes: 4 << 20,
        deadline: Duration::from_secs(60),
        quantum: Duration::from_secs(60),
    };
    const LABEL: &str = "argon2id m=64 t=1 p=1";
    /// Argon2id of `correct horse battery` with t=2.
    const OLDER: &str =
        "$argon2id$v=19$m=64,t=2,p=1$c2l4dGVlbiBieXRlIHNhbA$NmO+n/UPVHutR5xOdjKtwOJtmdtnlAbzLNDoCWL/SjU";

    fn hasher(settings: HashSettings) -> Arc<Hasher> {
        Arc::new(Hasher::start(settings, Random::seeded(7)).unwrap())
    }

    fn password(text: &str) -> Arc<Password> {
        Arc::new(Password::new(text).unwrap())
    }

    fn text(text: &str) -> Option<Zeroizing<String>> {
        Some(Zeroizing::new(text.to_owned()))
    }

    /// A job that holds the only thread until the sender goes; returns once it runs.
    async fn block(hasher: &Arc<Hasher>, bytes: u64) -> (mpsc::Sender<()>, tokio::task::JoinHandle<()>) {
        let (open, gate) = mpsc::channel::<()>();
        let (tell, runs) = oneshot::channel();
        let hasher = Arc::clone(hasher);
        let caller = tokio::spawn(async move {
            let work = move |_: &mut Arena| {
                let _ = tell.send(());
                let _ = gate.recv();
            };
            let _ = hasher.submit(bytes, work).await;
        });
        runs.await.unwrap();
        (open, caller)
    }

    #[tokio::test]
    async fn a_hash_is_verified_and_a_wrong_password_is_not() {
        let hasher = hasher(TINY);
        let made = hasher.hash(password("correct horse battery")).await.unwrap();
        assert!(made.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{}", *made);
        let other = hasher.hash(password("correct horse battery")).await.unwrap();
        assert_ne!(made, other);
        let right = hasher.verify(password("correct horse battery"), Some(made.clone())).await.unwrap();
        assert_eq!(right, Verdict { matches: true, rehash: false });
        let wrong = hasher.verify(password("correct horse batter"), Some(made)).await.unwrap();
        assert_eq!(wrong, Verdict { matches: false, rehash: false });
    }

    #[tokio::test]
    async fn full_width_letters_open_what_plain_letters_closed() {
        let hasher = hasher(TINY);
        let made = hasher.hash(password("Passwort")).await.unwrap();
        let verdict = hasher.verify(password("\u{ff30}asswort"), Some(made)).await.unwrap();
        assert_eq!(verdict, Verdict { matches: true, rehash: false });
    }

    #[tokio::test]
    async fn every_difference_from_the_current_costs_asks_for_a_new_hash() {
        let hasher = hasher(TINY);
        let salt = "c2l4dGVlbiBieXRlIHNhbA";
        for older in [
            OLDER.to_owned(),
            format!("$argon2i$v=16$m=64,t=2,p=1${salt}$mvflMX6xgRoI7i6iNnDcBfj91Sh8P3LF865hWqEg+Co"),
            format!("$argon2id$v=19$m=256,t=1,p=4${salt}$D4XQUPQlHxDuVZQ91TeBkg"),
            "$2b$05$abcdefghijklmnopqrstuuD3mHdCr44zlIZ.VZCaYRpfQhXMYnEo.".to_owned(),
        ] {
            let verdict = hasher.verify(password("correct horse battery"), text(&older)).await.unwrap();
            assert_eq!(verdict, Verdict { matches: true, rehash: true }, "{older}");
            let wrong = hasher.verify(password("wrong"), text(&older)).await.unwrap();
            assert_eq!(wrong, Verdict { matches: false, rehash: false }, "{older}");
        }
        let ligature = "$2b$04$abcdefghijklmnopqrstuu1FCE1PYrQexL.D0XhigrzP.TbH34oGC";
        let verdict = hasher.verify(password("o\u{fb03}ce hours"), text(ligature)).await.unwrap();
        assert_eq!(verdict, Verdict { matches: true, rehash: true });
    }

    #[tokio::test]
    async fn no_hash_a_wrong_password_and_a_broken_hash_cost_the_same_work() {
        let work = async |stored: fn(&Zeroizing<String>) -> Option<Zeroizing<String>>, typed: &str| {
            let hasher = hasher(TINY);
            let made = hasher.hash(password("correct horse battery")).await.unwrap();
            let verdict = hasher.verify(password(typed), stored(&made)).await;
            (verdict.map(|verdict| verdict.matches), hasher.work())
        };
        let counted = |count| vec![Work { recipe: LABEL.to_owned(), count }];
        for (typed, count) in [("wrong", 2), ("\u{fb01}", 3)] {
            assert_eq!(work(|made| Some(made.clone()), typed).await, (Ok(false), counted(count)));
            assert_eq!(work(|_| None, typed).await, (Ok(false), counted(count)));
            assert_eq!(work(|_| text("$argon2id$"), typed).await, (Err(HashError::Corrupt), counted(count)));
        }
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_frees_nothing_before_the_work_ends() {
        let hasher = hasher(TINY);
        let (open, caller) = block(&hasher, 1000).await;
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
        assert_eq!((hasher.busy(), hasher.bytes_in_flight()), (1, 1000));
        drop(open);
        hasher.drain().await;
        assert_eq!((hasher.busy(), hasher.bytes_in_flight()), (0, 0));
    }

    #[tokio::test]
    async fn overload_is_answered_before_any_work() {
        let hasher = hasher(HashSettings { queue: 0, ..TINY });
        let (open, _caller) = block(&hasher, 0).await;
        for stored in [None, text(OLDER)] {
            let refused = hasher.verify(password("any"), stored).await;
            assert!(
                matches!(refused, Err(HashError::Overloaded { retry_after }) if retry_after.as_secs() >= 1)
            );
        }
        assert!(matches!(hasher.hash(password("any")).await, Err(HashError::Overloaded { .. })));
        assert_eq!((hasher.work(), hasher.rejected()), (vec![], 3));
        drop(open);
    }

    #[tokio::test]
    async fn who_waits_past_the_deadline_is_refused_without_work() {
        let hasher = hasher(HashSettings { deadline: Duration::from_secs(1), ..TINY });
        let (open, _caller) = block(&hasher, 0).await;
        let refused = hasher.verify(password("any"), None).await;
        assert!(matches!(refused, Err(HashError::Overloaded { .. })));
        assert_eq!((hasher.waiting(), hasher.busy(), hasher.rejected()), (0, 1, 1));
        drop(open);
        hasher.drain().await;
        assert_eq!(hasher.work(), vec![]);
    }

    #[tokio::test]
    async fn who_goes_away_while_waiting_costs_no_work() {
        let hasher = hasher(TINY);
        let (open, _caller) = block(&hasher, 0).await;
        let waiter = tokio::spawn({
            let hasher = Arc::clone(&hasher);
            async move { hasher.verify(password("any"), None).await }
        });
        while hasher.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        waiter.abort();
        let _ = waiter.await;
        assert_eq!(hasher.waiting(), 1);
        drop(open);
        hasher.drain().await;
        assert_eq!((hasher.work(), hasher.waiting(), hasher.bytes_in_flight()), (vec![], 0, 0));
    }

    #[tokio::test]
    async fn a_hash_that_needs_more_memory_than_allowed_is_not_computed() {
        let hasher = hasher(TINY);
        let huge = OLDER.replace("m=64", "m=8192");
        assert_eq!(hasher.verify(password("any"), text(&huge)).await, Err(HashError::TooLarge));
        assert_eq!(hasher.work(), vec![]);
    }

    #[tokio::test]
    async fn the_cost_of_a_foreign_hash_is_measured() {
        let hasher = hasher(TINY);
        assert!(hasher.cost_of(OLDER).await.unwrap() > Duration::ZERO);
        assert_eq!(hasher.cost_of("no hash").await, Err(HashError::Corrupt));
        assert_eq!(hasher.work().len(), 1);
    }

    #[tokio::test]
    async fn a_drained_hasher_takes_nothing_more() {
        let hasher = hasher(TINY);
        hasher.drain().await;
        assert_eq!(hasher.verify(password("any"), None).await, Err(HashError::Stopped));
        hasher.drain().await;
    }

    #[test]
    fn a_start_that_cannot_work_is_refused() {
        #[cfg(target_os = "linux")]
        assert!(matches!(
            Hasher::start(HashSettings { queue_bytes: u64::MAX, ..TINY }, Random::seeded(1)),
            Err(StartRefused::Memory { .. })
        ));
        for broken in [
            HashSettings { memory_kib: 15, parallelism: 2, ..TINY },
            HashSettings { iterations: 0, ..TINY },
            HashSettings { parallelism: 0, ..TINY },
        ] {
            let refused = Hasher::start(broken, Random::seeded(1));
            assert!(matches!(refused, Err(StartRefused::Parameters { .. })));
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn hashing_gives_way_to_everything_else() {
        let nice = || rustix::process::getpriority_process(Some(rustix::thread::gettid())).unwrap();
        let before = nice();
        let hasher = hasher(TINY);
        let ask = move |_: &mut Arena| (std::thread::current().name().map(str::to_owned), nice());
        assert_eq!(hasher.submit(0, ask).await.unwrap(), (Some("argon2-0".to_owned()), before.max(NICE)));
        assert_eq!(nice(), before);
    }

    #[tokio::test]
    async fn all_threads_work_at_once() {
        let hasher = hasher(HashSettings { threads: 2, ..TINY });
        let (first, _one) = block(&hasher, 0).await;
        let (second, _two) = block(&hasher, 0).await;
        assert_eq!((hasher.threads(), hasher.busy(), hasher.waiting()), (2, 2, 0));
        drop((first, second));
    }
}
