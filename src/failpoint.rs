//! Places where a debug build can be told to die, so that tests can prove what survives a crash.
//!
//! Nothing of this is in a release build: there [`failpoint!`](crate::failpoint!) expands to nothing.

/// Kills the process here when this place was armed.
#[cfg(debug_assertions)]
#[macro_export]
macro_rules! failpoint {
    ($name:literal) => {
        $crate::failpoint::hit($name)
    };
}

/// Expands to nothing: a release build has no failpoints.
#[cfg(not(debug_assertions))]
#[macro_export]
macro_rules! failpoint {
    ($name:literal) => {{}};
}

#[cfg(debug_assertions)]
pub use armed::{arm, hit};

#[cfg(debug_assertions)]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    struct Armed {
        name: String,
        countdown: AtomicU32,
    }

    static ARMED: OnceLock<Armed> = OnceLock::new();

    /// Arms one place, once per process: `name`, or `name:N` to die at the N-th hit (from 1).
    ///
    /// # Errors
    /// A sentence, when the form is wrong or a place is armed already.
    pub fn arm(spec: &str) -> Result<(), String> {
        let (name, count) = parse(spec)?;
        ARMED
            .set(Armed { name, countdown: AtomicU32::new(count) })
            .map_err(|_| "a failpoint is already armed".to_owned())
    }

    /// Kills the own process with SIGKILL if `name` is armed and its count has run down.
    pub fn hit(name: &str) {
        let Some(armed) = ARMED.get() else { return };
        if armed.name == name && armed.countdown.fetch_sub(1, Ordering::SeqCst) == 1 {
            eprintln!("failpoint hit: {name}");
            let died =
                rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            if died.is_err() {
                std::process::abort();
            }
        }
    }

    fn parse(spec: &str) -> Result<(String, u32), String> {
        let (name, count) = spec.split_once(':').unwrap_or((spec, "1"));
        match count.parse() {
            Ok(count) if count >= 1 && !name.is_empty() => Ok((name.to_owned(), count)),
            _ => Err(format!("`{spec}` is not a failpoint: write `name` or `name:N` with N from 1")),
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_failpoint_is_a_name_with_an_optional_count_from_one() {
            assert_eq!(parse("rotate.after_stage"), Ok(("rotate.after_stage".to_owned(), 1)));
            assert_eq!(parse("a:3"), Ok(("a".to_owned(), 3)));
            for wrong in ["", ":1", "a:0", "a:", "a:x", "a:-1"] {
                assert!(parse(wrong).is_err(), "{wrong}");
            }
        }

        #[test]
        fn an_unarmed_place_does_nothing() {
            crate::failpoint!("nobody.armed.this");
        }
    }
}
