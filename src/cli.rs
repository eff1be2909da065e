//! The command line: one file per group of commands. Commands work on the store and need no running server.

use std::io::{IsTerminal as _, Read as _, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::account;
use crate::app::{self, Deployment, OpenError};
use crate::audit::{self, Kind};
use crate::clock::Clock;
use crate::config::{Config, ConfigErrors, Overrides};
use crate::random::Random;
use crate::store::{Account, Accounts as _, AuditEvent, Limits as _, StoreError};

pub mod client;
pub mod config;
pub mod data_keys;
pub mod keys;
pub mod password;
pub mod serve;
pub mod session;
mod table;
pub mod user;

/// Passwords in, RS256 access tokens out, keys that rotate by themselves.
#[derive(Parser)]
#[command(name = "keyward", version, disable_help_subcommand = true, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

/// Where the deployment is; every command takes these.
#[derive(Args, Clone, Debug, Default)]
pub struct Place {
    /// Configuration file (TOML)
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Folder of the database
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<String>,
    /// Folder of the key files
    #[arg(long, global = true, value_name = "DIR")]
    pub keys_dir: Option<String>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the service
    Serve(serve::ServeArgs),
    /// Accounts
    #[command(subcommand)]
    User(user::UserCommand),
    /// Sessions
    #[command(subcommand)]
    Session(session::SessionCommand),
    /// Applications on whose behalf people log in
    #[command(subcommand)]
    Client(client::ClientCommand),
    /// Signing keys
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Secrets that are sealed in the database
    #[command(subcommand)]
    DataKeys(data_keys::DataKeysCommand),
    /// Password hashing
    #[command(subcommand)]
    Password(password::PasswordCommand),
    /// Settings
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Check the configuration and say what is wrong with it
    Check,
    /// Every setting with its value and where it comes from, secrets redacted
    Show(config::ShowArgs),
}

/// Why a command failed; the sentence goes to standard error, the number is the exit code.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The configuration is refused. Exit code 2.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The deployment cannot be opened. Exit code 1.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Reading or writing failed. Exit code 1.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Not done, for the reason in the sentence. Exit code 1.
    #[error("{0}")]
    Refused(String),
    /// Not yet; nothing is wrong. Exit code 3.
    #[error("{0}")]
    NotYet(String),
}

impl Failed {
    fn code(&self) -> u8 {
        match self {
            Failed::Config(_) => 2,
            Failed::Open(_) | Failed::Io(_) | Failed::Refused(_) => 1,
            Failed::NotYet(_) => 3,
        }
    }
}

macro_rules! refused_from {
    ($($error:ty),* $(,)?) => {
        $(impl From<$error> for Failed {
            fn from(error: $error) -> Failed { Failed::Refused(error.to_string()) }
        })*
    };
}
refused_from!(
    StoreError,
    crate::random::NoRandomness,
    crate::secrets::SecretsError,
    crate::signing::SigningError,
    crate::grant::Refused,
    crate::password::PasswordRefused,
    crate::password::StartRefused,
    crate::password::HashError,
    crate::password::imported::ImportRefused,
    crate::account::BadIdentifier,
    serde_json::Error,
);

/// Parses the command line, does what it says, and tells the shell how it went.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let mut out = std::io::stdout().lock();
    let done = match dispatch(cli, &mut out) {
        // A closed pipe (`keyward user list | head`) is not a failure.
        Err(Failed::Io(cause)) if cause.kind() == std::io::ErrorKind::BrokenPipe => Ok(0),
        done => done,
    };
    let _ = out.flush();
    match done {
        Ok(code) => ExitCode::from(code),
        Err(failed) => {
            // What was typed may be repeated here; a terminal must not obey it.
            let sentence = failed.to_string();
            let plain: String = sentence
                .chars()
                .flat_map(
                    |c| if c.is_control() && c != '\n' { c.escape_default().collect() } else { vec![c] },
                )
                .collect();
            eprintln!("keyward: {plain}");
            ExitCode::from(failed.code())
        }
    }
}

fn dispatch(cli: Cli, out: &mut dyn Write) -> Result<u8, Failed> {
    let place = cli.place;
    let mut overrides = place.overrides();
    match cli.command {
        Command::Serve(args) => {
            args.flags(&mut overrides);
            serve::serve(Config::from_process(overrides)?, &place, out).map(|()| 0)
        }
        Command::Config(ConfigCommand::Check) => Ok(config::check(&Config::from_process(overrides), out)?),
        Command::Config(ConfigCommand::Show(args)) => {
            config::show(&Config::from_process(overrides)?, &args, out)?;
            Ok(0)
        }
        Command::Password(command) => {
            password::run(&command, &Config::from_process(overrides)?, out).map(|()| 0)
        }
        // An account may be added before the first start; anything else needs a deployment that is there.
        Command::User(command @ user::UserCommand::Add(_)) => {
            on_store(overrides, Missing::Made, async |it| user::run(&command, it, out).await)
        }
        Command::User(command) => {
            on_store(overrides, Missing::Refused, async |it| user::run(&command, it, out).await)
        }
        Command::Session(command) => {
            on_store(overrides, Missing::Refused, async |it| session::run(&command, it, out).await)
        }
        Command::Client(command) => {
            on_store(overrides, Missing::Refused, async |it| client::run(&command, it, out).await)
        }
        Command::Keys(command) => {
            on_store(overrides, Missing::Refused, async |it| keys::run(&command, it, out).await)
        }
        Command::DataKeys(command) => {
            on_store(overrides, Missing::Refused, async |it| data_keys::run(&command, it, out).await)
        }
    }
}

impl Place {
    fn overrides(&self) -> Overrides {
        let mut overrides = Overrides { file: self.config.clone(), ..Overrides::default() };
        for (name, key, value) in
            [("--data-dir", "data_dir", &self.data_dir), ("--keys-dir", "keys_dir", &self.keys_dir)]
        {
            if let Some(value) = value {
                overrides.flag(name, key, value.clone());
            }
        }
        overrides
    }
}

/// What becomes of a deployment that is not there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Made,
    Refused,
}

/// Opens the deployment and runs a command on it.
fn on_store(
    mut overrides: Overrides,
    missing: Missing,
    command: impl AsyncFnOnce(&Deployment) -> Result<(), Failed>,
) -> Result<u8, Failed> {
    overrides.listens_nowhere = true;
    let config = Config::from_process(overrides)?;
    let database = app::database(&config);
    if missing == Missing::Refused && !database.exists() {
        return Err(Failed::Refused(format!(
            "there is no database at {}: run this where `keyward serve` runs, or name its folder with --data-dir",
            database.display()
        )));
    }
    serve::arm_failpoints()?;
    serve::log_to_stderr("warn", &config.log)?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let deployment = Deployment::open(config, Clock::system(), Random::system()).await?;
        command(&deployment).await
    })?;
    Ok(0)
}

/// The account that an operator means: an id, a name or an e-mail address.
async fn find_account(deployment: &Deployment, who: &str) -> Result<Account, Failed> {
    let by_id = match Uuid::parse_str(who) {
        Ok(id) => deployment.store.account(id).await?,
        Err(_) => None,
    };
    let found = match (by_id, account::fold(who)) {
        (Some(account), _) => Some(account),
        (None, Some(folded)) => {
            deployment.store.credential_by_identifier(&folded).await?.map(|found| found.account)
        }
        (None, None) => None,
    };
    found.ok_or_else(|| Failed::Refused(format!("there is no account `{who}`: see `keyward user list`")))
}

/// What the audit trail is to tell of an operator's command.
fn event(
    deployment: &Deployment,
    kind: Kind,
    account: Option<Uuid>,
    detail: impl Into<String>,
) -> Result<AuditEvent, Failed> {
    let now = deployment.clock.now();
    let mut event = audit::event(&deployment.random, now, kind, (account, None), "cli")?;
    event.detail = detail.into();
    Ok(event)
}

/// Records what an operator did, after it was done: for changes of keys, whose own rows tell of them as well.
async fn note(
    deployment: &Deployment,
    kind: Kind,
    account: Option<Uuid>,
    detail: impl Into<String>,
) -> Result<(), Failed> {
    let event = event(deployment, kind, account, detail)?;
    Ok(deployment.store.record(&event).await?)
}

/// It was there when it was looked for, and is not any more.
fn gone(name: &str) -> Failed {
    Failed::Refused(format!("{name} was deleted meanwhile"))
}

/// How a secret is come by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ask {
    /// Standard input, to its end.
    Stdin,
    /// The terminal, without echo, twice: a slip would lock somebody out.
    Twice,
    /// The terminal, without echo: a slip shows at once.
    Once,
}

impl Ask {
    fn twice_unless(stdin: bool) -> Ask {
        if stdin { Ask::Stdin } else { Ask::Twice }
    }
}

fn read_secret(what: &str, ask: Ask) -> Result<Zeroizing<String>, Failed> {
    if ask == Ask::Stdin {
        let mut text = Zeroizing::new(String::new());
        std::io::stdin().lock().take(8 * 1024).read_to_string(&mut text)?;
        let end = text.trim_end_matches(['\r', '\n']).len();
        text.truncate(end);
        return Ok(text);
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failed::Refused(format!(
            "there is no terminal to ask for the {what}: pipe it in with --{what}-stdin"
        )));
    }
    // With a handler, Ctrl-C ends the prompt and not the process, which would leave the terminal without echo.
    let _interrupts = signal(SignalKind::interrupt())?;
    let prompt = |text: String| match rpassword::prompt_password(text).map(Zeroizing::new) {
        Err(cause) if cause.kind() == std::io::ErrorKind::Interrupted => {
            Err(Failed::Refused(format!("no {what} was given; nothing was changed")))
        }
        typed => Ok(typed?),
    };
    if ask == Ask::Once {
        return prompt(format!("The {what}: "));
    }
    let first = prompt(format!("New {what}: "))?;
    if *first != *prompt(format!("The same {what} again: "))? {
        return Err(Failed::Refused(format!("the two {what}s differ; nothing was changed")));
    }
    Ok(first)
}
