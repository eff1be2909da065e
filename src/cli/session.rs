//! `keyward session …`

use std::io::Write;

use clap::{ArgGroup, Args, Subcommand};
use serde::Serialize;
use uuid::Uuid;

use super::table::print;
use super::{Failed, event, find_account};
use crate::app::Deployment;
use crate::audit::Kind;
use crate::store::{AuditEvent, Clients as _, EndReason, Sessions as _, Store as _};

/// Commands on sessions.
#[derive(Subcommand)]
pub enum SessionCommand {
    /// List the living sessions of an account
    List {
        /// Name, e-mail address or id of the account
        who: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// End a session, or all of an account
    End(EndArgs),
}

/// What to end.
#[derive(Args)]
#[command(group(ArgGroup::new("what").required(true).args(["id", "all_of"])))]
pub struct EndArgs {
    /// The session
    id: Option<Uuid>,
    /// All sessions of this account: name, e-mail address or id
    #[arg(long, value_name = "WHO")]
    all_of: Option<String>,
}

#[derive(Serialize)]
struct Row {
    id: String,
    client: String,
    device: String,
    scope: String,
    created_at: String,
    last_used_at: String,
    expires_at: String,
}

/// Runs a command.
///
/// # Errors
/// [`Failed`], with a sentence.
pub async fn run(command: &SessionCommand, on: &Deployment, out: &mut dyn Write) -> Result<(), Failed> {
    match command {
        SessionCommand::List { who, json } => list(who, *json, on, out).await,
        SessionCommand::End(EndArgs { id: Some(id), .. }) => {
            let now = on.clock.now();
            let event = event(on, Kind::SessionEnded, None, "ended by an operator")?;
            let store = on.store.noting(AuditEvent { session: Some(*id), ..event });
            let ended = store.end_session(*id, None, EndReason::Operator, now).await?;
            if !ended {
                return Err(Failed::Refused(format!("there is no living session {id}")));
            }
            Ok(writeln!(out, "session {id} is ended")?)
        }
        SessionCommand::End(args) => {
            let account = find_account(on, args.all_of.as_deref().unwrap_or_default()).await?;
            let now = on.clock.now();
            let event = event(on, Kind::SessionsEnded, Some(account.id), "ended by an operator")?;
            let ended = on.store.noting(event).end_sessions_of(account.id, EndReason::Operator, now).await?;
            Ok(writeln!(out, "sessions of {} ended: {ended}", account.name)?)
        }
    }
}

async fn list(who: &str, json: bool, on: &Deployment, out: &mut dyn Write) -> Result<(), Failed> {
    let account = find_account(on, who).await?;
    let clients = on.store.clients().await?;
    let found = on.store.sessions_of(account.id, on.clock.now(), 10_000).await?;
    let rows: Vec<Row> = found
        .into_iter()
        .map(|session| Row {
            id: session.id.to_string(),
            client: clients
                .iter()
                .find(|client| client.id == session.client)
                .map_or_else(String::new, |client| client.name.clone()),
            device: session.device,
            scope: session.scope,
            created_at: session.created_at.rfc3339(),
            last_used_at: session.last_used_at.rfc3339(),
            expires_at: session.idle_expires_at.min(session.expires_at).rfc3339(),
        })
        .collect();
    let heads = ["ID", "CLIENT", "DEVICE", "BEGAN", "LAST USED", "EXPIRES UNLESS USED"];
    Ok(print(out, json, heads, &rows, |row| {
        [&row.id, &row.client, &row.device, &row.created_at, &row.last_used_at, &row.expires_at]
            .map(String::clone)
    })?)
}
