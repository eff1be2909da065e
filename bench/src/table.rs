//! The table that is printed, and the little arithmetic behind it.

use std::fmt::Write as _;
use std::time::Duration;

/// One measured figure beside its bound.
pub struct Line {
    pub what: String,
    pub bound: String,
    pub measured: String,
    /// `None` where there is no bound.
    pub met: Option<bool>,
    pub raw: String,
}

/// Markdown.
pub fn render(lines: &[Line]) -> String {
    let mut text = String::from("| what | bound | measured | | raw |\n|---|---|---|---|---|\n");
    for line in lines {
        let met = match line.met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "",
        };
        let Line { what, bound, measured, raw, .. } = line;
        let _ = writeln!(text, "| {what} | {bound} | {measured} | {met} | {raw} |");
    }
    text
}

/// A ratio to a limit, beside its bound.
pub fn ratio(what: &str, measured: f64, bound: f64, raw: String) -> Line {
    Line {
        what: what.into(),
        bound: format!("≤ {bound:.2}"),
        measured: format!("{measured:.3}"),
        met: Some(measured <= bound),
        raw,
    }
}

/// The middle one, or the mean of the middle two.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[odd / 2],
        even => (sorted[even / 2 - 1] + sorted[even / 2]) / 2.0,
    }
}

/// The value that `percent` of all do not exceed.
pub fn percentile(values: &[Duration], percent: usize) -> Duration {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(at).copied().unwrap_or_default()
}

pub fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
