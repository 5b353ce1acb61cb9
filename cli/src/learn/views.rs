//! How a network shall see a series: what short trainings validate best.

use anyhow::Result;
use wgpu_rnn::{Device, RnnConfig};

use super::training::{Plan, train};
use crate::base::numbers::{apart, plural};
use crate::base::progress::Progress;
use crate::base::say;
use crate::data::windows::View;
use crate::net::{Model, Setup};
use crate::task::Stored;

/// Training steps of each, unless the net itself has fewer.
const TRIAL: usize = 200;

/// The same data as the view shows them that a short training of such a net validates best, and says which that is. Data that
/// can be seen in one way only are given back, and those that were asked for in one.
pub fn choose(
    device: &Device,
    task: Box<dyn Stored>,
    asked: Option<View>,
    config: RnnConfig,
    seed: u64,
    updates: usize,
) -> Result<Box<dyn Stored>> {
    let views = if asked.is_some() { Vec::new() } else { task.views() };
    let (mut tried, steps) = (Vec::new(), updates.min(TRIAL));
    if !views.is_empty() {
        say(format_args!(
            "inputs: {} trainings of {} find out how the net sees them best",
            views.len(),
            plural(steps, "step")
        ))?;
    }
    for (view, seen) in views {
        let setup = Setup { updates: steps, ..Setup::new(seed, seen.usual().rate) };
        let mut model = Model::new(device, config, seen.form(), setup)?;
        let learned = train(&mut model, &*seen, seed, Plan::short(steps), &Progress::silent())?;
        tried.push((view, learned.best_error, seen));
    }
    let written = apart(&tried.iter().map(|(_, error, _)| *error).collect::<Vec<_>>());
    let all: Vec<String> =
        tried.iter().zip(written).map(|((view, ..), error)| format!("{} {error}", view.name())).collect();
    let Some((view, _, seen)) = tried.into_iter().min_by(|a, b| a.1.total_cmp(&b.1)) else { return Ok(task) };
    say(format_args!(
        "inputs: {} (--view {}), which validates best after {steps} steps: {}",
        view.title(),
        view.name(),
        all.join(", ")
    ))?;
    Ok(seen)
}
