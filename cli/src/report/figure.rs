//! Figures: what is drawn, as JSON that `page.js` hands to uPlot, and the numbers behind it in a table.

use maud::{Markup, PreEscaped, html};
use serde::Serialize;

use super::page::slug;
use super::table::Table;
use crate::base::numbers::{count, number};

/// Values this many times the median would flatten all others on a linear axis.
const TOO_FAR: f64 = 8.0;

/// What a mark stands for; the style sheet has a colour for each, for light pages and for dark ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The truth, and what no other role is for.
    Ink,
    /// The naive forecast.
    Naive,
    Rnn,
    Gru,
    Lstm,
    MinGru,
    MinLstm,
    Sru,
    IndRnn,
    /// A cell whose step is changed.
    Changed,
}

impl Role {
    /// The role of a run, from a text that begins with its cell's name.
    pub fn of(cell: &str) -> Self {
        let cells = [
            ("minGRU", Self::MinGru),
            ("minLSTM", Self::MinLstm),
            ("SRU", Self::Sru),
            ("IndRNN", Self::IndRnn),
            ("RNN", Self::Rnn),
            ("GRU", Self::Gru),
            ("LSTM", Self::Lstm),
        ];
        let found = cells.into_iter().find(|(name, _)| cell.starts_with(name));
        match found {
            // A rectified RNN is a cell.
            Some((name, _)) if cell[name.len()..].starts_with(" (") && !cell.starts_with("RNN (relu)") => Self::Changed,
            Some((_, role)) => role,
            None => Self::Ink,
        }
    }

    /// Name of the role in the style sheet.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ink => "ink",
            Self::Naive => "naive",
            Self::Rnn => "rnn",
            Self::Gru => "gru",
            Self::Lstm => "lstm",
            Self::MinGru => "mingru",
            Self::MinLstm => "minlstm",
            Self::Sru => "sru",
            Self::IndRnn => "indrnn",
            Self::Changed => "changed",
        }
    }
}

/// A title with its unit, and what the places on the axis are.
#[derive(Clone, Debug, Serialize)]
pub struct Axis {
    pub title: String,
    pub scale: Scale,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    Linear,
    /// By powers of ten; what is not above zero has no place.
    Log,
    /// Place 0 has the first name, and so on.
    Names(Vec<String>),
}

impl Axis {
    pub fn linear(title: impl Into<String>) -> Self {
        Self { title: title.into(), scale: Scale::Linear }
    }

    pub fn log(title: impl Into<String>) -> Self {
        Self { title: title.into(), scale: Scale::Log }
    }

    pub fn names(title: impl Into<String>, names: Vec<String>) -> Self {
        Self { title: title.into(), scale: Scale::Names(names) }
    }

    /// A place in words.
    fn name(&self, place: f64) -> String {
        match &self.scale {
            Scale::Names(names) => names.get(place as usize).cloned().unwrap_or_default(),
            _ if place.fract() == 0.0 && place >= 0.0 => count(place as u64),
            _ => number(place),
        }
    }
}

/// How a line is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Draw {
    Line,
    Thin,
    Dashed,
    /// A point for each value, and a thin line through them.
    Points,
}

/// One line; points that are not finite are left out.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its name in the legend.
    pub name: String,
    pub role: Role,
    pub draw: Draw,
    /// From left to right.
    pub points: Vec<(f64, f64)>,
}

impl Line {
    pub fn new(name: impl Into<String>, role: Role, draw: Draw, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), role, draw, points }
    }

    /// The line of a cell, or of a run whose name begins with its cell's.
    pub fn of(cell: &str, points: Vec<(f64, f64)>) -> Self {
        Self::new(cell, Role::of(cell), Draw::Line, points)
    }

    fn finite(&self) -> impl Iterator<Item = (f64, f64)> {
        self.points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite())
    }
}

/// Lines over one axis.
#[derive(Clone, Debug)]
pub struct Lines {
    pub x: Axis,
    pub y: Axis,
    /// Later ones lie over earlier ones.
    pub lines: Vec<Line>,
    /// Pairs of lines between which the chart is tinted in the colour of the first.
    pub bands: Vec<[usize; 2]>,
    /// Values that the vertical axis must at least reach.
    pub reach: Vec<f64>,
    /// Places of the horizontal axis that are named, the most important last; where there are none, even distances.
    pub marks: Vec<usize>,
}

impl Lines {
    pub fn new(x: Axis, y: Axis, lines: Vec<Line>) -> Self {
        Self { x, y, lines, bands: Vec::new(), reach: Vec::new(), marks: Vec::new() }
    }

    /// Every place of any line, ascending, with each line's value there.
    fn aligned(&self) -> (Vec<f64>, Vec<Vec<Option<f64>>>) {
        let mut places: Vec<f64> = self.lines.iter().flat_map(|line| line.finite().map(|(x, _)| x)).collect();
        places.sort_unstable_by(f64::total_cmp);
        places.dedup();
        let column = |line: &Line| {
            let mut values = vec![None; places.len()];
            for (x, y) in line.finite().filter(|(_, y)| *y > 0.0 || !matches!(self.y.scale, Scale::Log)) {
                if let Ok(at) = places.binary_search_by(|place| place.total_cmp(&x)) {
                    values[at] = Some(y);
                }
            }
            values
        };
        let columns = self.lines.iter().map(column).collect();
        (places, columns)
    }

    /// With powers of ten on the vertical axis, where all values are above zero and one would flatten all others.
    pub fn of_any_size(mut self) -> Self {
        let mut values: Vec<f64> = self.lines.iter().flat_map(|line| line.finite().map(|(_, y)| y)).collect();
        values.sort_unstable_by(f64::total_cmp);
        if let (Some(&low), Some(&high)) = (values.first(), values.last())
            && low > 0.0
            && high > TOO_FAR * values[values.len() / 2]
        {
            self.y.scale = Scale::Log;
        }
        self
    }

    /// Every number of the lines.
    fn table(&self) -> Table {
        let (places, columns) = self.aligned();
        let head = std::iter::once(&self.x.title).chain(self.lines.iter().map(|line| &line.name));
        let row = |(at, place): (usize, &f64)| {
            let values = columns.iter().map(|column| column[at].map_or_else(String::new, number));
            std::iter::once(self.x.name(*place)).chain(values).collect()
        };
        Table::new(head.cloned(), places.iter().enumerate().map(row).collect())
    }
}

/// What units did, step by step.
#[derive(Clone, Debug)]
pub struct Heat {
    /// The gate or state.
    pub name: String,
    /// The name of each step.
    pub steps: Vec<String>,
    /// Of each unit its value at each step.
    pub units: Vec<Vec<f64>>,
    /// The value of the deepest colour.
    pub most: f64,
    /// Whether there are negative values, for which there is another colour.
    pub signed: bool,
}

/// What ran when, a lane for each kind of work.
#[derive(Clone, Debug, Serialize)]
pub struct Lane {
    pub name: String,
    /// Starts and ends, in milliseconds.
    pub spans: Vec<[f64; 2]>,
}

/// One drawing.
#[derive(Clone, Debug)]
pub enum Plot {
    Lines(Lines),
    Heat(Heat),
    Lanes(Vec<Lane>),
}

impl Plot {
    fn json(&self) -> serde_json::Value {
        match self {
            Self::Lines(chart) => {
                let (places, columns) = chart.aligned();
                let line = |line: &Line| serde_json::json!({ "name": line.name, "role": line.role, "draw": line.draw });
                let data: Vec<serde_json::Value> = std::iter::once(serde_json::json!(places))
                    .chain(columns.iter().map(|c| serde_json::json!(c)))
                    .collect();
                serde_json::json!({
                    "kind": "lines", "x": chart.x, "y": chart.y, "lines": chart.lines.iter().map(line).collect::<Vec<_>>(),
                    "bands": chart.bands, "reach": chart.reach, "marks": chart.marks, "data": data,
                })
            }
            Self::Heat(Heat { name, steps, units, most, .. }) => {
                // Three digits are more than can be seen.
                let short = |value: &f64| (value * 1e3 / most).round() * most / 1e3;
                let units: Vec<Vec<f64>> = units.iter().map(|unit| unit.iter().map(short).collect()).collect();
                serde_json::json!({ "kind": "heat", "name": name, "steps": steps, "units": units, "most": most })
            }
            Self::Lanes(lanes) => serde_json::json!({ "kind": "lanes", "lanes": lanes }),
        }
    }

    /// What it shows, in words.
    fn label(&self, title: &str) -> String {
        match self {
            Self::Lines(Lines { x, y, lines, .. }) => {
                let names: Vec<&str> = lines.iter().map(|line| line.name.as_str()).collect();
                format!("{title}: {} over {} for {}", y.title, x.title, names.join(", "))
            }
            Self::Heat(Heat { name, steps, units, .. }) => {
                format!("{title}: {name} of {} units over {} steps", units.len(), steps.len())
            }
            Self::Lanes(lanes) => {
                let names: Vec<&str> = lanes.iter().map(|lane| lane.name.as_str()).collect();
                format!("{title}: when {} ran", names.join(", "))
            }
        }
    }

    /// Whether there is anything to draw.
    fn is_empty(&self) -> bool {
        match self {
            Self::Lines(chart) => chart.lines.iter().all(|line| line.finite().next().is_none()),
            Self::Heat(Heat { units, .. }) => units.iter().all(Vec::is_empty),
            Self::Lanes(lanes) => lanes.iter().flat_map(|lane| &lane.spans).all(|[start, end]| end <= start),
        }
    }

    fn markup(&self, title: &str) -> Markup {
        if self.is_empty() {
            return html! { p.nothing { "There is no number to draw." } };
        }
        // So that no text in it ends the element.
        let json = self.json().to_string().replace('<', "\\u003c");
        html! {
            @if let Self::Heat(Heat { name, most, signed, .. }) = self {
                p.scale {
                    b { (name) }
                    @if *signed { span { "−" (number(*most)) } i {} } @else { span { "0" } i.unsigned {} }
                    span { (number(*most)) }
                }
            }
            div.plot role="img" aria-label=(self.label(title)) { script type="application/json" { (PreEscaped(json)) } }
        }
    }
}

/// Drawings of one thing, with a title and the numbers.
pub struct Figure {
    pub title: String,
    /// One under the other; all share their cursor.
    pub plots: Vec<Plot>,
    /// What else is to be known.
    pub asides: Vec<String>,
    pub table: Table,
}

impl Figure {
    /// Lines, and their numbers.
    pub fn of(title: impl Into<String>, chart: Lines) -> Self {
        let table = chart.table();
        Self::with(title, chart, table)
    }

    /// Lines, and other numbers.
    pub fn with(title: impl Into<String>, chart: Lines, table: Table) -> Self {
        Self { title: title.into(), plots: vec![Plot::Lines(chart)], asides: Vec::new(), table }
    }

    /// Its address in the page.
    pub fn id(&self) -> String {
        slug(&self.title)
    }

    pub fn markup(&self) -> Markup {
        html! {
            figure id=(self.id()) {
                figcaption { (self.title) }
                @for plot in &self.plots { (plot.markup(&self.title)) }
                @for aside in &self.asides { p.aside { (aside) } }
                (self.table.folded(&self.title))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(f64, f64)>) -> Lines {
        Lines::new(Axis::linear("step"), Axis::linear("loss, bits"), vec![Line::of("GRU, <equal>", points)])
    }

    fn json(plot: Plot) -> serde_json::Value {
        let html = plot.markup("Loss").into_string();
        let (_, json) = html.split_once("<script type=\"application/json\">").unwrap();
        assert!(!json.split_once("</script>").unwrap().0.contains('<'));
        serde_json::from_str(json.split_once("</script>").unwrap().0).unwrap()
    }

    #[test]
    fn every_role_has_a_colour_on_light_pages_and_on_dark_ones() {
        let style = include_str!("style.css");
        let cells =
            [Role::Rnn, Role::Gru, Role::Lstm, Role::MinGru, Role::MinLstm, Role::Sru, Role::IndRnn, Role::Changed];
        for role in [Role::Ink, Role::Naive].into_iter().chain(cells) {
            assert_eq!(style.matches(&format!("--{}:", role.name())).count(), 2, "{role:?}");
            assert_eq!(serde_json::json!(role), role.name());
        }
        assert_eq!(
            [Role::of("LSTM, equal"), Role::of("RNN 64"), Role::of("other")],
            [Role::Lstm, Role::Rnn, Role::Ink]
        );
        assert_eq!(
            [Role::of("minGRU, equal"), Role::of("GRU (reset_before), equal"), Role::of("RNN (relu)")],
            [Role::MinGru, Role::Changed, Role::Rnn]
        );
    }

    #[test]
    fn lines_share_their_places_and_leave_out_what_is_no_number() {
        let mut two = chart(vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, 3.0)]);
        two.lines.push(Line::new("naive", Role::Naive, Draw::Dashed, vec![(1.0, 2.5), (f64::INFINITY, 1.0)]));
        let json = json(Plot::Lines(two.clone()));
        assert_eq!(json["data"], serde_json::json!([[0.0, 1.0, 2.0], [1.0, null, 3.0], [null, 2.5, null]]));
        assert_eq!(json["lines"][1], serde_json::json!({ "name": "naive", "role": "naive", "draw": "dashed" }));
        assert_eq!((&json["x"]["scale"], &json["y"]["title"]), (&"linear".into(), &"loss, bits".into()));
        let table = two.table();
        assert_eq!(table.head, ["step", "GRU, <equal>", "naive"]);
        assert_eq!(table.rows[1], ["1", "", "2.50"]);
    }

    #[test]
    fn powers_of_ten_are_of_what_is_above_zero() {
        let mut log = chart(vec![(0.0, 0.0), (1.0, 1e-30)]);
        log.y = Axis::log("norm");
        assert_eq!(json(Plot::Lines(log))["data"][1], serde_json::json!([null, 1e-30]));
    }

    #[test]
    fn a_runaway_takes_powers_of_ten() {
        let mut points: Vec<_> = (0..9).map(|index| (f64::from(index), 1.0)).collect();
        let scale = |points: &Vec<_>| json(Plot::Lines(chart(points.clone()).of_any_size()))["y"]["scale"].clone();
        assert_eq!(scale(&points), "linear");
        points[4].1 = 1e9;
        assert_eq!(scale(&points), "log");
        points[5].1 = 0.0;
        assert_eq!(scale(&points), "linear");
    }

    #[test]
    fn nothing_finite_is_said() {
        for points in [Vec::new(), vec![(0.0, f64::NAN), (1.0, f64::INFINITY)]] {
            let html = Figure::of("Loss", chart(points)).markup().into_string();
            assert!(html.contains("There is no number to draw.") && !html.contains("<script"), "{html}");
        }
        assert!(!Figure::of("Loss", chart(vec![(0.0, 0.0)])).markup().into_string().contains("no number"));
    }

    #[test]
    fn heat_has_a_scale_and_lanes_have_names() {
        let heat = Heat {
            name: "c".into(),
            steps: vec!["a".into(), "<".into()],
            units: vec![vec![-2.5, 1.0 / 3.0]],
            most: 2.5,
            signed: true,
        };
        let html = Plot::Heat(heat.clone()).markup("LSTM").into_string();
        assert!(html.contains("<b>c</b><span>−2.50</span><i></i><span>2.50</span>"), "{html}");
        assert!(html.contains("aria-label=\"LSTM: c of 1 units over 2 steps\""), "{html}");
        assert_eq!(json(Plot::Heat(heat))["units"], serde_json::json!([[-2.5, 0.3325]]));
        let lanes = Plot::Lanes(vec![Lane { name: "gemm".into(), spans: vec![[0.0, 1.5]] }]);
        assert_eq!(json(lanes)["lanes"][0], serde_json::json!({ "name": "gemm", "spans": [[0.0, 1.5]] }));
    }

    #[test]
    fn places_have_names() {
        let axis = Axis::names("size", vec!["32".into(), "64".into()]);
        assert_eq!((axis.name(1.0), axis.name(2.0)), ("64".to_string(), String::new()));
        assert_eq!(Axis::linear("step").name(1500.0), "1\u{202f}500");
        assert_eq!(Axis::linear("ms").name(-0.25), "−0.250");
    }
}
