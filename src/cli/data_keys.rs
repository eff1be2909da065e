//! `keyward data-keys …`

use std::io::Write;

use clap::{Subcommand, ValueEnum};

use super::{Failed, event, note};
use crate::app::Deployment;
use crate::audit::Kind;
use crate::secrets;
use crate::store::{EndReason, Sessions as _, Store as _};

/// Commands on the secrets that are sealed in the database.
#[derive(Subcommand)]
pub enum DataKeysCommand {
    /// Rotate a secret; what the previous version made stays good, older ones are forgotten
    Rotate {
        /// Which secret
        secret: Secret,
        /// The secret may be known to somebody: forget every old version and end all sessions
        #[arg(long)]
        compromised: bool,
    },
}

/// Secrets that rotate on command.
#[derive(Clone, Copy, ValueEnum)]
pub enum Secret {
    /// The key behind refresh tokens
    Refresh,
}

/// Runs a command.
///
/// # Errors
/// [`Failed`], with a sentence.
pub async fn run(command: &DataKeysCommand, on: &Deployment, out: &mut dyn Write) -> Result<(), Failed> {
    let DataKeysCommand::Rotate { secret: Secret::Refresh, compromised } = command;
    let now = on.clock.now();
    // The first version is made here if no server ever started.
    secrets::root_secret(&on.store, &on.keyring, &on.random, secrets::REFRESH, now).await?;
    let version =
        secrets::rotate_secret(&on.store, &on.keyring, &on.random, secrets::REFRESH, *compromised, now)
            .await?;
    note(on, Kind::KeysChanged, None, format!("refresh key version {version}")).await?;
    writeln!(out, "the refresh key has version {version}; running servers follow within a second")?;
    if *compromised {
        crate::failpoint!("secrets.before_end_all");
        let event = event(on, Kind::SessionsEnded, None, "refresh key compromised")?;
        let ended = on.store.noting(event).end_all_sessions(EndReason::KeyCompromised, now).await?;
        writeln!(out, "all sessions are ended: {ended}; everybody logs in again")?;
    }
    Ok(())
}
