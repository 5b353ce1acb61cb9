//! A network's outputs as forecasts of a series: quantiles in order, as often above the truth as they say.

use crate::data::baseline::predictive_quantile;
use crate::data::windows::Windows;

/// The level that stands for the forecast.
pub const MEDIAN: f64 = 0.5;

/// The place of the median among levels, or of the one number where there are none.
pub fn middle(levels: &[f64]) -> usize {
    levels.iter().position(|level| *level == MEDIAN).unwrap_or(0)
}

/// The fewest validation windows that quantiles are calibrated on, and the fewest that are halved to see how well that works.
pub const CALIBRATED_ON: usize = 4;
pub const HALVED: usize = 20;

/// Forecasts of windows, in the targets' units: `[windows, goals, levels]`, ascending from level to level.
pub struct Forecasts {
    values: Vec<f64>,
    goals: usize,
    pub levels: usize,
}

impl Forecasts {
    /// From a network's outputs, whose distances from the median are multiplied by `factors`. Those of columns
    /// that are never negative are not negative either.
    pub fn new(
        windows: &Windows,
        starts: &[usize],
        outputs: &[f32],
        factors: &[f64],
        median: usize,
        floors: &[bool],
    ) -> Self {
        let goals = windows.goals();
        let levels = outputs.len() / (starts.len() * goals).max(1);
        let mut values = Vec::with_capacity(outputs.len());
        let each = starts.iter().flat_map(|&start| (0..goals).map(move |goal| (start, goal)));
        for ((start, goal), outputs) in each.zip(outputs.chunks(levels.max(1))) {
            let mut of_goal = ascending(outputs);
            let middle = of_goal.get(median).copied();
            for (level, output) in of_goal.iter_mut().enumerate() {
                if let (Some(middle), Some(factor)) = (middle, factors.get(goal * levels + level))
                    && level != median
                {
                    *output = middle + factor * distance(*output - middle, level < median);
                }
                let value = windows.value(start, goal, *output);
                *output = if floors[goal] { value.max(0.0) } else { value };
            }
            of_goal.sort_by(f64::total_cmp);
            values.extend(of_goal);
        }
        Self { values, goals, levels }
    }

    /// Those of one goal and level.
    pub fn of(&self, goal: usize, level: usize) -> impl Iterator<Item = f64> + Clone + '_ {
        self.values.iter().skip(goal * self.levels + level).step_by(self.goals * self.levels).copied()
    }

    /// How much of the truth lies in a goal's outermost interval, of those validation windows that are `taken`.
    pub fn coverage(&self, windows: &Windows, goal: usize, taken: impl Fn(usize) -> bool) -> Coverage {
        let (low, high) = (self.of(goal, 0), self.of(goal, self.levels - 1));
        let all = windows.valid.iter().zip(low.zip(high)).enumerate().filter(|(at, _)| taken(*at));
        let (mut inside, mut width, mut count) = (0u32, 0.0, 0u32);
        for (_, (&start, (low, high))) in all {
            inside += u32::from((low..=high).contains(&windows.truth(start, goal)));
            width += high - low;
            count += 1;
        }
        Coverage { share: f64::from(inside) / f64::from(count), width: width / f64::from(count) }
    }
}

/// A goal's outputs in order: a network may let quantiles cross.
pub fn ascending(outputs: &[f32]) -> Vec<f64> {
    let mut outputs: Vec<f64> = outputs.iter().map(|&output| f64::from(output)).collect();
    outputs.sort_by(f64::total_cmp);
    outputs
}

/// How much of the truth lies within an interval, and how wide that is.
pub struct Coverage {
    pub share: f64,
    pub width: f64,
}

/// What each quantile's distance from the median must be multiplied by so that the truth lies below it as often as its level
/// says, over those validation windows that are `taken`: conformal prediction, one quantile at a time (Romano, Patterson,
/// Candès, "Conformalized Quantile Regression", NeurIPS 2019). The median stays, and none crosses it.
pub fn calibrate(windows: &Windows, known: &[f64], outputs: &[f32], taken: impl Fn(usize) -> bool) -> Vec<f64> {
    let (goals, levels, middle) = (windows.goals(), known.len(), middle(known));
    let mut factors = vec![1.0; goals * levels];
    let taken: Vec<usize> = (0..windows.valid.len()).filter(|&at| taken(at)).collect();
    if taken.len() < CALIBRATED_ON || known.is_empty() {
        return factors;
    }
    let wanted = windows.changes(&windows.valid);
    for goal in 0..goals {
        let mut ratios = vec![Vec::with_capacity(taken.len()); levels];
        for &at in &taken {
            let of_goal = ascending(&outputs[(at * goals + goal) * levels..][..levels]);
            let off = f64::from(wanted[at * goals + goal]) - of_goal[middle];
            let each = ratios.iter_mut().enumerate();
            each.for_each(|(level, ratios)| {
                ratios.push(off / distance(of_goal[level] - of_goal[middle], level < middle))
            });
        }
        for (level, mut ratios) in ratios.into_iter().enumerate().filter(|(level, _)| *level != middle) {
            ratios.sort_unstable_by(f64::total_cmp);
            // Below the median a larger ratio is farther down.
            let share = if level < middle { 1.0 - known[level] } else { known[level] };
            factors[goal * levels + level] = predictive_quantile(&ratios, share).max(0.0);
        }
    }
    factors
}

/// A quantile's distance from the median, which is never none.
fn distance(off: f64, below: bool) -> f64 {
    const LEAST: f64 = 1e-6;
    if below { off.min(-LEAST) } else { off.max(LEAST) }
}

/// Whether each goal is of a column that is never negative, and shall not be.
pub fn floors(windows: &Windows, never_negative: &[bool], negative: bool) -> Vec<bool> {
    let horizons = windows.shape().horizons.len();
    (0..windows.goals()).map(|goal| !negative && never_negative[goal / horizons]).collect()
}
