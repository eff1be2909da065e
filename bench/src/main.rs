//! Measures the shipped binary against the limits of the machine and prints a table. See README.md beside it.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

mod client;
mod cpu;
mod deployment;
mod idle;
mod limit;
mod login;
mod refresh;
mod server;
mod storm;
mod table;
mod token;
mod verify;

use table::Line;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// What is measured, in this order unless named.
const ALL: [&str; 6] = ["token", "verify", "refresh", "login", "storm", "idle"];

/// What every measurement is given.
struct Bench {
    binary: PathBuf,
    folder: PathBuf,
    prepared: deployment::Prepared,
    rsa: limit::Rsa,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(binary), Some(folder)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: keyward-bench BINARY FOLDER [{}]…", ALL.join("|"));
        return ExitCode::from(2);
    };
    let mut wanted: Vec<String> = arguments.collect();
    if let Some(unknown) = wanted.iter().find(|name| !ALL.contains(&name.as_str())) {
        eprintln!("keyward-bench: there is no measurement `{unknown}`, only {}", ALL.join(", "));
        return ExitCode::from(2);
    }
    if wanted.is_empty() {
        wanted = ALL.map(str::to_owned).into();
    }
    match run(binary.into(), folder.into(), &wanted) {
        Ok(lines) => {
            print!("{}", table::render(&lines));
            ExitCode::SUCCESS
        }
        Err(cause) => {
            eprintln!("keyward-bench: {cause}");
            ExitCode::FAILURE
        }
    }
}

fn run(binary: PathBuf, folder: PathBuf, wanted: &[String]) -> Outcome<Vec<Line>> {
    eprintln!("preparing {} sessions, each durable", deployment::SESSIONS);
    let prepared = deployment::prepare(&folder.join("prepared"))?;
    let bench = Bench { binary, folder, prepared, rsa: limit::Rsa::generate()? };
    let mut lines = Vec::new();
    for name in wanted {
        eprintln!("measuring {name}");
        lines.extend(match name.as_str() {
            "token" => token::measure()?,
            "verify" => verify::measure()?,
            "refresh" => refresh::measure(&bench)?,
            "login" => login::measure(&bench)?,
            "storm" => storm::measure(&bench)?,
            _ => idle::measure(&bench)?,
        });
    }
    Ok(lines)
}
