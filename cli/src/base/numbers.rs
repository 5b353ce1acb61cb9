//! Numbers as people read them: three significant digits, thin spaces between thousands, units of size.

use crate::results::Spread;

/// What stands where there is no number.
pub const NONE: &str = "–";

/// A space that is narrow and never a line's end.
pub const THIN: char = '\u{202f}';

/// A whole number with its thousands apart, such as `12 345`.
pub fn count(value: impl TryInto<u64>) -> String {
    value.try_into().map_or_else(|_| NONE.to_owned(), |value: u64| thousands(&value.to_string()))
}

/// Digits with their thousands apart.
fn thousands(digits: &str) -> String {
    let mut spaced = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            spaced.push(THIN);
        }
        spaced.push(digit);
    }
    spaced
}

/// So many of something: `1 row`, `2 rows`.
pub fn plural(count: usize, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}

/// `1 row is`, `2 rows are`.
pub fn are(count: usize, one: &str) -> String {
    format!("{} {}", plural(count, one), if count == 1 { "is" } else { "are" })
}

/// A number with three significant digits, such as `0.0123`, `1.20`, `45.6` or `7 890`.
pub fn number(value: f64) -> String {
    significant(value, 3)
}

/// A number with so many significant digits, and no fewer than its whole part has.
pub fn significant(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return NONE.to_owned();
    }
    let size = value.abs();
    if size != 0.0 && !(1e-4..1e15).contains(&size) {
        return format!("{value:.*e}", digits - 1).replace('-', "−");
    }
    // The number of decimals follows from the value as rounded: 9.999 is 10.0, not 10.00.
    let decimals = (0..=digits + 3).rev().find(|&decimals| {
        let rounded = format!("{size:.decimals$}");
        rounded.trim_start_matches(['0', '.']).chars().filter(char::is_ascii_digit).count() <= digits
    });
    let written = match decimals {
        Some(decimals) if size != 0.0 => format!("{size:.decimals$}"),
        Some(_) => "0".to_owned(),
        None => count(size.round() as u64),
    };
    if value < 0.0 { format!("−{written}") } else { written }
}

/// Numbers of one kind with the digits that their differences need: those that differ are written differently, with as many
/// decimals each, two digits of the smallest difference and four significant digits of the largest.
pub fn apart(values: &[f64]) -> Vec<String> {
    let mut ascending: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    ascending.sort_by(f64::total_cmp);
    let largest = ascending.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    if largest == 0.0 {
        return values.iter().map(|value| number(*value)).collect();
    }
    // Beyond the digits that a number has nothing differs, and little beyond a thousandth of the range.
    let range = ascending[ascending.len() - 1] - ascending[0];
    let least = (largest * 4.0 * f64::EPSILON).max(range * 1e-3);
    let steps = ascending.windows(2).map(|pair| pair[1] - pair[0]).filter(|step| *step > least);
    let needed = steps.map(|step| step / 10.0).fold(largest * 1e-3, f64::min);
    let decimals = (-needed.log10()).ceil().max(0.0) as usize;
    let written = |value: &f64| match value {
        value if !value.is_finite() => NONE.to_owned(),
        // As many digits after the point as the largest needs, in its power of ten.
        value if !(1e-4..1e15).contains(&largest) => {
            let power = value.abs().max(f64::MIN_POSITIVE).log10().floor();
            let digits = (decimals as f64 + power).clamp(0.0, 16.0) as usize;
            format!("{value:.digits$e}").replace('-', "−")
        }
        value => {
            let plain = format!("{:.decimals$}", value.abs());
            let (whole, part) = plain.split_at(plain.find('.').unwrap_or(plain.len()));
            let sign = if *value < 0.0 { "−" } else { "" };
            format!("{sign}{}{part}", thousands(whole))
        }
    };
    values.iter().map(written).collect()
}

/// A number with a unit, which may be empty.
pub fn with_unit(value: f64, unit: &str) -> String {
    if unit.is_empty() || !value.is_finite() {
        return number(value);
    }
    format!("{}{THIN}{unit}", number(value))
}

/// A quantity with its unit, unless that is in its name: `mean absolute error, °F`, `bits per character`.
pub fn quantity(name: &str, unit: &str) -> String {
    if unit.is_empty() || name.starts_with(unit) { name.to_owned() } else { format!("{name}, {unit}") }
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

/// The median in milliseconds with its interval, such as `1.23 ms (1.20 to 1.31)`.
pub fn interval(spread: &Spread) -> String {
    let known = spread.low.is_finite() && spread.high.is_finite();
    let range = if known { format!(" ({} to {})", number(spread.low), number(spread.high)) } else { String::new() };
    median(spread) + &range
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

/// How far `value` is from `reference`, in words: `12 % below`.
pub fn beside(value: f64, reference: f64) -> String {
    let percent = (value / reference - 1.0) * 100.0;
    if !percent.is_finite() {
        return "beside".to_owned();
    }
    if percent.abs() < 0.05 {
        return "as large as".to_owned();
    }
    format!("{} {}", share(percent.abs()), if percent < 0.0 { "below" } else { "above" })
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
    fn above_and_below_are_words() {
        assert_eq!([beside(6.0, 5.0), beside(4.0, 5.0)], ["20\u{202f}% above", "20\u{202f}% below"]);
        assert_eq!([beside(5.0, 5.0), beside(6.0, 0.0)], ["as large as", "beside"]);
    }

    #[test]
    fn thousands_stand_apart_wherever_they_are_written() {
        let written = |values: &[f64]| apart(values).into_iter().map(plain).collect::<Vec<_>>();
        assert_eq!(written(&[151_394_337.0, -7_950_589.0, 0.0]), ["151_394_337", "−7_950_589", "0"]);
        assert_eq!(written(&[1234.5, 1234.75]), ["1_234.50", "1_234.75"]);
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
    fn differences_have_their_digits() {
        assert_eq!(
            apart(&[-122.4194087, -122.4194016, -122.4193944]),
            ["−122.4194087", "−122.4194016", "−122.4193944"]
        );
        assert_eq!(apart(&[3.62, 3.724, 0.7612]), ["3.620", "3.724", "0.761"]);
        assert_eq!(apart(&[2.061228e-8, 2.05274e-8]), ["2.0612e−8", "2.0527e−8"]);
        assert_eq!(apart(&[100000006.4, 100000012.9]), ["100\u{202f}000\u{202f}006.4", "100\u{202f}000\u{202f}012.9"]);
        assert_eq!(apart(&[0.0, 0.0]), ["0", "0"]);
        assert_eq!(apart(&[48.3, 48.300036, 47.69]), ["48.30", "48.30", "47.69"]);
        assert_eq!(apart(&[1021.26, 1021.26]), ["1\u{202f}021", "1\u{202f}021"]);
        assert_eq!(apart(&[0.5, f64::NAN]), ["0.5000", NONE]);
        assert_eq!(
            (significant(0.000312345, 4), significant(3e-10, 3), significant(99.996, 4)),
            ("0.0003123".into(), "3.00e−10".into(), "100.0".into())
        );
    }

    #[test]
    fn sizes() {
        let values = [0, 1023, 1024, 12_800, 1_048_575, 3 << 20, 5 << 40];
        let got = values.map(|value| plain(bytes(value)));
        assert_eq!(got, ["0_B", "1023_B", "1.00_KiB", "12.5_KiB", "1.00_MiB", "3.00_MiB", "5.00_TiB"]);
    }

    #[test]
    fn spreads_and_changes() {
        let spread = Spread { median: 1.234, min: 1.1, max: 2.0, low: 1.2, high: 1.5, runs: 9 };
        assert_eq!(plain(interval(&spread)), "1.23_ms (1.20 to 1.50)");
        assert_eq!((plain(median(&spread)), range(&spread)), ("1.23_ms".into(), "1.10–2.00".into()));
        assert_eq!(median(&Spread::default()), NONE);
        assert_eq!(range(&Spread::default()), NONE);
        let got = [change(4.2, 5.6), change(5.8, 5.6), change(1.0, 1.0), change(f64::NAN, 1.0)].map(plain);
        assert_eq!(got, ["−25_%", "+3.6_%", "0.0_%", NONE]);
    }
}
