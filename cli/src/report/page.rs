//! The frame of every page: a sentence of result, the picture that shows it, sections, and where the numbers come from.

use anyhow::Result;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use wgpu_rnn::Device;

use crate::base::device::describe;
use crate::base::numbers::number;
use crate::base::{command_line, today};
use crate::results::study::Verdict;

/// The look of pages, uPlot, and the script that draws charts with it. All are in every page, which needs no other file.
const STYLE: [&str; 2] = [include_str!("uplot/uPlot.min.css"), include_str!("style.css")];
const SCRIPT: [&str; 2] = [include_str!("uplot/uPlot.iife.min.js"), include_str!("page.js")];

/// Where and how the numbers of a page were made.
pub struct Origin {
    pub version: String,
    pub date: String,
    pub command: String,
    pub device: String,
    pub data: String,
}

impl Origin {
    /// Made now on this device, from these data.
    pub fn new(device: &Device, data: String) -> Result<Self> {
        let (date, command, device) = (today(), command_line(), describe(device));
        Ok(Self { version: env!("CARGO_PKG_VERSION").to_string(), date, command, device, data })
    }
}

/// A page.
pub struct Page<'a> {
    /// The command that made it, without options.
    pub command: &'a str,
    pub title: String,
    /// What was found: the first sentence is the result, the others belong to it.
    pub result: Vec<String>,
    /// The picture that shows the result.
    pub picture: Markup,
    pub sections: Vec<Markup>,
    pub origin: &'a Origin,
    /// What else is to be known, by name.
    pub facts: Vec<(&'static str, String)>,
}

impl Page<'_> {
    /// The document.
    pub fn render(self) -> String {
        let Self { command, title, result, picture, sections, origin, facts } = self;
        let Origin { version, date, command: line, device, data } = origin;
        let drawn = std::iter::once(&picture).chain(&sections).any(|part| part.0.contains("class=\"plot\""));
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    link rel="icon" href="data:,";
                    title { (title) }
                    @for style in STYLE { style { (PreEscaped(style)) } }
                }
                body {
                    main {
                        header {
                            p.eyebrow { "wgpu-rnn " (command) }
                            h1 { (title) }
                            @if let Some((first, others)) = result.split_first() {
                                p.result { (text(first)) }
                                @for sentence in others { p.lead { (text(sentence)) } }
                            }
                        }
                        div.picture { (picture) }
                        noscript { p.lead { "Charts are drawn by a script. Their numbers are in tables." } }
                        @for section in &sections { (section) }
                    }
                    footer {
                        dl.facts {
                            (fact("Device", html! { (device) }))
                            (fact("Data", html! { (data) }))
                            @for (name, value) in &facts { (fact(name, html! { (value) })) }
                            (fact("Date", html! { (date) }))
                            (fact("Command", html! { code { (line) } }))
                        }
                        p { "Made by wgpu-rnn " (version) "." @if drawn { " " (HINT) } }
                    }
                    @for script in SCRIPT { script { (PreEscaped(script)) } }
                }
            }
        };
        page.into_string() + "\n"
    }
}

fn fact(name: &str, value: Markup) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}

/// A section with a heading that can be linked to.
pub fn section(id: &str, title: &str, lead: &str, content: &Markup) -> Markup {
    html! {
        section id=(id) {
            h2 { (title) }
            @if !lead.is_empty() { p.lead { (text(lead)) } }
            (content)
        }
    }
}

/// Figures side by side, where there is room.
pub fn charts(figures: impl IntoIterator<Item = Markup>) -> Markup {
    html! { div.charts { @for figure in figures { (figure) } } }
}

/// Numbers to take home: name, value and a note of each.
pub fn tiles(tiles: impl IntoIterator<Item = (String, String, String)>) -> Markup {
    html! {
        div.tiles {
            @for (name, value, note) in tiles {
                div.tile { p { (name) } p.value { (value) } p.note { (note) } }
            }
        }
    }
}

/// Sentences as a list.
pub fn list<S: AsRef<str>>(sentences: impl IntoIterator<Item = S>) -> Markup {
    html! { ul.notes { @for sentence in sentences { li { (text(sentence.as_ref())) } } } }
}

/// A claim, what became of it, and what was measured.
pub struct Judged<'a> {
    pub claim: &'a str,
    pub verdict: Verdict,
    pub measured: &'a str,
    /// GRU over LSTM, where there is one number.
    pub ratio: Option<f64>,
}

/// A table of claims.
pub fn verdicts<'a>(claims: impl IntoIterator<Item = Judged<'a>>) -> Markup {
    html! {
        table.claims {
            thead { tr { th scope="col" { "Claim" } th scope="col" { "Here it" } th scope="col" { "Measured" } } }
            tbody {
                @for Judged { claim, verdict, measured, ratio } in claims {
                    tr {
                        th scope="row" { (claim) }
                        td class=(verdict.class()) { (verdict.marked()) }
                        td {
                            (measured)
                            @if let Some(ratio) = ratio { " GRU / LSTM: " (number(ratio)) "." }
                        }
                    }
                }
            }
        }
    }
}

/// What charts can do.
const HINT: &str = "Drag over a chart to look closer, click twice to see all of it, click a name to hide its line.";

/// A sentence in which names are between backticks.
pub fn text(sentence: &str) -> Markup {
    let parts: Vec<&str> = sentence.split('`').collect();
    // One that is left over is a backtick.
    if parts.len().is_multiple_of(2) {
        return html! { (sentence) };
    }
    html! { @for (place, part) in parts.iter().enumerate() { @if place % 2 == 1 { code { (part) } } @else { (part) } } }
}

/// A name as a part of addresses in a page; letters that have no place there are told apart by a number.
pub fn slug(name: &str) -> String {
    let kept = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { ' ' };
    let words: String = name.chars().map(kept).collect();
    let slug = words.split_whitespace().collect::<Vec<_>>().join("-");
    match name.is_ascii() {
        true => slug,
        false => format!("{slug}-{:08x}", crc32fast::hash(name.as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page with these sections.
    pub fn page(sections: Vec<Markup>) -> String {
        let words = |text: &str| text.to_string();
        let origin = Origin {
            version: words("1.2.3"),
            date: words("2026-03-14"),
            command: words("wgpu-rnn flow --data 'a<b>.csv'"),
            device: words("Example GPU & Co"),
            data: words("waves"),
        };
        let (title, result) = (words("<Flow>"), vec![words("It \"flows\"."), words("And more.")]);
        let facts = vec![("Loss", words("of <all>"))];
        Page { command: "flow", title, result, picture: html! {}, sections, origin: &origin, facts }.render()
    }

    #[test]
    fn conclusion_then_picture_then_sections_then_origin() {
        let page = page(vec![section("one", "One & two", "Why <so>", &list(["a < b"]))]);
        let body = page.split_once("<body>").unwrap().1;
        let order = [
            "&lt;Flow&gt;</h1>",
            "It &quot;flows&quot;.",
            "class=\"picture\"",
            "<section id=\"one\"><h2>One &amp; two</h2>",
            "Why &lt;so&gt;",
            "<li>a &lt; b</li>",
            "<footer>",
            "Example GPU &amp; Co",
            "of &lt;all&gt;",
            "<code>wgpu-rnn flow --data 'a&lt;b&gt;.csv'</code>",
            "wgpu-rnn 1.2.3",
        ];
        let places: Vec<_> = order.map(|text| body.find(text).unwrap_or_else(|| panic!("{text}"))).into();
        assert!(places.is_sorted(), "{places:?}");
    }

    #[test]
    fn verdicts_look_alike_wherever_they_are() {
        let all = [Verdict::Held, Verdict::DidNotHold, Verdict::NotShown];
        let claims = all.map(|verdict| Judged { claim: "<it>", verdict, measured: "1 < 2.", ratio: Some(0.75) });
        let table = verdicts(claims).into_string();
        for text in [
            "<td class=\"held\">✓ held</td>",
            "<td class=\"failed\">✗ did not hold</td>",
            "<td class=\"open\">– not shown here</td>",
        ] {
            assert!(table.contains(text), "{table}");
        }
        assert!(table.contains("&lt;it&gt;</th>") && table.contains("1 &lt; 2. GRU / LSTM: 0.750."), "{table}");
    }

    #[test]
    fn names_become_addresses() {
        assert_eq!(slug("Training: T = 64, ms"), "training-t-64-ms");
        assert_ne!(slug("日"), slug("月"));
    }

    #[test]
    fn names_in_sentences_are_code() {
        let html = |sentence: &str| text(sentence).into_string();
        assert_eq!(html("`a<b` in 6 hours"), "<code>a&lt;b</code> in 6 hours");
        assert_eq!(html("a ` alone"), "a ` alone");
    }
}
