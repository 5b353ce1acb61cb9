//! The summary for the terminal: tables and sentences, at most 100 columns wide.

use super::rows::sections;
use super::{findings, groups};
use crate::base::numbers::{THIN, number};
use crate::results::Results;

const WIDTH: usize = 100;

/// Width of the column of names and of each column of values.
const NAMES: usize = 26;
const VALUES: usize = 24;

/// The tables, the claims and what the numbers say, as plain text.
pub fn summary(results: &Results) -> String {
    let mut text = String::new();
    for group in groups(results) {
        let heads: Vec<_> = group.runs.iter().map(|run| run.cell.as_str()).collect();
        text += &line(&format!("At {}", group.name), &heads);
        text += &format!("{}\n", "─".repeat((NAMES + VALUES * heads.len()).min(WIDTH)));
        for row in sections(results, &group).iter().flat_map(|section| &section.rows) {
            let cells = row.cells.iter().map(|cell| {
                let both = format!("{} ({})", cell.value, cell.note);
                // Formulas and reasons do not fit: the page has them.
                let fits = !cell.note.is_empty() && both.chars().count() < VALUES;
                if fits { both } else { cell.value.clone() }
            });
            let cells: Vec<_> = cells.collect();
            text += &line(&format!("  {}", row.name), &cells.iter().map(String::as_str).collect::<Vec<_>>());
        }
        text.push('\n');
    }
    for claim in &results.claims {
        let verdict = claim.verdict.marked();
        let sentence = format!(
            "{}: {verdict}. {} GRU{THIN}/{THIN}LSTM{THIN}={THIN}{}.",
            claim.claim,
            claim.measured,
            number(claim.ratio)
        );
        text += &wrap(&sentence);
    }
    if !results.claims.is_empty() {
        text.push('\n');
    }
    for sentence in findings::sentences(results) {
        text += &wrap(&sentence);
    }
    text.replace(THIN, " ")
}

/// A name and its values, the values flush right.
fn line(name: &str, values: &[&str]) -> String {
    let mut line = format!("{name:<NAMES$}");
    for value in values {
        line += &format!("{value:>VALUES$}");
    }
    line.trim_end().to_owned() + "\n"
}

/// A sentence on as many lines as it needs, the second and later ones indented.
fn wrap(sentence: &str) -> String {
    let mut lines = String::new();
    let mut line = String::new();
    for word in sentence.split(' ') {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines += &(line + "\n");
            line = format!("  {word}");
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line += word;
        }
    }
    lines + &line + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn is_aligned_and_at_most_100_wide() {
        for results in [sample::results(), sample::broken()] {
            let text = summary(&results);
            for line in text.lines() {
                assert!(line.chars().count() <= WIDTH, "{line}");
                assert_eq!(line, line.trim_end());
            }
            let ends: Vec<_> = text
                .lines()
                .filter(|line| line.starts_with("  "))
                .filter(|line| line.contains("Hidden size"))
                .map(|line| line.chars().count())
                .collect();
            assert_eq!(ends, [NAMES + 3 * VALUES; 2]);
        }
    }

    #[test]
    fn holds_tables_claims_and_sentences() {
        let text = summary(&sample::results());
        let parameters = text.lines().find(|line| line.contains("Parameters, counted")).unwrap();
        assert_eq!(
            parameters.split_whitespace().collect::<Vec<_>>().join(" "),
            "Parameters, counted 1 472 4 416 5 888"
        );
        assert!(text.contains("(as predicted)"));
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains("A GRU has three quarters of an LSTM's parameters: ✓ held."));
        assert!(text.contains("✗ did not hold. 5.81 ms and 7.25 ms a step at H = 32. GRU / LSTM = 0.802."));
        assert!(
            text.contains(
                "Lowest mean absolute error: at equal hidden size RNN 4.580 °F, GRU 4.210 °F, LSTM 4.120 °F;"
            )
        );
    }

    #[test]
    fn wraps_at_words() {
        let sentence = "word ".repeat(40);
        let lines: Vec<_> = wrap(sentence.trim()).lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0].chars().count(), 99);
        assert!(lines[1].starts_with("  word"));
    }
}
