//! Layers of every cell, with every strategy, precision and option, against the CPU executor in f64.

use std::time::Instant;

use wgpu_rnn::gpu::AdapterKind;
use wgpu_rnn::nn::rnn::Options;
use wgpu_rnn::nn::{GRADIENT_BOUND, HALF_BOUND, OUTPUT_BOUND, relative_error};
use wgpu_rnn::plan::{Mode, STRATEGIES, Strategy};
use wgpu_rnn::{Bias, Cell, Device, Direction, Number, Precision, Recipe, RnnConfig, StepOptions, Zoneout};

use super::findings::{Check, Off, Verdict};
use super::layer::{Layer, Tensor};

/// Names a check, as the table and the failures do, whose results are falsified: to see that it is noticed.
pub const PLANT: &str = "WGPU_RNN_DOCTOR_PLANT";

/// A layer to check.
pub struct Case {
    pub group: String,
    pub name: String,
    pub layer: Layer,
    strategy: &'static dyn Strategy,
}

/// T, B, I, H: no multiple of anything, and whole vectors.
const SHORT: [[usize; 4]; 2] = [[7, 3, 5, 19], [4, 4, 8, 32]];
/// More of them: many sequences, one with many units, and layers that fill a workgroup.
const LONG: [[usize; 4]; 4] = [[16, 33, 24, 64], [5, 1, 40, 130], [3, 70, 7, 96], [2, 5, 64, 300]];

/// Every case for a device; `quick` leaves out sizes, and options of all cells but two.
pub fn all(device: &Device, quick: bool) -> Vec<Case> {
    let mut all = Vec::new();
    // On a device of the other kind no strategy but its own has anything to say.
    let own = |strategy: &&&'static dyn Strategy| (strategy.name() == "native") == device.gpu().is_none();
    for &strategy in STRATEGIES.iter().filter(own) {
        for &cell in Cell::ALL {
            let mut add = |kind: &str, name: String, mut layer: Layer| {
                layer.options.strategy = Some(strategy.name());
                let group = format!("{} {}{kind}", cell.name(), strategy.name());
                all.push(Case { group, name, layer, strategy });
            };
            let of = |[steps, batch, input, hidden]: [usize; 4]| {
                Layer::new(RnnConfig::new(cell, input, hidden), steps, batch)
            };
            let sizes = SHORT.into_iter().chain(LONG.into_iter().filter(|_| !quick));
            for size in sizes {
                add("", name(&of(size), ""), of(size));
            }
            if !quick || [Cell::Lstm, Cell::Gru].contains(&cell) {
                for (what, layer) in options(device, strategy.name(), of(SHORT[0])) {
                    add(" options", name(&layer, what), layer);
                }
            }
            for (what, layer) in half(of(SHORT[0])) {
                add(" half", name(&layer, what), layer);
            }
        }
    }
    all
}

/// Each option of a plan, and what a call may leave out.
fn options(device: &Device, strategy: &str, plain: Layer) -> Vec<(&'static str, Layer)> {
    let with = |options: Options<'static>| Layer { options, ..plain.clone() };
    let deep = plain.config.layers(2).bidirectional(true);
    let lengths = Options { lengths: true, ..Options::default() };
    let padded = |config, options| Layer { config, lengths: Some(vec![7, 1, 4]), ..with(options) };
    let none = Layer { config: plain.config.bias(false), states: false, ..plain.clone() };
    let infers = Layer { mode: Mode::Infer, ..plain.clone() };
    let mut all = vec![
        ("lengths", padded(plain.config, lengths)),
        ("two layers, two directions, lengths", padded(deep, lengths)),
        ("no biases, no states", none),
        ("inference", infers.clone()),
        ("two layers, two directions, inference", Layer { config: deep, ..infers.clone() }),
        ("norms of gradients, lengths", padded(plain.config, Options { flow: true, ..lengths })),
    ];
    let has_product = plain.config.recipe().has_product();
    let bias = if has_product { Bias::Recurrent } else { Bias::Input };
    let one = plain.config.bias(bias).direction(Direction::Reverse).learn_state(true);
    all.push((
        "one bias, from the end alone, learnt initial states, added gradients",
        Layer { states: false, accumulates: true, ..padded(one, lengths) },
    ));
    let dropped = plain.config.layers(2).dropout(0.2).input_dropout(0.2);
    all.push(match has_product {
        true => ("three dropouts", Layer { config: dropped.weight_dropout(0.2), ..plain.clone() }),
        false => ("two dropouts", Layer { config: dropped, ..plain.clone() }),
    });
    all.push(("two layers, a step a call", Layer { config: plain.config.layers(2), streams: true, ..infers.clone() }));
    // Chunks that any class of device rounds to less than all steps.
    let long = Layer::new(RnnConfig::new(plain.config.cell, 4, 8).layers(2), 24, 32);
    let recomputed = Options { recompute: Some(8), ..Options::default() };
    all.push(("recomputation", Layer { options: recomputed, ..long }));
    if strategy == "native" {
        // On a GPU the self-test of its kernels goes through these.
        let cell = plain.config.cell;
        let changed = Recipe::texts().filter(|recipe| recipe.cell() == cell && !recipe.is_plain());
        all.extend(changed.map(|recipe| {
            ("options of its step", Layer { config: plain.config.options(recipe.options()), ..plain.clone() })
        }));
    }
    if strategy == "sequence" {
        all.push(("two steps a dispatch", with(Options { span: Some(2), ..Options::default() })));
    }
    let software = device.gpu().is_some_and(|gpu| gpu.capabilities().kind == AdapterKind::Software);
    if strategy == "stepwise" && software {
        let options = Options { repack: Some(true), ..Options::default() };
        all.push(("weights packed as they are needed", Layer { options, ..infers }));
    }
    all
}

/// Half precision inside, and outside too.
fn half(plain: Layer) -> Vec<(&'static str, Layer)> {
    let options = Options { precision: Precision::Half, ..Options::default() };
    let inside = Layer { options, ..plain };
    let deep = Layer { config: inside.config.layers(2).bidirectional(true), ..inside.clone() };
    // Without corners, at which rounding alone may be too much.
    let (cell, share) = (inside.config.cell, Some(Number::from(0.25)));
    let (is_lstm, reset_before) = (cell == Cell::Lstm, cell == Cell::Gru);
    let zoneout = Zoneout { h: share, c: share.filter(|_| is_lstm) };
    let options = StepOptions { peephole: is_lstm, coupled: is_lstm, resets: true, zoneout, ..StepOptions::NONE };
    let drops = share.filter(|_| inside.config.recipe().has_product());
    let options = StepOptions { reset_before, recurrent_dropout: drops, ..options };
    let changed = Layer { config: inside.config.options(options), ..inside.clone() };
    vec![
        ("options of its step", changed),
        ("f16 inside", inside.clone()),
        ("x and y in f16 too", Layer { half_sequences: true, ..inside }),
        ("two layers, two directions", deep),
    ]
}

fn name(layer: &Layer, what: &str) -> String {
    let (c, s) = (&layer.config, layer.shape);
    let size = format!("T{} B{} I{} H{}", s.steps, s.batch, c.input, c.hidden);
    if what.is_empty() { size } else { format!("{size}, {what}") }
}

impl Case {
    /// Runs it on `device`, twice, and on the `oracle`.
    pub fn check(&self, device: &Device, oracle: &Device) -> Check {
        let start = Instant::now();
        let (off, verdict) = match self.skipped(device) {
            Some(why) => (None, Verdict::Skip(why)),
            None => match self.compare(device, oracle) {
                Ok((off, verdict)) => (Some(off), verdict),
                Err(error) => (None, Verdict::Fail(error.to_string())),
            },
        };
        let ms = start.elapsed().as_secs_f64() * 1e3;
        Check { group: self.group.clone(), name: self.name.clone(), verdict, off, ms }
    }

    fn skipped(&self, device: &Device) -> Option<String> {
        let Layer { config, shape, mode, options, .. } = &self.layer;
        if options.precision == Precision::Half && !device.gpu().is_some_and(|gpu| gpu.capabilities().f16) {
            return Some("the device has no f16".to_string());
        }
        self.strategy.fits(device, config, *shape, *mode).err()
    }

    fn compare(&self, device: &Device, oracle: &Device) -> wgpu_rnn::Result<(Off, Verdict)> {
        let mut ran = self.layer.run(device)?;
        let want = self.layer.reference().run(oracle)?;
        plant(&self.group, &self.name, &mut ran.first);
        let half = self.layer.options.precision == Precision::Half;
        let bounds = if half { [HALF_BOUND; 2] } else { [OUTPUT_BOUND, GRADIENT_BOUND] };
        let (off, mut verdict) = compare(&ran.first, &want.first, bounds);
        if verdict == Verdict::Pass {
            if let Some(why) = differs(&ran.first, &ran.second) {
                verdict = Verdict::Fail(why);
            } else if ran.predicted != ran.allocated {
                let (predicted, allocated) = (ran.predicted, ran.allocated);
                verdict = Verdict::Fail(format!("{allocated:?} bytes were allocated, and {predicted:?} predicted"));
            }
        }
        Ok((off, verdict))
    }
}

/// The result that is furthest off, and whether all are within their bounds: one of outputs, one of gradients.
pub fn compare(got: &[Tensor], want: &[Tensor], [output, gradient]: [f64; 2]) -> (Off, Verdict) {
    let mut worst: Option<(&str, Off)> = None;
    let mut missing = got.len() != want.len();
    for (got, want) in got.iter().zip(want) {
        missing |= got.name != want.name || got.values.len() != want.values.len();
        let bound = if got.gradient { gradient } else { output };
        let off = Off { error: relative_error(&got.values, &want.values), bound };
        if worst.is_none_or(|(_, worst)| off.share() > worst.share()) {
            worst = Some((&got.name, off));
        }
    }
    let (name, off) = worst.unwrap_or(("nothing", Off { error: f64::INFINITY, bound: output }));
    let verdict = match () {
        () if missing => Verdict::Fail("it did not give the results that the reference gives".to_string()),
        () if off.error <= off.bound => Verdict::Pass,
        () => Verdict::Fail(format!("`{name}` is off by {:.3e}, at most {:.0e}", off.error, off.bound)),
    };
    (off, verdict)
}

/// Which result has other bits the second time, if one has.
pub fn differs(first: &[Tensor], second: &[Tensor]) -> Option<String> {
    let same = |(one, two): &(&Tensor, &Tensor)| {
        one.values.iter().map(|value| value.to_bits()).eq(two.values.iter().map(|value| value.to_bits()))
    };
    let (one, _) = first.iter().zip(second).find(|pair| !same(pair))?;
    Some(format!("a second run gave other bits in `{}`", one.name))
}

/// Falsifies a result of the check that [`PLANT`] names.
pub fn plant(group: &str, name: &str, results: &mut [Tensor]) {
    let planted = std::env::var(PLANT).is_ok_and(|planted| planted == format!("{group}: {name}"));
    if let Some(value) = results.first_mut().filter(|_| planted).and_then(|tensor| tensor.values.first_mut()) {
        *value += 1.0;
    }
}

#[cfg(test)]
mod tests {
    use super::super::findings::Verdict;
    use super::super::layer::Tensor;
    use super::{compare, differs};

    fn tensor(values: &[f64]) -> Tensor {
        Tensor { name: "y".to_string(), values: values.to_vec(), gradient: false }
    }

    #[test]
    fn what_is_off_fails() {
        let (want, bounds) = ([tensor(&[3.0, 4.0])], [1e-5, 1e-4]);
        let of = |values: &[f64]| compare(&[tensor(values)], &want, bounds);
        assert_eq!(of(&[3.0, 4.0 + 4e-5]).1, Verdict::Pass);
        let (off, verdict) = of(&[3.0, 4.001]);
        assert!((off.error - 2e-4).abs() < 1e-8 && off.bound == 1e-5);
        assert_eq!(verdict, Verdict::Fail("`y` is off by 2.000e-4, at most 1e-5".to_string()));
        assert_eq!(of(&[3.0, f64::NAN]).0.error, f64::INFINITY);
        for verdict in
            [of(&[3.0]).1, of(&[f64::NAN, 4.0]).1, compare(&[], &want, bounds).1, compare(&[], &[], bounds).1]
        {
            assert!(matches!(verdict, Verdict::Fail(_)));
        }
    }

    #[test]
    fn other_bits_are_seen() {
        assert_eq!(differs(&[tensor(&[0.0])], &[tensor(&[0.0])]), None);
        let why = differs(&[tensor(&[0.0])], &[tensor(&[-0.0])]);
        assert_eq!(why.as_deref(), Some("a second run gave other bits in `y`"));
    }
}
