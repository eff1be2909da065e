//! The program itself, as a child process in a folder of its own.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use keyward::clock::Stopwatch;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::app::{Answer, PASSWORD, Tokens};

/// How long a child may take for anything before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Cheap hashing, failures released at once, ports that are free.
const QUICK: &[(&str, &str)] = &[
    ("KEYWARD_LISTEN", "127.0.0.1:0"),
    ("KEYWARD_ADMIN_LISTEN", "127.0.0.1:0"),
    ("KEYWARD_PASSWORD__MEMORY_KIB", "1024"),
    ("KEYWARD_PASSWORD__ITERATIONS", "1"),
    ("KEYWARD_LOGIN__QUANTUM", "1ms"),
];

/// A working directory with an environment: one deployment.
pub struct Place {
    dir: TempDir,
    env: Vec<(String, String)>,
    shell: Option<String>,
}

/// How a child ended, and all that it said.
#[derive(Debug)]
pub struct Done {
    pub status: ExitStatus,
    pub out: String,
    pub err: String,
}

/// A running `keyward serve`; dropping it kills it.
pub struct Server {
    child: Child,
    pub public: SocketAddr,
    pub admin: SocketAddr,
    out: PathBuf,
    err: PathBuf,
}

impl Place {
    /// An empty directory and an empty environment.
    pub fn bare() -> Place {
        Place { dir: TempDir::new().unwrap(), env: Vec::new(), shell: None }
    }

    /// An empty directory with settings that make tests quick.
    pub fn new() -> Place {
        QUICK.iter().fold(Place::bare(), |place, (name, value)| place.set(name, value))
    }

    /// A deployment whose server has run once, with the account `alice` and [`PASSWORD`].
    pub fn prepared() -> Place {
        static FIRST: OnceLock<Place> = OnceLock::new();
        let first = FIRST.get_or_init(|| {
            let place = Place::new();
            place.serve().term().ok();
            place.add_user("alice");
            place
        });
        first.copy()
    }

    /// The same deployment in another directory; nothing may be running in this one.
    pub fn copy(&self) -> Place {
        let copy = Place { dir: TempDir::new().unwrap(), env: self.env.clone(), shell: self.shell.clone() };
        for part in ["data", "keys"] {
            if self.path(part).exists() {
                copy_folder(&self.path(part), &copy.path(part));
            }
        }
        copy
    }

    /// With an environment variable.
    pub fn set(mut self, name: &str, value: &str) -> Place {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.into(), value.into()));
        self
    }

    /// With commands of a shell that the program runs after, in the same process.
    pub fn after(self, shell: &str) -> Place {
        Place { shell: Some(shell.into()), ..self }
    }

    /// A path in the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The program with arguments, ready to start.
    pub fn command(&self, args: &[&str]) -> Command {
        let program = env!("CARGO_BIN_EXE_keyward");
        let mut command = Command::new(if self.shell.is_some() { "/bin/sh" } else { program });
        if let Some(shell) = &self.shell {
            command.arg("-c").arg(format!("{shell} && exec \"$0\" \"$@\"")).arg(program);
        }
        command.args(args).current_dir(self.dir.path()).env_clear();
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs a command to its end without any input.
    pub fn run(&self, args: &[&str]) -> Done {
        self.run_with(args, "")
    }

    /// Runs a command to its end with `input`.
    pub fn run_with(&self, args: &[&str], input: &str) -> Done {
        finish(self.command(args), input)
    }

    /// Adds an account with [`PASSWORD`].
    pub fn add_user(&self, name: &str) {
        self.run_with(&["user", "add", name, "--password-stdin"], PASSWORD).ok();
    }

    /// What a command prints as JSON.
    pub fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.run(args).ok().out).unwrap()
    }

    /// The server, once it answers.
    pub fn serve(&self) -> Server {
        self.serve_with(&[], &[])
    }

    /// The server with more arguments and environment, once it answers.
    pub fn serve_with(&self, args: &[&str], env: &[(&str, &str)]) -> Server {
        match self.try_serve(args, env) {
            Ok(server) => server,
            Err(done) => panic!("the server did not start: {done:?}"),
        }
    }

    /// As [`Place::serve_with`], or how it ended before it answered.
    pub fn try_serve(&self, args: &[&str], env: &[(&str, &str)]) -> Result<Server, Done> {
        let name =
            (0..).map(|n| format!("serve-{n}")).find(|name| !self.path(&format!("{name}.err")).exists());
        self.start(&name.unwrap(), args, env)
    }

    /// The server, once it answers, with its files under a name, so that several can start at once.
    pub fn serve_as(&self, name: &str) -> Server {
        self.start(name, &[], &[]).unwrap_or_else(|done| panic!("the server did not start: {done:?}"))
    }

    fn start(&self, name: &str, args: &[&str], env: &[(&str, &str)]) -> Result<Server, Done> {
        let err = self.path(&format!("{name}.err"));
        let (ready, out) = (err.with_extension("ready"), err.with_extension("out"));
        let mut command = self.command(&["serve", "--ready-file"]);
        command.arg(&ready).args(args).envs(env.iter().copied()).stdin(Stdio::null());
        command.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
        let mut child = command.spawn().unwrap();
        let started = until(PATIENCE, || match child.try_wait().unwrap() {
            Some(status) => Some(Err(status)),
            // A stale file has another number.
            None => {
                let ready: Option<Value> =
                    fs::read(&ready).ok().and_then(|text| serde_json::from_slice(&text).ok());
                ready.filter(|ready| ready["pid"] == child.id()).map(Ok)
            }
        });
        let ready = match started {
            Some(Ok(ready)) => ready,
            Some(Err(status)) => return Err(Done { status, out: read(&out), err: read(&err) }),
            None => {
                child.kill().unwrap();
                panic!("the server was not ready in time: {}", read(&err));
            }
        };
        let address = |list: &Value| {
            list[0].as_str().unwrap_or_default().trim_start_matches("http://").parse().unwrap()
        };
        let (public, admin) = (address(&ready["public"]), address(&ready["admin"]));
        Ok(Server { child, public, admin, out, err })
    }
}

impl Done {
    /// Panics unless the exit code is 0.
    #[track_caller]
    pub fn ok(self) -> Done {
        self.code(0)
    }

    /// Panics unless the exit code is `code`.
    #[track_caller]
    pub fn code(self, code: i32) -> Done {
        assert_eq!(self.status.code(), Some(code), "{self:?}");
        self
    }

    /// Panics unless it was refused with `code` in one line that holds every one of `words`, and printed nothing else.
    #[track_caller]
    pub fn refused(self, code: i32, words: &[&str]) -> Done {
        let done = self.code(code);
        assert_eq!(done.err.trim_end().lines().count(), 1, "not one sentence: {done:?}");
        assert!(done.err.starts_with("keyward: ") && done.out.is_empty(), "{done:?}");
        for word in words {
            assert!(done.err.contains(word), "{word:?} is missing: {done:?}");
        }
        done
    }

    /// Whether it was killed by SIGKILL.
    pub fn was_killed(&self) -> bool {
        self.status.signal() == Some(9)
    }
}

impl Server {
    /// Sends a request whose answer the contract must have.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let answer = ask(self.public, method, path, headers, body).unwrap_or_else(|why| {
            panic!("{method} {path} was not answered ({why}): {}", self.log());
        });
        crate::schema::check(&Method::from_bytes(method.as_bytes()).unwrap(), path, &answer);
        answer
    }

    /// `POST` with JSON.
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, &[("content-type", "application/json")], &body.to_string())
    }

    /// `GET`, with an access token if there is one.
    pub fn get(&self, path: &str, token: Option<&str>) -> Answer {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let headers: Vec<_> = bearer.iter().map(|value| ("authorization", value.as_str())).collect();
        self.send("GET", path, &headers, "")
    }

    /// Logs in with [`PASSWORD`].
    #[track_caller]
    pub fn login(&self, name: &str) -> Tokens {
        Tokens::of(&self.login_with(name, PASSWORD).expect(200))
    }

    /// Tries to log in.
    pub fn login_with(&self, name: &str, password: &str) -> Answer {
        self.post("/v1/login", &json!({ "identifier": name, "password": password }))
    }

    /// Presents a refresh token.
    pub fn refresh(&self, token: &str) -> Answer {
        self.post("/v1/refresh", &json!({ "refresh_token": token }))
    }

    /// The key ids of the JWKS, in its order.
    pub fn kids(&self) -> Vec<String> {
        let set = self.get("/.well-known/jwks.json", None).expect(200).json();
        let keys = set["keys"].as_array().unwrap();
        keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it logged.
    pub fn log(&self) -> String {
        read(&self.err)
    }

    /// What it printed, once it has printed all that a start prints.
    pub fn printed(&self) -> String {
        let whole = until(PATIENCE, || {
            let text = read(&self.out);
            (text.contains(" keys list") && text.ends_with('\n')).then_some(text)
        });
        whole.unwrap_or_else(|| panic!("it did not print the next commands: {}", read(&self.out)))
    }

    /// Waits until it logged `words`.
    #[track_caller]
    pub fn logs(&self, words: &str) {
        let logged = until(PATIENCE, || self.log().contains(words).then_some(()));
        assert!(logged.is_some(), "`{words}` was not logged: {}", self.log());
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Asks it to stop and waits for that.
    pub fn term(self) -> Done {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Kills it without a warning.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Done {
        let status = until(PATIENCE, || self.child.try_wait().unwrap());
        let status = status.unwrap_or_else(|| panic!("it did not stop: {}", self.log()));
        Done { status, out: read(&self.out), err: self.log() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs any command to its end with `input`.
pub fn finish(mut command: Command, input: &str) -> Done {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Who refuses before reading leaves a broken pipe behind, which is fine.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    if until(PATIENCE, || child.try_wait().unwrap()).is_none() {
        child.kill().unwrap();
        panic!("it did not end: {:?}", child.wait_with_output());
    }
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Done { status: output.status, out: text(output.stdout), err: text(output.stderr) }
}

/// Tries until it comes to something, or the time is up.
pub fn until<T>(deadline: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let watch = Stopwatch::start();
    loop {
        match look() {
            Some(found) => return Some(found),
            None if watch.elapsed() > deadline => return None,
            None => std::thread::sleep(Duration::from_millis(3)),
        }
    }
}

/// One request on a connection of its own.
pub fn ask(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(to)?;
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: keyward.test\r\nconnection: close\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() || method == "POST" || method == "PUT" {
        text += &format!("content-length: {}\r\n", body.len());
    }
    text += "\r\n";
    text += body;
    stream.write_all(text.as_bytes())?;
    answer(stream)
}

/// The answer that comes until the other side closes.
pub fn answer(mut stream: TcpStream) -> io::Result<Answer> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    parse(&bytes).ok_or_else(|| {
        let got = String::from_utf8_lossy(&bytes).into_owned();
        io::Error::new(io::ErrorKind::UnexpectedEof, format!("no whole answer: {got:?}"))
    })
}

/// An answer of HTTP/1.1, if it is whole.
pub fn parse(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = StatusCode::from_bytes(lines.next()?.split(' ').nth(1)?.as_bytes()).ok()?;
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':')?;
        headers
            .append(HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value.trim()).ok()?);
    }
    let body = Bytes::copy_from_slice(&bytes[end + 4..]);
    let length = headers.get("content-length").and_then(|length| length.to_str().ok()?.parse().ok());
    length.is_none_or(|length: usize| length == body.len()).then_some(Answer { status, headers, body })
}

fn copy_folder(from: &Path, to: &Path) {
    DirBuilder::new().mode(0o700).create(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}
