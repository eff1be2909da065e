//! The time of a refresh while more people log in than can be hashed, beside the time without them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use keyward::clock::Stopwatch;

use crate::client::{Answer, Connection};
use crate::login::login;
use crate::refresh::{check, refresh};
use crate::server::Server;
use crate::table::{Line, median, percentile, ratio};
use crate::{Bench, Outcome, deployment};

const WARM: usize = 200;
const ROUNDS: usize = 5;
const BATCH: usize = 800;
/// People refreshing; each asks once in `PERIOD`, whether or not the last answer was late.
const CLIENTS: usize = 4;
const PERIOD: Duration = Duration::from_millis(40);
/// People logging in: more than may wait (`password.queue` is 64), so that some are turned away.
const STORM: usize = 80;
/// Everybody comes from one address here; the limits that would refuse the storm are set as high as they go.
const LIMITS: [(&str, &str); 2] =
    [("KEYWARD_LIMITS__SOURCE__FREE", "10000"), ("KEYWARD_LIMITS__ACCOUNT__FREE", "10000")];

const _: () = assert!(WARM + 2 * ROUNDS * BATCH <= deployment::SESSIONS);

/// What the storm got: how often each status, and the shortest queue that was seen.
#[derive(Default)]
struct Storm {
    statuses: BTreeMap<u16, usize>,
    shortest_queue: Option<u64>,
}

pub fn measure(bench: &Bench) -> Outcome<Vec<Line>> {
    let server = Server::start(bench, "storm", &LIMITS)?;
    let (warm, mut rest) = bench.prepared.tokens.split_at(WARM);
    refresh_steadily(&server, warm)?;
    let (mut calm, mut busy, mut ratios, mut storm) = (Vec::new(), Vec::new(), Vec::new(), Storm::default());
    for _ in 0..ROUNDS {
        let (first, later) = rest.split_at(BATCH);
        let (second, later) = later.split_at(BATCH);
        rest = later;
        let unloaded = percentile(&refresh_steadily(&server, first)?, 99);
        let loaded = under_storm(&server, &mut storm, || refresh_steadily(&server, second))?;
        let loaded = percentile(&loaded, 99);
        calm.push(unloaded.as_secs_f64() * 1e3);
        busy.push(loaded.as_secs_f64() * 1e3);
        ratios.push(loaded.as_secs_f64() / unloaded.as_secs_f64());
    }
    server.stop()?;
    let allowed = |status: &u16| matches!(status, 200 | 401 | 503);
    let errors: usize =
        storm.statuses.iter().filter(|(status, _)| !allowed(status)).map(|(_, count)| count).sum();
    let statuses: Vec<String> =
        storm.statuses.iter().map(|(status, count)| format!("{count} × {status}")).collect();
    let queue = storm.shortest_queue.ok_or("nobody looked at the queue")?;
    let raw = format!("p99 {:.1} ms; without the storm {:.1} ms", median(busy), median(calm));
    Ok(vec![
        ratio("refresh p99 during a login storm, to p99 without", median(ratios), 5.0, raw),
        Line {
            what: "errors meanwhile".into(),
            bound: "0, but 503 for logins".into(),
            measured: errors.to_string(),
            met: Some(errors == 0),
            raw: format!("logins: {}; shortest queue seen: {queue}", statuses.join(", ")),
        },
    ])
}

/// Refreshes each once at a steady pace. The time counts from when it was due, so that a stall is not hidden by the
/// requests that it held up.
fn refresh_steadily(server: &Server, tokens: &[String]) -> Outcome<Vec<Duration>> {
    let watch = Stopwatch::start();
    let parts: Vec<_> = std::thread::scope(|scope| {
        let parts = tokens.chunks(tokens.len().div_ceil(CLIENTS));
        let running: Vec<_> = parts
            .enumerate()
            .map(|(number, part)| {
                let offset = PERIOD * u32::try_from(number).unwrap_or(0) / CLIENTS as u32;
                scope.spawn(move || -> Outcome<(Vec<Answer>, Vec<Duration>)> {
                    let mut connection = Connection::open(server.public)?;
                    let (mut answers, mut times, mut due) =
                        (Vec::new(), Vec::new(), watch.elapsed() + offset);
                    for token in part {
                        std::thread::sleep(due.saturating_sub(watch.elapsed()));
                        answers.push(refresh(&mut connection, token)?);
                        times.push(watch.elapsed().saturating_sub(due));
                        due += PERIOD;
                    }
                    Ok((answers, times))
                })
            })
            .collect();
        let joined = running.into_iter().map(|thread| thread.join().map_err(|_| "a thread panicked")?);
        joined.collect::<Outcome<Vec<_>>>()
    })?;
    let (answers, times): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
    let answers: Vec<Answer> = answers.into_iter().flatten().collect();
    check(server, tokens, &answers)?;
    Ok(times.into_iter().flatten().collect())
}

/// Does `work` while logins, right, wrong and of nobody, keep the hashing threads busy.
fn under_storm<T>(server: &Server, storm: &mut Storm, work: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let over = &over;
        let people: Vec<_> = (0..STORM)
            .map(|person| scope.spawn(move || log_in_again_and_again(server, person, over)))
            .collect();
        let done = wait_for_queue(server).and_then(|()| {
            let watcher = scope.spawn(move || -> Outcome<u64> {
                let (mut admin, mut shortest) = (Connection::open(server.admin)?, u64::MAX);
                while !over.load(Ordering::Relaxed) {
                    shortest = shortest.min(queue(&mut admin)?);
                    std::thread::sleep(Duration::from_millis(250));
                }
                Ok(shortest)
            });
            let done = work();
            over.store(true, Ordering::Relaxed);
            let shortest = watcher.join().map_err(|_| "a thread panicked")??;
            storm.shortest_queue = Some(storm.shortest_queue.map_or(shortest, |old| old.min(shortest)));
            done
        });
        over.store(true, Ordering::Relaxed);
        for person in people {
            for (status, count) in person.join().map_err(|_| "a thread panicked")?? {
                *storm.statuses.entry(status).or_default() += count;
            }
        }
        done
    })
}

fn log_in_again_and_again(
    server: &Server,
    person: usize,
    over: &AtomicBool,
) -> Outcome<BTreeMap<u16, usize>> {
    let (mut connection, mut statuses) = (Connection::open(server.public)?, BTreeMap::new());
    let (name, password) = match person % 4 {
        0 => ("nobody".to_owned(), deployment::PASSWORD),
        1 => (deployment::name(person), "not the right giraffes"),
        _ => (deployment::name(person), deployment::PASSWORD),
    };
    while !over.load(Ordering::Relaxed) {
        let answer = login(&mut connection, &name, password)?;
        *statuses.entry(answer.status).or_default() += 1;
        match answer.status {
            200 => drop(server.verify(answer.json()?["access_token"].as_str().ok_or("no token")?)?),
            503 => {
                let mut rest = answer.retry_after();
                while !rest.is_zero() && !over.load(Ordering::Relaxed) {
                    let piece = rest.min(Duration::from_millis(100));
                    std::thread::sleep(piece);
                    rest -= piece;
                }
            }
            _ => {}
        }
    }
    Ok(statuses)
}

fn wait_for_queue(server: &Server) -> Outcome<()> {
    let (mut admin, watch) = (Connection::open(server.admin)?, Stopwatch::start());
    while queue(&mut admin)? < 32 {
        if watch.elapsed() > Duration::from_secs(10) {
            return Err("the storm does not fill the queue".into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn queue(admin: &mut Connection) -> Outcome<u64> {
    let answer = admin.get("/metrics")?.good()?;
    let text = String::from_utf8(answer.body)?;
    let line = text.lines().find_map(|line| line.strip_prefix("keyward_hashing_queue "));
    Ok(line.ok_or("no hashing_queue in the metrics")?.trim().parse()?)
}
