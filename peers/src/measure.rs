//! Timing two runs in turn, so that whatever else the machine does falls on both.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::peer::{Run, Sample};

/// Turns of each side where they fit the budget, and where they do not.
const ENOUGH: usize = 5;
const LEAST: usize = 3;

/// Time that the runs of one pair may take.
const BUDGET: Duration = Duration::from_secs(3);

/// A rest before each turn: threads of the other side that wait by spinning are asleep after it.
const REST: Duration = Duration::from_millis(300);

/// What a turn takes at least, in runs that each take less than a long one.
const TURN: Duration = Duration::from_millis(100);
const LONG_RUN: Duration = Duration::from_millis(500);

/// Runs before the timed ones, at most.
const SETTLE: usize = 4;

/// A pair in which a single run takes longer is timed once.
const LONG: Duration = Duration::from_secs(20);

/// Medians of one side's runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Median {
    pub wall_ms: f64,
    pub gpu_ms: Option<f64>,
    pub dispatches: Option<usize>,
    pub runs: usize,
}

/// Runs both in turn, ours first; alone when there is no peer. Both have run once before, for their results.
pub fn alternate(ours: &mut dyn Run, mut peer: Option<&mut (dyn Run + '_)>) -> Result<(Median, Option<Median>)> {
    let (mut mine, mut theirs) = (Vec::new(), Vec::new());
    // What is tuned on the first runs is settled when a run is no longer much faster than the one before. The last of
    // these is the measurement where runs are long.
    let mut settled = Duration::MAX;
    for _ in 0..SETTLE {
        (mine, theirs) = (Vec::new(), Vec::new());
        let start = Instant::now();
        mine.push(ours.once()?);
        let own = start.elapsed();
        if let Some(peer) = &mut peer {
            theirs.push(peer.once()?);
        }
        let before = std::mem::replace(&mut settled, own.max(start.elapsed() - own));
        if settled > before / 10 * 7 {
            break;
        }
    }
    if settled < LONG {
        (mine, theirs) = (Vec::new(), Vec::new());
        let mut busy = Duration::ZERO;
        for turns in 1..=ENOUGH {
            let own = turn(ours, &mut mine)?;
            let other = peer.as_mut().map_or(Ok(Duration::ZERO), |peer| turn(*peer, &mut theirs))?;
            busy += own.max(other);
            if turns >= LEAST && busy >= BUDGET {
                break;
            }
        }
    }
    Ok((summary(&mine), (!theirs.is_empty()).then(|| summary(&theirs))))
}

/// Some runs of one side after a rest, the first of short ones not counted: it wakes threads. Gives the time they took.
fn turn(run: &mut dyn Run, samples: &mut Vec<Sample>) -> Result<Duration> {
    std::thread::sleep(REST);
    let start = Instant::now();
    let first = run.once()?;
    if start.elapsed() >= LONG_RUN {
        samples.push(first);
        return Ok(start.elapsed());
    }
    let counted = Instant::now();
    loop {
        samples.push(run.once()?);
        if counted.elapsed() >= TURN {
            return Ok(start.elapsed());
        }
    }
}

fn summary(samples: &[Sample]) -> Median {
    let gpu: Option<Vec<f64>> = samples.iter().map(|sample| sample.gpu_ms).collect();
    Median {
        wall_ms: median(samples.iter().map(|sample| sample.wall_ms).collect()),
        gpu_ms: gpu.map(median),
        dispatches: samples.first().and_then(|sample| sample.dispatches),
        runs: samples.len(),
    }
}

/// Of none, NaN.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}
