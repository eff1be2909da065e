//! The shipped binary as a child process.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use keyward::clock::{Clock, Stopwatch};
use keyward_verifier::{AccessClaims, KeySet, Verifier};
use rustix::process::{Pid, Signal, kill_process};

use crate::client::Connection;
use crate::{Bench, Outcome, cpu, deployment};

/// A running Keyward with shipped defaults on a copy of the prepared data; only its ports and folders are chosen.
pub struct Server {
    child: Child,
    pub public: SocketAddr,
    pub admin: SocketAddr,
    /// From the start of the process to its ready file.
    pub ready_after: Duration,
    verifier: Verifier,
    keys: KeySet,
}

impl Server {
    /// `settings` are environment variables for what a measurement must have otherwise.
    pub fn start(bench: &Bench, name: &str, settings: &[(&str, &str)]) -> Outcome<Server> {
        let folder = bench.folder.join(name);
        deployment::copy(&bench.prepared.folder, &folder)?;
        Server::again(bench, name, settings)
    }

    /// On the data that the last one of this name left.
    pub fn again(bench: &Bench, name: &str, settings: &[(&str, &str)]) -> Outcome<Server> {
        let folder = bench.folder.join(name);
        let ready = folder.join("ready.json");
        let mut command = Command::new(&bench.binary);
        command.arg("serve").arg("--data-dir").arg(folder.join("data"));
        command.arg("--keys-dir").arg(folder.join("keys")).arg("--ready-file").arg(&ready);
        command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        command.env_clear().envs(settings.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(folder.join("log"))?);
        let watch = Stopwatch::start();
        let mut child = command.spawn()?;
        let ready_after = match wait(&mut child, &ready, watch) {
            Ok(after) => after,
            Err(cause) => {
                let _ = child.kill();
                let _ = child.wait();
                let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
                return Err(format!("{cause}; its log: {log}").into());
            }
        };
        let said: serde_json::Value = serde_json::from_slice(&fs::read(&ready)?)?;
        let address = |listener: &str| -> Outcome<SocketAddr> {
            let url = said[listener][0].as_str().ok_or("no address in the ready file")?;
            Ok(url.trim_start_matches("http://").parse()?)
        };
        let (public, admin) = (address("public")?, address("admin")?);
        let issuer = said["issuer"].as_str().ok_or("no issuer in the ready file")?;
        let verifier = Verifier::builder().issuer(issuer).audience(issuer).rs256().build()?;
        let keys = KeySet::parse(&Connection::open(public)?.get("/.well-known/jwks.json")?.good()?.body)?;
        Ok(Server { child, public, admin, ready_after, verifier, keys })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn cpu(&self) -> Outcome<Duration> {
        cpu::of_process(self.pid())
    }

    /// The claims of a token that this server signed, just now.
    pub fn verify(&self, token: &str) -> Outcome<AccessClaims> {
        let now = Clock::system().now().seconds();
        let verified =
            self.verifier.verify(token, &self.keys, now).map_err(|no| format!("refused: {no:?}"))?;
        Ok(verified.claims().clone())
    }

    /// Asks it to stop and waits until it has.
    pub fn stop(mut self) -> Outcome<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("the server ended with {status}").into()) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // After `stop` there is nobody left, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait(child: &mut Child, ready: &Path, watch: Stopwatch) -> Outcome<Duration> {
    while watch.elapsed() < Duration::from_secs(30) {
        if ready.exists() {
            return Ok(watch.elapsed());
        }
        if let Some(status) = child.try_wait()? {
            return Err(format!("the server ended with {status}").into());
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    Err("the server was not ready within 30 s".into())
}
