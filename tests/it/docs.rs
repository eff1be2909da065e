//! The documents tell the truth: paths exist, commands parse, settings are settings, problems are complete, and the
//! tour of the README works as it stands there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser as _;
use clap::error::ErrorKind;
use keyward::cli::Cli;
use keyward::config::{Config, Overrides};
use keyward::http::error::Problem;

#[test]
fn the_tour_of_the_readme_works_as_it_stands_there() {
    let mut tour = Command::new("bash");
    tour.arg("scripts/tour").arg("--short").current_dir(root());
    // A tour is taken with the settings as shipped, whatever this test runs under.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("KEYWARD_")) {
        tour.env_remove(name);
    }
    let tour = tour.env("KEYWARD_BIN", env!("CARGO_BIN_EXE_keyward")).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&tour.stdout), String::from_utf8_lossy(&tour.stderr));
    assert!(tour.status.success(), "{said}");
}

#[test]
fn every_path_that_a_document_names_exists() {
    let mut checked = 0;
    for document in documents() {
        for path in paths(&document.text) {
            checked += 1;
            let beside = document.path.parent().unwrap().join(&path);
            assert!(beside.exists() || root().join(&path).exists(), "{} names {path}", document.name());
        }
    }
    assert!(checked > 60, "only {checked} paths were found");
    assert_eq!(
        paths(
            "See `src/nowhere.rs`, [here](docs/none.md#top), `NOTHING.md`, `data/`, `a/b`, `https://x.example/y.md`."
        ),
        ["src/nowhere.rs", "NOTHING.md", "docs/none.md"]
    );
}

#[test]
fn every_command_that_a_document_names_parses() {
    let mut checked = 0;
    for document in documents() {
        for command in commands(&document.text) {
            checked += 1;
            assert_eq!(parse(&command), Ok(()), "{}", document.name());
        }
    }
    for path in ["src/http/page.html", "Dockerfile", "compose.yaml"] {
        let text = std::fs::read_to_string(root().join(path)).unwrap();
        let found = commands(&format!("```\n{}\n```", text.replace('<', "\n").replace('>', " ")));
        assert!(!found.is_empty(), "{path}");
        assert!(found.iter().all(|command| parse(command).is_ok()), "{path}: {found:?}");
    }
    assert!(checked > 40, "only {checked} commands were found");
    let planted =
        "Run `keyward keys turn`.\n```sh\nprintf x | target/release/keyward user add --pass-word\n```\n";
    assert_eq!(commands(planted).iter().filter(|command| parse(command).is_err()).count(), 2);
}

#[test]
fn every_setting_that_a_document_names_is_one() {
    let known: BTreeSet<String> = settings();
    let mut checked = 0;
    for document in documents() {
        for key in keys(&document.text, &known) {
            checked += 1;
            assert!(known.contains(&key), "{} names the setting {key}", document.name());
        }
    }
    assert!(checked > 25, "only {checked} settings were found");
    let planted = "`refresh.graze` `KEYWARD_REFRESH__GRAZE=1s` `user.rs` `password.threads`";
    assert_eq!(keys(planted, &known), ["refresh.graze", "refresh.graze", "password.threads"]);
}

#[test]
fn tokens_md_lists_every_problem_with_its_status() {
    let text = std::fs::read_to_string(root().join("docs/tokens.md")).unwrap();
    let section = text.split("\n## ").find(|section| section.starts_with("Problems")).unwrap();
    let listed: BTreeMap<&str, &str> = section
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            (cells[1].trim_matches('`'), cells[2])
        })
        .collect();
    let known: BTreeMap<String, String> = Problem::ALL
        .iter()
        .map(|problem| {
            let name = problem.uri().rsplit(':').next().unwrap().to_owned();
            (name, problem.status().as_u16().to_string())
        })
        .collect();
    let listed = listed.into_iter().map(|(name, status)| (name.to_owned(), status.to_owned()));
    assert_eq!(listed.collect::<BTreeMap<_, _>>(), known);
}

struct Document {
    path: PathBuf,
    text: String,
}

impl Document {
    fn name(&self) -> String {
        self.path.strip_prefix(root()).unwrap().display().to_string()
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Markdown file of the top level and of these folders.
fn documents() -> Vec<Document> {
    let folders = ["", "docs", "keys", "crates/verifier", "crates/envelope"];
    let mut found = Vec::new();
    for folder in folders {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push(Document { path, text });
            }
        }
    }
    assert!(found.len() >= 10);
    found
}

/// What stands between backticks on lines that are not part of a block.
fn spans(text: &str) -> Vec<&str> {
    let mut inside = false;
    let mut prose = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        } else if !inside {
            prose.push(line);
        }
    }
    prose.into_iter().flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

/// The lines inside blocks.
fn blocks(text: &str) -> Vec<&str> {
    let mut inside = false;
    text.lines()
        .filter(|line| {
            let fence = line.trim_start().starts_with("```");
            inside ^= fence;
            inside && !fence
        })
        .collect()
}

/// Paths of the repository: what begins with one of its folders, files of its top level, and links.
fn paths(text: &str) -> Vec<String> {
    const FOLDERS: [&str; 13] = [
        "src/",
        "tests/",
        "crates/",
        "scripts/",
        "docs/",
        "config/",
        "migrations/",
        "fuzz/",
        "bench/",
        ".ci/",
        "./scripts/",
        "keys/README.md",
        "examples/",
    ];
    const ENDINGS: [&str; 4] = [".md", ".toml", ".yaml", ".rs"];
    let named = |span: &&str| {
        let word =
            !span.is_empty() && span.bytes().all(|b| b.is_ascii_alphanumeric() || b"./_-".contains(&b));
        let top = !span.contains('/') && ENDINGS.iter().any(|ending| span.ends_with(ending));
        word && (top || FOLDERS.iter().any(|folder| span.starts_with(folder)))
    };
    // `./scripts/test --fast` names a script as well.
    let first = |span: &'_ str| span.split_whitespace().next().unwrap_or_default().to_owned();
    let firsts: Vec<String> = spans(text).into_iter().map(first).collect();
    let mut found: Vec<String> = firsts.iter().map(String::as_str).filter(named).map(str::to_owned).collect();
    let links = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
    found.extend(links.filter(|link| !link.contains("://") && !link.is_empty()).map(str::to_owned));
    found
}

/// Commands of Keyward: whole spans, and whatever follows the program's name in blocks.
fn commands(text: &str) -> Vec<Vec<String>> {
    let words =
        |line: &str| line.split_whitespace().map(|word| word.trim_matches(['\'', '"']).to_owned()).collect();
    let (whole, others): (Vec<_>, Vec<_>) =
        spans(text).into_iter().partition(|span| span.starts_with("keyward "));
    let mut found: Vec<Vec<String>> = whole.into_iter().map(words).collect();
    for line in others.into_iter().chain(blocks(text)) {
        let line: Vec<String> = words(line);
        for at in 1..line.len() {
            let program = line[at - 1] == "keyward" || line[at - 1].ends_with("/keyward");
            let verb = line[at] != "keyward" && line[at].bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
            if program && verb {
                let end = |word: &String| ["|", ">", "&&", ";", "#", "\\", "||"].contains(&word.as_str());
                let rest = line[at..].iter().take_while(|word| !end(word)).cloned();
                found.push(std::iter::once("keyward".to_owned()).chain(rest).collect());
            }
        }
    }
    found
}

/// A dry run of the command line. A command may be named without its arguments.
fn parse(command: &[String]) -> Result<(), String> {
    let words = command.iter().map(|word| match word.as_str() {
        "ID" => "0190c1d2-0000-7000-8000-000000000000",
        word => word,
    });
    match Cli::try_parse_from(words) {
        Ok(_) => Ok(()),
        Err(refused) => match refused.kind() {
            ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
            | ErrorKind::MissingSubcommand
            | ErrorKind::MissingRequiredArgument => Ok(()),
            _ => Err(refused.to_string()),
        },
    }
}

fn settings() -> BTreeSet<String> {
    let config = Config::load(Overrides::default(), std::iter::empty()).unwrap();
    config.explain().into_iter().map(|setting| setting.key).collect()
}

/// Spans that look like a setting of one of the known sections, or like its variable.
fn keys(text: &str, known: &BTreeSet<String>) -> Vec<String> {
    let sections: BTreeSet<&str> = known.iter().filter_map(|key| Some(key.split_once('.')?.0)).collect();
    let mut found = Vec::new();
    for span in spans(text) {
        let variable = span.split('=').next().unwrap_or_default().strip_prefix("KEYWARD_");
        if let Some(name) = variable.filter(|name| name.contains("__")) {
            found.push(name.to_lowercase().replace("__", "."));
        }
        let plain =
            span.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b == b'.') && !span.ends_with(".rs");
        if plain && span.split_once('.').is_some_and(|(section, _)| sections.contains(section)) {
            found.push(span.to_owned());
        }
    }
    found
}
