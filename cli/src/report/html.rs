//! The few pieces of HTML that pages are made of; every text from data passes through [`escape`].

use crate::base::numbers::THIN;

const STYLE: &str = include_str!("style.css");

/// A whole document that needs no other file; `body` and `footer` are HTML.
pub fn document(title: &str, body: &str, footer: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <link rel=\"icon\" href=\"data:,\">\n<title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n\
         <body>\n<main>\n{body}</main>\n<footer>{footer}</footer>\n</body>\n</html>\n",
        escape(title)
    )
}

/// Text as HTML, safe between tags and inside double quotes.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A table of plain texts, the first column naming the rows.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Column names.
    pub head: Vec<String>,
    /// Rows of as many texts.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// The table behind a chart, folded away; `label` is what a screen reader calls it.
    pub fn folded(&self, label: &str) -> String {
        format!("<details><summary>The numbers</summary>{}</details>", self.open(label))
    }

    /// The table for a terminal, columns side by side.
    pub fn plain(&self) -> String {
        let rows: Vec<&Vec<String>> = std::iter::once(&self.head).chain(&self.rows).collect();
        let long = |text: &str| text.chars().count();
        let widest = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| long(cell)).max();
        let widths: Vec<usize> = (0..self.head.len()).map(|column| widest(column).unwrap_or(0)).collect();
        let line = |row: &&Vec<String>| {
            let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().replace(THIN, " ")
        };
        rows.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// The table, scrolling where it is wider than its place; `label` is what a screen reader calls it.
    pub fn open(&self, label: &str) -> String {
        let cells = |tag: &str, texts: &[String]| -> String {
            texts.iter().map(|text| format!("<{tag}>{}</{tag}>", escape(text))).collect()
        };
        let head = self.head.iter().map(|name| format!("<th scope=\"col\">{}</th>", escape(name)));
        let rows = self.rows.iter().map(|row| {
            let name = row.first().map_or("", String::as_str);
            format!("<tr><th scope=\"row\">{}</th>{}</tr>\n", escape(name), cells("td", row.get(1..).unwrap_or(&[])))
        });
        format!(
            "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{}\">\
             <table>\n<thead><tr>{}</tr></thead>\n<tbody>\n{}</tbody></table></div>",
            escape(label),
            head.collect::<String>(),
            rows.collect::<String>()
        )
    }
}

/// A section with a heading that can be linked to.
pub fn section(id: &str, title: &str, lead: &str, content: &str) -> String {
    let lead = if lead.is_empty() { String::new() } else { format!("<p class=\"lead\">{}</p>\n", escape(lead)) };
    format!(
        "<section id=\"{id}\" aria-labelledby=\"{id}-title\">\n<h2 id=\"{id}-title\">{title}</h2>\n{lead}{content}\n</section>\n"
    )
}

/// Name of the fact that is written as code.
pub const COMMAND: &str = "Command";

/// Names and what they are.
pub fn facts<'a>(facts: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let fact = |(name, value): (&str, String)| {
        let value = if name == COMMAND { format!("<code>{}</code>", escape(&value)) } else { escape(&value) };
        format!("<div><dt>{name}</dt><dd>{value}</dd></div>\n")
    };
    format!("<dl class=\"facts\">\n{}</dl>\n", facts.into_iter().map(fact).collect::<String>())
}

/// Numbers to take home: name, value and a note of each.
pub fn tiles(tiles: impl IntoIterator<Item = (String, String, String)>) -> String {
    let tile = |(name, value, note): (String, String, String)| {
        format!(
            "<div class=\"tile\"><p>{}</p><p class=\"value\">{}</p><p class=\"note\">{}</p></div>\n",
            escape(&name),
            escape(&value),
            escape(&note)
        )
    };
    format!("<div class=\"tiles\">\n{}</div>\n", tiles.into_iter().map(tile).collect::<String>())
}

/// Sentences as a list.
pub fn list<S: AsRef<str>>(sentences: impl IntoIterator<Item = S>) -> String {
    let items = sentences.into_iter().map(|sentence| format!("<li>{}</li>\n", escape(sentence.as_ref())));
    format!("<ul class=\"notes\">\n{}</ul>", items.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_html_would_read() {
        assert_eq!(escape("<b title='x' lang=\"y\">&é"), "&lt;b title=&#39;x&#39; lang=&quot;y&quot;&gt;&amp;é");
    }

    #[test]
    fn tables_name_rows_and_columns() {
        let table = Table { head: vec!["step".into(), "<LSTM>".into()], rows: vec![vec!["10".into(), "0.5&".into()]] };
        assert_eq!(table.plain(), "step  <LSTM>\n10    0.5&");
        let html = table.folded("Loss");
        assert!(html.contains("<th scope=\"col\">step</th><th scope=\"col\">&lt;LSTM&gt;</th>"));
        assert!(html.contains("<tr><th scope=\"row\">10</th><td>0.5&amp;</td></tr>"));
    }
}
