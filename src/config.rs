//! All settings, typed, with the layer that each came from. The only room that reads the environment.

mod build;
mod layers;
mod net;
mod read;
mod roles;
mod secret;
mod sections;
mod show;
#[cfg(test)]
mod tests;
mod units;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use layers::Source;
pub use net::Cidr;
pub use roles::is_role_name;
pub use secret::SecretText;
pub use sections::{
    Access, Audit, Http, Limits, Log, LogFormat, Login, PaceSettings, PasswordSettings, Refresh, Rotation,
    SessionSettings, SigningSettings,
};
pub use units::{duration, show_duration, show_size, size};

/// The settings of one process; `config/default.toml` says what each means, with units and ranges.
#[derive(Clone)]
#[expect(missing_docs, reason = "config/default.toml documents every setting once")]
pub struct Config {
    pub issuer: String,
    /// Never empty: the issuer unless set.
    pub audience: String,
    pub data_dir: PathBuf,
    pub keys_dir: PathBuf,
    pub master_key: Option<SecretText>,
    /// Never empty: `master.key` in `keys_dir` unless set. Not read here; it may not exist yet.
    pub master_key_file: PathBuf,
    pub listen: Vec<SocketAddr>,
    /// Whether `listen` was set, so that an address that cannot be had is an error.
    pub listen_explicit: bool,
    pub admin_listen: Vec<SocketAddr>,
    /// As `listen_explicit`.
    pub admin_listen_explicit: bool,
    pub ready_file: Option<PathBuf>,
    pub http: Http,
    pub log: Log,
    pub access: Access,
    pub session: SessionSettings,
    pub refresh: Refresh,
    pub login: Login,
    pub limits: Limits,
    pub password: PasswordSettings,
    pub rotation: Rotation,
    pub signing: SigningSettings,
    /// Role name to its scopes.
    pub roles: BTreeMap<String, Vec<String>>,
    pub audit: Audit,
    settings: Vec<Setting>,
}

/// What the command line says: the file to read and the flags, which lie on top.
#[derive(Clone, Default)]
pub struct Overrides {
    /// The value of `--config`; it wins over `KEYWARD_CONFIG`.
    pub file: Option<PathBuf>,
    /// In the order given. Lists take commas, and a repeated flag adds to its list.
    pub flags: Vec<Flag>,
    /// The command opens no listener, so that the rules on listeners are not for it.
    pub listens_nowhere: bool,
}

impl Overrides {
    /// Adds a flag: its name with dashes, the setting it stands for, its value.
    pub fn flag(&mut self, name: &'static str, key: &'static str, value: impl Into<String>) {
        self.flags.push(Flag { name, key, value: value.into() });
    }
}

/// One flag and the setting it stands for.
#[derive(Clone)]
pub struct Flag {
    /// With its dashes, such as `--issuer`.
    pub name: &'static str,
    /// The key path, such as `http.cors_origins`.
    pub key: &'static str,
    /// As typed.
    pub value: String,
}

/// One effective setting as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key path, such as `refresh.grace`.
    pub key: String,
    /// On one line; a secret that is set reads `[redacted]`.
    pub value: String,
    /// The topmost layer that set it.
    pub source: Source,
}

impl Config {
    /// Lays the file, the environment and the flags over the defaults and checks the whole.
    ///
    /// Of the environment only names beginning with `KEYWARD_` count.
    ///
    /// # Errors
    /// All that is wrong: unknown names, wrong types, values out of range, contradictions, broken timing rules.
    pub fn load(
        args: Overrides,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Config, ConfigErrors> {
        build::config(layers::Layers::gather(args, env))
    }

    /// Lays one text over the defaults, as if it were the file; for fuzzing.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn from_text(toml: &str) -> Result<Config, ConfigErrors> {
        let mut layers = layers::Layers::gather(Overrides::default(), std::iter::empty());
        layers.text(toml, std::path::Path::new("(text)"));
        build::config(layers)
    }

    /// [`Config::load`] with the environment of this process.
    ///
    /// # Errors
    /// As [`Config::load`], and for variables of ours that are not UTF-8.
    pub fn from_process(args: Overrides) -> Result<Config, ConfigErrors> {
        Config::from_os(args, std::env::vars_os())
    }

    fn from_os(
        args: Overrides,
        env: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<Config, ConfigErrors> {
        let mut readable = Vec::new();
        let mut sentences = Vec::new();
        for (name, value) in env {
            let name = name.to_string_lossy().into_owned();
            match value.into_string() {
                Ok(value) => readable.push((name, value)),
                Err(_) if name.starts_with("KEYWARD_") && !layers::is_for_tests(&name) => {
                    let name = show::short(&name);
                    sentences.push(format!("the environment's `{name}` is not UTF-8: write plain text."));
                }
                Err(_) => {}
            }
        }
        let loaded = Config::load(args, readable.into_iter());
        match loaded {
            Ok(_) if !sentences.is_empty() => Err(ConfigErrors { sentences }),
            Ok(config) => Ok(config),
            Err(errors) => {
                sentences.extend(errors.sentences);
                Err(ConfigErrors { sentences })
            }
        }
    }

    /// The shortest access-token lifetime that works: a token answered at the end of the grace has half of it left,
    /// however far jitter shortened it. Whole seconds, rounded up.
    pub fn shortest_lifetime(&self) -> Duration {
        let left = 100 - u64::from(self.access.jitter_percent.min(99));
        let grace = self.refresh.grace.as_millis();
        let millis = u64::try_from(grace).unwrap_or(u64::MAX).saturating_mul(200).div_ceil(left);
        Duration::from_secs(millis.div_ceil(1000).max(1))
    }

    /// Every setting with its effective value and source, ordered by key, secrets redacted.
    pub fn explain(&self) -> Vec<Setting> {
        self.settings.clone()
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.settings.iter().map(|setting| (&setting.key, &setting.value))).finish()
    }
}

/// Why a configuration is refused: one sentence for each thing to correct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    /// Each names the setting, its value, its source and what to do.
    pub sentences: Vec<String>,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentences.join("\n"))
    }
}

impl std::error::Error for ConfigErrors {}

/// The program as it was started, for sentences that tell what to type next.
#[must_use]
pub fn program() -> String {
    let started = std::env::args_os().next().filter(|name| !name.is_empty());
    started.map_or_else(|| "keyward".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// The failpoint at which a crash test wants this process to die.
#[cfg(debug_assertions)]
#[expect(clippy::disallowed_methods, reason = "the room that reads the environment")]
pub fn fail_at() -> Option<String> {
    std::env::var("KEYWARD_FAIL_AT").ok()
}
