//! Devices are believed after they have shown that they are right: planted faults are found by checks, not chosen, and named
//! in the reasons; what a driver refuses is replaced by the next that it takes.

mod common;

use common::{GRADIENT_BOUND, Layer, OUTPUT_BOUND, assert_close, assert_same_bits, forced, unproven, wgpu_device_with};
use wgpu_rnn::gpu::{AdapterKind, Plant, Subject};
use wgpu_rnn::kernel::gemm::{Gemm, Matrix};
use wgpu_rnn::kernel::{Op, Program};
use wgpu_rnn::nn::rnn::{Options, Rnn};
use wgpu_rnn::nn::{Case, Extent};
use wgpu_rnn::plan::Mode;
use wgpu_rnn::{BatchShape, Cell, Device, Error, Precision, Recipe, Result, RnnConfig};

/// States that are a hundredth too large.
const WRONG: Plant = Plant::Text(
    "return cell_forward(at, x, r, h, c);",
    "var done = cell_forward(at, x, r, h, c); done.h *= 1.01; return done;",
);
/// Gradients of states that are a hundredth too large.
const WRONG_BACKWARD: Plant = Plant::Text(
    "return cell_backward(at, saved, h, c_before, c, dh, dc);",
    "var done = cell_backward(at, saved, h, c_before, c, dh, dc); done.dh *= 1.01; return done;",
);
/// Text that no compiler takes.
const REFUSED: Plant = Plant::Text("fn main(", "fn main(unheard of, ");

/// A device with faults, that nobody else learns of.
fn faulty(kind: AdapterKind, faults: &[(&str, Plant)]) -> Device {
    let device = unproven(kind);
    for (kernel, fault) in faults {
        device.gpu().expect("a GPU").plant(kernel, fault.clone());
    }
    device
}

fn small(cell: Cell) -> Layer {
    Layer::random(RnnConfig::new(cell, 3, 5), 6, 2, 1)
}

fn plan_as(device: &Device, cell: Cell, mode: Mode, precision: Precision, strategy: Option<&str>) -> Result<Rnn> {
    let options = Options { strategy, precision, ..Options::default() };
    Rnn::new(device, RnnConfig::new(cell, 3, 5), BatchShape::new(6, 2), mode, options)
}

fn plan(device: &Device, cell: Cell, mode: Mode) -> Rnn {
    plan_as(device, cell, mode, Precision::Full, None).expect("a plan")
}

/// The layer is right on the device, whatever runs it.
#[track_caller]
fn assert_right(device: &Device, layer: &Layer) {
    let want = layer.run(&Device::oracle().expect("oracle"));
    assert_close(&format!("{device:?}"), &layer.run(device), &want, OUTPUT_BOUND, GRADIENT_BOUND);
}

#[test]
fn a_wrong_sequence_strategy_is_not_chosen() {
    for kind in [AdapterKind::Software, AdapterKind::Gpu] {
        let sound = unproven(kind);
        assert_eq!(plan(&sound, Cell::Lstm, Mode::Train).strategy(), "sequence");
        assert!(sound.gpu().expect("a GPU").doubts().is_empty(), "{:?}", sound.gpu().map(|gpu| gpu.doubts()));
        let device = faulty(kind, &[("sequence_forward", WRONG)]);
        for mode in [Mode::Infer, Mode::Train] {
            let rnn = plan(&device, Cell::Lstm, mode);
            assert_eq!(rnn.strategy(), "stepwise");
            assert!(rnn.why().contains("not `sequence` because its check had `y` off by "), "{}", rnn.why());
        }
        assert_right(&device, &small(Cell::Lstm));
        // One that is asked for by name is an error with the reason.
        let error =
            plan_as(&device, Cell::Lstm, Mode::Infer, Precision::Full, Some("sequence")).err().expect("a doubt");
        assert!(error.to_string().starts_with("strategy `sequence` can't run here: its check had `y` off"), "{error}");
        // The fault is this device's alone.
        assert_eq!(plan(&unproven(kind), Cell::Lstm, Mode::Train).strategy(), "sequence");
    }
}

#[test]
fn a_strategy_that_is_wrong_backward_still_infers() {
    let device = faulty(AdapterKind::Software, &[("sequence_backward", WRONG_BACKWARD)]);
    let (infer, train) = (plan(&device, Cell::Gru, Mode::Infer), plan(&device, Cell::Gru, Mode::Train));
    assert_eq!((infer.strategy(), train.strategy()), ("sequence", "stepwise"));
    assert!(train.why().contains("not `sequence` because its check had `"), "{}", train.why());
    assert_right(&device, &small(Cell::Gru));
}

#[test]
fn where_nothing_is_right_the_cpu_runs() {
    let faults = [("sequence_forward", WRONG), ("recurrent_forward", WRONG), ("recurrent_forward_shared", WRONG)];
    for kind in [AdapterKind::Software, AdapterKind::Gpu] {
        let device = faulty(kind, &faults);
        let name = device.name();
        let error = plan_as(&device, Cell::Gru, Mode::Infer, Precision::Full, None).err().expect("nothing runs");
        assert!(matches!(&error, Error::Strategy { .. }) && error.to_string().contains("its check had `y`"), "{error}");
        let cpu = pollster::block_on(device.or_cpu()).expect("the CPU");
        assert_eq!(cpu.kind_name(), "cpu");
        let why = cpu.why();
        assert!(why.starts_with(&format!("{name} is not used: ")) && why.contains("not `stepwise` because"), "{why}");
        assert_right(&cpu, &small(Cell::Gru));
        let sound = pollster::block_on(unproven(kind).or_cpu()).expect("a device");
        assert_ne!(sound.kind_name(), "cpu");
    }
}

#[test]
fn half_precision_that_is_wrong_is_not_available() {
    let (device, queue) = wgpu_device_with(wgpu::Features::SHADER_F16, |_| wgpu::Limits::defaults());
    let device = Device::from_wgpu_as(device, queue, AdapterKind::Software);
    let gpu = device.gpu().expect("a GPU");
    if !gpu.capabilities().f16 {
        return;
    }
    // Wrong where the state is carried beside what is stored, which is in half precision alone.
    for kernel in ["sequence_forward", "recurrent_forward"] {
        gpu.plant(
            kernel,
            Plant::Text(
                "return cell_forward(at, x, r, h, c);",
                "var done = cell_forward(at, x, r, h, c); done.h *= select(1.0, 1.5, CARRIED == 1u); return done;",
            ),
        );
    }
    assert_eq!(plan(&device, Cell::Gru, Mode::Train).strategy(), "sequence");
    let half = || plan_as(&device, Cell::Gru, Mode::Train, Precision::Half, None);
    for error in [half().err(), half().err(), device.alloc_half("x", 4).err()] {
        let error = error.expect("no half precision");
        assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
        let text = error.to_string();
        assert!(
            text.contains("half precision is not available for") && text.contains("because its check had"),
            "{text}"
        );
    }
    assert_right(&device, &small(Cell::Gru));
}

/// A pipeline that the driver refuses, and one whose compiler panics.
#[test]
fn what_does_not_compile_is_replaced() {
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !info.to_string().contains("a planted panic") {
            quiet(info);
        }
    }));
    for (fault, said) in [(REFUSED, "it did not compile"), (Plant::Panic, "wgpu panicked: a planted panic")] {
        for kernel in ["sequence_forward", "sequence_backward"] {
            let device = faulty(AdapterKind::Gpu, &[(kernel, fault.clone())]);
            let rnn = plan(&device, Cell::RnnTanh, Mode::Train);
            assert_eq!(rnn.strategy(), "stepwise", "{kernel}");
            assert!(rnn.why().contains("not `sequence` because") && rnn.why().contains(said), "{}", rnn.why());
            assert_right(&device, &small(Cell::RnnTanh));
        }
        // The strategy for everything has tiles of its own to go on to, and the device goes on.
        let device = faulty(AdapterKind::Gpu, &[("recurrent_forward_shared", fault.clone())]);
        let device = forced(device, "stepwise", None);
        assert_right(&device, &small(Cell::RnnTanh));
        assert!(device.lost().is_none());
    }
}

/// A tile that is not trusted is replaced by the next one.
#[test]
fn tiles_are_replaced_one_by_one() {
    let device = unproven(AdapterKind::Gpu);
    let gpu = device.gpu().expect("a GPU");
    let layer = Layer::random(RnnConfig::new(Cell::Gru, 8, 32), 8, 8, 3);
    let tile_of = |strategy: &str, kernel: &str| {
        let options = Options { strategy: Some(strategy), ..Options::default() };
        let rnn = Rnn::new(&device, layer.config, layer.shape, Mode::Train, options).expect("a plan");
        let running = layer.bind(&device, Mode::Train).expect("a layer");
        let bound = rnn.bind(
            &running.params,
            "",
            &running.io,
            &running.gradients,
            &rnn.reserve().expect("memory"),
            &rnn.workspace().expect("memory"),
        );
        let bound = bound.expect("a bound layer");
        let op = bound.forward.ops().iter().find(|op| op.name().starts_with(kernel)).expect("a kernel");
        (op.name(), op.variant())
    };
    for (strategy, kernel) in [("sequence", "sequence_forward"), ("stepwise", "recurrent_forward")] {
        let mut seen = Vec::new();
        for _ in 0..2 {
            let (name, variant) = tile_of(strategy, kernel);
            assert!(!seen.contains(&variant), "{variant} again, after {seen:?}");
            gpu.distrust(Subject::variant(name, variant.clone()), "it was distrusted by hand");
            seen.push(variant);
        }
        assert_right(&device, &layer);
    }

    let product = |device: &Device| {
        let matrix = |rows: usize, columns: usize| {
            Matrix::dense(&device.alloc("a product", rows * columns).expect("memory"), columns)
        };
        let mut program = Program::default();
        let call = Gemm::plain(64, 64, 32, matrix(64, 32), matrix(32, 64), matrix(64, 64));
        call.add_to(device, &mut program).expect("a product");
        program.ops().first().map(|op: &Op| (op.name(), op.variant(), op.why())).expect("an op")
    };
    let (name, variant, _) = product(&device);
    assert_eq!(name, "gemm_staged_vector");
    gpu.distrust(Subject::kernel(name), "it was distrusted by hand");
    let (other, _, why) = product(&device);
    assert_eq!((other, why), ("gemm", Some("the table's tile is not trusted on this adapter")), "after {variant}");
    let refused = faulty(AdapterKind::Gpu, &[("gemm_staged_vector", REFUSED)]);
    assert_eq!(product(&refused).0, "gemm");
}

/// What is known against a kernel is an error where it is the only one, and the reason is kept.
#[test]
fn what_is_distrusted_by_hand_is_not_compiled() {
    let device = unproven(AdapterKind::Software);
    let gpu = device.gpu().expect("a GPU");
    let transpose = Subject::kernel("transpose");
    let prepare = Subject::kernel("recurrent_prepare");
    let bind = || small(Cell::Gru).bind(&device, Mode::Infer);
    let want = small(Cell::Gru).run(&device);
    // What packs alone has others beside it.
    gpu.distrust(prepare.clone(), "somebody said so");
    let names: Vec<_> = bind().expect("a layer").bound.forward.ops().iter().map(Op::name).collect();
    assert!(names.contains(&"transpose") && !names.contains(&"recurrent_prepare"), "{names:?}");
    assert_same_bits("packed by others", &small(Cell::Gru).run(&device), &want);
    gpu.distrust(transpose.clone(), "somebody else said so");
    let error = bind().err().expect("it is not used");
    assert!(error.to_string().contains("somebody else said so"), "{error}");
    assert!([prepare, transpose].iter().all(|subject| gpu.doubts().iter().any(|doubt| doubt.subject == *subject)));
    // Of this device alone.
    assert!(unproven(AdapterKind::Software).gpu().expect("a GPU").doubts().is_empty());
}

#[test]
fn a_check_reports_every_case() {
    for device in [unproven(AdapterKind::Software), unproven(AdapterKind::Gpu), Device::cpu().expect("the CPU")] {
        let before = device.gpu().map(|gpu| (gpu.counters(), gpu.pool_use()));
        let report = device.check(Extent::Short).expect("a report");
        assert!(report.passed(), "{:#?}", report.failures().collect::<Vec<_>>());
        assert_eq!(device.gpu().map(|gpu| (gpu.counters(), gpu.pool_use())), before, "it leaves no trace");
        for &cell in Cell::ALL {
            let strategies: &[&str] = match (device.gpu(), Recipe::from(cell).has_product()) {
                (Some(_), true) => &["sequence", "stepwise"],
                (Some(_), false) => &["scan"],
                (None, _) => &["native"],
            };
            for strategy in strategies {
                let of =
                    report.cases.iter().filter(|case| case.subject == Subject::strategy_of(*strategy, cell, false));
                assert_eq!(of.count(), 2, "{strategy} {cell}");
            }
        }
        for case in &report.cases {
            assert!(case.error.is_some_and(|error| error <= case.bound), "{case:?}");
            println!(
                "{:60} {:9.1e} {:6.0} ms {:6.1} ms",
                case.case,
                case.error.unwrap_or(0.0),
                case.prepare_ms,
                case.run_ms
            );
        }
        assert!(Case::all(&device, Extent::Full).len() > report.cases.len());
    }
    // And what is wrong is in it, under what it is about.
    let device =
        faulty(AdapterKind::Software, &[("gemm", Plant::Text("c[at] = c_t(value)", "c[at] = c_t(value + 0.1)"))]);
    let report = device.check(Extent::Short).expect("a report");
    let wrong = report.failures().find(|case| case.subject == Subject::kernel("gemm")).expect("a failure");
    assert!(wrong.failure.as_ref().is_some_and(|why| why.starts_with("its check had `c` off by")), "{wrong:?}");
}
