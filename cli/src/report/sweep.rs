//! The page of `sweep`: Markdown with charts beside it, and the numbers as CSV.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use wgpu_rnn::Cell;

use super::charts::{Role, standalone};
use super::lines::{Chart, Line};
use crate::base::files::replace;
use crate::base::numbers::{bytes, number};

/// Everything one sweep found.
pub struct Page {
    pub device: String,
    /// `gpu`, `software` or `cpu`.
    pub kind: &'static str,
    pub backend: String,
    pub date: String,
    pub command: String,
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
    const ALL: [Self; 3] = [Self::Forward, Self::Training, Self::Memory];

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

    fn file(&self, quantity: Quantity) -> String {
        format!("{}-{}.svg", quantity.stem(), self.symbol.to_lowercase())
    }

    fn chart(&self, quantity: Quantity) -> Result<Option<String>> {
        let (cells, sizes) = (self.cells(), self.sizes());
        let line = |&cell: &Cell| {
            let points = sizes.iter().filter_map(|&size| Some((size as f64, self.at(cell, size)?.of(quantity))));
            Line { role: Role::of(cell.title()), width: 2.0, points: points.collect() }
        };
        let names: Vec<&str> = cells.iter().map(|cell| cell.title()).collect();
        let chart = Chart {
            label: format!("{} over {} for {}", quantity.title(), self.name, names.join(", ")),
            lines: cells.iter().map(line).collect(),
            horizontal: sizes.iter().map(|&size| (size as f64, size.to_string())).collect(),
            covering: vec![0.0],
            vertical: None,
            powers: false,
        };
        let legend: Vec<(Role, &str)> = names.iter().map(|name| (Role::of(name), *name)).collect();
        Ok(chart
            .draw()?
            .map(|svg| standalone(&svg, &format!("{}, over {} {}", quantity.title(), self.name, self.symbol), &legend)))
    }

    fn fixed(&self) -> String {
        let shape = self.points.first().map_or([0; 4], |point| point.shape);
        let names = ["T", "B", "I", "H"].into_iter().zip(shape).filter(|(name, _)| *name != self.symbol);
        names.map(|(name, size)| format!("{name} = {size}")).collect::<Vec<_>>().join(", ")
    }

    /// Every size with every cell's numbers, and GRU over LSTM.
    fn table(&self) -> String {
        let cells = self.cells();
        let mut table = format!("| {} |", self.symbol);
        for quantity in Quantity::ALL {
            for cell in &cells {
                let _ = write!(table, " {} {} |", cell.title(), quantity.stem());
            }
        }
        let _ = writeln!(table, " GRU / LSTM training | GRU / LSTM memory |");
        let _ = writeln!(table, "|{}", "--:|".repeat(3 + Quantity::ALL.len() * cells.len()));
        for size in self.sizes() {
            let _ = write!(table, "| {size} |");
            for quantity in Quantity::ALL {
                for &cell in &cells {
                    let text = self.at(cell, size).map_or(String::new(), |point| match quantity {
                        Quantity::Memory => bytes(point.memory()),
                        _ => number(point.of(quantity)),
                    });
                    let _ = write!(table, " {text} |");
                }
            }
            for quantity in [Quantity::Training, Quantity::Memory] {
                let of = |cell| self.at(cell, size).map_or(f64::NAN, |point| point.of(quantity));
                let _ = write!(table, " {} |", number(of(Cell::Gru) / of(Cell::Lstm)));
            }
            table.push('\n');
        }
        table
    }
}

impl Page {
    fn markdown(&self) -> String {
        let mut page = format!(
            "# GRU against LSTM on {}\n\nMeasured {} on {} ({}, {}) by `wgpu-rnn {}`: medians of rounds in which every cell \
             runs once at each point. Times are {}. Memory is what training one layer takes: weights, reserve and \
             workspace, as allocated.\n",
            self.device,
            self.date,
            self.device,
            self.kind,
            self.backend,
            self.command,
            match self.kind {
                "cpu" => "wall-clock milliseconds of the native executor",
                _ => "milliseconds between GPU timestamps",
            }
        );
        if self.kind == "software" {
            page.push_str(
                "\n**This is a software adapter: its times say nothing of a GPU. Only their ratios mean something, and \
                 those only here.**\n",
            );
        }
        for curve in &self.curves {
            let _ = writeln!(page, "\n## Over {}\n\n{}.\n", curve.name, curve.fixed());
            for quantity in Quantity::ALL {
                let _ = writeln!(page, "![{} over {}]({})", quantity.title(), curve.name, curve.file(quantity));
            }
            let _ = write!(page, "\n{}", curve.table());
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
                row.extend([point.cell.name(), point.strategy, &self.device, &self.date].map(str::to_owned));
                row.push(point.parameters.to_string());
                row.extend([point.forward_ms, point.training_ms].map(|ms| format!("{ms:.4}")));
                row.extend([point.weight_bytes, point.reserve_bytes, point.workspace_bytes].map(|n| n.to_string()));
                writer.write_record(row)?;
            }
        }
        Ok(String::from_utf8(writer.into_inner()?)?)
    }
}

/// Writes `README.md`, `sweep.csv` and the charts into the folder `out`, and says where the page is.
pub fn write(page: &Page, out: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(out).with_context(|| format!("{}: could not make the folder", out.display()))?;
    for curve in &page.curves {
        for quantity in Quantity::ALL {
            if let Some(svg) = curve.chart(quantity)? {
                replace(&out.join(curve.file(quantity)), &svg)?;
            }
        }
    }
    replace(&out.join("sweep.csv"), &page.csv()?)?;
    let path = out.join("README.md");
    replace(&path, &page.markdown())?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(kind: &'static str) -> Page {
        let point = |cell: Cell, hidden: usize| Point {
            cell,
            shape: [64, 16, 64, hidden],
            strategy: "native",
            parameters: cell.parameters(64, hidden, true),
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
        Page {
            device: "CPU".into(),
            kind,
            backend: "native, 2 threads".into(),
            date: "2026-11-21".into(),
            command: "sweep".into(),
            curves: vec![curve],
        }
    }

    #[test]
    fn every_chart_of_the_page_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = write(&page("cpu"), &folder.path().join("deep")).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        for stem in ["forward", "training", "memory"] {
            let file = format!("{stem}-h.svg");
            assert!(text.contains(&format!("({file})")), "{text}");
            let svg = std::fs::read_to_string(path.with_file_name(&file)).unwrap();
            assert!(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""), "{svg}");
            for cell in ["rnn", "gru", "lstm"] {
                assert!(svg.contains(&format!("class=\"stroke-{cell}\"")), "{svg}");
            }
        }
    }

    #[test]
    fn the_table_has_the_ratios_and_the_csv_every_point() {
        let page = page("cpu");
        let table = page.curves[0].table();
        assert_eq!(table.lines().count(), 4);
        // Training of the GRU is three quarters of the LSTM's in the sample.
        assert!(table.lines().last().unwrap().contains("| 0.750 |"), "{table}");
        assert_eq!(page.csv().unwrap().lines().count(), 1 + 6);
    }

    #[test]
    fn a_software_adapter_is_never_taken_for_a_gpu() {
        assert!(page("software").markdown().contains("say nothing of a GPU"));
        assert!(!page("cpu").markdown().contains("say nothing of a GPU"));
    }
}
