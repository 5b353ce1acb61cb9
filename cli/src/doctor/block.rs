//! The text block for a report: plain lines `key: value` between two marks, in a format with a number.

use std::fmt::Write;

use super::findings::Findings;

/// What the block's lines mean; another number where a reader of this one would misread it.
pub const FORMAT: u32 = 1;

/// The block. Every check that failed has a line of its own, the others a line a group.
pub fn text(found: &Findings) -> String {
    let mut text = String::new();
    // Writing to a string can't fail.
    let mut line = |key: &str, value: &str| {
        let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
        let _ = writeln!(text, "{key}: {value}");
    };
    let [passed, failed, skipped] = found.counts();
    let verdict = if failed == 0 { "PASS" } else { "FAIL" };
    line("result", &format!("{verdict}, {passed} passed, {failed} failed, {skipped} not run"));
    for (key, value) in &found.about {
        line(key, value);
    }
    for failure in found.failures() {
        line("failed", &failure);
    }
    for (reason, count) in found.skipped() {
        line("not run", &format!("{count} of {reason}"));
    }
    for group in found.groups() {
        let all = group.passed + group.failed;
        let rest = format!("{} of {all}, worst {}, {:.0} ms", group.passed, group.worst(), group.ms);
        line("check", &format!("{} {}: {rest}", group.verdict(), group.name));
    }
    for (kernel, compiled) in &found.compiled {
        let shaders = if compiled.shaders == 1 { "shader" } else { "shaders" };
        let rest = format!("{:.1} ms, slowest {:.1} ms", compiled.ms, compiled.slowest_ms);
        line("compiled", &format!("{kernel}: {} {shaders}, {rest}", compiled.shaders));
    }
    for measure in &found.measures {
        line("measured", &format!("{}: {} {}", measure.name, number(measure.value), measure.unit));
    }
    for peer in &found.peers {
        line("peer", peer);
    }
    format!("----- wgpu-rnn doctor, format {FORMAT} -----\n{text}----- end -----\n")
}

/// Three significant digits.
pub fn number(value: f64) -> String {
    if !value.is_finite() || value == 0.0 {
        return format!("{value}");
    }
    let digits = 2 - value.abs().log10().floor() as i32;
    match digits {
        ..=0 => format!("{value:.0}"),
        1..=6 => format!("{value:.*}", digits as usize),
        _ => format!("{value:.2e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::findings::{Check, Findings, Off, Verdict};
    use super::{number, text};

    fn check(group: &str, name: &str, verdict: Verdict, error: f64) -> Check {
        let off = Some(Off { error, bound: 1e-5 });
        Check { group: group.to_string(), name: name.to_string(), verdict, off, ms: 2.0 }
    }

    #[test]
    fn the_block_has_a_line_a_group_and_one_a_failure() {
        let mut found = Findings::default();
        found.about.push(("adapter", "Some\nGPU".to_string()));
        found.checks.push(check("gru", "a", Verdict::Pass, 1e-7));
        found.checks.push(check("gru", "b", Verdict::Fail("`y` is off".to_string()), 2e-3));
        found.checks.push(check("lstm", "a", Verdict::Pass, 3e-7));
        found.checks.push(check("half", "a", Verdict::Skip("no f16".to_string()), 0.0));
        found.checks.push(check("half", "b", Verdict::Skip("no f16".to_string()), 0.0));
        found.measure("copy", 12.345, "GB/s");
        let lines = [
            "----- wgpu-rnn doctor, format 1 -----",
            "result: FAIL, 2 passed, 1 failed, 2 not run",
            "adapter: Some GPU",
            "failed: gru: b: `y` is off",
            "not run: 2 of half: no f16",
            "check: FAIL gru: 1 of 2, worst 2.0e-3 of 1e-5, 4 ms",
            "check: PASS lstm: 1 of 1, worst 3.0e-7 of 1e-5, 2 ms",
            "check: SKIP half: 0 of 0, worst 0.0e0 of 1e-5, 4 ms",
            "measured: copy: 12.3 GB/s",
            "----- end -----",
        ];
        assert_eq!(text(&found).lines().collect::<Vec<_>>(), lines);
    }

    #[test]
    fn numbers_have_three_digits() {
        let all = [(0.0, "0"), (1234.5, "1234"), (12.345, "12.3"), (0.012345, "0.0123"), (1e-9, "1.00e-9")];
        for (value, expected) in all {
            assert_eq!(number(value), expected);
        }
    }
}
