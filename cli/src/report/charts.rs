//! What all charts share: roles instead of colours, and SVG that fits into any page.
//!
//! Charts are drawn with a stand-in colour for each role. [`finish`] turns the colours into classes,
//! to which the style sheet gives a colour for light and one for dark pages, and drops the fixed size
//! and the font, so that a chart is as wide as its place and written like the page around it.

use super::html::escape;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Charts are drawn this many times larger than their view, since lines start and end on whole pixels.
pub const FINE: i32 = 4;

/// Width of a chart, in pixels of the page.
pub const WIDTH: i32 = 460;

/// Height of a line of text, in pixels of the page.
pub const LETTER: i32 = 13;

/// What a mark stands for; the style sheet decides how it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Text and the truth.
    Ink,
    /// Labels of axes.
    Muted,
    /// Lines of the grid.
    Grid,
    /// What a chart lies on.
    Card,
    /// The naive forecast.
    Naive,
    /// The plain RNN.
    Rnn,
    /// The GRU.
    Gru,
    /// The LSTM.
    Lstm,
    /// Something that took time.
    Span,
}

impl Role {
    const ALL: [Self; 9] =
        [Self::Ink, Self::Muted, Self::Grid, Self::Card, Self::Naive, Self::Rnn, Self::Gru, Self::Lstm, Self::Span];

    /// The role of a run, from a text that begins with its cell's name.
    pub fn of(cell: &str) -> Self {
        let cells = [("RNN", Self::Rnn), ("GRU", Self::Gru), ("LSTM", Self::Lstm)];
        cells.into_iter().find(|(name, _)| cell.starts_with(name)).map_or(Self::Ink, |(_, role)| role)
    }

    /// Name of the role's class in the style sheet.
    pub fn class(self) -> &'static str {
        match self {
            Self::Ink => "ink",
            Self::Muted => "muted",
            Self::Grid => "grid",
            Self::Card => "card",
            Self::Naive => "naive",
            Self::Rnn => "rnn",
            Self::Gru => "gru",
            Self::Lstm => "lstm",
            Self::Span => "span",
        }
    }

    /// The stand-in colour, unlike any other role's.
    pub fn colour(self) -> RGBColor {
        RGBColor(0, 0, self as u8 + 1)
    }

    /// A line of the role's colour, `width` pixels of the page wide.
    pub fn line(self, width: f64) -> ShapeStyle {
        self.colour().stroke_width((width * f64::from(FINE)) as u32)
    }
}

/// Levels of a shade, on either side of none.
pub const SHADES: i32 = 8;

/// The stand-in colour of a value of −1..1, or nothing where it is too near zero to be seen.
pub fn shade(value: f64) -> Option<RGBColor> {
    let level = (value.clamp(-1.0, 1.0) * f64::from(SHADES)).round() as i32;
    (level != 0).then_some(RGBColor(0, 1, (level + SHADES) as u8))
}

/// Text of a role, placed by a point at its left, middle or right.
pub fn text(role: Role, anchor: HPos) -> TextStyle<'static> {
    // The drawing library divides font sizes by 1.24.
    let size = f64::from(LETTER * FINE) * 1.24;
    TextStyle { color: role.colour().to_backend_color(), ..TextStyle::from(("sans-serif", size)) }
        .pos(Pos::new(anchor, VPos::Center))
}

/// Makes a drawn chart part of a page; `label` is what a screen reader says.
pub fn finish(svg: &str, label: &str) -> String {
    let (open, body) = svg.split_once('>').unwrap_or_default();
    let view = open.split_once("viewBox=\"").and_then(|(_, rest)| rest.split_once('"')).map_or("", |(view, _)| view);
    let mut body = body.replace(" font-family=\"sans-serif\"", "").replace(" opacity=\"1\"", "");
    for role in Role::ALL {
        let RGBColor(red, green, blue) = role.colour();
        for paint in ["fill", "stroke"] {
            let drawn = format!("{paint}=\"#{red:02X}{green:02X}{blue:02X}\"");
            body = body.replace(&drawn, &format!("class=\"{paint}-{}\"", role.class()));
        }
    }
    for level in (-SHADES..=SHADES).filter(|&level| level != 0) {
        let class = format!("class=\"{}-{}\"", if level < 0 { "less" } else { "more" }, level.abs());
        body = body.replace(&format!("fill=\"#0001{:02X}\" stroke=\"none\"", level + SHADES), &class);
    }
    format!("<svg class=\"chart\" viewBox=\"{view}\" role=\"img\" aria-label=\"{}\">{}", escape(label), body.trim_end())
}

/// A finished chart as a file of its own: title and legend above it, colours for light and dark pages in it.
pub fn standalone(svg: &str, title: &str, legend: &[(Role, &str)]) -> String {
    const ABOVE: i32 = 44;
    let size = svg.split_once("viewBox=\"0 0 ").and_then(|(_, rest)| rest.split_once('"')?.0.split_once(' '));
    let Some((width, height)) = size else { return String::new() };
    let whole = height.parse::<i32>().map_or(0, |height| height + ABOVE * FINE);
    let across = width.parse::<i32>().map_or(WIDTH, |width| width / FINE);
    let letters = |at: i32, role: Role, anchor: &str, row: i32, bold: bool, text: &str| {
        let weight = if bold { " font-weight=\"600\"" } else { "" };
        let (x, y, size) = (at * FINE, row * FINE, LETTER * FINE);
        format!(
            "<text x=\"{x}\" y=\"{y}\" class=\"fill-{}\" text-anchor=\"{anchor}\" font-size=\"{size}\"{weight}>{}</text>\n",
            role.class(),
            escape(text)
        )
    };
    let mut above = letters(8, Role::Ink, "start", 18, true, title);
    for (place, (role, name)) in (0i32..).zip(legend) {
        above += &letters(8 + 70 * place, *role, "start", 36, true, name);
    }
    // Of the style sheet: the colours, and what the classes of charts are.
    let style = include_str!("style.css");
    let (colours, _) = style.split_once("\n* {").unwrap_or_default();
    let of_charts =
        |line: &&str| [".fill-", ".stroke-", ".more-", ".less-"].iter().any(|class| line.starts_with(class));
    let classes = style.lines().filter(of_charts);
    let style = [colours].into_iter().chain(classes).collect::<Vec<_>>().join("\n");
    let inner = svg.replacen(
        "<svg class=\"chart\"",
        &format!("<svg y=\"{}\" width=\"{width}\" height=\"{height}\"", ABOVE * FINE),
        1,
    );
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {whole}\" width=\"{across}\" role=\"img\" aria-label=\"{}\">\n\
         <style>\n{style}\ntext {{ font-family: system-ui, sans-serif; }}\n</style>\n\
         <rect width=\"{width}\" height=\"{whole}\" class=\"fill-card\"/>\n{above}{inner}\n</svg>\n",
        escape(title)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_has_its_own_class_in_the_style_sheet() {
        let style = include_str!("style.css");
        for (index, role) in Role::ALL.into_iter().enumerate() {
            assert!(Role::ALL[index + 1..].iter().all(|other| other.colour() != role.colour()));
            for paint in ["fill", "stroke"] {
                assert!(style.contains(&format!(".{paint}-{}", role.class())), "{paint}-{}", role.class());
            }
        }
    }

    #[test]
    fn shades_have_classes() {
        let style = include_str!("style.css");
        for level in 1..=SHADES {
            assert!(style.contains(&format!(".more-{level} {{")) && style.contains(&format!(".less-{level} {{")));
        }
        assert_eq!((shade(0.01), shade(f64::NAN)), (None, None));
        assert_eq!((shade(1.0), shade(7.0)), (shade(0.99), shade(1.0)));
        assert_ne!(shade(-1.0), shade(1.0));
    }

    #[test]
    fn cells_have_roles() {
        assert_eq!(Role::of("LSTM, equal hidden size"), Role::Lstm);
        assert_eq!(Role::of("GRU"), Role::Gru);
        assert_eq!(Role::of("RNN 64"), Role::Rnn);
        assert_eq!(Role::of("other"), Role::Ink);
    }

    #[test]
    fn finished_charts_scale_and_speak() {
        let mut svg = String::new();
        let root = SVGBackend::with_string(&mut svg, (200, 100)).into_drawing_area();
        root.draw(&Text::new("<b>", (10, 10), text(Role::Muted, HPos::Left))).unwrap();
        root.draw(&PathElement::new([(0, 0), (5, 5)], Role::Lstm.line(2.0))).unwrap();
        root.present().unwrap();
        drop(root);
        let svg = finish(&svg, "a \"chart\"");
        assert!(svg.starts_with(
            "<svg class=\"chart\" viewBox=\"0 0 200 100\" role=\"img\" aria-label=\"a &quot;chart&quot;\">"
        ));
        assert!(svg.contains("class=\"fill-muted\"") && svg.contains("class=\"stroke-lstm\" stroke-width=\"8\""));
        assert!(svg.contains("&lt;b&gt;") && svg.ends_with("</svg>"));
        assert!(["#0000", "http", "font-family", "width=\"200\""].iter().all(|gone| !svg.contains(gone)), "{svg}");
    }
}
