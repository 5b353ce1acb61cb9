//! Numbers as people read them: three significant digits, thin spaces between thousands, units of size.

use crate::results::Spread;

/// What stands where there is no number.
pub const NONE: &str = "–";

/// A space that is narrow and never a line's end.
pub const THIN: char = '\u{202f}';

/// A whole number with its thousands apart, such as `12 345`.
pub fn count(value: impl TryInto<u64>) -> String {
    let digits = value.try_into().map_or_else(|_| NONE.to_owned(), |value: u64| value.to_string());
    let length = digits.chars().count();
    let mut spaced = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (length - index) % 3 == 0 {
            spaced.push(THIN);
        }
        spaced.push(digit);
    }
    spaced
}

/// A number with three significant digits, such as `0.0123`, `1.20`, `45.6` or `7 890`.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return NONE.to_owned();
    }
    let size = value.abs();
    if size != 0.0 && !(1e-4..1e15).contains(&size) {
        return format!("{value:.2e}").replace('-', "−");
    }
    // The number of decimals follows from the value as rounded: 9.999 is 10.0, not 10.00.
    let decimals = (0..=6).rev().find(|&decimals| {
        let rounded = format!("{size:.decimals$}");
        rounded.trim_start_matches(['0', '.']).chars().filter(char::is_ascii_digit).count() <= 3
    });
    let written = match decimals {
        Some(decimals) if size != 0.0 => format!("{size:.decimals$}"),
        Some(_) => "0".to_owned(),
        None => count(size.round() as u64),
    };
    if value < 0.0 { format!("−{written}") } else { written }
}

/// A number with a unit, which may be empty.
pub fn with_unit(value: f64, unit: &str) -> String {
    if unit.is_empty() || !value.is_finite() {
        return number(value);
    }
    format!("{}{THIN}{unit}", number(value))
}

/// A size in memory, such as `640 B`, `12.5 KiB` or `3.00 MiB`.
pub fn bytes(value: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    if value < 1024 {
        return format!("{value}{THIN}B");
    }
    let mut size = value as f64 / 1024.0;
    let mut unit = 0;
    // 1 023.9 KiB would be written as 1 024 KiB.
    while size >= 1023.5 && unit + 1 < units.len() {
        size /= 1024.0;
        unit += 1;
    }
    with_unit(size, units[unit])
}

/// The median in milliseconds.
pub fn median(spread: &Spread) -> String {
    if spread.runs == 0 { NONE.to_owned() } else { with_unit(spread.median, "ms") }
}

/// The smallest and the largest of a spread.
pub fn range(spread: &Spread) -> String {
    let known = spread.runs > 0 && spread.min.is_finite() && spread.max.is_finite();
    if known { format!("{}–{}", number(spread.min), number(spread.max)) } else { NONE.to_owned() }
}

/// How far `value` is from `reference`, as `−12 %` or `+3.4 %`.
pub fn change(value: f64, reference: f64) -> String {
    let percent = (value / reference - 1.0) * 100.0;
    let written = share(percent);
    match written.as_str() {
        NONE => written,
        _ if percent > 0.0 => format!("+{written}"),
        _ => written,
    }
}

/// A percentage: a whole number, or one decimal below ten.
pub fn share(percent: f64) -> String {
    if !percent.is_finite() {
        return NONE.to_owned();
    }
    let decimals = usize::from(percent.abs() < 9.95);
    let sign = if percent < 0.0 { "−" } else { "" };
    format!("{sign}{:.decimals$}{THIN}%", percent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Thin spaces written as underscores.
    fn plain(text: String) -> String {
        text.replace(THIN, "_")
    }

    #[test]
    fn counts() {
        let got = [0usize, 999, 1_000, 12_345, 1_234_567].map(|value| plain(count(value)));
        assert_eq!(got, ["0", "999", "1_000", "12_345", "1_234_567"]);
    }

    #[test]
    fn three_significant_digits() {
        let values = [0.0, 0.001234, 0.5, 1.2, 9.999, 45.67, 99.96, 456.7, 999.6, 7890.4, -2.15625, 1.5e-7];
        let wants =
            ["0", "0.00123", "0.500", "1.20", "10.0", "45.7", "100", "457", "1_000", "7_890", "−2.16", "1.50e−7"];
        for (value, want) in values.into_iter().zip(wants) {
            assert_eq!(plain(number(value)), want, "{value}");
        }
        assert_eq!([f64::NAN, f64::INFINITY].map(number), [NONE, NONE]);
    }

    #[test]
    fn sizes() {
        let values = [0, 1023, 1024, 12_800, 1_048_575, 3 << 20, 5 << 40];
        let got = values.map(|value| plain(bytes(value)));
        assert_eq!(got, ["0_B", "1023_B", "1.00_KiB", "12.5_KiB", "1.00_MiB", "3.00_MiB", "5.00_TiB"]);
    }

    #[test]
    fn spreads_and_changes() {
        let spread = Spread { median: 1.234, min: 1.1, max: 2.0, runs: 9 };
        assert_eq!((plain(median(&spread)), range(&spread)), ("1.23_ms".into(), "1.10–2.00".into()));
        assert_eq!(median(&Spread::default()), NONE);
        assert_eq!(range(&Spread::default()), NONE);
        let got = [change(4.2, 5.6), change(5.8, 5.6), change(1.0, 1.0), change(f64::NAN, 1.0)].map(plain);
        assert_eq!(got, ["−25_%", "+3.6_%", "0.0_%", NONE]);
    }
}
