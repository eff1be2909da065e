//! Rows for people, or the same as JSON.

use std::io::{self, Write};

use serde::Serialize;

/// Prints `rows` as JSON, or as aligned columns under `heads`, or `nothing` when there are none.
pub(super) fn print<R: Serialize, const N: usize>(
    out: &mut dyn Write,
    json: bool,
    heads: [&str; N],
    rows: &[R],
    cells: impl Fn(&R) -> [String; N],
) -> io::Result<()> {
    if json {
        serde_json::to_writer_pretty(&mut *out, rows)?;
        return writeln!(out);
    }
    let cells: Vec<[String; N]> = rows.iter().map(cells).collect();
    let widths: [usize; N] = std::array::from_fn(|column| {
        cells.iter().map(|row| row[column].chars().count()).chain([heads[column].len()]).max().unwrap_or(0)
    });
    let mut line = |row: &[String; N]| {
        let columns = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        writeln!(out, "{}", columns.collect::<Vec<_>>().join("  ").trim_end())
    };
    line(&heads.map(str::to_owned))?;
    cells.iter().try_for_each(line)
}

/// `-` for what is not there.
pub(super) fn or_dash(cell: Option<String>) -> String {
    cell.unwrap_or_else(|| "-".into())
}
