//! Bars in a table: one row a run, its bar made of parts, with a whisker where it was measured several times.

use std::ops::Range;

use maud::{Markup, html};

use super::figure::Role;
use super::page::slug;

/// One bar.
pub struct Bar {
    pub role: Role,
    pub name: String,
    /// From left to right, paler and paler.
    pub parts: Vec<f64>,
    /// An interval of a repeated measurement.
    pub whisker: Option<Range<f64>>,
    /// Its value in words.
    pub value: String,
    /// What else is known of it, a cell each.
    pub cells: Vec<String>,
}

/// Bars under headings, all on one scale that begins at zero.
pub struct Bars {
    pub title: String,
    /// What the parts are, where there are several.
    pub parts: Vec<&'static str>,
    /// Names of the value's column and of those of the other cells.
    pub columns: Vec<&'static str>,
    pub groups: Vec<(String, Vec<Bar>)>,
    /// What else is to be known.
    pub aside: &'static str,
}

impl Bars {
    /// A bar that is not finite is as long as nothing.
    pub fn markup(&self) -> Markup {
        let percent = |value: f64| 100.0 * finite(value) / self.longest();
        html! {
            figure id=(slug(&self.title)) {
                figcaption { (self.title) }
                @if self.parts.len() > 1 {
                    ul.legend { @for (place, part) in self.parts.iter().enumerate() { li class=(format!("part-{place}")) { (part) } } }
                }
                table.bars {
                    thead { tr {
                        td {} td {}
                        @for column in &self.columns { th scope="col" { (column) } }
                    } }
                    @for (heading, bars) in &self.groups {
                        tbody {
                            @if !heading.is_empty() { tr { th scope="rowgroup" colspan=(2 + self.columns.len()) { (heading) } } }
                            @for bar in bars {
                                tr {
                                    th scope="row" { (bar.name) }
                                    td { div.bar {
                                        @for (place, part) in bar.parts.iter().enumerate() {
                                            i class=(format!("{} part-{place}", bar.role.name())) style=(format!("width:{:.2}%", percent(*part))) {}
                                        }
                                        @if let Some(Range { start, end }) = &bar.whisker {
                                            b style=(format!("left:{:.2}%;width:{:.2}%", percent(*start), percent(end - start))) {}
                                        }
                                    } }
                                    td { (bar.value) }
                                    @for cell in &bar.cells { td { (cell) } }
                                }
                            }
                        }
                    }
                }
                @if !self.aside.is_empty() { p.aside { (self.aside) } }
            }
        }
    }

    /// The longest bar or whisker.
    fn longest(&self) -> f64 {
        let bars = self.groups.iter().flat_map(|(_, bars)| bars);
        let reach = |bar: &Bar| {
            let whole = bar.parts.iter().copied().map(finite).sum::<f64>();
            whole.max(bar.whisker.as_ref().map_or(0.0, |whisker| finite(whisker.end)))
        };
        let longest = bars.map(reach).fold(0.0, f64::max);
        if longest > 0.0 { longest } else { 1.0 }
    }
}

fn finite(value: f64) -> f64 {
    if value.is_finite() { value.max(0.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(parts: Vec<f64>, whisker: Option<Range<f64>>) -> Bar {
        Bar {
            role: Role::Gru,
            name: "GRU <32>".into(),
            parts,
            whisker,
            value: "3 ms".into(),
            cells: vec!["2–4".into()],
        }
    }

    fn chart(bars: Vec<Bar>) -> String {
        let groups = vec![("At <equal size>".to_string(), bars)];
        let (parts, columns) = (vec!["weights", "reserve"], vec!["median", "interval"]);
        Bars { title: "Time".into(), parts, columns, groups, aside: "" }.markup().into_string()
    }

    #[test]
    fn bars_are_shares_of_the_longest_and_their_parts_too() {
        let html = chart(vec![bar(vec![1.0, 2.0], Some(2.0..4.0)), bar(vec![f64::NAN, -1.0], None)]);
        for text in [
            "<i class=\"gru part-0\" style=\"width:25.00%\"></i><i class=\"gru part-1\" style=\"width:50.00%\"></i>",
            "<b style=\"left:50.00%;width:50.00%\"></b>",
            "<i class=\"gru part-0\" style=\"width:0.00%\"></i><i class=\"gru part-1\" style=\"width:0.00%\"></i>",
            "<th scope=\"row\">GRU &lt;32&gt;</th>",
            "<td>3 ms</td><td>2–4</td>",
            "At &lt;equal size&gt;",
            "<li class=\"part-1\">reserve</li>",
        ] {
            assert!(html.contains(text), "{text}: {html}");
        }
    }

    #[test]
    fn nothing_is_no_division_by_zero() {
        assert!(chart(vec![bar(vec![0.0], None)]).contains("width:0.00%"));
    }
}
