//! Which strategy a plan takes, and the reasons that it gives.

mod common;

use common::{Layer, small_bindings, tiled};
use wgpu_rnn::gpu::AdapterKind;
use wgpu_rnn::kernel::Op;
use wgpu_rnn::nn::rnn::{Options, Rnn};
use wgpu_rnn::plan::{Mode, STRATEGIES};
use wgpu_rnn::{BatchShape, Cell, Device, Result, RnnConfig};

fn plan(device: &Device, steps: usize, mode: Mode, strategy: Option<&str>) -> Result<Rnn> {
    let options = Options { strategy, ..Options::default() };
    Rnn::new(device, RnnConfig::new(Cell::RnnTanh, 1, 1), BatchShape::new(steps, 1), mode, options)
}

#[test]
fn a_plan_says_why_it_has_its_strategy_and_no_other() {
    for device in [tiled(AdapterKind::Software), tiled(AdapterKind::Gpu), Device::cpu().expect("CPU")] {
        let chosen = plan(&device, 4, Mode::Train, None).expect("a plan");
        for strategy in STRATEGIES {
            let (name, why) = (strategy.name(), chosen.why());
            let fits = strategy.fits(&device, chosen.config(), chosen.shape(), Mode::Train);
            match fits {
                Ok(()) if name == chosen.strategy() => {
                    assert!(why.starts_with(strategy.because()), "{why}");
                    assert!(!why.contains(&format!("`{name}`")), "{why}");
                }
                Ok(()) => assert!(why.contains(&format!("not `{name}`, which fits too")), "{why}"),
                Err(reason) => assert!(why.contains(&format!("not `{name}` because {reason}")), "{why}"),
            }
        }
        let forced = plan(&device, 4, Mode::Train, Some(chosen.strategy())).expect("a plan");
        assert_eq!((forced.strategy(), forced.why()), (chosen.strategy(), "it was asked for"));
    }
}

/// A submit to a software adapter takes 50,000 dispatches: more of them are more submits, up to what a host encodes. Forward
/// needs T and those around chunks, backward T + 1.
#[test]
fn stepwise_counts_the_dispatches_of_its_mode() {
    let device = tiled(AdapterKind::Software);
    let fits = |steps, mode| plan(&device, steps, mode, Some("stepwise")).map(|plan| plan.strategy());
    assert!(fits(60_000, Mode::Infer).is_ok() && fits(999_999, Mode::Train).is_ok());
    // Inference has 3877 chunks of 512 steps, with four dispatches around each.
    for (steps, mode, needed) in [(1_985_000, Mode::Infer, 2_000_508), (1_000_000, Mode::Train, 2_000_001)] {
        let why = fits(steps, mode).expect_err("too many").to_string();
        let want = format!("it needs at least {needed} dispatches, and a recording takes 2000000");
        assert_eq!(why, format!("strategy `stepwise` can't run here: {want}"));
    }
}

/// A dispatch a step where it is short; chunks add one each to backward.
#[test]
fn a_step_is_a_dispatch() {
    for device in [tiled(AdapterKind::Software), small_bindings(4 << 10)] {
        let layer = Layer::random(RnnConfig::new(Cell::Lstm, 3, 5).layers(2), 20, 4, 1);
        let running = layer.bind(&device, Mode::Train).expect("a layer");
        let options = Options { strategy: Some("stepwise"), ..Options::default() };
        let rnn = Rnn::new(&device, layer.config, layer.shape, Mode::Train, options).expect("a plan");
        let (reserve, workspace) = (rnn.reserve().expect("memory"), rnn.workspace().expect("memory"));
        let bound = rnn.bind(&running.params, "", &running.io, &running.gradients, &reserve, &workspace);
        let bound = bound.expect("a bound layer");
        let ops = bound.forward.ops().iter().chain(bound.backward.ops());
        let steps: usize = ops.filter(|op| op.is_stepped()).map(Op::dispatches).sum();
        assert_eq!(steps, 2 * (20 + 20 + rnn.chunks()), "{} chunks", rnn.chunks());
        assert_eq!(rnn.chunks() > 1, device.gpu().is_some_and(|gpu| gpu.capabilities().max_binding == 4 << 10));
    }
}
