//! `POST /v1/refresh`, each one advancing: the server's CPU time beside one RSA operation.

use std::time::Duration;

use keyward::session::RefreshToken;

use crate::client::{Answer, Connection};
use crate::server::Server;
use crate::table::{Line, median, micros, ratio};
use crate::{Bench, Outcome, cpu};

const WARM: usize = 200;
const ROUNDS: usize = 6;
const BATCH: usize = 700;

const _: () = assert!(WARM + 2 * ROUNDS * BATCH <= crate::deployment::SESSIONS);

#[derive(Default)]
struct Costs {
    requests: Vec<f64>,
    limits: Vec<f64>,
    ratios: Vec<f64>,
}

pub fn measure(bench: &Bench) -> Outcome<Vec<Line>> {
    let server = Server::start(bench, "refresh", &[])?;
    let (warm, mut rest) = bench.prepared.tokens.split_at(WARM);
    refresh_all(&server, warm, 8)?;
    let mut costs = [(1, Costs::default()), (8, Costs::default())];
    for _ in 0..ROUNDS {
        for (clients, costs) in &mut costs {
            let (batch, later) = rest.split_at(BATCH);
            rest = later;
            let busy = cpu::cores().min(*clients);
            let limit = bench.rsa.cost(busy, 300)?;
            let before = server.cpu()?;
            let answers = refresh_all(&server, batch, *clients)?;
            let spent = server.cpu()? - before;
            let limit = (limit + bench.rsa.cost(busy, 300)?) / 2;
            check(&server, batch, &answers)?;
            let request = spent.as_secs_f64() / BATCH as f64;
            costs.requests.push(request * 1e6);
            costs.limits.push(micros(limit));
            costs.ratios.push(request / limit.as_secs_f64());
        }
    }
    let before = server.cpu()?;
    std::thread::sleep(Duration::from_secs(3));
    let idle = (server.cpu()? - before) / 3;
    server.stop()?;
    let mut lines: Vec<Line> = costs
        .into_iter()
        .map(|(clients, Costs { requests, limits, ratios })| {
            let what = format!("refresh, server CPU, {clients} at a time, to RSA-2048");
            let raw = format!("{:.0} µs; RSA alone {:.0} µs", median(requests), median(limits));
            ratio(&what, median(ratios), 1.4, raw)
        })
        .collect();
    lines.push(Line {
        what: "CPU of an idle server".into(),
        bound: String::new(),
        measured: format!("{:.2} %", idle.as_secs_f64() * 100.0),
        met: None,
        raw: format!("{:.0} µs a second", micros(idle)),
    });
    Ok(lines)
}

/// Refreshes each once, `clients` at a time; the answers stand in the order of the tokens.
fn refresh_all(server: &Server, tokens: &[String], clients: usize) -> Outcome<Vec<Answer>> {
    std::thread::scope(|scope| {
        let parts = tokens.chunks(tokens.len().div_ceil(clients).max(1));
        let running: Vec<_> = parts
            .map(|part| {
                scope.spawn(move || {
                    let mut connection = Connection::open(server.public)?;
                    part.iter().map(|token| refresh(&mut connection, token)).collect::<Outcome<Vec<Answer>>>()
                })
            })
            .collect();
        let mut answers = Vec::with_capacity(tokens.len());
        for thread in running {
            answers.extend(thread.join().map_err(|_| "a thread panicked")??);
        }
        Ok(answers)
    })
}

pub fn refresh(connection: &mut Connection, token: &str) -> Outcome<Answer> {
    connection.post("/v1/refresh", &format!("{{\"refresh_token\":\"{token}\"}}"))?.good()
}

/// Every answer has a good token of the right session and the next refresh token.
pub fn check(server: &Server, before: &[String], answers: &[Answer]) -> Outcome<()> {
    if before.len() != answers.len() {
        return Err("some answers are missing".into());
    }
    for (before, answer) in before.iter().zip(answers) {
        let body = answer.json()?;
        let member = |name: &str| body[name].as_str().ok_or("a member is missing");
        let claims = server.verify(member("access_token")?)?;
        let (before, after) = (RefreshToken::parse(before)?, RefreshToken::parse(member("refresh_token")?)?);
        if claims.sid != before.session.to_string() || after.session != before.session {
            return Err("the answer is about another session".into());
        }
        if after.counter != before.counter + 1 {
            return Err("a refresh did not advance".into());
        }
    }
    Ok(())
}
