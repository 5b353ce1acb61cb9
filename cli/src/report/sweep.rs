//! The page of `sweep`, the same as Markdown, and the numbers as CSV.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};
use maud::{Markup, html};
use wgpu_rnn::Cell;

use super::figure::{Axis, Figure, Line, Lines};
use super::page::{self, Origin, charts, section};
use super::table::Table;
use crate::base::files::replace;
use crate::base::numbers::{bytes, number};

/// Everything one sweep found.
pub struct Page {
    pub origin: Origin,
    /// `gpu`, `software` or `cpu`.
    pub kind: &'static str,
    pub curves: Vec<Curve>,
}

/// One size varied, all others held.
pub struct Curve {
    /// What is varied.
    pub name: &'static str,
    /// Its symbol: T, B, I or H.
    pub symbol: &'static str,
    /// Points, of every cell at each size.
    pub points: Vec<Point>,
}

/// One cell at one shape.
pub struct Point {
    pub cell: Cell,
    /// T, B, I, H.
    pub shape: [usize; 4],
    pub strategy: &'static str,
    pub parameters: usize,
    pub forward_ms: f64,
    pub training_ms: f64,
    pub weight_bytes: u64,
    pub reserve_bytes: u64,
    pub workspace_bytes: u64,
}

/// What a chart shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    Forward,
    Training,
    Memory,
}

impl Quantity {
    /// What tells most first.
    const ALL: [Self; 3] = [Self::Training, Self::Forward, Self::Memory];

    fn title(self) -> &'static str {
        match self {
            Self::Forward => "Forward, ms",
            Self::Training => "Forward and backward, ms",
            Self::Memory => "Memory in training, MiB",
        }
    }

    fn stem(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Training => "training",
            Self::Memory => "memory",
        }
    }
}

impl Point {
    fn memory(&self) -> u64 {
        self.weight_bytes + self.reserve_bytes + self.workspace_bytes
    }

    pub fn of(&self, quantity: Quantity) -> f64 {
        match quantity {
            Quantity::Forward => self.forward_ms,
            Quantity::Training => self.training_ms,
            Quantity::Memory => self.memory() as f64 / f64::from(1 << 20),
        }
    }

    fn size(&self, symbol: &str) -> usize {
        let [steps, batch, input, hidden] = self.shape;
        match symbol {
            "T" => steps,
            "B" => batch,
            "I" => input,
            _ => hidden,
        }
    }
}

impl Curve {
    fn cells(&self) -> Vec<Cell> {
        let mut cells: Vec<Cell> = Vec::new();
        for point in &self.points {
            if !cells.contains(&point.cell) {
                cells.push(point.cell);
            }
        }
        cells
    }

    fn sizes(&self) -> Vec<usize> {
        let mut sizes: Vec<usize> = self.points.iter().map(|point| point.size(self.symbol)).collect();
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }

    fn at(&self, cell: Cell, size: usize) -> Option<&Point> {
        self.points.iter().find(|point| point.cell == cell && point.size(self.symbol) == size)
    }

    /// A chart of a quantity, with equal distances from size to size.
    fn figure(&self, quantity: Quantity) -> Figure {
        let sizes = self.sizes();
        let line = |&cell: &Cell| {
            let place = |(place, &size): (usize, &usize)| Some((place as f64, self.at(cell, size)?.of(quantity)));
            Line::of(cell.title(), sizes.iter().enumerate().filter_map(place).collect())
        };
        let lines = self.cells().iter().map(line).collect();
        let x = Axis::names(format!("{} {}", self.name, self.symbol), sizes.iter().map(usize::to_string).collect());
        let chart = Lines { reach: vec![0.0], ..Lines::new(x, Axis::linear(quantity.title()), lines) };
        Figure::of(format!("{}, over {} {}", quantity.title(), self.name, self.symbol), chart)
    }

    fn fixed(&self) -> String {
        let shape = self.points.first().map_or([0; 4], |point| point.shape);
        let names = ["T", "B", "I", "H"].into_iter().zip(shape).filter(|(name, _)| *name != self.symbol);
        names.map(|(name, size)| format!("{name} = {size}")).collect::<Vec<_>>().join(", ")
    }

    /// Every size with every cell's numbers, and GRU over LSTM.
    fn table(&self) -> Table {
        let cells = self.cells();
        let of_cells = Quantity::ALL
            .iter()
            .flat_map(|quantity| cells.iter().map(|cell| format!("{} {}", cell.title(), quantity.stem())));
        let ratios = ["GRU / LSTM training", "GRU / LSTM memory"].map(str::to_string);
        let head = std::iter::once(self.symbol.to_string()).chain(of_cells).chain(ratios);
        let row = |size: usize| {
            let number_of = |quantity: Quantity, cell: Cell| match (self.at(cell, size), quantity) {
                (None, _) => String::new(),
                (Some(point), Quantity::Memory) => bytes(point.memory()),
                (Some(point), _) => number(point.of(quantity)),
            };
            let numbers = Quantity::ALL.iter().flat_map(|&quantity| cells.iter().map(move |&cell| (quantity, cell)));
            let numbers = numbers.map(|(quantity, cell)| number_of(quantity, cell));
            let ratios = [Quantity::Training, Quantity::Memory].map(|quantity| number(self.ratio(size, quantity)));
            std::iter::once(size.to_string()).chain(numbers).chain(ratios).collect()
        };
        Table::new(head, self.sizes().into_iter().map(row).collect())
    }

    /// GRU over LSTM.
    fn ratio(&self, size: usize, quantity: Quantity) -> f64 {
        let of = |cell| self.at(cell, size).map_or(f64::NAN, |point| point.of(quantity));
        of(Cell::Gru) / of(Cell::Lstm)
    }
}

impl Page {
    /// What the times are, and what they are not.
    fn times(&self) -> String {
        let times = match self.kind {
            "cpu" => {
                "Times are wall-clock milliseconds of the native executor, medians of rounds in which every cell runs once."
            }
            _ => "Times are milliseconds between GPU timestamps, medians of rounds in which every cell runs once.",
        };
        let software = " This is a software adapter: its times say nothing of a GPU.";
        let memory = " Memory is what training one layer takes: weights, reserve and workspace, as allocated.";
        times.to_string() + if self.kind == "software" { software } else { "" } + memory
    }

    /// What a GRU costs beside an LSTM, over all points.
    fn sentence(&self) -> String {
        let all = |quantity| {
            let each = self
                .curves
                .iter()
                .flat_map(move |curve| curve.sizes().into_iter().map(move |size| curve.ratio(size, quantity)));
            let each: Vec<f64> = each.filter(|ratio| ratio.is_finite()).collect();
            let (least, most) = (each.iter().copied().reduce(f64::min)?, each.iter().copied().reduce(f64::max)?);
            Some(format!("{} to {}", number(least), number(most)))
        };
        match (all(Quantity::Training), all(Quantity::Memory)) {
            (Some(time), Some(memory)) => format!(
                "At equal hidden size, forward and backward of a GRU take {time} times as long as those of an LSTM, in {memory} \
                 times its memory."
            ),
            _ => "GRU and LSTM were not both measured.".to_string(),
        }
    }

    fn html(&self) -> String {
        let mut figures: Vec<Vec<Figure>> =
            self.curves.iter().map(|curve| Quantity::ALL.map(|quantity| curve.figure(quantity)).into()).collect();
        let picture = match figures.first_mut() {
            Some(figures) => figures.remove(0).markup(),
            None => Markup::default(),
        };
        let of_curve = |(curve, figures): (&Curve, &Vec<Figure>)| {
            let label = format!("Over {}", curve.name);
            let content = html! { (charts(figures.iter().map(Figure::markup))) (curve.table().open(&label)) };
            section(&curve.symbol.to_lowercase(), &label, &format!("{}.", curve.fixed()), &content)
        };
        let page = page::Page {
            command: "sweep",
            title: "GRU against LSTM".to_string(),
            result: vec![self.sentence(), self.times()],
            picture,
            sections: self.curves.iter().zip(&figures).map(of_curve).collect(),
            origin: &self.origin,
            facts: Vec::new(),
        };
        page.render()
    }

    fn markdown(&self) -> String {
        let Origin { device, date, command, .. } = &self.origin;
        let mut page = format!(
            "# GRU against LSTM on {device}\n\nMeasured {date} by `{command}`. {} {}\n",
            self.sentence(),
            self.times()
        );
        for curve in &self.curves {
            let _ = write!(page, "\n## Over {}\n\n{}.\n\n{}", curve.name, curve.fixed(), curve.table().markdown());
        }
        page.push_str("\nAll numbers, with the strategy that ran: [sweep.csv](sweep.csv).\n");
        page
    }

    fn csv(&self) -> Result<String> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let head = "sweep,T,B,I,H,cell,strategy,device,date,parameters,forward_ms,training_ms,weight_bytes,\
                    reserve_bytes,workspace_bytes";
        writer.write_record(head.split(','))?;
        for curve in &self.curves {
            for point in &curve.points {
                let mut row = vec![curve.symbol.to_owned()];
                row.extend(point.shape.map(|size| size.to_string()));
                row.extend(
                    [point.cell.name(), point.strategy, &self.origin.device, &self.origin.date].map(str::to_owned),
                );
                row.push(point.parameters.to_string());
                row.extend([point.forward_ms, point.training_ms].map(|ms| format!("{ms:.4}")));
                row.extend([point.weight_bytes, point.reserve_bytes, point.workspace_bytes].map(|n| n.to_string()));
                writer.write_record(row)?;
            }
        }
        Ok(String::from_utf8(writer.into_inner()?)?)
    }
}

/// Writes `index.html`, `README.md` and `sweep.csv` into the folder `out`.
pub fn write(page: &Page, out: &Path) -> Result<()> {
    std::fs::create_dir_all(out).with_context(|| format!("{}: could not make the folder", out.display()))?;
    replace(&out.join("sweep.csv"), &page.csv()?)?;
    replace(&out.join("README.md"), &page.markdown())?;
    replace(&out.join("index.html"), &page.html())
}

#[cfg(test)]
mod tests {
    use super::*;
    use wgpu_rnn::RnnConfig;

    fn page(kind: &'static str) -> Page {
        let point = |cell: Cell, hidden: usize| Point {
            cell,
            shape: [64, 16, 64, hidden],
            strategy: "native",
            parameters: RnnConfig::new(cell, 64, hidden).parameters(),
            forward_ms: hidden as f64 / 10.0,
            training_ms: hidden as f64 * cell.gates() as f64,
            weight_bytes: 1 << 20,
            reserve_bytes: cell.reserve() as u64 * 1024,
            workspace_bytes: 512,
        };
        let points = [32, 64]
            .into_iter()
            .flat_map(|hidden| [Cell::RnnTanh, Cell::Gru, Cell::Lstm].map(|cell| point(cell, hidden)));
        let curve = Curve { name: "hidden size", symbol: "H", points: points.collect() };
        let words = str::to_string;
        let origin = Origin {
            version: words("1"),
            date: words("2026-11-21"),
            command: words("wgpu-rnn sweep"),
            device: words("CPU (cpu, native, 2 threads)"),
            data: words("noise"),
        };
        Page { origin, kind, curves: vec![curve] }
    }

    #[test]
    fn the_page_has_every_chart_and_markdown_every_table() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("deep");
        write(&page("cpu"), &out).unwrap();
        let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
        let html = read("index.html");
        for title in ["Forward, ms", "Forward and backward, ms", "Memory in training, MiB"] {
            assert!(html.contains(&format!("<figcaption>{title}, over hidden size H</figcaption>")), "{title}");
        }
        assert!(html.contains("\"names\":[\"32\",\"64\"]"));
        assert!(read("README.md").contains(&page("cpu").curves[0].table().markdown()));
    }

    #[test]
    fn the_table_has_the_ratios_and_the_csv_every_point() {
        let page = page("cpu");
        let table = page.curves[0].table();
        assert_eq!((table.rows.len(), table.head.len()), (2, 1 + 3 * 3 + 2));
        // Training of the GRU is three quarters of the LSTM's in the sample.
        assert_eq!(table.rows[1][10], "0.750");
        assert!(page.sentence().contains("a GRU take 0.750 to 0.750 times as long"), "{}", page.sentence());
        assert_eq!(page.csv().unwrap().lines().count(), 1 + 6);
    }

    #[test]
    fn a_software_adapter_is_never_taken_for_a_gpu() {
        for text in [page("software").markdown(), page("software").html()] {
            assert!(text.contains("say nothing of a GPU"));
        }
        assert!(!page("cpu").markdown().contains("say nothing of a GPU"));
    }
}
