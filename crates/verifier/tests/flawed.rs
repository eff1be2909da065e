//! The catalogue must be able to fail: verifiers with known flaws, and the rows that find them.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::LazyLock;

use keyward_verifier::testing::{ATTACKS, Attack, Input, Target, Verdict};
use keyward_verifier::{KeySet, Reason, Refusal, Verifier};

const ISSUER: &str = "https://id.example";
const AUDIENCE: &str = "https://orders.example";

static TARGET: LazyLock<Target> = LazyLock::new(|| Target::new(ISSUER, AUDIENCE));
static SOUND: LazyLock<Verifier> =
    LazyLock::new(|| Verifier::builder().issuer(ISSUER).audience(AUDIENCE).rs256().build().unwrap());

fn sound(input: &Input) -> Verdict {
    SOUND.verify(&input.token, &input.key_set(), input.now).into()
}

/// The numbers of the attacks that succeed against a verifier, which is made anew for each.
fn caught<V: Into<Verdict>, F: Fn(&Input) -> V>(flawed: impl Fn() -> F) -> Vec<u16> {
    among(ATTACKS.iter(), flawed)
}

/// The same among the attacks that concern keys, time and memory.
fn caught_in_operation<V: Into<Verdict>, F: Fn(&Input) -> V>(flawed: impl Fn() -> F) -> Vec<u16> {
    among(ATTACKS.iter().filter(|attack| attack.number > 95), flawed)
}

fn among<'a, V: Into<Verdict>, F: Fn(&Input) -> V>(
    attacks: impl Iterator<Item = &'a Attack>,
    flawed: impl Fn() -> F,
) -> Vec<u16> {
    attacks
        .filter(|attack| attack.withstood(&TARGET, flawed()).is_err())
        .map(|attack| attack.number)
        .collect()
}

/// A verifier that answers as it once did wherever this part of the input is the same.
fn remembering<P: Fn(&Input) -> Option<String>>(part: P) -> impl Fn(&Input) -> Verdict {
    let memory = RefCell::new(HashMap::new());
    move |input| match part(input) {
        Some(part) => *memory.borrow_mut().entry(part).or_insert_with(|| sound(input)),
        None => sound(input),
    }
}

#[test]
fn no_attack_overlooks_a_verifier_that_accepts_or_refuses_everything() {
    assert_eq!(caught(|| |_: &Input| true).len(), 150);
    assert_eq!(caught(|| |_: &Input| false).len(), 150);
    assert_eq!(caught(|| |_: &Input| Err::<(), _>(Reason::AlgNotAllowed)).len(), 150);
}

#[test]
fn a_verifier_may_keep_its_reasons_to_itself() {
    let accepts = |input: &Input| sound(input) == Verdict::Accepted;
    assert_eq!(caught(|| accepts), Vec::<u16>::new());
    assert_eq!(caught(|| |input: &Input| accepts(input).then_some(()).ok_or(())), Vec::<u16>::new());
}

#[test]
fn a_reason_that_is_given_must_be_the_right_one() {
    let swapped = |input: &Input| match SOUND.verify(&input.token, &input.key_set(), input.now) {
        Err(Refusal { reason: Reason::CritUnsupported, .. }) => Err(Reason::HeaderInvalid),
        other => other.map(|_| ()).map_err(|refusal| refusal.reason),
    };
    assert_eq!(caught(|| swapped), [61, 62, 63]);
}

#[test]
fn memories_that_take_one_token_for_another_are_found() {
    let start = |input: &Input| input.token.get(..20).map(str::to_owned);
    let end = |input: &Input| {
        input.token.len().checked_sub(16).and_then(|at| input.token.get(at..)).map(str::to_owned)
    };
    let claims = |input: &Input| input.token.split('.').nth(1).map(str::to_owned);
    assert!(caught_in_operation(|| remembering(start)).contains(&133));
    assert!(caught_in_operation(|| remembering(end)).contains(&133));
    assert!(caught_in_operation(|| remembering(claims)).contains(&134));
}

#[test]
fn memories_that_outlive_what_they_rest_on_are_found() {
    let forever = caught_in_operation(|| remembering(|input| Some(input.token.clone())));
    assert!([135, 136, 139].iter().all(|number| forever.contains(number)), "{forever:?}");
    let despite_keys =
        caught_in_operation(|| remembering(|input| Some(format!("{} {}", input.token, input.now))));
    assert!(despite_keys.contains(&136) && despite_keys.contains(&139), "{despite_keys:?}");
    let despite_time = caught_in_operation(|| {
        remembering(|input| Some(format!("{} {:?} {:?}", input.token, input.served, input.revoked)))
    });
    assert!(despite_time.contains(&135) && despite_time.contains(&147), "{despite_time:?}");
}

#[test]
fn keys_lost_kept_or_brought_back_are_found() {
    let verify =
        |input: &Input, answer: Option<&String>| match answer.map(|text| KeySet::parse(text.as_bytes())) {
            Some(Ok(keys)) => SOUND.verify(&input.token, &keys, input.now).into(),
            _ => Verdict::Refused(None),
        };
    let only_the_last = caught_in_operation(|| |input: &Input| verify(input, input.served.last()));
    assert!([97, 140, 143].iter().all(|number| only_the_last.contains(number)), "{only_the_last:?}");
    let only_the_first = caught_in_operation(|| |input: &Input| verify(input, input.served.first()));
    assert!([101, 136, 139, 141].iter().all(|number| only_the_first.contains(number)), "{only_the_first:?}");
    let never_revoked =
        caught_in_operation(|| |input: &Input| sound(&Input { revoked: Vec::new(), ..input.clone() }));
    assert_eq!(never_revoked, [101, 136]);
}

#[test]
fn a_clock_that_is_not_asked_is_found() {
    let stopped =
        caught_in_operation(|| |input: &Input| sound(&Input { now: 1_800_000_000, ..input.clone() }));
    assert!([107, 109, 111, 135, 147].iter().all(|number| stopped.contains(number)), "{stopped:?}");
}
