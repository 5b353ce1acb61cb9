//! The tables: one a family, a row a variant.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use wgpu_rnn::shader::{Spec, compose};

use super::device::Adapter;
use super::worker::Outcome;

/// A row. Numbers that a driver does not tell are left empty.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// The kernel.
    pub kernel: String,
    /// Its cell and constants.
    pub variant: String,
    /// Checksum of its text, by which a later run knows what it need not compile again.
    pub text: String,
    /// Registers of an invocation, in the driver's unit.
    pub registers: Option<f64>,
    /// Values that were moved from registers to memory, or the moves; the driver's unit.
    pub spills: Option<f64>,
    /// Memory of an invocation of its own, bytes: spilled registers, arrays that are not in registers.
    pub private: Option<f64>,
    /// Workgroup memory, bytes.
    pub shared: Option<f64>,
    /// Subgroups, or invocations, that a processor has room for; the driver's unit.
    pub occupancy: Option<f64>,
    /// Instructions.
    pub instructions: Option<f64>,
    /// The driver's estimate of time; its unit.
    pub time: Option<f64>,
    /// What the driver said or did instead of compiling it.
    pub refused: String,
}

/// Names under which drivers tell something.
const REGISTERS: &[&str] = &["VGPRs", "GPRs", "Registers used", "Number of GPRs"];
const SPILLS: &[&str] = &["Spilled VGPRs", "Spills", "Spills to memory", "STP Count"];
const PRIVATE: &[&str] = &["Scratch size", "Scratch", "Local Memory Size", "SLM Size"];
const SHARED: &[&str] = &["LDS size", "Local Memory"];
const OCCUPANCY: &[&str] = &["Subgroups per SIMD", "Threads", "Max Waves Per Core", "Max warps/SM"];
const INSTRUCTIONS: &[&str] = &["Instructions", "Instruction Count", "Instruction count"];
const TIME: &[&str] = &["Inverse Throughput", "Static cycle count", "ALU"];

impl Row {
    /// What came of a variant.
    pub fn new(spec: &Spec, outcome: &Outcome) -> Self {
        let of = |names: &[&str]| {
            let told = outcome.as_ref().ok()?;
            // Releases differ in capitals.
            let of = |name: &str| told.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
            names.iter().find_map(|name| of(name)).map(|(_, value)| *value)
        };
        Self {
            kernel: spec.kernel.name.to_string(),
            variant: spec.variant(),
            text: text(spec),
            registers: of(REGISTERS),
            spills: of(SPILLS),
            private: of(PRIVATE),
            shared: of(SHARED),
            occupancy: of(OCCUPANCY),
            instructions: of(INSTRUCTIONS),
            time: of(TIME),
            refused: outcome.as_ref().err().cloned().unwrap_or_default(),
        }
    }
}

/// Checksum of a variant's text.
pub fn text(spec: &Spec) -> String {
    format!("{:08x}", crc32fast::hash(compose(spec).source.as_bytes()))
}

/// Second line of a table, with the day.
const MADE: &str = "Estimated by the offline compiler of that driver; nothing ran. Made by \
                    `cargo xtask portability --part offline` on";

/// A table: a line about the adapter, one about how it was made, then rows.
pub fn write(path: &Path, adapter: &Adapter, rows: &[Row]) -> Result<()> {
    let mut out = csv::Writer::from_writer(Vec::new());
    rows.iter().try_for_each(|row| out.serialize(row))?;
    let rows = String::from_utf8(out.into_inner()?)?;
    let text = format!("# {}\n# {MADE} {}.\n{rows}", serde_json::to_string(adapter)?, today());
    std::fs::write(path, text).with_context(|| format!("{} could not be written", path.display()))
}

/// What is in a table.
pub fn read(path: &Path) -> Result<(Adapter, Vec<Row>)> {
    let text = std::fs::read_to_string(path)?;
    let first = text.lines().next().context("an empty table")?;
    let adapter = serde_json::from_str(first.trim_start_matches('#'))?;
    let mut rows = csv::ReaderBuilder::new().comment(Some(b'#')).from_reader(text.as_bytes());
    Ok((adapter, rows.deserialize().collect::<std::result::Result<_, _>>()?))
}

/// Year, month and day in UTC.
fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs());
    // Years begin in March, so that a leap day ends one; 719,468 days lead from that calendar's first day to 1970.
    let days = seconds / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    format!("{:04}-{month:02}-{day:02}", era * 400 + year + u64::from(month <= 2))
}
