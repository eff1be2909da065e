//! What a service takes on board with this crate.

use std::collections::BTreeSet;
use std::process::Command;

/// The crates that are compiled for a service with these features, this one included.
fn crates(features: &str) -> BTreeSet<String> {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--manifest-path", manifest, "--no-default-features"])
        .args(["--features", features, "--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn the_core_brings_as_many_crates_as_the_readme_says() {
    let crates = crates("");
    assert!(crates.len() <= 25, "{crates:?}");
    let row = format!("| core | {} |", crates.len());
    assert!(include_str!("../../README.md").contains(&row), "{row} {crates:?}");
}

#[test]
fn the_readme_names_the_oldest_compiler() {
    let sentence = format!("\nRust {} or newer.\n", env!("CARGO_PKG_RUST_VERSION"));
    assert!(include_str!("../../README.md").contains(&sentence), "{sentence}");
}
