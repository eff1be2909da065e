//! `keyward password …`

use std::io::Write;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::Failed;
use crate::config::{self, Config};
use crate::password::calibrate;

/// Commands on password hashing.
#[derive(Subcommand)]
pub enum PasswordCommand {
    /// Measure this machine and propose Argon2id parameters
    Calibrate(CalibrateArgs),
}

/// What to aim at.
#[derive(Args)]
pub struct CalibrateArgs {
    /// How long one hash may take on one thread
    #[arg(long, default_value = "50ms", value_name = "DURATION")]
    target: String,
    /// The most memory a hash may take
    #[arg(long, default_value = "256MiB", value_name = "SIZE")]
    most_memory: String,
}

/// Runs a command; needs no deployment.
///
/// # Errors
/// [`Failed`], with a sentence.
pub fn run(command: &PasswordCommand, config: &Config, out: &mut dyn Write) -> Result<(), Failed> {
    let PasswordCommand::Calibrate(args) = command;
    let target = config::duration(&args.target)
        .filter(|target| (Duration::from_millis(1)..=Duration::from_secs(10)).contains(target))
        .ok_or_else(|| Failed::Refused("--target is a duration from 1ms to 10s, e.g. 50ms".into()))?;
    let memory = config::size(&args.most_memory)
        .and_then(|bytes| u32::try_from(bytes / 1024).ok())
        .ok_or_else(|| Failed::Refused("--most-memory is a size, e.g. 256MiB".into()))?;
    let proposal = calibrate(target, memory, config.password.parallelism)
        .map_err(|refused| Failed::Refused(refused.to_string()))?;
    writeln!(out, "one hash took {} ms with:", proposal.took.as_millis())?;
    if !proposal.within_target {
        writeln!(out, "(more than the target, but nothing weaker is advisable)")?;
    }
    writeln!(out, "[password]")?;
    writeln!(out, "memory_kib = {}", proposal.memory_kib)?;
    writeln!(out, "iterations = {}", proposal.iterations)?;
    Ok(writeln!(out, "parallelism = {}", proposal.parallelism)?)
}
