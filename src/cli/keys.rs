//! `keyward keys …`

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use super::table::{or_dash, print};
use super::{Ask, Failed, note, read_secret};
use crate::app::{Deployment, maker, signing_policy};
use crate::audit::Kind;
use crate::clock::Timestamp;
use crate::signing::{self, Keysmith, Mode, Reach, Rotated};
use crate::store::sql::SqlStore;
use crate::store::{KeyState, SigningKeys as _};

/// Commands on signing keys.
#[derive(Subcommand)]
pub enum KeysCommand {
    /// List every key with its state and what happens to it next
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Activate the staged key; exit code 3 if the rules do not allow it yet
    Rotate(RotateArgs),
    /// Revoke a key that may be known to somebody, at once and for ever
    Revoke(RevokeArgs),
    /// Import an RSA key: staged to sign later, or published for verification only
    Import(ImportArgs),
    /// Print the public half of a key
    Export(ExportArgs),
}

/// How to rotate.
#[derive(Args)]
pub struct RotateArgs {
    /// Wait until the rules allow it
    #[arg(long)]
    wait: bool,
    /// Do not wait for the clock, only for connected verifiers
    #[arg(long, conflicts_with = "wait")]
    now: bool,
    /// Wait for nothing and nobody
    #[arg(long, conflicts_with_all = ["wait", "now"])]
    force: bool,
}

/// What to revoke.
#[derive(Args)]
pub struct RevokeArgs {
    /// The key
    #[arg(allow_hyphen_values = true)]
    kid: String,
    /// Say that you mean it: every token of this key is refused from now on
    #[arg(long, required = true)]
    compromised: bool,
    /// Revoke the staged key as well, for when the master key or the whole database may be known
    #[arg(long)]
    all: bool,
}

/// What to import.
#[derive(Args)]
pub struct ImportArgs {
    /// PKCS#1, PKCS#8, encrypted PKCS#8 or public PEM
    #[arg(long, value_name = "FILE")]
    pem: PathBuf,
    /// Ask for the passphrase of an encrypted file
    #[arg(long)]
    passphrase: bool,
    /// Read that passphrase from standard input
    #[arg(long)]
    passphrase_stdin: bool,
    /// Publish it for verification only
    #[arg(long, requires = "until")]
    verify_only: bool,
    /// Until when, e.g. 2027-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", requires = "verify_only")]
    until: Option<String>,
}

/// What to export.
#[derive(Args)]
pub struct ExportArgs {
    /// The key whose public half is printed
    #[arg(long, value_name = "KID", allow_hyphen_values = true)]
    public: String,
    /// How it is written
    #[arg(long, default_value = "pem")]
    format: Format,
}

/// Formats of a public key.
#[derive(Clone, Copy, ValueEnum)]
pub enum Format {
    /// SubjectPublicKeyInfo
    Pem,
    /// RFC 7517
    Jwk,
}

#[derive(Serialize)]
struct Row {
    kid: String,
    alg: String,
    state: &'static str,
    age_seconds: u64,
    next_state: Option<&'static str>,
    next_at: Option<String>,
    safe_to_delete_at: Option<String>,
    tokens_outstanding_about: u64,
}

/// Runs a command.
///
/// # Errors
/// [`Failed`], with a sentence; [`Failed::NotYet`] for a rotation before its time.
pub async fn run(command: &KeysCommand, on: &Deployment, out: &mut dyn Write) -> Result<(), Failed> {
    let (maker, policy) = (maker(&on.config, &on.keyring)?, signing_policy(&on.config));
    let smith = Keysmith { store: &on.store, maker: &maker, policy: &policy, clock: &on.clock };
    match command {
        KeysCommand::List { json } => list(*json, &smith, on, out).await,
        KeysCommand::Rotate(args) => rotate(args, &smith, on, out).await,
        KeysCommand::Revoke(args) => revoke(args, &smith, on, out).await,
        KeysCommand::Import(args) => import(args, &smith, on, out).await,
        KeysCommand::Export(args) => {
            let format = match args.format {
                Format::Pem => signing::Format::Pem,
                Format::Jwk => signing::Format::Jwk,
            };
            let text = smith.export_public(&args.public, format).await?;
            Ok(writeln!(out, "{}", text.trim_end())?)
        }
    }
}

async fn list(
    json: bool,
    smith: &Keysmith<'_, SqlStore>,
    on: &Deployment,
    out: &mut dyn Write,
) -> Result<(), Failed> {
    let rows: Vec<Row> = smith
        .list()
        .await?
        .into_iter()
        .map(|row| Row {
            kid: row.kid,
            alg: row.alg,
            state: row.state.name(),
            age_seconds: row.age.as_secs(),
            next_state: row.next.map(|(state, _)| state.name()),
            next_at: row.next.map(|(_, at)| at.rfc3339()),
            safe_to_delete_at: row.safe_to_delete_at.map(Timestamp::rfc3339),
            tokens_outstanding_about: row.outstanding,
        })
        .collect();
    if rows.is_empty() && !json {
        return Ok(writeln!(out, "no signing keys yet: the first `keyward serve` makes them")?);
    }
    let heads = ["KID", "ALG", "STATE", "AGE", "NEXT", "SAFE TO DELETE AT", "TOKENS OUT (ABOUT)"];
    print(out, json, heads, &rows, |row| {
        [
            row.kid.clone(),
            row.alg.clone(),
            row.state.into(),
            human(Duration::from_secs(row.age_seconds)),
            or_dash(row.next_state.zip(row.next_at.as_ref()).map(|(state, at)| format!("{state} {at}"))),
            or_dash(row.safe_to_delete_at.clone()),
            row.tokens_outstanding_about.to_string(),
        ]
    })?;
    if !json {
        writeln!(out, "generation {}", on.store.ring_generation().await?)?;
    }
    Ok(())
}

async fn rotate(
    args: &RotateArgs,
    smith: &Keysmith<'_, SqlStore>,
    on: &Deployment,
    out: &mut dyn Write,
) -> Result<(), Failed> {
    let mode = match (args.now, args.force) {
        (true, _) => Mode::Now,
        (_, true) => Mode::Force,
        _ => Mode::Rules,
    };
    let rotated = loop {
        match smith.rotate(mode).await? {
            Rotated::NotBefore(at) if args.wait => {
                writeln!(
                    out,
                    "waiting until {}: the staged key must be known to every cache first",
                    at.rfc3339()
                )?;
                out.flush()?;
                tokio::time::sleep(at.since(on.clock.now()).max(Duration::from_millis(100))).await;
            }
            rotated => break rotated,
        }
    };
    match rotated {
        Rotated::NotBefore(at) => Err(Failed::NotYet(format!(
            "not before {}: verifiers may not know the staged key yet; wait with --wait, do not wait for the clock with --now, or for nobody with --force",
            at.rfc3339()
        ))),
        Rotated::Done { active, retiring, staged, may_refuse_for } => {
            note(on, Kind::KeysChanged, None, format!("rotated to {active}")).await?;
            writeln!(out, "{active} signs now; running servers follow within a second")?;
            if let Some((kid, until)) = retiring {
                writeln!(
                    out,
                    "{kid} stays published until {}; its private part is destroyed",
                    until.rfc3339()
                )?;
            }
            match staged {
                Some(kid) => writeln!(out, "{kid} is staged next")?,
                None => writeln!(out, "the next key could not be staged; a running server does it")?,
            }
            if !may_refuse_for.is_zero() {
                let long = human(may_refuse_for);
                writeln!(out, "verifiers that read the plain JWKS may refuse new tokens for up to {long}")?;
            }
            Ok(())
        }
    }
}

async fn revoke(
    args: &RevokeArgs,
    smith: &Keysmith<'_, SqlStore>,
    on: &Deployment,
    out: &mut dyn Write,
) -> Result<(), Failed> {
    let reach = if args.all { Reach::Staged } else { Reach::Key };
    let revoked = smith.revoke(&args.kid, reach).await?;
    note(on, Kind::KeysChanged, None, format!("revoked {}", revoked.kids.join(" "))).await?;
    for kid in &revoked.kids {
        writeln!(out, "{kid} is revoked and never comes back")?;
    }
    if let Some(kid) = &revoked.active {
        writeln!(out, "{kid} signs now; clients get new tokens at their next refresh")?;
    }
    for kid in revoked.fresh.iter().filter(|kid| Some(*kid) != revoked.active.as_ref()) {
        writeln!(out, "{kid} is staged next")?;
    }
    let (own, long) = ("running servers refuse its tokens within a second", human(revoked.may_trust_for));
    Ok(writeln!(out, "{own}; verifiers that read the plain JWKS within {long}")?)
}

async fn import(
    args: &ImportArgs,
    smith: &Keysmith<'_, SqlStore>,
    on: &Deployment,
    out: &mut dyn Write,
) -> Result<(), Failed> {
    let unreadable = |cause| Failed::Refused(format!("cannot read {}: {cause}", args.pem.display()));
    let text = zeroize::Zeroizing::new(std::fs::read_to_string(&args.pem).map_err(unreadable)?);
    let passphrase = match args.passphrase || args.passphrase_stdin {
        true if args.passphrase_stdin => Some(read_secret("passphrase", Ask::Stdin)?),
        true => Some(read_secret("passphrase", Ask::Once)?),
        false => None,
    };
    let until = args.until.as_deref().map(Timestamp::parse_rfc3339).transpose().map_err(Failed::Refused)?;
    let imported = smith.import(&text, passphrase.as_deref().map(String::as_str), until).await?;
    note(on, Kind::KeysChanged, None, format!("imported {}", imported.kid)).await?;
    let (kid, at) = (imported.kid, imported.until.rfc3339());
    match imported.state {
        KeyState::Retiring => writeln!(out, "{kid} is published for verification until {at}")?,
        state => writeln!(out, "{kid} is {}; it may sign from {at}", state.name())?,
    }
    Ok(())
}

/// Two units at most: `3d 4h`, `12m 5s`, `0s`.
fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let parts = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let mut rest = seconds;
    let mut words = Vec::new();
    for (size, unit) in parts {
        if rest >= size && words.len() < 2 {
            words.push(format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    if words.is_empty() { "0s".into() } else { words.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_told_in_two_units() {
        let told = [0, 5, 65, 3_600, 90_061].map(|seconds| human(Duration::from_secs(seconds)));
        assert_eq!(told, ["0s", "5s", "1m 5s", "1h", "1d 1h"]);
    }
}
