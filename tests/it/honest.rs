//! Thousands of honest browsers with seeded schedules: whatever their tabs, retries and lost answers do, none of
//! them is taken for a thief.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use keyward::clock::Clock;
use keyward::grant::{Issued, LoginRequest, Origin, RefreshRequest};
use tempfile::TempDir;

use crate::app::{PASSWORD, START, TestApp, proofs, settings};

/// Numbers that are the same for the same seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }

    fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }
}

/// How a browser refreshes when it wakes up. However it goes, all of its requests arrive within the grace.
///
/// That is what the design asks of an honest client. Beyond it lies one case that the table takes for theft: of two
/// answers the one from before a rotation arrives last, stays in the jar, and is presented after the grace.
struct Burst {
    requests: u64,
    /// Milliseconds in which they are sent.
    window: u64,
    /// The longest way to the server, and of an answer back, in milliseconds.
    way: u64,
    /// A request without an answer is sent again after `PATIENCE`; the last try gets through.
    tries: u32,
}

/// Tabs of one page: a lost request or answer is tried again twice.
const TABS: Burst = Burst { requests: 6, window: 2_000, way: 1_500, tries: 3 };
/// A page that sends 30 requests with the same cookie in six seconds.
const STORM: Burst = Burst { requests: 30, window: 6_000, way: 3_000, tries: 1 };
/// One request at a time, at any moment: also across the end of the grace.
const LONER: Burst = Burst { requests: 1, window: 1, way: 1_500, tries: 3 };
const PATIENCE: u64 = 3_000;

/// Its tabs share one cookie, which every answer overwrites in the order of arrival.
struct Browser {
    jar: String,
    alone: bool,
    /// The access token that came with each refresh token.
    given: BTreeMap<String, String>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Wake { bursts: u64 },
    Send { way: u64, tries: u32 },
    Arrive { token: String, back: Option<u64> },
    Answer { token: String },
}

/// What happens next, in milliseconds since the beginning.
#[derive(Default)]
struct Schedule {
    at: u64,
    number: u64,
    events: BinaryHeap<Reverse<(u64, u64, usize, Event)>>,
}

impl Schedule {
    fn after(&mut self, delay: u64, browser: usize, event: Event) {
        self.number += 1;
        self.events.push(Reverse((self.at + delay, self.number, browser, event)));
    }

    fn next(&mut self) -> Option<(usize, Event)> {
        let Reverse((at, _, browser, event)) = self.events.pop()?;
        self.at = at;
        Some((browser, event))
    }
}

/// In memory if the system has such a place: it is the logic that is on trial, not the disk.
fn quick_dir() -> TempDir {
    TempDir::new_in("/dev/shm").unwrap_or_else(|_| TempDir::new().unwrap())
}

async fn log_in(it: &TestApp, origin: &Origin) -> Issued {
    let request = LoginRequest {
        identifier: "alice".into(),
        password: PASSWORD.to_owned().into(),
        client: None,
        audience: None,
        scope: None,
    };
    it.app.grants.login(&request, origin).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proof_no_order_of_tabs_retries_and_lost_answers_ends_an_honest_session() {
    let clients = if proofs() { 20_000 } else { 2_000 };
    let dir = Arc::new(quick_dir());
    let config = settings(&dir);
    let it = TestApp::at(dir, config, Clock::wound(START), 1).await;
    let replica = it.replica(2).await;
    it.add_user("alice").await;
    let origin = Origin { address: [192, 0, 2, 1].into(), device: "a browser".into() };

    let mut dice = Dice(20_270_115);
    let mut schedule = Schedule::default();
    let mut browsers = Vec::new();
    for number in 0..clients {
        let jar = log_in(&it, &origin).await.refresh_token.to_string();
        browsers.push(Browser { jar, alone: dice.percent(30), given: BTreeMap::new() });
        let bursts = 1 + dice.below(3);
        schedule.after(20_000 + dice.below(3_600_000), number, Event::Wake { bursts });
    }
    let (mut refreshes, mut repeated, mut confirmed) = (0_usize, 0_usize, 0);
    while let Some((number, event)) = schedule.next() {
        let browser = &mut browsers[number];
        match event {
            Event::Wake { bursts } => {
                let burst = match browser.alone {
                    true => LONER,
                    false if dice.percent(5) => STORM,
                    false => TABS,
                };
                for _ in 0..if burst.tries == 1 { burst.requests } else { 1 + dice.below(burst.requests) } {
                    let send = Event::Send { way: burst.way, tries: burst.tries };
                    schedule.after(dice.below(burst.window), number, send);
                }
                // Tabs come back when their last rotation's grace is over, a loner when it likes.
                let pause =
                    if browser.alone { 9_000 + dice.below(20_000) } else { 20_000 + dice.below(600_000) };
                if bursts > 1 {
                    schedule.after(pause, number, Event::Wake { bursts: bursts - 1 });
                }
            }
            Event::Send { way, tries } => {
                let (there, back) = (dice.below(way), dice.below(way));
                let last = tries == 1 && way == TABS.way;
                let (reaches, returns) = (last || dice.percent(90), last || dice.percent(60));
                if reaches {
                    let token = browser.jar.clone();
                    schedule.after(there, number, Event::Arrive { token, back: returns.then_some(back) });
                }
                if !(reaches && returns) && tries > 1 {
                    schedule.after(PATIENCE, number, Event::Send { way, tries: tries - 1 });
                }
            }
            Event::Arrive { token, back } => {
                let moment = START.plus(Duration::from_millis(schedule.at));
                it.clock.advance(moment.since(it.clock.now()));
                if schedule.at - confirmed > 600_000 {
                    confirmed = schedule.at;
                    it.wind(Duration::ZERO).await;
                    replica.wind(Duration::ZERO).await;
                }
                let at = if dice.percent(50) { &it } else { &replica };
                let request =
                    RefreshRequest { refresh_token: token.into(), client: None, audience: None, scope: None };
                let issued = at.app.grants.refresh(&request, &origin).await;
                let issued =
                    issued.unwrap_or_else(|why| panic!("browser {number} at {}: {why}", schedule.at));
                refreshes += 1;
                let (token, access) = (issued.refresh_token.to_string(), issued.access_token.to_string());
                if let Some(before) = browser.given.insert(token.clone(), access.clone()) {
                    assert_eq!(before, access, "one refresh token came with two access tokens");
                    repeated += 1;
                }
                if let Some(back) = back {
                    schedule.after(back, number, Event::Answer { token });
                }
            }
            Event::Answer { token } => browser.jar = token,
        }
    }
    println!("figure: honest_sessions {clients}, refreshes {refreshes}, repeated {repeated}, ended 0");
    assert!(refreshes > 4 * clients && repeated > clients, "the schedule is not what it was meant to be");
}
