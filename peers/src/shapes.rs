//! What is run: shapes, cells and modes.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use wgpu_rnn::Cell;

/// A layer's sizes under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// What the record calls it.
    pub name: String,
    /// The one cell that it is run with; `None` is every cell that was asked for.
    pub cell: Option<Cell>,
    /// Steps T.
    pub steps: usize,
    /// Batch B.
    pub batch: usize,
    /// Input size I.
    pub input: usize,
    /// Hidden size H.
    pub hidden: usize,
}

/// Name, cell, and (T, B, I, H). Those named X are for hardware GPUs.
const NAMED: [(&str, Option<Cell>, [usize; 4]); 9] = [
    ("S1", None, [128, 32, 64, 128]),
    ("S2", None, [100, 64, 128, 256]),
    ("S3", None, [50, 32, 512, 512]),
    ("S4", None, [256, 1, 32, 64]),
    ("S5", None, [1000, 1, 1, 32]),
    ("S6", None, [25, 64, 1024, 1024]),
    ("X1", Some(Cell::Lstm), [25, 16, 512, 512]),
    ("X2", Some(Cell::Lstm), [25, 32, 1024, 1024]),
    ("X3", Some(Cell::Gru), [187, 32, 1536, 1536]),
];

impl Shape {
    /// The named shapes; those for hardware GPUs too when `hardware`.
    pub fn named(hardware: bool) -> Vec<Self> {
        let wanted = NAMED.iter().filter(|(name, ..)| hardware || !name.starts_with('X'));
        wanted.map(|&(name, cell, sizes)| Self::new(name, cell, sizes)).collect()
    }

    fn new(name: &str, cell: Option<Cell>, [steps, batch, input, hidden]: [usize; 4]) -> Self {
        Self { name: name.to_string(), cell, steps, batch, input, hidden }
    }

    /// Rows of x and y, T·B.
    pub fn rows(&self) -> usize {
        self.steps * self.batch
    }

    /// The cells to run it with, of those that were asked for.
    pub fn cells(&self, wanted: &[Cell]) -> Vec<Cell> {
        wanted.iter().copied().filter(|cell| self.cell.is_none_or(|only| only == *cell)).collect()
    }
}

impl FromStr for Shape {
    type Err = anyhow::Error;

    /// A name, or sizes: `S1`, `25,16,512,512`, `LSTM:25,16,512,512`.
    fn from_str(text: &str) -> Result<Self> {
        if let Some(&(name, cell, sizes)) = NAMED.iter().find(|(name, ..)| name.eq_ignore_ascii_case(text)) {
            return Ok(Self::new(name, cell, sizes));
        }
        let (cell, sizes) = match text.split_once(':') {
            Some((cell, sizes)) => (Some(cell.to_lowercase().parse::<Cell>()?), sizes),
            None => (None, text),
        };
        let what = || format!("a shape is S1 to S6, X1 to X3, or like LSTM:25,16,512,512 (T,B,I,H), not `{text}`");
        let parsed: Vec<usize> = sizes.split(',').map(str::parse).collect::<Result<_, _>>().with_context(what)?;
        let Ok(sizes) = <[usize; 4]>::try_from(parsed) else { bail!(what()) };
        ensure!(sizes.iter().all(|&size| size > 0), "a size of `{text}` is 0");
        // The name goes into comma-separated files.
        Ok(Self::new(&sizes.map(|size| size.to_string()).join("x"), cell, sizes))
    }
}

/// Splits a list of shapes: shapes of their own sizes are separated by `;` or blanks, names by commas too.
pub fn parse_list(text: &str) -> Result<Vec<Shape>> {
    let mut shapes = Vec::new();
    for part in text.split([';', ' ']).filter(|part| !part.is_empty()) {
        match part.parse::<Shape>() {
            Ok(shape) => shapes.push(shape),
            Err(error) => match part.split(',').map(str::parse).collect::<Result<Vec<_>>>() {
                Ok(several) => shapes.extend(several),
                Err(_) => return Err(error),
            },
        }
    }
    ensure!(!shapes.is_empty(), "no shapes in `{text}`");
    Ok(shapes)
}

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// Outputs only.
    Forward,
    /// Forward and backward, with the gradients of every parameter and of the input.
    Training,
}

impl Mode {
    /// As the record spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Training => "training",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
