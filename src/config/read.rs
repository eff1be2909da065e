//! Reads settings one by one into types; a value out of its range leaves a sentence behind.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::layers::{Entry, Layers, SECRETS, Source, Value};
use super::units::{duration, show_duration, show_size, size};
use super::{SecretText, Setting, show};

pub(super) const SECOND: u64 = 1_000;
pub(super) const MINUTE: u64 = 60 * SECOND;
pub(super) const HOUR: u64 = 60 * MINUTE;
pub(super) const DAY: u64 = 24 * HOUR;

/// Moves settings out of the layers; what nobody reads stays behind in them.
pub(super) struct Reader {
    layers: Layers,
    read: BTreeMap<String, Setting>,
    faulty: BTreeSet<String>,
}

impl Reader {
    pub(super) fn new(layers: Layers) -> Reader {
        Reader { layers, read: BTreeMap::new(), faulty: BTreeSet::new() }
    }

    pub(super) fn text(&mut self, key: &str) -> String {
        match self.take(key) {
            Some(Value::Text(text)) => text,
            _ => String::new(),
        }
    }

    /// A text that the function accepts; its error says what to write instead.
    pub(super) fn text_like(
        &mut self,
        key: &str,
        check: impl FnOnce(&str) -> Result<(), &'static str>,
    ) -> String {
        let text = self.text(key);
        if let Err(advice) = check(&text) {
            self.refuse(key, advice);
        }
        text
    }

    pub(super) fn list(&mut self, key: &str) -> Vec<String> {
        match self.take(key) {
            Some(Value::List(items)) => items,
            _ => Vec::new(),
        }
    }

    pub(super) fn list_of<T>(&mut self, key: &str, read: impl Fn(&str) -> Result<T, &'static str>) -> Vec<T> {
        let mut found = Vec::new();
        for item in self.list(key) {
            match read(&item) {
                Ok(item) => found.push(item),
                Err(advice) => self.refuse(key, &format!("for `{}`, {advice}", show::short(&item))),
            }
        }
        found
    }

    pub(super) fn addresses(&mut self, key: &str) -> Vec<SocketAddr> {
        let advice = "write an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080";
        let found = self.list_of(key, |item| item.parse().map_err(|_| advice));
        let twice = |(i, a): (usize, &SocketAddr)| a.port() != 0 && found.iter().take(i).any(|b| a == b);
        if found.iter().enumerate().any(twice) {
            self.refuse(key, "name each address once");
        }
        found
    }

    pub(super) fn path(&mut self, key: &str) -> PathBuf {
        let path = self.text(key);
        if path.is_empty() || path.contains('\0') {
            self.refuse(key, "write a path");
        }
        path.into()
    }

    /// A path, or none where the text is empty.
    pub(super) fn optional_path(&mut self, key: &str) -> Option<PathBuf> {
        let path = self.text(key);
        if path.contains('\0') {
            self.refuse(key, "write a path");
        }
        (!path.is_empty()).then(|| path.into())
    }

    pub(super) fn secret(&mut self, key: &str) -> Option<SecretText> {
        let secret = SecretText::new(self.text(key));
        if !secret.expose().is_empty() {
            return Some(secret);
        }
        if self.is_set(key) {
            self.refuse(key, &format!("give the secret or its file as `{key}_file`, or remove it"));
        }
        None
    }

    pub(super) fn number<T: TryFrom<i64> + Default>(&mut self, key: &str, range: RangeInclusive<i64>) -> T {
        let number = match self.take(key) {
            Some(Value::Number(number)) if range.contains(&number) => T::try_from(number).ok(),
            _ => None,
        };
        if number.is_none() {
            self.refuse(key, &format!("write a number from {} to {}", range.start(), range.end()));
        }
        number.unwrap_or_default()
    }

    /// One of a few numbers.
    pub(super) fn choice(&mut self, key: &str, choices: &[u32], advice: &str) -> u32 {
        let number = match self.take(key) {
            Some(Value::Number(number)) => {
                u32::try_from(number).ok().filter(|number| choices.contains(number))
            }
            _ => None,
        };
        if number.is_none() {
            self.refuse(key, advice);
        }
        number.unwrap_or_default()
    }

    /// A duration; the range is in milliseconds.
    pub(super) fn duration(&mut self, key: &str, range: RangeInclusive<u64>) -> Duration {
        let text = self.text(key);
        self.duration_of(key, &text, range)
    }

    /// The same, without fractions of a second, because it is told to others in seconds.
    pub(super) fn seconds(&mut self, key: &str, range: RangeInclusive<u64>) -> Duration {
        let found = self.duration(key, range);
        if found.subsec_nanos() != 0 {
            self.refuse(key, "write whole seconds");
        }
        found
    }

    /// A duration, or none where the text is `off`.
    pub(super) fn duration_or_off(&mut self, key: &str, range: RangeInclusive<u64>) -> Option<Duration> {
        let text = self.text(key);
        (text != "off").then(|| self.duration_of(key, &text, range))
    }

    pub(super) fn size(&mut self, key: &str, range: RangeInclusive<u64>) -> u64 {
        let text = self.text(key);
        let found = size(&text).filter(|size| range.contains(size));
        if found.is_none() {
            let (least, most) = (show_size(*range.start()), show_size(*range.end()));
            self.refuse(key, &format!("write a size from {least} to {most}"));
        }
        found.unwrap_or_default()
    }

    /// The settings of a free section: names and lists.
    pub(super) fn lists_below(&mut self, section: &str) -> BTreeMap<String, Vec<String>> {
        let prefix = format!("{section}.");
        let keys: Vec<_> =
            self.layers.entries.keys().filter(|key| key.starts_with(&prefix)).cloned().collect();
        keys.iter().map(|key| (key.strip_prefix(&prefix).unwrap_or(key).to_owned(), self.list(key))).collect()
    }

    /// Whether the command opens listeners, so that their rules are for it.
    pub(super) fn listens(&self) -> bool {
        !self.layers.listens_nowhere
    }

    /// Whether any layer above the defaults set what was read.
    pub(super) fn is_set(&self, key: &str) -> bool {
        self.read.get(key).is_some_and(|setting| setting.source != Source::Default)
    }

    /// Refuses the value of one setting; the advice says what to write.
    pub(super) fn refuse(&mut self, key: &str, advice: &str) {
        if self.faulty.insert(key.to_owned()) {
            let sentence = format!("{}: {advice}.", self.named(key));
            self.layers.sentences.push(sentence);
        }
    }

    /// Refuses settings that contradict each other, unless one of them is refused already.
    pub(super) fn rule(&mut self, holds: bool, keys: &[&str], advice: &str) {
        if !holds && !keys.iter().any(|key| self.faulty.contains(*key)) {
            let named: Vec<_> = keys.iter().map(|key| self.named(key)).collect();
            self.layers.sentences.push(format!("{}: {advice}.", named.join(" and ")));
        }
    }

    /// Shows an effective value where the written one stands for another.
    pub(super) fn stands_for(&mut self, key: &str, effective: &str) {
        if let Some(setting) = self.read.get_mut(key) {
            setting.value = show::plain(effective);
        }
    }

    /// What was read, in order of the keys, or why it is refused.
    pub(super) fn finish(mut self) -> Result<Vec<Setting>, Vec<String>> {
        for key in self.layers.entries.keys() {
            self.layers.sentences.push(format!("`{key}` is documented but has no meaning: report this."));
        }
        if self.layers.sentences.is_empty() {
            Ok(self.read.into_values().collect())
        } else {
            Err(self.layers.sentences)
        }
    }

    fn duration_of(&mut self, key: &str, text: &str, range: RangeInclusive<u64>) -> Duration {
        let within = Duration::from_millis(*range.start())..=Duration::from_millis(*range.end());
        let found = duration(text).filter(|found| within.contains(found));
        if found.is_none() {
            let (least, most) = (show_duration(*within.start()), show_duration(*within.end()));
            self.refuse(
                key,
                &format!("write a duration such as 500ms, 10s, 5m, 1h or 30d, from {least} to {most}"),
            );
        }
        found.unwrap_or_default()
    }

    fn named(&self, key: &str) -> String {
        match self.read.get(key) {
            Some(setting) => {
                format!("`{}` is `{}` ({})", show::short(key), show::short(&setting.value), setting.source)
            }
            None => format!("`{key}` has no default"),
        }
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        let Entry { value, source, faulty } = self.layers.entries.remove(key)?;
        if faulty {
            self.faulty.insert(key.to_owned());
        }
        let shown = match &value {
            Value::Text(text) if SECRETS.contains(&key) && !text.is_empty() => "[redacted]".to_owned(),
            value => value.shown(),
        };
        self.read.insert(key.to_owned(), Setting { key: key.to_owned(), value: shown, source });
        Some(value)
    }
}
