//! Tables of plain texts, the same on a page, in Markdown and in a terminal.

use comfy_table::{CellAlignment, ContentArrangement, presets};
use maud::{Markup, html};

use crate::base::numbers::THIN;

/// A table, the first column naming the rows.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Column names.
    pub head: Vec<String>,
    /// Rows of as many texts.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new<S: Into<String>>(head: impl IntoIterator<Item = S>, rows: Vec<Vec<String>>) -> Self {
        Self { head: head.into_iter().map(Into::into).collect(), rows }
    }

    /// The table behind a chart, folded away; `label` is what a screen reader calls it.
    pub fn folded(&self, label: &str) -> Markup {
        html! { details { summary { "The numbers" } (self.open(label)) } }
    }

    /// The table, scrolling where it is wider than its place; `label` is what a screen reader calls it.
    pub fn open(&self, label: &str) -> Markup {
        html! {
            div.scroll tabindex="0" role="region" aria-label=(label) {
                table {
                    thead { tr { @for name in &self.head { th scope="col" { (name) } } } }
                    tbody {
                        @for row in &self.rows {
                            tr { @for (index, cell) in row.iter().enumerate() {
                                @if index == 0 { th scope="row" { (cell) } } @else { td { (cell) } }
                            } }
                        }
                    }
                }
            }
        }
    }

    /// The table for a terminal, columns side by side.
    pub fn plain(&self) -> String {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(&self.head).add_rows(&self.rows);
        for column in table.column_iter_mut() {
            column.set_padding((0, 2)).set_cell_alignment(CellAlignment::Left);
        }
        table.lines().map(|line| line.trim_end().replace(THIN, " ")).collect::<Vec<_>>().join("\n")
    }

    /// The table in Markdown.
    pub fn markdown(&self) -> String {
        let line = |row: &[String]| {
            let cells: Vec<String> = row.iter().map(|text| text.replace('|', "\\|")).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        format!("{}|{}\n{rows}", line(&self.head), "---|".repeat(self.head.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_name_rows_and_columns() {
        let row = |cells: [&str; 2]| cells.map(str::to_string).to_vec();
        let table = Table::new(["step", "<LSTM>"], vec![row(["10", "0.5&"]), row(["1\u{202f}000", "a|b"])]);
        assert_eq!(table.plain(), "step   <LSTM>\n10     0.5&\n1 000  a|b");
        assert_eq!(table.markdown(), "| step | <LSTM> |\n|---|---|\n| 10 | 0.5& |\n| 1\u{202f}000 | a\\|b |\n");
        let html = table.folded("Loss").into_string();
        assert!(html.contains("<th scope=\"col\">step</th><th scope=\"col\">&lt;LSTM&gt;</th>"));
        assert!(html.contains("<tr><th scope=\"row\">10</th><td>0.5&amp;</td></tr>"));
    }
}
