//! `keyward client …`

use std::io::Write;
use std::time::Duration;

use clap::{Args, Subcommand};
use keyward_verifier::Scopes;
use serde::Serialize;

use super::table::{or_dash, print};
use super::{Failed, event, gone};
use crate::app::Deployment;
use crate::audit::Kind;
use crate::config;
use crate::store::{Client, Clients as _, Store as _};

/// Commands on clients.
#[derive(Subcommand)]
pub enum ClientCommand {
    /// Add a first-party public client
    Add(ClientArgs),
    /// Change a client; what is not given stays as it is
    Set(SetArgs),
    /// List all clients
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete a client with its sessions, for good
    Delete {
        /// Its name
        name: String,
    },
}

/// A client's properties.
#[derive(Args)]
pub struct ClientArgs {
    /// What requests send as `client_id`
    name: String,
    /// An audience that its tokens may have; the first is the default; may be given several times
    #[arg(long = "audience", value_name = "AUDIENCE")]
    audiences: Vec<String>,
    /// A scope that its tokens may have, `*` for all that the roles grant; may be given several times
    #[arg(long = "scope", value_name = "SCOPE", default_value = "*")]
    scopes: Vec<String>,
    /// Lifetime of its access tokens, e.g. `5m`; default: access.lifetime
    #[arg(long, value_name = "DURATION")]
    access_lifetime: Option<String>,
}

/// A client's changes.
#[derive(Args)]
pub struct SetArgs {
    /// What requests send as `client_id`
    name: String,
    /// Replaces all audiences; the first is the default; may be given several times
    #[arg(long = "audience", value_name = "AUDIENCE")]
    audiences: Vec<String>,
    /// No audience but Keyward's own
    #[arg(long, conflicts_with = "audiences")]
    no_audience: bool,
    /// Replaces all scopes, `*` for all that the roles grant; may be given several times
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// Lifetime of its access tokens, e.g. `5m`
    #[arg(long, value_name = "DURATION")]
    access_lifetime: Option<String>,
    /// Back to access.lifetime
    #[arg(long, conflicts_with = "access_lifetime")]
    default_lifetime: bool,
}

#[derive(Serialize)]
struct Row {
    name: String,
    id: String,
    audiences: Vec<String>,
    scopes: Vec<String>,
    access_lifetime_seconds: Option<u32>,
}

/// Runs a command.
///
/// # Errors
/// [`Failed`], with a sentence.
pub async fn run(command: &ClientCommand, on: &Deployment, out: &mut dyn Write) -> Result<(), Failed> {
    match command {
        ClientCommand::Add(args) => {
            let now = on.clock.now();
            let client = build(args, on, on.random.uuid(now)?)?;
            let event = event(on, Kind::ClientChanged, None, format!("{} added", args.name))?;
            if !on.store.noting(event).add_client(&client).await? {
                return Err(Failed::Refused(format!("the client `{}` is there already", args.name)));
            }
            Ok(writeln!(out, "the client {} is added", args.name)?)
        }
        ClientCommand::Set(args) => {
            let mut client = find(on, &args.name).await?;
            if args.no_audience || !args.audiences.is_empty() {
                client.audiences.clone_from(&args.audiences);
            }
            if !args.scopes.is_empty() {
                client.scopes.clone_from(&args.scopes);
            }
            if args.default_lifetime {
                client.access_lifetime = None;
            }
            if let Some(text) = &args.access_lifetime {
                client.access_lifetime = Some(lifetime(text, on)?);
            }
            check(&client)?;
            let event = event(on, Kind::ClientChanged, None, format!("{} set", args.name))?;
            if !on.store.noting(event).set_client(&client).await? {
                return Err(gone(&args.name));
            }
            Ok(writeln!(out, "the client {} is set; a running server follows within a second", args.name)?)
        }
        ClientCommand::Delete { name } => {
            let known = find(on, name).await?;
            let event = event(on, Kind::ClientChanged, None, format!("{name} deleted"))?;
            if !on.store.noting(event).delete_client(known.id).await? {
                return Err(gone(name));
            }
            Ok(writeln!(out, "the client {name} and its sessions are deleted")?)
        }
        ClientCommand::List { json } => list(*json, on, out).await,
    }
}

async fn find(on: &Deployment, name: &str) -> Result<Client, Failed> {
    let missing = || Failed::Refused(format!("there is no client `{name}`: see `keyward client list`"));
    on.store.client(name).await?.ok_or_else(missing)
}

fn build(args: &ClientArgs, on: &Deployment, id: uuid::Uuid) -> Result<Client, Failed> {
    let client = Client {
        id,
        name: args.name.clone(),
        audiences: args.audiences.clone(),
        scopes: args.scopes.clone(),
        access_lifetime: args.access_lifetime.as_deref().map(|text| lifetime(text, on)).transpose()?,
        created_at: on.clock.now(),
    };
    check(&client)?;
    Ok(client)
}

fn check(client: &Client) -> Result<(), Failed> {
    let word = |text: &String| {
        (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic() && b != b'"')
    };
    if !word(&client.name) || !client.audiences.iter().all(word) {
        return Err(Failed::Refused(
            "a client's name and its audiences are 1 to 255 visible ASCII characters without quotes".into(),
        ));
    }
    let scope = |scope: &String| scope == "*" || Scopes::parse(scope).is_ok_and(|scopes| !scopes.is_empty());
    if !client.scopes.iter().all(scope) {
        return Err(Failed::Refused("a scope has only the characters of RFC 6749 §3.3".into()));
    }
    Ok(())
}

fn lifetime(text: &str, on: &Deployment) -> Result<u32, Failed> {
    let most = on.config.access.max_lifetime.min(on.config.session.idle);
    // A retry within the grace must not get a token that has expired meanwhile.
    let least = on.config.shortest_lifetime();
    let allowed = |given: &Duration| (least..=most).contains(given);
    let given = config::duration(text).filter(allowed);
    given.and_then(|given| u32::try_from(given.as_secs()).ok()).ok_or_else(|| {
        let (least, most) = (config::show_duration(least), config::show_duration(most));
        Failed::Refused(format!(
            "`{text}` is not a lifetime from {least} (refresh.grace asks for it) to {most} (the lower of access.max_lifetime and session.idle)"
        ))
    })
}

async fn list(json: bool, on: &Deployment, out: &mut dyn Write) -> Result<(), Failed> {
    let rows: Vec<Row> = on
        .store
        .clients()
        .await?
        .into_iter()
        .map(|client| Row {
            name: client.name,
            id: client.id.to_string(),
            audiences: client.audiences,
            scopes: client.scopes,
            access_lifetime_seconds: client.access_lifetime,
        })
        .collect();
    Ok(print(out, json, ["NAME", "AUDIENCES", "SCOPES", "ACCESS LIFETIME"], &rows, |row| {
        [
            row.name.clone(),
            if row.audiences.is_empty() { "(Keyward's own)".into() } else { row.audiences.join(" ") },
            row.scopes.join(" "),
            or_dash(row.access_lifetime_seconds.map(|seconds| format!("{seconds}s"))),
        ]
    })?)
}
