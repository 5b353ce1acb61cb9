//! apt's sources: read in both of their formats, and turned into those of another suite.
//!
//! The entry of Debian's own archive says which mirror this machine uses, and with which options
//! (proxy, keys, dates). Backports and later releases lie on the same mirror, so their entry is
//! that entry with another suite, and no mirror has to be named here.

use std::fmt;

/// The component that every Debian archive has, and that third parties' archives rarely use.
const MAIN: &str = "main";

/// One entry: archives, the suites taken from each, and options.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Where the archives are.
    uris: String,
    /// The suites, such as `bookworm`.
    suites: Vec<String>,
    /// The components, such as `main`.
    components: Vec<String>,
    /// All else, by deb822 name and in the file's order; a value may have several lines.
    options: Vec<(String, String)>,
}

impl Entry {
    /// Whether it is of Debian's archive, at the suite `suite`.
    fn offers(&self, suite: &str) -> bool {
        self.suites.iter().any(|s| s == suite) && self.components.iter().any(|c| c == MAIN)
    }
}

/// Written as a deb822 stanza.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Types: deb")?;
        writeln!(f, "URIs: {}", self.uris)?;
        writeln!(f, "Suites: {}", self.suites.join(" "))?;
        writeln!(f, "Components: {}", self.components.join(" "))?;
        self.options.iter().try_for_each(|(name, value)| writeln!(f, "{name}: {value}"))
    }
}

/// The archive that release `codename` comes from.
pub fn archive<'e>(entries: &'e [Entry], codename: &str) -> Option<&'e str> {
    let entry = entries.iter().find(|entry| entry.offers(codename))?;
    entry.uris.split_whitespace().next()
}

/// The entries of another suite of the archive that has release `codename`: none if `entries` has them already, or
/// has nothing to derive them from.
pub fn other(entries: &[Entry], codename: &str, suite: &str) -> Vec<Entry> {
    if entries.iter().any(|entry| entry.offers(suite)) {
        return Vec::new();
    }
    let mut derived: Vec<Entry> = Vec::new();
    for entry in entries.iter().filter(|entry| entry.offers(codename)) {
        let entry = Entry { suites: vec![suite.to_string()], ..entry.clone() };
        if !derived.contains(&entry) {
            derived.push(entry);
        }
    }
    derived
}

/// Reads a `.sources` file: stanzas of `Name: value` fields, in Debian's deb822 format.
///
/// Entries that are switched off or give source packages only are left out.
pub fn parse_deb822(text: &str) -> Vec<Entry> {
    // A comment may stand anywhere, even between a field's lines.
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    lines.split(|line| line.trim().is_empty()).filter_map(parse_stanza).collect()
}

fn parse_stanza(lines: &[&str]) -> Option<Entry> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in lines {
        if line.starts_with([' ', '\t']) {
            let (_, value) = fields.last_mut()?;
            value.push('\n');
            value.push_str(line);
        } else {
            let (name, value) = line.split_once(':')?;
            fields.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }
    let mut take = |wanted: &str| {
        let place = fields.iter().position(|(name, _)| name.eq_ignore_ascii_case(wanted))?;
        Some(fields.remove(place).1)
    };
    if take("Enabled").is_some_and(|value| value.eq_ignore_ascii_case("no")) {
        return None;
    }
    take("Types").filter(|types| types.split_whitespace().any(|t| t == "deb"))?;
    Some(Entry {
        uris: take("URIs")?,
        suites: words(&take("Suites")?),
        components: words(&take("Components").unwrap_or_default()),
        options: fields,
    })
}

/// Reads a `.list` file: lines such as `deb [arch=amd64] uri suite component...`.
pub fn parse_one_line(text: &str) -> Vec<Entry> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Entry> {
    let line = line.split('#').next()?.trim();
    let rest = line.strip_prefix("deb")?;
    if !rest.starts_with(char::is_whitespace) {
        return None;
    }
    let (options, rest) = match rest.trim_start().strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace().map(str::to_owned);
    Some(Entry {
        uris: words.next()?,
        suites: vec![words.next()?],
        components: words.collect(),
        options: options.split_whitespace().filter_map(parse_option).collect(),
    })
}

/// Turns `arch+=armhf` into the field `Architectures-Add: armhf`, and the like.
fn parse_option(option: &str) -> Option<(String, String)> {
    let (name, value) = option.split_once('=')?;
    let (name, ending) = match (name.strip_suffix('+'), name.strip_suffix('-')) {
        (Some(name), _) => (name, "-Add"),
        (_, Some(name)) => (name, "-Remove"),
        _ => (name, ""),
    };
    let field = match name.to_ascii_lowercase().as_str() {
        "arch" => "Architectures".to_owned(),
        "lang" => "Languages".to_owned(),
        "target" => "Targets".to_owned(),
        // The others have one name in both formats, whatever its case.
        name => name.to_owned(),
    };
    Some((field + ending, value.replace(',', " ")))
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEB822: &str = "\
Types: deb deb-src
# a comment inside of a stanza
URIs: file:/srv/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian.gpg

Types: deb
URIs: file:/srv/debian-security
Suites: bookworm-security
Components: main
";

    #[test]
    fn deb822_stanzas_are_read() {
        let entries = parse_deb822(DEB822);
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[0].uris, "file:/srv/debian");
        assert_eq!(entries[0].suites, ["bookworm", "bookworm-updates"]);
        assert_eq!(entries[0].components, ["main", "contrib"]);
        let signed_by = ("Signed-By".to_owned(), "/usr/share/keyrings/debian.gpg".to_owned());
        assert_eq!(entries[0].options, [signed_by]);
        assert!(entries[1].options.is_empty());
    }

    #[test]
    fn the_archive_is_the_one_that_the_release_comes_from() {
        let entries = parse_deb822(DEB822);
        assert_eq!(archive(&entries, "bookworm"), Some("file:/srv/debian"));
        assert_eq!(archive(&entries, "trixie"), None);
    }

    #[test]
    fn stanzas_without_binary_packages_are_left_out() {
        let off = "Enabled: no\nTypes: deb\nURIs: file:/srv\nSuites: bookworm\nComponents: main\n";
        let source = "Types: deb-src\nURIs: file:/srv\nSuites: bookworm\nComponents: main\n";
        assert!(parse_deb822(&format!("{off}\n\n{source}\n# the end\n")).is_empty());
    }

    #[test]
    fn an_embedded_key_keeps_its_lines() {
        let text = "Types: deb\nURIs: file:/srv\nSuites: bookworm\nComponents: main\n\
            Signed-By:\n -----BEGIN-----\n .\n mQINBF\n -----END-----\n";
        let derived = other(&parse_deb822(text), "bookworm", "bookworm-backports");
        assert_eq!(derived[0].to_string(), text.replace("bookworm", "bookworm-backports").replace("By:\n", "By: \n"));
    }

    #[test]
    fn one_line_entries_are_read() {
        let text = "# comment\n\
            deb-src file:/srv/debian bookworm main\n\
            deb [ arch=amd64,arm64 signed-by=/k.gpg lang-=de ] file:/srv/debian bookworm main # end\n\
            deb\tfile:/srv/flat ./\n\
            debris\n";
        let entries = parse_one_line(text);
        assert_eq!(entries.len(), 2);
        assert_eq!(
            entries[0].to_string(),
            "Types: deb\nURIs: file:/srv/debian\nSuites: bookworm\nComponents: main\n\
             Architectures: amd64 arm64\nsigned-by: /k.gpg\nLanguages-Remove: de\n"
        );
        assert_eq!(entries[1].suites, ["./"]);
        assert!(entries[1].components.is_empty());
    }

    #[test]
    fn backports_come_from_the_releases_own_entry() {
        let mut entries = parse_deb822(DEB822);
        entries.extend(parse_one_line("deb file:/srv/third-party bookworm stable"));
        let derived = other(&entries, "bookworm", "bookworm-backports");
        assert_eq!(derived.len(), 1);
        assert_eq!(
            derived[0].to_string(),
            "Types: deb\nURIs: file:/srv/debian\nSuites: bookworm-backports\n\
             Components: main contrib\nSigned-By: /usr/share/keyrings/debian.gpg\n"
        );
    }

    #[test]
    fn backports_are_not_added_twice() {
        let mut entries = parse_deb822(DEB822);
        entries.extend(parse_one_line("deb file:/srv/debian bookworm-backports main"));
        assert!(other(&entries, "bookworm", "bookworm-backports").is_empty());
        assert!(other(&entries, "trixie", "trixie-backports").is_empty());
    }
}
