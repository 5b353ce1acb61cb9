//! The one table that is printed, and the bars beside its rows.

use crate::bars::Verdict;

/// A row: one peer on one layer, or this engine alone.
pub struct Line {
    pub device: &'static str,
    pub shape: String,
    pub cell: String,
    pub mode: String,
    /// None when this engine was timed alone.
    pub peer: Option<String>,
    pub ours_ms: f64,
    pub peer_ms: Option<f64>,
    /// Bytes of ours and of the peer.
    pub bytes: Option<[u64; 2]>,
    pub verdict: Verdict,
}

const HEADER: [&str; 12] =
    ["device", "shape", "cell", "mode", "peer", "ours ms", "peer ms", "ratio", "ours MiB", "peer MiB", "ratio", "bar"];

/// Columns of text stand left, numbers right.
const LEFT: [bool; 12] = [true, true, true, true, true, false, false, false, false, false, false, true];

/// The table, a line a row.
pub fn text(lines: &[Line]) -> String {
    let mut cells = vec![HEADER.map(str::to_string)];
    cells.extend(lines.iter().map(Line::cells));
    let widths: Vec<usize> = (0..HEADER.len())
        .map(|column| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or_default())
        .collect();
    let mut text = String::new();
    for row in cells {
        let padded = row.iter().zip(&widths).zip(LEFT).map(|((cell, &width), left)| match left {
            true => format!("{cell:<width$}"),
            false => format!("{cell:>width$}"),
        });
        text.push_str(padded.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

impl Line {
    fn cells(&self) -> [String; 12] {
        let mib = |bytes: u64| short(bytes as f64 / f64::from(1 << 20));
        let [ours, peer, memory] = match self.bytes {
            Some([ours, peer]) => [mib(ours), mib(peer), format!("{:.2}x", peer as f64 / ours as f64)],
            None => [none(), none(), none()],
        };
        [
            self.device.to_string(),
            self.shape.clone(),
            self.cell.clone(),
            self.mode.clone(),
            self.peer.clone().unwrap_or_else(none),
            short(self.ours_ms),
            self.peer_ms.map_or_else(none, short),
            self.peer_ms.map_or_else(none, |ms| format!("{:.2}x", ms / self.ours_ms)),
            ours,
            peer,
            memory,
            self.verdict.to_string(),
        ]
    }
}

fn none() -> String {
    "-".to_string()
}

/// Three significant digits or so.
fn short(value: f64) -> String {
    let digits = match value {
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        value if value >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}
