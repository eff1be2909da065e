//! `keyward serve`.

use std::io::{self, IsTerminal as _, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

use super::{Failed, Place};
use crate::app::{App, Deployment, database};
use crate::clock::{Clock, Stopwatch};
use crate::config::{self, Config, Log, LogFormat, Overrides};
use crate::http;
use crate::random::Random;

/// Flags of `serve`; each is a setting of the same name.
#[derive(Args)]
pub struct ServeArgs {
    /// Who the tokens say issued them: the public URL of this service
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// A web origin whose pages may call this service; may be given several times
    #[arg(long = "cors-origin", value_name = "ORIGIN")]
    cors_origins: Vec<String>,
    /// Address and port to listen on; may be given several times; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Vec<String>,
    /// Address and port for metrics; may be given several times
    #[arg(long, value_name = "ADDRESS:PORT")]
    admin_listen: Vec<String>,
    /// Write the chosen addresses to this file as JSON once the service answers
    #[arg(long, value_name = "FILE")]
    ready_file: Option<String>,
}

impl ServeArgs {
    pub(super) fn flags(self, overrides: &mut Overrides) {
        let once = [("--issuer", "issuer", self.issuer), ("--ready-file", "ready_file", self.ready_file)];
        let many = [
            ("--cors-origin", "http.cors_origins", self.cors_origins),
            ("--listen", "listen", self.listen),
            ("--admin-listen", "admin_listen", self.admin_listen),
        ];
        let once = once.into_iter().filter_map(|(name, key, value)| Some((name, key, value?)));
        let many = many
            .into_iter()
            .flat_map(|(name, key, values)| values.into_iter().map(move |value| (name, key, value)));
        for (name, key, value) in once.chain(many) {
            overrides.flag(name, key, value);
        }
    }
}

/// What `--ready-file` holds.
#[derive(Serialize)]
struct Ready {
    public: Vec<String>,
    admin: Vec<String>,
    issuer: String,
    pid: u32,
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// [`Failed`], with a sentence.
pub fn serve(config: Config, place: &Place, out: &mut dyn Write) -> Result<(), Failed> {
    let watch = Stopwatch::start();
    arm_failpoints()?;
    log_to_stderr(&config.log.level, &config.log)?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        if let Some(file) = &config.ready_file {
            // A file that a killed predecessor left would tell of ports that are gone.
            remove_stale(file)?;
        }
        raise_open_files(&config);
        let public = bind(&config.listen, config.listen_explicit, "--listen").await?;
        let admin = bind(&config.admin_listen, config.admin_listen_explicit, "--admin-listen").await?;
        let ready = Ready {
            public: addresses(&public)?,
            admin: addresses(&admin)?,
            issuer: config.issuer.clone(),
            pid: std::process::id(),
        };
        // Signals are caught before anything is durable, so that a stop during the start is a clean one.
        let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let deployment = Deployment::open(config, Clock::system(), Random::system()).await?;
        let app = Arc::new(App::start(deployment).await?);

        let (stop, stopped) = watch::channel(false);
        let jobs = tokio::spawn(app.clone().run_jobs(stopped.clone()));
        let settings = app.config.http.clone();
        let running = {
            let (settings, stopped) = (settings.clone(), stopped.clone());
            let router = http::public(&app);
            tokio::spawn(async move { http::server::serve(public, router, &settings, stopped).await })
        };
        let router = http::admin(&app);
        let admin_running =
            tokio::spawn(async move { http::server::serve(admin, router, &settings, stopped).await });

        if let Some(file) = &app.config.ready_file {
            write_ready(file, &ready)?;
        }
        if let Err(cause) = announce(&app.config, &ready, place, out) {
            tracing::warn!(%cause, "nobody reads standard output; running all the same");
        }
        tracing::info!(ms = watch.elapsed().as_millis(), "ready");
        let name = tokio::select! {
            _ = term.recv() => "SIGTERM",
            _ = int.recv() => "SIGINT",
        };
        tracing::info!("{name}: no new connections; finishing what runs (a second signal ends it at once)");
        let _ = stop.send(true);
        let finished = async {
            for task in [running, admin_running, jobs] {
                let _ = task.await;
            }
        };
        tokio::select! {
            () = finished => {}
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        if let Some(file) = &app.config.ready_file {
            let _ = std::fs::remove_file(file);
        }
        tracing::info!("stopped");
        Ok(())
    })
}

/// Open files that are no connections: the database with its readers and logs, listeners, the runtime's own.
const OTHER_FILES: u64 = 128;

/// Makes room for `http.max_connections` on each side under the soft limit of open files, as far as the hard one allows.
fn raise_open_files(config: &Config) {
    let connections = config.http.max_connections;
    let sides = if config.admin_listen.is_empty() { 1 } else { 2 };
    let needed =
        u64::try_from(connections).unwrap_or(u64::MAX).saturating_mul(sides).saturating_add(OTHER_FILES);
    let limit = getrlimit(Resource::Nofile);
    // `None` is no limit.
    let (soft, hard) = (limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX));
    let possible = needed.min(hard);
    if soft < possible {
        let raised = Rlimit { current: Some(possible), maximum: limit.maximum };
        if let Err(cause) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%cause, "the limit of open files could not be raised from {soft} to {possible}");
        }
    }
    if possible < needed {
        tracing::warn!(
            "the hard limit of open files is {hard}, and http.max_connections = {connections} needs {needed}: raise it (`ulimit -n`, LimitNOFILE in a systemd unit, `--ulimit nofile` of a container) or lower http.max_connections"
        );
    }
}

async fn bind(wanted: &[SocketAddr], explicit: bool, flag: &str) -> Result<Vec<TcpListener>, Failed> {
    let mut bound = Vec::new();
    for address in wanted {
        match TcpListener::bind(address).await {
            Ok(listener) => bound.push(listener),
            // A machine without IPv6 still serves the default IPv4 address.
            Err(cause) if !explicit && address.is_ipv6() && !bound.is_empty() && !in_use(&cause) => {
                tracing::info!(%cause, "no IPv6 here: not listening on {address}");
            }
            Err(cause) if in_use(&cause) => {
                return Err(Failed::Refused(format!(
                    "{address} is in use: stop the program that listens there, or choose another with {flag}"
                )));
            }
            Err(cause) => return Err(Failed::Refused(format!("cannot listen on {address}: {cause}"))),
        }
    }
    Ok(bound)
}

fn in_use(cause: &io::Error) -> bool {
    cause.kind() == io::ErrorKind::AddrInUse
}

fn addresses(listeners: &[TcpListener]) -> io::Result<Vec<String>> {
    listeners.iter().map(|listener| Ok(format!("http://{}", listener.local_addr()?))).collect()
}

fn remove_stale(file: &Path) -> Result<(), Failed> {
    match std::fs::remove_file(file) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            Err(Failed::Refused(format!("cannot remove the old ready file {}: {cause}", file.display())))
        }
        _ => Ok(()),
    }
}

/// Whole or not at all, so that whoever waits for the file never reads half of it.
fn write_ready(file: &Path, ready: &Ready) -> Result<(), Failed> {
    let draft = file.with_extension("draft");
    std::fs::write(&draft, serde_json::to_vec_pretty(ready)?)
        .and_then(|()| std::fs::rename(&draft, file))
        .map_err(|cause| Failed::Refused(format!("cannot write the ready file {}: {cause}", file.display())))
}

fn announce(config: &Config, ready: &Ready, place: &Place, out: &mut dyn Write) -> Result<(), Failed> {
    let first = ready.public.first().map_or("", String::as_str);
    let (program, place) = (quoted(&config::program()), place_flags(place));
    let login = quoted(&format!("{first}/v1/login"));
    writeln!(out, "Keyward is running; plain HTTP, so TLS must end in front of it beyond this machine.")?;
    writeln!(out, "  issuer    {}", ready.issuer)?;
    writeln!(out, "  public    {}", ready.public.join("  "))?;
    if !ready.admin.is_empty() {
        writeln!(out, "  admin     {}  (metrics; keep it private)", ready.admin.join("  "))?;
    }
    writeln!(out, "  database  {}", database(config).display())?;
    writeln!(
        out,
        "  keys      {}  (back this up apart from the database)",
        config.master_key_file.display()
    )?;
    writeln!(out, "Next, in another terminal:")?;
    writeln!(out, "  {program} user add alice{place}")?;
    writeln!(
        out,
        "  curl -s {login} -H 'content-type: application/json' -d '{{\"identifier\": \"alice\", \"password\": \"PASSWORD-OF-ALICE\"}}'"
    )?;
    writeln!(out, "  {program} keys list{place}")?;
    out.flush()?;
    Ok(())
}

/// The flags that say where this deployment is, for the next commands, as a shell takes them.
fn place_flags(place: &Place) -> String {
    let config = place.config.as_ref().map(|file| file.to_string_lossy().into_owned());
    let flags = [
        ("--config", config.as_deref()),
        ("--data-dir", place.data_dir.as_deref()),
        ("--keys-dir", place.keys_dir.as_deref()),
    ];
    let given = flags.into_iter().filter_map(|(flag, value)| Some(format!(" {flag} {}", quoted(value?))));
    given.collect()
}

/// A word for a POSIX shell.
fn quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+:=@,".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// Arms a failpoint from the environment; a release build has none.
pub(super) fn arm_failpoints() -> Result<(), Failed> {
    #[cfg(debug_assertions)]
    if let Some(spec) = crate::config::fail_at() {
        crate::failpoint::arm(&spec).map_err(Failed::Refused)?;
    }
    Ok(())
}

/// Log lines go to standard error, so that what a command prints can be piped.
pub(super) fn log_to_stderr(level: &str, log: &Log) -> Result<(), Failed> {
    let filter = EnvFilter::try_new(level)
        .map_err(|wrong| Failed::Refused(format!("log.level `{level}` is not understood: {wrong}")))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter);
    let lines = lines.with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    let started = match log.format {
        LogFormat::Json => lines.json().try_init(),
        LogFormat::Text => lines.try_init(),
    };
    started.map_err(|failed| Failed::Refused(failed.to_string()))
}
