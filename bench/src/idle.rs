//! What Keyward costs before anybody asks it anything: memory, size, time to start.

use std::time::Duration;

use crate::server::Server;
use crate::table::{Line, median};
use crate::{Bench, Outcome, cpu};

const MIB: f64 = 1024.0 * 1024.0;
const STARTS: usize = 10;

pub fn measure(bench: &Bench) -> Outcome<Vec<Line>> {
    let threads = match bench.prepared.config.password.threads {
        0 => cpu::cores().saturating_sub(1).max(1),
        chosen => chosen,
    };
    let arenas = threads as f64 * f64::from(bench.prepared.config.password.memory_kib) / 1024.0;
    Server::start(bench, "idle", &[])?.stop()?;
    let (mut starts, mut resident) = (Vec::new(), Vec::new());
    for number in 0..STARTS {
        let server = Server::again(bench, "idle", &[])?;
        starts.push(server.ready_after.as_secs_f64() * 1e3);
        if number < 3 {
            std::thread::sleep(Duration::from_secs(2));
            resident.push(cpu::resident(server.pid())? as f64 / MIB);
        }
        server.stop()?;
    }
    let (resident, ready) = (median(resident), median(starts.iter().copied()));
    let size = std::fs::metadata(&bench.binary)?.len() as f64 / MIB;
    let most = starts.iter().copied().fold(0.0, f64::max);
    Ok(vec![
        bounded("idle memory beside the arenas", "MiB", resident - arenas, 25.0, {
            format!("resident {resident:.1} MiB, arenas {arenas:.0} MiB")
        }),
        bounded("binary", "MiB", size, 25.0, "stripped".into()),
        bounded("ready on existing data", "ms", ready, 300.0, {
            format!("median of {STARTS} starts, longest {most:.0} ms")
        }),
    ])
}

fn bounded(what: &str, unit: &str, measured: f64, bound: f64, raw: String) -> Line {
    Line {
        what: what.into(),
        bound: format!("≤ {bound:.0} {unit}"),
        measured: format!("{measured:.1} {unit}"),
        met: Some(measured <= bound),
        raw,
    }
}
