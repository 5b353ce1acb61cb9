//! One run of the program: compares layer after layer, keeps the record, and prints the table.

use anyhow::{Context, Result};
use wgpu_rnn::{Cell, Precision};

use crate::bars::Verdict;
use crate::case::{Case, Results, Tolerance};
use crate::measure::{Median, alternate};
use crate::ours::Ours;
use crate::peer::{Peer, Run};
use crate::record::{Detail, Memory, Record, Time, rounded};
use crate::roofline::Roofline;
use crate::shapes::{Mode, Shape};
use crate::table::{self, Line};

/// How far half precision may be from full.
const HALF: Tolerance = Tolerance { output: 1e-2, gradient: 1e-2 };

/// Where layers are being compared.
#[derive(Default)]
pub struct Place {
    /// `software`, `gpu` or `cpu`.
    pub kind: &'static str,
    /// Name of the adapter or processor.
    pub adapter: String,
    /// Where it is recorded, if it is.
    pub record: Option<Record>,
}

/// What has been compared so far, and where the next comparison is.
#[derive(Default)]
pub struct Session {
    /// On the CPU: threads, and GFLOP/s of a large product on them.
    pub peak: Option<(usize, f64)>,
    place: Place,
    left: Vec<Place>,
    lines: Vec<Line>,
    rooflines: Vec<Roofline>,
    failures: Vec<String>,
}

impl Session {
    /// What is compared from here on is in `place`.
    pub fn enter(&mut self, place: Place) {
        let left = std::mem::replace(&mut self.place, place);
        if !left.kind.is_empty() {
            self.left.push(left);
        }
    }

    /// One layer of ours against every peer, alone where there is none. What fails, or gives other numbers, is reported at
    /// the end; the others go on.
    pub fn try_compare(&mut self, ours: &mut Ours, peers: &mut [Box<dyn Peer>], shape: &Shape, cell: Cell, mode: Mode) {
        if let Err(error) = self.compare(ours, peers, shape, cell, mode) {
            let failure = format!("{} {} {mode}: {error:#}", shape.name, cell.name());
            eprintln!("{failure}");
            self.failures.push(failure);
        }
    }

    fn compare(
        &mut self,
        ours: &mut Ours,
        peers: &mut [Box<dyn Peer>],
        shape: &Shape,
        cell: Cell,
        mode: Mode,
    ) -> Result<()> {
        let what = format!("{} {} {mode}", shape.name, cell.name());
        let case = Case::new(shape, cell, mode)?;
        let engine = [ours.name(), ours.version()];
        let mut half = ours.with(Precision::Half);
        let mut mine = ours.load(&case)?.context("this engine has every cell")?;
        let results = mine.results().with_context(|| what.clone())?;
        if peers.is_empty() {
            let (median, _) = alternate(mine.as_mut(), None)?;
            eprintln!("{what}: ours {}", spell(&median));
            if self.place.kind != "cpu" {
                self.write("-detail", vec![self.detail(&case, &engine, median)])?;
            }
            self.lines.push(self.line(&case, None, median, None, None, Verdict::default()));
        }
        if let Some((threads, peak)) = self.peak {
            let (alone, _) = alternate(mine.as_mut(), None)?;
            let roofline = Roofline::new(&case, threads, &self.place.adapter, alone.wall_ms, peak);
            self.write("-roofline", vec![roofline.clone()])?;
            self.rooflines.push(roofline);
        }
        for peer in peers {
            let compared = match peer.precision() {
                Precision::Full => self.against(mine.as_mut(), &engine, peer.as_mut(), &case, &results),
                Precision::Half => self.against_half(&mut half, peer.as_mut(), &case, &results),
            };
            if let Err(error) = compared {
                let failure = format!("{what}, {}: {error:#}", peer.name());
                eprintln!("{failure}");
                self.failures.push(failure);
            }
        }
        Ok(())
    }

    /// [`against`](Self::against) with this engine in half precision.
    fn against_half(&mut self, ours: &mut Ours, peer: &mut dyn Peer, case: &Case, results: &Results) -> Result<()> {
        let engine = [ours.name(), ours.version()];
        let mut mine = ours.load(case)?.context("this engine has every cell")?;
        mine.results()?.check(results, HALF).context("this engine in half precision")?;
        self.against(mine.as_mut(), &engine, peer, case, results)
    }

    fn against(
        &mut self,
        ours: &mut dyn Run,
        engine: &[String; 2],
        peer: &mut dyn Peer,
        case: &Case,
        results: &Results,
    ) -> Result<()> {
        let (name, version, tolerance) = (peer.name(), peer.version(), peer.tolerance());
        let Some(mut theirs) = peer.load(case)? else { return Ok(()) };
        let got = theirs.results()?;
        let error = tolerance.map(|tolerance| got.check(results, tolerance)).transpose()?;
        drop(got);
        let (mine, median) = alternate(ours, Some(theirs.as_mut()))?;
        let median = median.unwrap_or_default();
        let bytes = ours.memory()?.zip(theirs.memory()?).map(|(ours, theirs)| [ours, theirs]);

        let (shape, cell, mode) = (&case.shape.name, case.cell.name(), case.mode.name());
        let error = error.map_or_else(|| "not compared".to_string(), |error| format!("{error:.1e} apart"));
        eprintln!("{shape} {cell} {mode}: ours {}, {name} {}, numbers {error}", spell(&mine), spell(&median));
        let ratio = median.wall_ms / mine.wall_ms;
        let memory_ratio = bytes.map(|[ours, theirs]| theirs as f64 / ours as f64);
        let adapter = self.place.adapter.clone();
        let time = Time {
            shape: shape.clone(),
            cell: cell.to_string(),
            mode: mode.to_string(),
            peer: name.clone(),
            peer_version: version.clone(),
            adapter: adapter.clone(),
            ours_ms: rounded(mine.wall_ms),
            peer_ms: rounded(median.wall_ms),
            ratio: rounded(ratio),
        };
        let memory = bytes.map(|[ours_bytes, peer_bytes]| Memory {
            shape: shape.clone(),
            cell: cell.to_string(),
            mode: mode.to_string(),
            peer: name.clone(),
            peer_version: version.clone(),
            adapter,
            ours_bytes,
            peer_bytes,
            ratio: rounded(peer_bytes as f64 / ours_bytes as f64),
        });
        self.write("", vec![time])?;
        self.write("-memory", memory.into_iter().collect())?;
        if self.place.kind != "cpu" {
            let details = vec![self.detail(case, engine, mine), self.detail(case, &[name.clone(), version], median)];
            self.write("-detail", details)?;
        }
        let verdict = Verdict::new(self.place.kind, &name, shape, ratio, memory_ratio);
        self.lines.push(self.line(case, Some(name), mine, Some(median), bytes, verdict));
        Ok(())
    }

    fn line(
        &self,
        case: &Case,
        peer: Option<String>,
        ours: Median,
        theirs: Option<Median>,
        bytes: Option<[u64; 2]>,
        verdict: Verdict,
    ) -> Line {
        Line {
            device: self.place.kind,
            shape: case.shape.name.clone(),
            cell: case.cell.name().to_string(),
            mode: case.mode.name().to_string(),
            peer,
            ours_ms: ours.wall_ms,
            peer_ms: theirs.map(|theirs| theirs.wall_ms),
            bytes,
            verdict,
        }
    }

    fn detail(&self, case: &Case, [peer, version]: &[String; 2], median: Median) -> Detail {
        Detail {
            shape: case.shape.name.clone(),
            cell: case.cell.name().to_string(),
            mode: case.mode.name().to_string(),
            peer: peer.clone(),
            peer_version: version.clone(),
            adapter: self.place.adapter.clone(),
            wall_ms: rounded(median.wall_ms),
            gpu_ms: median.gpu_ms.map(rounded),
            dispatches: median.dispatches,
            runs: median.runs,
        }
    }

    fn write<R: crate::record::Row>(&self, suffix: &str, rows: Vec<R>) -> Result<()> {
        if let Some(record) = &self.place.record {
            record.write(suffix, rows)?;
        }
        Ok(())
    }

    /// Prints the table and what went wrong; whether all went well, and with `check` every bar was reached.
    pub fn finish(mut self, check: bool) -> bool {
        self.enter(Place::default());
        println!("\n{}", table::text(&self.lines));
        for roofline in &self.rooflines {
            println!("{}", roofline.text());
        }
        for place in &self.left {
            if place.kind == "software" {
                println!("{} is a software adapter: of its times only the ratios mean something.", place.adapter);
            }
            if let Some(record) = &place.record {
                println!("{}: the record is in {}", place.adapter, record.folder().display());
            }
        }
        for failure in &self.failures {
            println!("FAILED: {failure}");
        }
        let dearer = self.dearer();
        for line in &dearer {
            println!("{line}");
        }
        let missed = self.lines.iter().filter(|line| !line.verdict.passes()).count();
        let bars = self.lines.iter().filter(|line| line.verdict != Verdict::default()).count();
        if check {
            println!("Bars: {} of {bars} rows reach theirs.", bars - missed);
        }
        self.failures.is_empty() && !(check && (missed > 0 || bars == 0 || !dearer.is_empty()))
    }
}

impl Session {
    /// Where, on the CPU, a GRU took longer than the LSTM of its size.
    fn dearer(&self) -> Vec<String> {
        let pairs = self.rooflines.iter().flat_map(|gru| self.rooflines.iter().map(move |lstm| (gru, lstm)));
        let dearer = pairs.filter(|(gru, lstm)| gru.dearer_than(lstm));
        dearer
            .map(|(gru, lstm)| format!("{}: {:.3} ms, and the LSTM {:.3}", gru.name(), gru.ours_ms, lstm.ours_ms))
            .collect()
    }
}

fn spell(median: &Median) -> String {
    let gpu = median.gpu_ms.map(|ms| format!(", GPU {ms:.3}")).unwrap_or_default();
    format!("{:.3} ms{gpu} (of {})", median.wall_ms, median.runs)
}
