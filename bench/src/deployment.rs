//! The data that servers are started on: accounts, and sessions that nobody refreshed for an hour, so that the first
//! refresh of each advances. Made through Keyward's own store.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use keyward::account;
use keyward::app::{App, Deployment};
use keyward::clock::Clock;
use keyward::config::{Config, Overrides};
use keyward::grant::seal_password;
use keyward::password::Password;
use keyward::random::Random;
use keyward::store::{
    Account, Accounts as _, Clients as _, Concluded, Judged, NewAccount, Pace, Session, Sessions as _,
};

use crate::Outcome;

pub const SESSIONS: usize = 9_000;
pub const ACCOUNTS: usize = 400;
pub const PASSWORD: &str = "plenty of tame giraffes";

pub struct Prepared {
    pub folder: PathBuf,
    /// The current refresh token of each session.
    pub tokens: Vec<String>,
    pub config: Arc<Config>,
}

/// The name of an account.
pub fn name(number: usize) -> String {
    format!("user{:04}", number % ACCOUNTS)
}

/// A fresh deployment in `folder`; what was there is removed.
pub fn prepare(folder: &Path) -> Outcome<Prepared> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    let mut config = Config::load(Overrides::default(), std::iter::empty())?;
    config.data_dir = folder.join("data");
    config.keys_dir = folder.join("keys");
    config.master_key_file = config.keys_dir.join("master.key");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let clock = Clock::wound(Clock::system().now().minus(Duration::from_secs(3_600)));
        let app = App::start(Deployment::open(config, clock, Random::system()).await?).await?;
        let accounts = add_accounts(&app).await?;
        let tokens = start_sessions(&app, &accounts).await?;
        app.grants.store.close().await;
        // For whoever wants to look closer with other tools.
        fs::write(folder.join("tokens"), tokens.join("\n"))?;
        Ok(Prepared { folder: folder.to_owned(), tokens, config: app.config.clone() })
    })
}

async fn add_accounts(app: &App) -> Outcome<Vec<Account>> {
    let (grants, mut accounts) = (&app.grants, Vec::new());
    // One hash for all, made with the shipped parameters; each is sealed for its account.
    let phc = grants.hasher.hash(Arc::new(Password::new(PASSWORD)?)).await?;
    for number in 0..ACCOUNTS {
        let now = grants.clock.now();
        let id = grants.random.uuid(now)?;
        let account = Account {
            id,
            name: name(number),
            email: None,
            roles: vec!["user".into()],
            enabled: true,
            session_epoch: 0,
            created_at: now,
            password_changed_at: Some(now),
        };
        let new = NewAccount {
            account: account.clone(),
            identifiers: vec![account::fold(&account.name).ok_or("a name does not fold")?],
            password: Some(seal_password(&grants.keyring, id, &phc)?),
        };
        if !grants.store.add_account(&new).await? {
            return Err("an account was there already".into());
        }
        accounts.push(account);
    }
    Ok(accounts)
}

async fn start_sessions(app: &App, accounts: &[Account]) -> Outcome<Vec<String>> {
    let (grants, mut tokens) = (&app.grants, Vec::new());
    let (now, keys) = (grants.clock.now(), grants.refresh_keys.now());
    let web = grants.store.clients().await?.into_iter().next().ok_or("no client")?;
    for account in accounts.iter().cycle().take(SESSIONS) {
        let session = Session {
            id: grants.random.uuid(now)?,
            account: account.id,
            client: web.id,
            audience: None,
            scope: "account:manage account:read".into(),
            counter: 1,
            rotated_at: now,
            key_id: keys.current_id(),
            epoch: 0,
            auth_time: now,
            amr: vec!["pwd".into()],
            created_at: now,
            last_used_at: now,
            idle_expires_at: now.plus(app.config.session.idle),
            expires_at: now.plus(app.config.session.absolute),
            ended: None,
            source: grants.labels.network([127, 0, 0, 1].into()),
            device: "unknown".into(),
        };
        let unpaced = Pace { free: u32::MAX, first_delay_ms: 0, max_delay_ms: 0, forget_ms: 1 };
        let judged = Judged { account: ("a:", unpaced), source: "s:", session: Some(&session), now };
        if grants.store.conclude_login(&judged).await? != Concluded::Started {
            return Err("a session was not started".into());
        }
        let token = keys.make(session.key_id, session.id, session.counter, web.id).ok_or("no refresh key")?;
        tokens.push(token.to_text().to_string());
    }
    Ok(tokens)
}

/// Copies the two folders of a deployment; modes stay.
pub fn copy(from: &Path, to: &Path) -> Outcome<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    for part in ["data", "keys"] {
        fs::create_dir_all(to.join(part))?;
        for file in fs::read_dir(from.join(part))? {
            let file = file?;
            fs::copy(file.path(), to.join(part).join(file.file_name()))?;
        }
    }
    Ok(())
}
