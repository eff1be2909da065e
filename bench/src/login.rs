//! `POST /v1/login`: the server's CPU time beside Argon2id and RSA.

use crate::client::{Answer, Connection};
use crate::server::Server;
use crate::table::{Line, median, ratio};
use crate::{Bench, Outcome, cpu, deployment, limit};

const ROUNDS: usize = 7;
const BATCH: usize = 60;

pub fn measure(bench: &Bench) -> Outcome<Vec<Line>> {
    let server = Server::start(bench, "login", &[])?;
    let threads = cpu::cores().saturating_sub(1).max(1);
    // One more client than threads, so that the next password is there when one is done.
    let mut accounts = 0..;
    login_all(&server, accounts.by_ref().take(10), threads + 1)?;
    let (mut logins, mut limits, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let bare = || -> Outcome<f64> {
            let hash = limit::argon2(&bench.prepared.config.password, threads, 20)?;
            Ok((hash + bench.rsa.cost(threads, 50)?).as_secs_f64())
        };
        let limit = bare()?;
        let before = server.cpu()?;
        let answers = login_all(&server, accounts.by_ref().take(BATCH), threads + 1)?;
        let login = (server.cpu()? - before).as_secs_f64() / BATCH as f64;
        let limit = f64::midpoint(limit, bare()?);
        for answer in &answers {
            let body = answer.json()?;
            let claims = server.verify(body["access_token"].as_str().ok_or("no token")?)?;
            if Some(claims.sid.as_str()) != body["session_id"].as_str() {
                return Err("the token is about another session".into());
            }
        }
        logins.push(login * 1e3);
        limits.push(limit * 1e3);
        ratios.push(login / limit);
    }
    server.stop()?;
    let raw = format!(
        "{:.2} ms; Argon2id and RSA alone {:.2} ms, {threads} thread(s) hashing",
        median(logins),
        median(limits)
    );
    Ok(vec![ratio("login, server CPU, to Argon2id + RSA-2048", median(ratios), 1.05, raw)])
}

/// Logs in one account after the other, `clients` at a time.
fn login_all(server: &Server, accounts: impl Iterator<Item = usize>, clients: usize) -> Outcome<Vec<Answer>> {
    let accounts: Vec<usize> = accounts.collect();
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..clients)
            .map(|client| {
                let own = accounts.iter().skip(client).step_by(clients);
                scope.spawn(move || {
                    let mut connection = Connection::open(server.public)?;
                    own.map(|account| {
                        login(&mut connection, &deployment::name(*account), deployment::PASSWORD)?.good()
                    })
                    .collect::<Outcome<Vec<Answer>>>()
                })
            })
            .collect();
        let mut answers = Vec::new();
        for thread in running {
            answers.extend(thread.join().map_err(|_| "a thread panicked")??);
        }
        Ok(answers)
    })
}

pub fn login(connection: &mut Connection, name: &str, password: &str) -> Outcome<Answer> {
    let body = serde_json::json!({"identifier": name, "password": password}).to_string();
    connection.post("/v1/login", &body)
}
