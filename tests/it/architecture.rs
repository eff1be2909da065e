//! The arrows of ARCHITECTURE.md, held by a machine: who may enter which room, who may know which thing, how long a
//! file may be. Every rule is also run on a planted violation, so that none of them passes by being blind.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const FEW_LINES: usize = 250;
const MOST_LINES: usize = 400;

/// A source file without its comments, the contents of its strings, and its tests.
struct Source {
    path: String,
    code: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Source {
        Source { path: path.into(), code: without_tests(&without_words(text)) }
    }

    /// `signing` for `src/signing.rs` and `src/signing/ring.rs`.
    fn room(&self) -> Option<&str> {
        self.path.strip_prefix("src/")?.split(['/', '.']).next()
    }

    fn lines(&self) -> usize {
        self.code.lines().filter(|line| !line.trim().is_empty()).count()
    }
}

/// Where a word of the code is at home; anywhere else it is a breach.
struct Home {
    what: &'static str,
    words: &'static [&'static str],
    paths: &'static [&'static str],
}

const HOMES: &[Home] = &[
    Home {
        what: "the web framework",
        words: &["axum", "hyper", "hyper_util", "tower", "tower_http", "http_body_util"],
        paths: &["src/http.rs", "src/http/"],
    },
    Home { what: "the environment", words: &["env::"], paths: &["src/config.rs", "src/config/"] },
    Home {
        what: "the time",
        words: &["SystemTime", "Instant", "now_utc", "UtcDateTime"],
        paths: &["src/clock.rs"],
    },
    Home {
        what: "randomness",
        words: &["SystemRandom", "SecureRandom", "rand::", "getrandom", "OsRng", "now_v7", "new_v4"],
        // RSA's blinding, ECDSA's nonces and the nonces and keys of the envelope are no decisions that a test may want to
        // repeat.
        paths: &[
            "src/random.rs",
            "src/signing/key.rs",
            "crates/envelope/src/",
            "crates/verifier/src/testing/",
        ],
    },
    Home { what: "SQL", words: &["sqlx"], paths: &["src/store/sql.rs", "src/store/sql/"] },
    Home {
        what: "the `rsa` crate, which must not sign",
        words: &["use rsa", "RsaPrivateKey", "RsaPublicKey"],
        paths: &["src/signing/pem.rs"],
    },
    Home {
        what: "a thread of one's own",
        words: &["thread::Builder", "thread::spawn"],
        paths: &["src/password/pool.rs"],
    },
    Home {
        what: "printing",
        words: &["println!", "print!", "eprintln!", "eprint!"],
        paths: &["src/cli.rs", "src/failpoint.rs"],
    },
];

/// Rooms that hold the others together; below them there are no circles.
const TOP: [&str; 5] = ["main", "cli", "app", "http", "metrics"];

#[test]
fn every_room_enters_only_the_rooms_that_architecture_md_names() {
    let (sources, table) = (service(), table(&read("ARCHITECTURE.md")));
    assert_eq!(strangers(&sources, &table), NONE);
    let rooms: BTreeSet<_> = sources.iter().filter_map(Source::room).filter(|room| *room != "lib").collect();
    assert_eq!(table.keys().map(String::as_str).collect::<BTreeSet<_>>(), rooms, "the table's rooms");

    let planted = [Source::new("src/store/sql/x.rs", "use crate::{clock::Clock, grant::{Grants, Refused}};")];
    assert_eq!(strangers(&planted, &table), ["src/store/sql/x.rs enters grant"]);
    let planted = [Source::new("src/account/x/y.rs", "use super::super::http;")];
    assert_eq!(strangers(&planted, &table), ["src/account/x/y.rs climbs with super::super: write crate::"]);
}

#[test]
fn architecture_md_names_no_arrow_that_nobody_takes() {
    let (taken, table) = (arrows(&service()), table(&read("ARCHITECTURE.md")));
    assert_eq!(unused(&table, &taken), NONE);
    assert_eq!(unused(&[("limit".into(), ["http".into()].into())].into(), &taken), ["limit to http"]);
}

#[test]
fn below_the_app_no_arrows_go_in_a_circle() {
    let mut arrows = arrows(&service());
    assert_eq!(circle(&arrows), None);
    arrows.entry("store".into()).or_default().insert("grant".into());
    assert!(circle(&arrows).is_some());
}

#[test]
fn each_thing_is_known_only_where_it_is_at_home() {
    let sources = everything();
    assert_eq!(trespasses(&sources), NONE);
    for home in HOMES {
        let used =
            |path: &str| sources.iter().any(|s| s.path.starts_with(path) && speaks(&s.code, home.words));
        assert!(home.paths.iter().any(|path| used(path)), "nobody knows {} any more", home.what);
        let word = home.words[0];
        let text = format!("// {word}\nfn quiet() {{ \"{word}\"; }}\nuse std::x{word};\n");
        assert_eq!(
            trespasses(&[Source::new("src/limit.rs", &text)]),
            NONE,
            "blind to comments, strings, longer words"
        );
        let planted = Source::new("src/limit.rs", &format!("fn f() {{ std::{word} }}"));
        assert_eq!(trespasses(&[planted]), [format!("src/limit.rs knows {} ({word})", home.what)]);
    }
}

#[test]
fn the_crates_depend_on_none_of_our_packages_and_on_no_runtime() {
    for name in ["verifier", "envelope"] {
        assert_eq!(heavy(&read(&format!("crates/{name}/Cargo.toml"))), NONE, "{name}");
    }
    let planted = "[package]\nname = \"keyward-x\"\n[dependencies]\nkeyward-envelope.workspace = true\n[dev-dependencies]\ntokio = \"1\"\n";
    assert_eq!(heavy(planted), ["keyward-envelope", "tokio"]);
}

#[test]
fn nobody_depends_on_the_service_but_its_fuzz_targets_and_benchmarks() {
    for manifest in ["Cargo.toml", "crates/verifier/Cargo.toml", "crates/envelope/Cargo.toml"] {
        assert!(!depends_on_the_service(&read(manifest)), "{manifest}");
    }
    assert!(depends_on_the_service(&read("fuzz/Cargo.toml")));
    assert!(depends_on_the_service("[dependencies]\nkeyward.workspace = true\n"));
}

#[test]
fn nine_files_of_ten_are_short_and_none_is_long() {
    let sources = everything();
    assert_eq!(longwinded(&sources), NONE);
    let long = "fn f() {}\n".repeat(MOST_LINES + 1);
    assert_eq!(longwinded(&[Source::new("src/x.rs", &long)]).len(), 2);
    let commented = format!("{}#[cfg(test)]\nmod tests {{\n{long}}}\n", "// why\n\n".repeat(MOST_LINES));
    assert_eq!(longwinded(&[Source::new("src/x.rs", &commented)]), NONE);
}

const NONE: [&str; 0] = [];

/// Steps out of a room that the table does not allow.
fn strangers(sources: &[Source], table: &Arrows) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        let Some(room) = source.room().filter(|room| *room != "lib") else { continue };
        if source.code.contains("super::super") {
            found.push(format!("{} climbs with super::super: write crate::", source.path));
        }
        for entered in entered(&source.code) {
            if entered != room && !table.get(room).is_some_and(|allowed| allowed.contains(&entered)) {
                found.push(format!("{} enters {entered}", source.path));
            }
        }
    }
    found
}

fn unused(table: &Arrows, taken: &Arrows) -> Vec<String> {
    let of = |(room, named): (&String, &BTreeSet<String>)| {
        let taken = taken.get(room).cloned().unwrap_or_default();
        named.difference(&taken).map(|to| format!("{room} to {to}")).collect::<Vec<_>>()
    };
    table.iter().flat_map(of).collect()
}

/// A way back to its beginning, if there is one.
fn circle(arrows: &Arrows) -> Option<Vec<String>> {
    fn walk(room: &str, arrows: &Arrows, way: &mut Vec<String>, done: &mut BTreeSet<String>) -> bool {
        if way.iter().any(|before| before == room) {
            return true;
        }
        if TOP.contains(&room) || !done.insert(room.to_owned()) {
            return false;
        }
        way.push(room.to_owned());
        let closed = arrows.get(room).into_iter().flatten().any(|next| walk(next, arrows, way, done));
        if !closed {
            way.pop();
        }
        closed
    }
    let mut done = BTreeSet::new();
    arrows.keys().find_map(|room| {
        let mut way = Vec::new();
        walk(room, arrows, &mut way, &mut done).then_some(way)
    })
}

fn trespasses(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        for home in HOMES.iter().filter(|home| !home.paths.iter().any(|path| source.path.starts_with(path))) {
            if let Some(word) = home.words.iter().find(|word| speaks(&source.code, &[word])) {
                found.push(format!("{} knows {} ({word})", source.path, home.what));
            }
        }
    }
    found
}

fn heavy(manifest: &str) -> Vec<&str> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.contains("dependencies");
        }
        let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
        // A package may name itself, so that its own tests have its features.
        let another = !line.contains("path = \".\"");
        if inside
            && another
            && (name.starts_with("keyward") || ["tokio", "axum", "hyper", "sqlx", "reqwest"].contains(&name))
        {
            found.push(name);
        }
    }
    found
}

fn depends_on_the_service(manifest: &str) -> bool {
    manifest.lines().any(|line| line.split(['.', ' ', '=']).next() == Some("keyward"))
}

fn longwinded(sources: &[Source]) -> Vec<String> {
    let too_long = sources.iter().filter(|source| source.lines() > MOST_LINES);
    let mut found: Vec<String> = too_long.map(|s| format!("{} has {} lines", s.path, s.lines())).collect();
    let long: Vec<_> = sources.iter().filter(|source| source.lines() > FEW_LINES).map(|s| &s.path).collect();
    if long.len() * 10 > sources.len() {
        found.push(format!(
            "{} of {} files have over {FEW_LINES} lines: {long:?}",
            long.len(),
            sources.len()
        ));
    }
    found
}

/// Whether one of the words stands in the code as a whole word.
fn speaks(code: &str, words: &[&str]) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    words.iter().any(|word| {
        code.match_indices(word).any(|(at, _)| {
            let (before, after) = (&code[..at], &code[at + word.len()..]);
            !before.ends_with(part) && (!word.ends_with(part) || !after.starts_with(part))
        })
    })
}

type Arrows = BTreeMap<String, BTreeSet<String>>;

/// Which rooms a file enters by `crate::room` or `crate::{room, …}`.
fn entered(code: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    for (at, path) in code.match_indices("crate::") {
        let rest = &code[at + path.len()..];
        let Some(list) = rest.strip_prefix('{') else {
            rooms.insert(word(rest));
            continue;
        };
        let (mut depth, mut fresh) = (0, true);
        for (at, character) in list.char_indices() {
            match character {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => fresh = true,
                c if fresh && !c.is_whitespace() => {
                    rooms.insert(word(&list[at..]));
                    fresh = false;
                }
                _ => {}
            }
        }
    }
    rooms
}

fn arrows(sources: &[Source]) -> Arrows {
    let mut arrows = Arrows::new();
    for source in sources {
        if let Some(room) = source.room().filter(|room| *room != "lib") {
            let others = entered(&source.code).into_iter().filter(|entered| entered != room);
            arrows.entry(room.into()).or_default().extend(others);
        }
    }
    arrows
}

/// The table under "Arrows": its first column names a room, its last the rooms that it may enter.
fn table(architecture: &str) -> Arrows {
    let section = architecture.split("\n## ").find(|section| section.starts_with("Rooms")).unwrap();
    let names = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let rows = section.lines().filter(|line| line.starts_with("| `")).map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').collect();
        (names(cells[0]).remove(0), names(cells[cells.len() - 1]).into_iter().collect())
    });
    rows.collect()
}

/// Blanks comments and what is inside strings and character literals; keeps the lines.
fn without_words(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw_string(rest, &out) {
            let end = format!("\"{}", "#".repeat(hashes));
            let start = hashes + 2;
            rest[start..].find(&end).map_or(rest.len(), |at| start + at + end.len())
        } else if first == '"' {
            string_end(rest)
        } else if first == '\'' {
            character_end(rest)
        } else {
            0
        };
        if skipped == 0 {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            out.extend(rest[..skipped].chars().filter(|c| *c == '\n'));
            rest = &rest[skipped..];
        }
    }
    out
}

/// How many `#` a raw string at the beginning of `rest` has.
fn raw_string(rest: &str, before: &str) -> Option<usize> {
    let body =
        rest.strip_prefix('r').filter(|_| !before.ends_with(|c: char| c.is_alphanumeric() || c == '_'))?;
    let hashes = body.len() - body.trim_start_matches('#').len();
    body[hashes..].starts_with('"').then_some(hashes)
}

fn string_end(rest: &str) -> usize {
    let mut escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The length of a character literal; 0 for a lifetime.
fn character_end(rest: &str) -> usize {
    let mut characters = rest.char_indices().skip(1);
    match (characters.next(), characters.next()) {
        (Some((_, '\\')), Some((at, _))) => rest[at + 1..].find('\'').map_or(0, |end| at + end + 2),
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 0,
    }
}

/// Removes every item under `#[cfg(test)]`.
fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut out = String::new();
    let mut rest = code;
    while let Some(at) = rest.find(MARK) {
        out.push_str(&rest[..at]);
        rest = &rest[at + MARK.len()..];
        rest = &rest[item_end(rest)..];
    }
    out.push_str(rest);
    out
}

fn item_end(rest: &str) -> usize {
    let mut depth = 0_i32;
    for (at, character) in rest.char_indices() {
        match character {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        if depth < 0 {
            return at;
        }
        if depth == 0 && matches!(character, ';' | ',' | '}') {
            return at + 1;
        }
    }
    rest.len()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|cause| panic!("{path}: {cause}"))
}

/// The files of the service.
fn service() -> Vec<Source> {
    gathered("src")
}

/// The files of the service and of the crates.
fn everything() -> Vec<Source> {
    ["src", "crates/envelope/src", "crates/verifier/src"].iter().flat_map(|folder| gathered(folder)).collect()
}

/// Every file below a folder but those that are only compiled for tests.
fn gathered(folder: &str) -> Vec<Source> {
    let (mut files, mut tests) = (Vec::new(), BTreeSet::new());
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                tests.extend(modules_for_tests(&path, &text));
                files.push((path, text));
            }
        }
    }
    assert!(files.len() > 5, "{folder} is nearly empty");
    let kept = files.into_iter().filter(|(path, _)| !tests.contains(path));
    let mut sources: Vec<Source> = kept
        .map(|(path, text)| Source::new(path.strip_prefix(root()).unwrap().to_str().unwrap(), &text))
        .collect();
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

fn modules_for_tests(path: &Path, text: &str) -> Vec<PathBuf> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let marked = lines.windows(2).filter(|pair| pair[0] == "#[cfg(test)]");
    let named = marked.filter_map(|pair| pair[1].strip_prefix("mod ")?.strip_suffix(';'));
    named.map(|name| path.with_extension("").join(format!("{name}.rs"))).collect()
}
