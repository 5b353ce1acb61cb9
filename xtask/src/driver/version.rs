//! Versions of Debian packages, in dpkg's order.

use std::cmp::Ordering;
use std::fmt;

/// The version of a Debian package: `[epoch:]upstream[-revision]`.
#[derive(Clone, Debug)]
pub struct Version(String);

impl Version {
    /// The version that `text` spells.
    pub fn new(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    /// The epoch, the upstream version and the revision.
    fn parts(&self) -> (u64, &str, &str) {
        let (epoch, rest) = match self.0.split_once(':') {
            Some((epoch, rest)) => (epoch.parse().unwrap_or(0), rest),
            None => (0, self.0.as_str()),
        };
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        (epoch, upstream, revision)
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let (a, b) = (self.parts(), other.parts());
        a.0.cmp(&b.0).then_with(|| compare(a.1, b.1)).then_with(|| compare(a.2, b.2))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Compares one part: runs of other characters and runs of digits in turn, from the left.
fn compare(mut a: &str, mut b: &str) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        let (text_a, text_b) = (take(&mut a, false), take(&mut b, false));
        let (number_a, number_b) = (take(&mut a, true), take(&mut b, true));
        let order = compare_text(text_a, text_b).then_with(|| compare_number(number_a, number_b));
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

/// Cuts the leading run of digits, or of anything else, off `rest`.
fn take<'a>(rest: &mut &'a str, digits: bool) -> &'a str {
    let end = rest.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(rest.len());
    let (run, tail) = rest.split_at(end);
    *rest = tail;
    run
}

/// A tilde sorts before the end, the end before letters, and letters before all else.
fn compare_text(a: &str, b: &str) -> Ordering {
    let weights = |text: &str| {
        let weigh = |c: char| match c {
            '~' => -1,
            c if c.is_ascii_alphabetic() => c as i64,
            c => c as i64 + 256,
        };
        text.chars().map(weigh).chain([0]).collect::<Vec<_>>()
    };
    weights(a).cmp(&weights(b))
}

/// Compares by value, however many digits there are.
fn compare_number(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_dpkg_orders_them() {
        let ascending = [
            "22.3.6-1+deb12u1",
            "22.3.6-1+deb12u2",
            "24.0.9-0ubuntu0.1",
            "25",
            "25.0.7~rc1-1",
            "25.0.7-2~bpo12+1",
            "25.0.7-2",
            "25.0.7-2+b1",
            "25.0.7-10",
            "25.0.7a-1",
            "25.0.7+dfsg-1",
            "25.1.0",
            "1:1.0",
        ];
        for pair in ascending.windows(2) {
            let (low, high) = (Version::new(pair[0]), Version::new(pair[1]));
            assert!(low < high, "expected {low} < {high}");
            assert!(high > low, "expected {high} > {low}");
        }
    }

    #[test]
    fn leading_zeros_and_an_empty_epoch_do_not_count() {
        assert_eq!(Version::new("25.00.7"), Version::new("25.0.7"));
        assert_eq!(Version::new("0:25.0"), Version::new("25.0"));
        assert_eq!(Version::new("25.0-0"), Version::new("25.0"));
    }
}
