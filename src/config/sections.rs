//! The sections of the configuration, typed.
#![expect(missing_docs, reason = "config/default.toml documents every setting once")]

use std::time::Duration;

use super::Cidr;

/// Section `http`.
#[derive(Clone, Debug, PartialEq)]
pub struct Http {
    pub cors_origins: Vec<String>,
    pub trusted_proxies: Vec<Cidr>,
    pub request_timeout: Duration,
    pub body_timeout: Duration,
    pub header_timeout: Duration,
    pub write_timeout: Duration,
    pub max_connections: usize,
    pub max_in_flight: usize,
    pub shutdown_deadline: Duration,
}

/// Section `log`.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    pub level: String,
    pub format: LogFormat,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines.
    Json,
}

/// Section `access`: access tokens. All but the jitter are whole seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Access {
    pub lifetime: Duration,
    pub jitter_percent: u8,
    pub leeway: Duration,
    pub max_lifetime: Duration,
}

/// Section `session`.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionSettings {
    pub idle: Duration,
    pub absolute: Duration,
    pub keep_ended: Duration,
}

/// Section `refresh`.
#[derive(Clone, Debug, PartialEq)]
pub struct Refresh {
    pub grace: Duration,
}

/// Section `login`.
#[derive(Clone, Debug, PartialEq)]
pub struct Login {
    pub quantum: Duration,
}

/// Section `limits`: failed logins of one account and from one source address.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    pub account: PaceSettings,
    pub source: PaceSettings,
}

/// How failures slow down the next attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct PaceSettings {
    pub free: u32,
    pub first_delay: Duration,
    pub max_delay: Duration,
    pub forget: Duration,
}

/// Section `password`: what is accepted, and what hashing may cost.
#[derive(Clone, Debug, PartialEq)]
pub struct PasswordSettings {
    pub min_length: usize,
    pub memory_kib: u32,
    pub iterations: u32,
    pub parallelism: u32,
    /// 0: one less than the cores, at least one.
    pub threads: usize,
    pub queue: usize,
    /// Bytes.
    pub queue_memory: u64,
    pub deadline: Duration,
}

/// Section `rotation` and the four settings it must fit: the life of signing keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Rotation {
    /// None: off.
    pub every: Option<Duration>,
    pub lead: Duration,
    pub lease: Duration,
    /// Whole seconds.
    pub jwks_max_age: Duration,
    pub verifier_poll: Duration,
    pub clock_skew: Duration,
}

/// Section `signing`.
#[derive(Clone, Debug, PartialEq)]
pub struct SigningSettings {
    pub rsa_bits: u32,
}

/// Section `audit`.
#[derive(Clone, Debug, PartialEq)]
pub struct Audit {
    pub keep: Duration,
}
