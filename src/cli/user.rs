//! `keyward user …`

use std::io::Write;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::table::{or_dash, print};
use super::{Ask, Failed, event, find_account, gone, read_secret};
use crate::account;
use crate::app::{Deployment, hash_settings};
use crate::audit::Kind;
use crate::config::is_role_name;
use crate::grant::seal_password;
use crate::password::{Hasher, Password, Policy, imported};
use crate::store::{
    Account, Accounts as _, EndReason, NewAccount, PasswordChange, Sessions as _, Store as _,
};

/// Commands on accounts.
#[derive(Subcommand)]
pub enum UserCommand {
    /// Add an account; asks for its password without echo
    Add(AddArgs),
    /// List all accounts
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one account
    Show {
        /// Name, e-mail address or id
        who: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Disable an account and end its sessions
    Disable {
        /// Name, e-mail address or id
        who: String,
    },
    /// Enable an account again
    Enable {
        /// Name, e-mail address or id
        who: String,
    },
    /// Set a new password and end all sessions of the account
    Passwd {
        /// Name, e-mail address or id
        who: String,
        /// Read the password from standard input
        #[arg(long)]
        password_stdin: bool,
    },
    /// Replace the roles of an account
    Roles {
        /// Name, e-mail address or id
        who: String,
        /// A role; may be given several times
        #[arg(long = "role", value_name = "ROLE", required_unless_present = "none")]
        roles: Vec<String>,
        /// No role at all
        #[arg(long, conflicts_with = "roles")]
        none: bool,
    },
    /// Delete an account with its sessions, for good
    Delete {
        /// Name, e-mail address or id
        who: String,
    },
}

/// A new account.
#[derive(Args)]
pub struct AddArgs {
    /// The name it logs in with
    name: String,
    /// An e-mail address that it may log in with as well
    #[arg(long)]
    email: Option<String>,
    /// A role; may be given several times
    #[arg(long = "role", value_name = "ROLE", default_value = "user")]
    roles: Vec<String>,
    /// Read the password from standard input
    #[arg(long)]
    password_stdin: bool,
    /// Read a password hash from another system from standard input (PHC or crypt string: Argon2, bcrypt, scrypt, PBKDF2)
    #[arg(long, conflicts_with = "password_stdin")]
    hash_stdin: bool,
    /// No password: nobody can log in to it yet
    #[arg(long, conflicts_with_all = ["password_stdin", "hash_stdin"])]
    no_password: bool,
}

/// They all stand in every token.
const MOST_ROLES: usize = 32;

#[derive(Serialize)]
struct Row {
    id: String,
    name: String,
    email: Option<String>,
    roles: Vec<String>,
    enabled: bool,
    created_at: String,
    password_changed_at: Option<String>,
}

impl From<Account> for Row {
    fn from(account: Account) -> Row {
        Row {
            id: account.id.to_string(),
            name: account.name,
            email: account.email,
            roles: account.roles,
            enabled: account.enabled,
            created_at: account.created_at.rfc3339(),
            password_changed_at: account.password_changed_at.map(|at| at.rfc3339()),
        }
    }
}

/// Runs a command.
///
/// # Errors
/// [`Failed`], with a sentence.
pub async fn run(command: &UserCommand, on: &Deployment, out: &mut dyn Write) -> Result<(), Failed> {
    match command {
        UserCommand::Add(args) => add(args, on, out).await,
        UserCommand::List { json } => list(*json, on, out).await,
        UserCommand::Show { who, json } => {
            let row = Row::from(find_account(on, who).await?);
            show(&[row], *json, out)
        }
        UserCommand::Disable { who } => enable(who, false, on, out).await,
        UserCommand::Enable { who } => enable(who, true, on, out).await,
        UserCommand::Passwd { who, password_stdin } => passwd(who, *password_stdin, on, out).await,
        UserCommand::Roles { who, roles, .. } => {
            check_roles(roles)?;
            let account = find_account(on, who).await?;
            let event = event(on, Kind::AccountChanged, Some(account.id), "roles")?;
            if !on.store.noting(event).set_roles(account.id, roles, on.clock.now()).await? {
                return Err(gone(&account.name));
            }
            warn_unknown_roles(on, roles, out)?;
            Ok(writeln!(out, "{} has the roles: {}", account.name, roles.join(" "))?)
        }
        UserCommand::Delete { who } => {
            let account = find_account(on, who).await?;
            let event = event(on, Kind::AccountChanged, Some(account.id), "deleted")?;
            if !on.store.noting(event).delete_account(account.id).await? {
                return Err(gone(&account.name));
            }
            Ok(writeln!(out, "{} and its sessions are deleted", account.name)?)
        }
    }
}

async fn add(args: &AddArgs, on: &Deployment, out: &mut dyn Write) -> Result<(), Failed> {
    let mut identifiers = vec![account::fold_name(&args.name)?];
    if let Some(email) = &args.email {
        identifiers.push(account::fold_email(email)?);
    }
    check_roles(&args.roles)?;
    let now = on.clock.now();
    let id = on.random.uuid(now)?;
    let phc = if args.no_password {
        None
    } else if args.hash_stdin {
        Some(read_imported(on).await?)
    } else {
        let text = read_secret("password", Ask::twice_unless(args.password_stdin))?;
        let password = Password::new(&text)?;
        let names = [Some(args.name.as_str()), args.email.as_deref()];
        policy(on).check(&password, &names.into_iter().flatten().collect::<Vec<_>>())?;
        Some(hasher(on)?.hash(Arc::new(password)).await?)
    };
    let password = phc.map(|phc| seal_password(&on.keyring, id, &phc)).transpose()?;
    let account = Account {
        id,
        name: args.name.trim().to_owned(),
        email: args.email.as_deref().map(|email| email.trim().to_owned()),
        roles: args.roles.clone(),
        enabled: true,
        session_epoch: 0,
        created_at: now,
        password_changed_at: password.is_some().then_some(now),
    };
    let event = event(on, Kind::AccountChanged, Some(id), "added")?;
    let added = on.store.noting(event).add_account(&NewAccount { account, identifiers, password }).await?;
    if !added {
        return Err(Failed::Refused(
            "an account with this name or e-mail address is there already: see `keyward user list`".into(),
        ));
    }
    warn_unknown_roles(on, &args.roles, out)?;
    Ok(writeln!(out, "{} is added with the id {id}", args.name.trim())?)
}

/// A hash from another system, if its cost stays within what failed logins are released after.
async fn read_imported(on: &Deployment) -> Result<zeroize::Zeroizing<String>, Failed> {
    let text = read_secret("hash", Ask::Stdin)?;
    let text = imported::parse(&text)?.into_phc();
    // The typed bytes may be tried after the normal form, so a login may take twice one comparison.
    let cost = hasher(on)?.cost_of(&text).await? * 2;
    let quantum = on.config.login.quantum;
    if cost * 2 > quantum {
        return Err(Failed::Refused(format!(
            "checking this hash takes {} ms, more than half of login.quantum ({} ms), and would show which accounts exist: raise login.quantum to at least {} ms first",
            cost.as_millis(),
            quantum.as_millis(),
            cost.as_millis() * 2
        )));
    }
    Ok(text)
}

async fn passwd(who: &str, from_stdin: bool, on: &Deployment, out: &mut dyn Write) -> Result<(), Failed> {
    let account = find_account(on, who).await?;
    let text = read_secret("password", Ask::twice_unless(from_stdin))?;
    let password = Password::new(&text)?;
    let names = [Some(account.name.as_str()), account.email.as_deref()];
    policy(on).check(&password, &names.into_iter().flatten().collect::<Vec<_>>())?;
    let phc = hasher(on)?.hash(Arc::new(password)).await?;
    let sealed = seal_password(&on.keyring, account.id, &phc)?;
    let change = PasswordChange {
        account: account.id,
        expected: None,
        sealed: &sealed,
        keep: None,
        now: on.clock.now(),
    };
    let event = event(on, Kind::PasswordChanged, Some(account.id), "by an operator")?;
    crate::failpoint!("passwd.before_change");
    let ended = on.store.noting(event).change_password(&change).await?;
    crate::failpoint!("passwd.after_change");
    let ended = ended.ok_or_else(|| gone(&account.name))?;
    Ok(writeln!(out, "{} has a new password; sessions ended: {ended}", account.name)?)
}

async fn enable(who: &str, enabled: bool, on: &Deployment, out: &mut dyn Write) -> Result<(), Failed> {
    let account = find_account(on, who).await?;
    let now = on.clock.now();
    let living = on.store.sessions_of(account.id, now, 10_000).await?.len();
    let word = if enabled { "enabled" } else { "disabled" };
    let event = event(on, Kind::AccountChanged, Some(account.id), word)?;
    if !on.store.noting(event).set_enabled(account.id, enabled, now).await? {
        return Err(gone(&account.name));
    }
    match enabled {
        true => writeln!(out, "{} is enabled", account.name)?,
        false => writeln!(
            out,
            "{} is disabled; sessions ended ({}): {living}",
            account.name,
            EndReason::AccountDisabled.name()
        )?,
    }
    Ok(())
}

async fn list(json: bool, on: &Deployment, out: &mut dyn Write) -> Result<(), Failed> {
    let (mut rows, mut after) = (Vec::new(), None);
    loop {
        let page = on.store.accounts(after, 1_000).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        rows.extend(page.into_iter().map(Row::from));
    }
    show(&rows, json, out)
}

fn show(rows: &[Row], json: bool, out: &mut dyn Write) -> Result<(), Failed> {
    let heads = ["ID", "NAME", "E-MAIL", "ROLES", "STATE", "ADDED"];
    Ok(print(out, json, heads, rows, |row| {
        [
            row.id.clone(),
            row.name.clone(),
            or_dash(row.email.clone()),
            row.roles.join(" "),
            if row.enabled { "enabled" } else { "disabled" }.into(),
            row.created_at.clone(),
        ]
    })?)
}

fn check_roles(roles: &[String]) -> Result<(), Failed> {
    if roles.len() > MOST_ROLES {
        return Err(Failed::Refused(format!("an account has at most {MOST_ROLES} roles")));
    }
    match roles.iter().find(|role| !is_role_name(role)) {
        None => Ok(()),
        Some(_) => Err(Failed::Refused(
            "a role is 1 to 64 letters, digits, dots, colons, hyphens or underscores".into(),
        )),
    }
}

fn warn_unknown_roles(on: &Deployment, roles: &[String], out: &mut dyn Write) -> Result<(), Failed> {
    for role in roles.iter().filter(|role| !on.config.roles.contains_key(*role)) {
        writeln!(out, "note: the role `{role}` is not in [roles] of the configuration and grants nothing")?;
    }
    Ok(())
}

fn policy(on: &Deployment) -> Policy {
    Policy { min_length: on.config.password.min_length }
}

/// A pool of one thread: a command hashes one password.
fn hasher(on: &Deployment) -> Result<Hasher, Failed> {
    let mut settings = hash_settings(&on.config);
    settings.threads = 1;
    Ok(Hasher::start(settings, on.random.clone())?)
}
