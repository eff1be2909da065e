//! Every fuzz target over its corpus and 20,000 inputs grown from it, the same each time; `scripts/proofs` fuzzes on.

use std::path::Path;

#[path = "../../fuzz/src/lib.rs"]
mod targets;

use targets::{TARGETS, Target};

const GENERATED: usize = 20_000;

/// Runs one target; a panic names the input by its seed.
fn run(name: &str) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).unwrap();
    let corpus = corpus(name);
    let taken = corpus.iter().filter(|(_, bytes)| target(bytes)).count();
    assert!(taken > 0 && taken < corpus.len(), "{name}: the corpus must hold good and bad inputs");
    let seeds: Vec<&[u8]> = corpus.iter().map(|(_, bytes)| &bytes[..]).collect();
    let mut stream = Stream(name.bytes().map(u64::from).sum());
    let taken = (0..GENERATED).filter(|_| call(name, *target, &grown(&seeds, &mut stream))).count();
    assert!(taken < GENERATED, "{name}: every generated input was taken");
}

fn call(name: &str, target: Target, input: &[u8]) -> bool {
    let outcome = std::panic::catch_unwind(|| target(input));
    outcome.unwrap_or_else(|_| panic!("{name} broke on {:?}", String::from_utf8_lossy(input)))
}

/// The committed inputs; what the fuzzer found by itself has a name of 40 characters and is left to the fuzzer.
fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut inputs: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_name().len() < 40)
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect();
    inputs.sort();
    inputs
}

/// One to four small changes of a corpus input.
fn grown(corpus: &[&[u8]], stream: &mut Stream) -> Vec<u8> {
    const TELLING: &[u8] = b"\0\"\\{}[]:,.=-_+/ \n\x7f\xc3\xff019AZaz";
    let mut input = corpus[stream.below(corpus.len())].to_vec();
    for _ in 0..=stream.below(4) {
        let at = stream.below(input.len() + 1);
        let end = (at + stream.below(16)).min(input.len());
        match stream.below(7) {
            0 if at < input.len() => input[at] ^= 1 << stream.below(8),
            1 if at < input.len() => input[at] = TELLING[stream.below(TELLING.len())],
            2 => input.insert(at, TELLING[stream.below(TELLING.len())]),
            3 => drop(input.drain(at..end)),
            4 => {
                let again = input[at..end].to_vec();
                input.splice(at..at, again);
            }
            5 => input.truncate(at),
            _ => {
                let other = corpus[stream.below(corpus.len())];
                let from = stream.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
        }
    }
    input
}

/// `SplitMix64`: small, seeded, good enough to pick changes.
struct Stream(u64);

impl Stream {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap()
    }
}

#[test]
fn no_refresh_token_has_two_spellings() {
    run("refresh_token");
}

#[test]
fn no_sealed_value_breaks_its_reader() {
    run("sealed_value");
}

#[test]
fn no_request_body_breaks_its_reader_or_is_repeated_in_the_refusal() {
    run("request_body");
}

#[test]
fn no_configuration_is_half_taken() {
    run("configuration");
}

#[test]
fn no_changed_access_token_is_trusted() {
    run("access_token");
}

#[test]
fn no_published_keys_break_their_reader() {
    run("published_keys");
}

#[test]
fn every_target_has_a_corpus_a_program_and_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = std::fs::read_to_string(root.join("fuzz/Cargo.toml")).unwrap();
    let here = include_str!("fuzz.rs");
    for (name, _) in TARGETS {
        assert!(!corpus(name).is_empty(), "{name}");
        assert!(root.join(format!("fuzz/fuzz_targets/{name}.rs")).exists(), "{name}");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
        assert!(here.contains(&format!("run(\"{name}\");")), "{name}");
    }
    assert_eq!(std::fs::read_dir(root.join("fuzz/fuzz_targets")).unwrap().count(), TARGETS.len());
}
