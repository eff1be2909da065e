//! CPU time, which says more on a busy machine than the time on the wall, and memory.

use std::fs;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::Outcome;

/// CPU time that the calling thread has used.
pub fn of_this_thread() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// CPU time that the living threads of a process have used: utime + stime in nanoseconds instead of ticks of 10 ms.
/// Keyward's threads live as long as it does.
pub fn of_process(pid: u32) -> Outcome<Duration> {
    let mut all = Duration::ZERO;
    for (_, spent) in threads(pid)? {
        all += spent;
    }
    Ok(all)
}

/// CPU time by thread name.
pub fn threads(pid: u32) -> Outcome<Vec<(String, Duration)>> {
    let mut threads = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?.path();
        let (Ok(name), Ok(spent)) =
            (fs::read_to_string(task.join("comm")), fs::read_to_string(task.join("schedstat")))
        else {
            continue;
        };
        let spent = spent.split_ascii_whitespace().next().ok_or("an empty schedstat")?.parse()?;
        threads.push((name.trim().to_owned(), Duration::from_nanos(spent)));
    }
    Ok(threads)
}

/// Resident memory of a process, in bytes.
pub fn resident(pid: u32) -> Outcome<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kib * 1024)
}

/// Processors that this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
