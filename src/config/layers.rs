//! Lays file, environment and flags over the defaults; knows names, kinds and sources, but no meanings.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{Overrides, show};

/// The documented defaults, which are also the list of all settings.
pub(super) const DEFAULTS: &str = include_str!("../../config/default.toml");
/// Never shown, never taken from a flag; each has a sister `…_file`.
pub(super) const SECRETS: [&str; 1] = ["master_key"];

const PREFIX: &str = "KEYWARD_";
const ROLES: &str = "roles";
const LARGEST_FILE: usize = 1 << 20;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `config/default.toml`.
    Default,
    /// The TOML file of this name.
    File(PathBuf),
    /// The environment variable of this name.
    Environment(String),
    /// The flag of this name, with its dashes.
    Flag(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Default => f.write_str("default"),
            Source::File(path) => write!(f, "file {}", show::plain(&path.to_string_lossy())),
            Source::Environment(name) => write!(f, "environment {name}"),
            Source::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

#[derive(Clone)]
pub(super) enum Value {
    Text(String),
    Number(i64),
    List(Vec<String>),
}

impl Value {
    /// As it appears in a table.
    pub(super) fn shown(&self) -> String {
        match self {
            Value::Text(text) => show::plain(text),
            Value::Number(number) => number.to_string(),
            Value::List(items) => {
                format!("[{}]", items.iter().map(|item| show::plain(item)).collect::<Vec<_>>().join(", "))
            }
        }
    }

    fn advice(&self) -> String {
        match self {
            Value::Text(text) if text.is_empty() => "write text in quotes".to_owned(),
            Value::Text(text) => format!("write text in quotes, such as \"{text}\""),
            Value::Number(number) => format!("write a whole number, such as {number}"),
            Value::List(_) => "write a list of texts, such as [\"a\", \"b\"]".to_owned(),
        }
    }
}

pub(super) struct Entry {
    pub(super) value: Value,
    pub(super) source: Source,
    /// A refused value was written over this one, so it must not be judged.
    pub(super) faulty: bool,
}

/// The topmost value of every setting, and a sentence for everything that could not be laid.
#[derive(Default)]
pub(super) struct Layers {
    pub(super) entries: BTreeMap<String, Entry>,
    pub(super) sentences: Vec<String>,
    pub(super) listens_nowhere: bool,
}

impl Layers {
    pub(super) fn gather(args: Overrides, env: impl Iterator<Item = (String, String)>) -> Layers {
        let mut layers = Layers { listens_nowhere: args.listens_nowhere, ..Layers::default() };
        match DEFAULTS.parse::<toml::Table>() {
            Ok(table) => layers.defaults("", table),
            Err(error) => layers.sentences.push(format!("the defaults are broken: {}", error.message())),
        }
        let env: Vec<_> = env.filter(|(name, _)| name.starts_with(PREFIX)).collect();
        let named = env.iter().rev().find(|(name, path)| name == "KEYWARD_CONFIG" && !path.is_empty());
        let file = match (args.file, named) {
            (Some(path), _) => Some((path, "flag --config")),
            (None, Some((_, path))) => Some((path.into(), "environment KEYWARD_CONFIG")),
            (None, None) => None,
        };
        if let Some((path, namer)) = file {
            layers.file(&path, namer);
        }
        for (name, value) in env {
            layers.variable(name, value);
        }
        for flag in args.flags {
            layers.flag(flag.key, flag.name, flag.value);
        }
        layers
    }

    fn defaults(&mut self, prefix: &str, table: toml::Table) {
        for (name, value) in table {
            let key = join(prefix, &name);
            match value {
                toml::Value::Table(inner) => self.defaults(&key, inner),
                toml::Value::Integer(number) => self.put(key, Value::Number(number), Source::Default),
                toml::Value::Array(items) => {
                    self.put(key, Value::List(texts(items).unwrap_or_default()), Source::Default)
                }
                value => {
                    self.put(key, Value::Text(value.as_str().unwrap_or_default().to_owned()), Source::Default)
                }
            }
        }
    }

    fn file(&mut self, path: &Path, namer: &str) {
        let shown = show::plain(&path.to_string_lossy());
        match fs::read_to_string(path).map(Zeroizing::new) {
            Ok(text) if text.len() > LARGEST_FILE => self.sentences.push(format!(
                "the configuration file `{shown}` ({namer}) is larger than 1 MiB: name the right file."
            )),
            Ok(text) => self.text(&text, path),
            Err(error) => self.sentences.push(format!(
                "the configuration file `{shown}` ({namer}) cannot be read ({error}): name one that can."
            )),
        }
    }

    pub(super) fn text(&mut self, text: &str, path: &Path) {
        match text.parse::<toml::Table>() {
            Ok(table) => self.table("", table, &Source::File(path.to_owned())),
            Err(error) => {
                let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
                let line = before.matches('\n').count() + 1;
                let message = error.message().replace('\n', "; ");
                let shown = show::plain(&path.to_string_lossy());
                self.sentences.push(format!("line {line} of `{shown}` is not TOML ({message}): correct it."));
            }
        }
    }

    fn table(&mut self, prefix: &str, table: toml::Table, source: &Source) {
        for (name, value) in table {
            let key = join(prefix, &name);
            let section = self
                .entries
                .keys()
                .any(|known| known.strip_prefix(&key).is_some_and(|rest| rest.starts_with('.')));
            let known =
                prefix == ROLES || (!name.contains('.') && (section || self.entries.contains_key(&key)));
            match value {
                _ if !known => {
                    let near = nearest(&key, self.keys_and_sections());
                    let shown = show::short(&key);
                    self.sentences.push(format!("`{shown}` ({source}) is not a setting: {near}."));
                }
                toml::Value::Table(inner) if section => self.table(&key, inner, source),
                _ if section => self.sentences.push(format!(
                    "`{key}` ({source}) is a section: write `[{key}]` and its settings below it."
                )),
                value => self.typed(key, value, source.clone()),
            }
        }
    }

    fn typed(&mut self, key: String, value: toml::Value, source: Source) {
        let shown = match &value {
            _ if SECRETS.contains(&key.as_str()) => "something else than text".to_owned(),
            toml::Value::Table(_) => "a table".to_owned(),
            toml::Value::Array(_) => "a mixed list".to_owned(),
            value => format!("`{}`", show::short(&value.to_string())),
        };
        let converted = match (self.expected(&key), value) {
            (Value::Text(_), toml::Value::String(text)) => Ok(Value::Text(text)),
            (Value::Number(_), toml::Value::Integer(number)) => Ok(Value::Number(number)),
            (expected @ Value::List(_), toml::Value::Array(items)) => {
                texts(items).map(Value::List).ok_or(expected)
            }
            (expected, _) => Err(expected),
        };
        match converted {
            Ok(value) => self.put(key, value, source),
            Err(expected) => self.refuse(&key, &shown, &source, &expected),
        }
    }

    fn variable(&mut self, name: String, text: String) {
        if name == "KEYWARD_CONFIG" || is_for_tests(&name) {
            return;
        }
        let role = name.strip_prefix("KEYWARD_ROLES__").filter(|role| !role.is_empty());
        let key = match role {
            Some(role) => Some(join(ROLES, &role.to_lowercase())),
            None => self.entries.keys().find(|key| variable_name(key) == name).cloned(),
        };
        match key {
            Some(key) => self.plain(key, text, Source::Environment(name)),
            None => {
                let near = nearest(&name, self.entries.keys().map(|key| variable_name(key)));
                let shown = show::short(&name);
                self.sentences.push(format!("the environment's `{shown}` is not a setting: {near}."));
            }
        }
    }

    fn flag(&mut self, key: &str, name: &'static str, text: String) {
        if SECRETS.contains(&key) {
            self.sentences.push(format!("`{key}` (flag {name}) is a secret: give it as `{key}_file`."));
        } else if self.entries.contains_key(key) {
            self.plain(key.to_owned(), text, Source::Flag(name));
        } else {
            self.sentences.push(format!("`{key}` (flag {name}) is not a setting: leave the flag out."));
        }
    }

    /// Lays a value that comes as bare text; a repeated flag adds to its list.
    fn plain(&mut self, key: String, text: String, source: Source) {
        let value = match self.expected(&key) {
            Value::Text(_) => Value::Text(text),
            expected @ Value::Number(_) => match text.parse() {
                Ok(number) => Value::Number(number),
                Err(_) => return self.refuse(&key, &format!("`{}`", show::short(&text)), &source, &expected),
            },
            Value::List(mut items) => {
                let repeated = matches!(source, Source::Flag(_))
                    && self.entries.get(&key).is_some_and(|entry| entry.source == source);
                if !repeated {
                    items.clear();
                }
                items.extend(
                    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned),
                );
                Value::List(items)
            }
        };
        self.put(key, value, source);
    }

    fn put(&mut self, key: String, value: Value, source: Source) {
        self.entries.insert(key, Entry { value, source, faulty: false });
    }

    fn refuse(&mut self, key: &str, shown: &str, source: &Source, expected: &Value) {
        let key_shown = show::short(key);
        self.sentences.push(format!("`{key_shown}` is {shown} ({source}): {}.", expected.advice()));
        if let Some(entry) = self.entries.get_mut(key) {
            entry.faulty = true;
        }
    }

    /// The kind of a setting is that of its default.
    fn expected(&self, key: &str) -> Value {
        self.entries.get(key).map_or(Value::List(Vec::new()), |entry| match &entry.value {
            Value::Text(_) if SECRETS.contains(&key) => Value::Text(String::new()),
            value => value.clone(),
        })
    }

    fn keys_and_sections(&self) -> impl Iterator<Item = String> {
        let sections = self.entries.keys().filter_map(|key| key.rsplit_once('.')).map(|(section, _)| section);
        self.entries.keys().map(String::as_str).chain(sections).map(str::to_owned)
    }
}

/// The variable of a setting: `refresh.grace` is `KEYWARD_REFRESH__GRACE`.
pub(super) fn variable_name(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"))
}

/// Whether a variable is no setting but read by tests and proofs.
pub(super) fn is_for_tests(name: &str) -> bool {
    (cfg!(debug_assertions) && name == "KEYWARD_FAIL_AT")
        || [
            "KEYWARD_TEST_ENGINES",
            "KEYWARD_TEST_POSTGRES",
            "KEYWARD_PROOFS",
            "KEYWARD_PROOF_ROUNDS",
            "KEYWARD_BIN",
        ]
        .contains(&name)
}

fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

fn texts(items: Vec<toml::Value>) -> Option<Vec<String>> {
    let text = |item| if let toml::Value::String(text) = item { Some(text) } else { None };
    items.into_iter().map(text).collect()
}

fn nearest(name: &str, known: impl Iterator<Item = String>) -> String {
    let name: Vec<char> = name.chars().take(64).collect();
    let found = known.map(|known| (distance(&name, &known), known)).min();
    match found {
        Some((distance, known)) if distance <= name.len() / 3 + 1 => format!("the nearest one is `{known}`"),
        _ => "remove it, or find the right name with `keyward config show`".to_owned(),
    }
}

/// Levenshtein's edit distance.
fn distance(a: &[char], b: &str) -> usize {
    let mut row: Vec<usize> = (0..=a.len()).collect();
    for (i, other) in b.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, own) in row.iter_mut().skip(1).zip(a) {
            let best = (*cell + 1).min(left + 1).min(diagonal + usize::from(*own != other));
            diagonal = *cell;
            *cell = best;
            left = best;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_counts_single_edits() {
        let of = |a: &str, b: &str| distance(&a.chars().collect::<Vec<_>>(), b);
        for (a, b, expected) in [
            ("", "", 0),
            ("abc", "", 3),
            ("", "abc", 3),
            ("grace", "grace", 0),
            ("grase", "grace", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(of(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn every_secret_has_a_sister_for_a_file() {
        let layers = Layers::gather(Overrides::default(), std::iter::empty());
        for secret in SECRETS {
            assert!(layers.entries.contains_key(&format!("{secret}_file")), "{secret}");
        }
    }
}
