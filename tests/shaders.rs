//! Every kernel with every cell and constant it can be composed with: valid WGSL, the buffers that the host binds,
//! within the limits that WebGPU guarantees. No GPU is needed but for the last tests, on what is compiled when.

mod common;

use std::collections::{BTreeSet, HashMap, HashSet};

use common::{Layer, Model};
use wgpu::naga;
use wgpu_rnn::gpu::{AdapterKind, BindingKind, Class};
use wgpu_rnn::kernel::recurrent::{Pass, SEQUENCE_BACKWARD, SEQUENCE_FORWARD};
use wgpu_rnn::kernel::{Program, variants};
use wgpu_rnn::plan::Mode;
use wgpu_rnn::shader::{Composed, Fragment, Kernel, Members, Spec, compose};
use wgpu_rnn::{BatchShape, Cell, Recipe, RnnConfig, StepOptions};

/// What WebGPU guarantees.
const STORAGE_BUFFERS: usize = 8;
const WORKGROUP_MEMORY: u32 = 16 << 10;
const INVOCATIONS: u32 = 256;

/// The layouts that a device allows keep to its limits, and say truly what they take.
#[test]
fn sequence_layouts_keep_to_the_limits_they_are_made_for() {
    // Classes and limits share most of them.
    let mut sizes: HashMap<String, u32> = HashMap::new();
    for (invocations, memory) in [(256, 16 << 10), (512, 32 << 10), (1024, 48 << 10), (1024, 227 << 10)] {
        for class in Class::ALL {
            let caps = variants::device(class, invocations, memory);
            let passes = [(Pass::Forward, &SEQUENCE_FORWARD), (Pass::Backward, &SEQUENCE_BACKWARD)];
            for (pass, kernel) in passes {
                // A layout depends on these numbers of a recipe alone.
                let mut seen = HashSet::new();
                let numbers = |recipe: &Recipe| (recipe.gates(), recipe.saved(), recipe.states());
                for recipe in Recipe::texts().filter(|recipe| seen.insert(numbers(recipe))) {
                    let tiles: Vec<_> = variants::layouts(&caps, pass, recipe).collect();
                    assert!(tiles.len() > 20, "{recipe:?}: {} layouts", tiles.len());
                    for tile in tiles {
                        let consts = [&tile.constants()[..], &[("CARRIED", 0), ("FLOW", 1)]].concat();
                        let spec = Spec { kernel, recipe: Some(recipe), consts, halves: Vec::new() };
                        let what = describe(&spec);
                        let composed = compose(&spec);
                        let taken = *sizes.entry(composed.source.clone()).or_insert_with(|| shared(&what, &composed));
                        assert_eq!(taken, tile.memory, "{what}");
                        assert!(taken <= memory && tile.lanes <= invocations, "{what}: {tile:?}");
                        assert_eq!(tile.lanes % tile.split, 0, "{what}");
                    }
                }
            }
        }
    }
}

/// Bytes of workgroup memory that a kernel takes.
fn shared(what: &str, composed: &Composed) -> u32 {
    let module = parse(what, composed);
    let globals = module.global_variables.iter().map(|(_, global)| global);
    let shared = globals.filter(|global| global.space == naga::AddressSpace::WorkGroup);
    shared.map(|global| module.types[global.ty].inner.size(module.to_ctx())).sum()
}

fn describe(spec: &Spec) -> String {
    format!("{} of {:?} with {:?}, f16 {:?}", spec.kernel.name, spec.recipe, spec.consts, spec.halves)
}

fn parse(what: &str, composed: &Composed) -> naga::Module {
    naga::front::wgsl::parse_str(&composed.source).unwrap_or_else(|error| {
        let line = error.location(&composed.source).map_or(0, |place| place.line_number as usize);
        panic!("{what}: {}: {}", composed.locate(line), error.emit_to_string(&composed.source))
    })
}

fn validate(what: &str, spec: &Spec, composed: &Composed, module: &naga::Module) -> naga::valid::ModuleInfo {
    let flags = naga::valid::ValidationFlags::all();
    // Nothing beyond what every WebGPU implementation has, except f16 and cooperative matrices where asked for.
    let mut capabilities = naga::valid::Capabilities::empty();
    capabilities.set(naga::valid::Capabilities::SHADER_FLOAT16, !spec.halves.is_empty());
    capabilities.set(naga::valid::Capabilities::COOPERATIVE_MATRIX, spec.kernel.is_cooperative());
    let mut validator = naga::valid::Validator::new(flags, capabilities);
    validator.validate(module).unwrap_or_else(|error| panic!("{what}: {}", error.emit_to_string(&composed.source)))
}

#[test]
fn every_variant_is_valid() {
    let mut count = 0;
    for spec in variants::all() {
        let what = describe(&spec);
        let composed = compose(&spec);
        validate(&what, &spec, &composed, &parse(&what, &composed));
        count += 1;
    }
    assert!(count > 3 * variants::kernels().count(), "only {count} variants");
}

/// Sums of what may be a product that are left as they are: the gradient of h that a workgroup carries from step to step.
/// It is what the cell made in the step before, or before the first step what `carry` held, so what is added to it in the next
/// turn of the loop has no one product to be contracted with. Nor has what is added to the gradient of an initial state.
const CARRIED: [(&str, &str); 4] = [
    ("hook/operand.wgsl", "sum + gradient"),
    ("recurrent/unit_backward.wgsl", "dh + states.w"),
    ("hook/begins_anew.wgsl", "sums_for_initial(at) + gradients"),
    ("recurrent/sequence_backward.wgsl", "for_initial[own] += left.initial"),
];

/// The same bits from every pipeline of a device need that a compiler has nothing to choose: no sum that it may contract with
/// a product or not, as the text around it changes. And no selection by components of integers, which GLSL has from 4.50 on.
#[test]
fn kernels_leave_nothing_to_contract() {
    let mut found = BTreeSet::new();
    // Tiles and switches change no expression: what a constant turns off is there all the same.
    let mut seen = HashSet::new();
    let mut first = |spec: &Spec| seen.insert((spec.kernel.name, spec.recipe, spec.halves.clone()));
    for spec in variants::all().filter(|spec| first(spec)) {
        let what = describe(&spec);
        let composed = compose(&spec);
        let module = parse(&what, &composed);
        let info = validate(&what, &spec, &composed, &module);
        for (line, text) in common::ir::contractible(&module, &info, &composed.source) {
            let place = composed.locate(line);
            if !CARRIED.iter().any(|(file, sum)| place.starts_with(file) && text == *sum) {
                found.insert(format!("a sum of a product at {place}: {text}"));
            }
        }
        for (line, text) in common::ir::integer_vector_selects(&module, &info, &composed.source) {
            found.insert(format!("a selection of integers at {}: {text}", composed.locate(line)));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn bindings_are_what_the_host_binds() {
    for spec in variants::all() {
        let what = describe(&spec);
        let module = parse(&what, &compose(&spec));
        let bound = |global: &naga::GlobalVariable| global.binding.is_some();
        let mut globals: Vec<_> =
            module.global_variables.iter().map(|(_, global)| global).filter(|g| bound(g)).collect();
        globals.sort_by_key(|global| global.binding.map(|at| at.binding));
        let names: Vec<&str> = globals.iter().filter_map(|global| global.name.as_deref()).collect();
        let wanted: Vec<&str> = spec.kernel.bindings.iter().map(|binding| binding.name).collect();
        assert_eq!(names, wanted, "{what}");
        for (index, (global, binding)) in globals.iter().zip(spec.kernel.bindings).enumerate() {
            let what = format!("{what}: `{}`", binding.name);
            let at = global.binding.expect("a binding");
            assert_eq!((at.group, at.binding as usize), (0, index), "{what}");
            let load = naga::StorageAccess::LOAD;
            let space = match binding.kind {
                BindingKind::Read => naga::AddressSpace::Storage { access: load },
                BindingKind::ReadWrite => naga::AddressSpace::Storage { access: load | naga::StorageAccess::STORE },
                BindingKind::Uniform | BindingKind::Step => naga::AddressSpace::Uniform,
            };
            assert_eq!(global.space, space, "{what}");
            let size = module.types[global.ty].inner.size(module.to_ctx());
            match binding.kind {
                // The host's structure is the shader's: the same members, at the same places.
                BindingKind::Uniform => {
                    let naga::TypeInner::Struct { members, .. } = &module.types[global.ty].inner else {
                        panic!("{what} is no structure");
                    };
                    let names: Vec<_> =
                        members.iter().map(|member| member.name.as_deref().unwrap_or_default()).collect();
                    let offsets: Vec<u64> = members.iter().map(|member| u64::from(member.offset)).collect();
                    let host = spec.kernel.uniform;
                    assert_eq!((names.as_slice(), offsets.as_slice()), (host.names, host.offsets), "{what}");
                    assert_eq!(size as usize, host.bytes, "{what}");
                }
                BindingKind::Step => assert_eq!(size, 4, "{what}"),
                // Storage is an array of numbers, of two bytes where they are f16, or of four, without a fixed length.
                BindingKind::Read | BindingKind::ReadWrite => match module.types[global.ty].inner {
                    naga::TypeInner::Array { size: naga::ArraySize::Dynamic, stride, .. }
                        if [1, 4].contains(&(stride / if spec.halves.contains(&binding.name) { 2 } else { 4 })) => {}
                    ref other => panic!("{what} is {other:?}"),
                },
            }
        }
    }
}

/// Each variant keeps to the limits of every device that launches it; those of WebGPU's least among them.
#[test]
fn every_variant_keeps_to_the_limits_of_its_devices() {
    let mut limits: HashMap<Spec, [u32; 2]> = HashMap::new();
    for caps in variants::devices() {
        for spec in variants::on(vec![caps.clone()]) {
            let [invocations, memory] = limits.entry(spec).or_insert([u32::MAX; 2]);
            *invocations = caps.workgroup_invocations.min(*invocations);
            *memory = caps.workgroup_memory.min(*memory);
        }
    }
    assert!(limits.values().any(|of| *of == [INVOCATIONS, WORKGROUP_MEMORY]));
    assert!(limits.values().any(|of| *of == [1024, 48 << 10]));
    assert_eq!(limits.len(), variants::all().count());
    for (spec, [most_invocations, most_memory]) in limits {
        let what = describe(&spec);
        let storage =
            |binding: &&wgpu_rnn::shader::Binding| !matches!(binding.kind, BindingKind::Uniform | BindingKind::Step);
        // One is kept free in the kernels that options of a layer add to.
        let has_options = ["recurrent_", "sequence_"].iter().any(|name| spec.kernel.name.starts_with(name));
        let most = STORAGE_BUFFERS - usize::from(has_options);
        assert!(spec.kernel.bindings.iter().filter(storage).count() <= most, "{what}");
        let module = parse(&what, &compose(&spec));
        let shared = module.global_variables.iter().map(|(_, global)| global);
        let shared = shared.filter(|global| global.space == naga::AddressSpace::WorkGroup);
        let memory: u32 = shared.map(|global| module.types[global.ty].inner.size(module.to_ctx())).sum();
        assert!(memory <= most_memory, "{what}: {memory} bytes of workgroup memory");
        let [main] = &module.entry_points[..] else { panic!("{what}: {} entry points", module.entry_points.len()) };
        assert_eq!((main.name.as_str(), main.stage), ("main", naga::ShaderStage::Compute), "{what}");
        let invocations: u32 = main.workgroup_size.iter().product();
        assert!((1..=most_invocations).contains(&invocations), "{what}: {invocations} invocations");
        let lanes = spec.consts.iter().find(|(name, _)| *name == "LANES").map(|(_, value)| *value);
        assert_eq!(invocations, lanes.unwrap_or(1), "{what}");
    }
}

#[test]
fn every_line_is_traced_to_its_fragment() {
    for spec in variants::all() {
        let composed = compose(&spec);
        let lines: Vec<&str> = composed.source.lines().collect();
        let mut traced = 0;
        let of_recipe = spec.recipe.map_or_else(Vec::new, wgpu_rnn::shader::recipe_fragments);
        for fragment in of_recipe.iter().chain(spec.kernel.fragments) {
            let first = format!("{}:1", fragment.name);
            let start =
                (1..=lines.len()).find(|&line| composed.locate(line) == first).expect("the fragment's first line");
            for (index, text) in fragment.source.lines().enumerate() {
                assert_eq!(lines[start - 1 + index], text, "{}", describe(&spec));
                assert_eq!(composed.locate(start + index), format!("{}:{}", fragment.name, index + 1));
                traced += 1;
            }
        }
        // What is left is the header.
        let header = lines.len() - traced;
        assert!(header >= spec.consts.len() && composed.locate(header).starts_with("header:"), "{}", describe(&spec));
    }
}

static PLANTED: Kernel = Kernel {
    name: "planted",
    fragments: &[
        Fragment { name: "lib/good.wgsl", source: "fn good() -> f32 {\n    return 1.0;\n}\n" },
        Fragment {
            name: "lib/bad.wgsl",
            source: "\n// Two lines above the wrong one.\nfn bad() -> f32 { return oops; }",
        },
        Fragment { name: "main.wgsl", source: "@compute @workgroup_size(LANES)\nfn main() {}\n" },
    ],
    bindings: &[],
    uniform: Members::NONE,
};

#[test]
fn a_planted_error_is_found_in_its_own_file_and_line() {
    for recipe in [None, Some(Cell::Gru.into())] {
        let composed =
            compose(&Spec { kernel: &PLANTED, recipe, consts: vec![("LANES", 8), ("OTHER", 3)], halves: vec![] });
        let error = naga::front::wgsl::parse_str(&composed.source).expect_err("a planted error");
        let line = error.location(&composed.source).expect("a place").line_number as usize;
        // The recipe's files come first and use what this kernel does not have: then the first of them is the place.
        let place = if recipe.is_some() { "function/sigmoid.wgsl:4" } else { "lib/bad.wgsl:3" };
        assert_eq!(composed.locate(line), place);
    }
}

#[test]
fn cells_and_constants_change_the_text() {
    let mut texts = BTreeSet::new();
    let specs: Vec<Spec> = variants::all().collect();
    for spec in &specs {
        assert!(texts.insert(compose(spec).source), "{} has the text of another", describe(spec));
    }
    assert_eq!(texts.len(), specs.len());
}

/// The identity of a variant, whatever the order of its constants and bindings.
type Identity = (&'static str, Option<Recipe>, BTreeSet<(&'static str, u32)>, BTreeSet<&'static str>);

fn identity(spec: &Spec) -> Identity {
    (spec.kernel.name, spec.recipe, spec.consts.iter().copied().collect(), spec.halves.iter().copied().collect())
}

/// Fails unless each op of `programs` is among the variants above, with no constant missing and none to spare; collects
/// their names.
fn check_known<'p>(
    known: &HashSet<Identity>,
    programs: impl IntoIterator<Item = &'p Program>,
    launched: &mut BTreeSet<&'static str>,
) {
    for op in programs.into_iter().flat_map(Program::ops) {
        let spec = op.spec().expect("a GPU op");
        assert!(known.contains(&identity(spec)), "{} is not validated", describe(spec));
        launched.insert(op.name());
    }
}

/// What bound layers and all that is trained with them launch is among the variants above.
#[test]
fn what_is_launched_is_what_is_validated() {
    let known: HashSet<Identity> = variants::all().map(|spec| identity(&spec)).collect();
    let mut launched = BTreeSet::new();
    let all = [1, 2, 5, 9];
    let kinds = [AdapterKind::Software, AdapterKind::Gpu];
    let of = |strategy| kinds.map(|kind| (common::forced(common::tiled(kind), strategy, None), &all[..]));
    let mut devices: Vec<(_, &[usize])> = common::GPU_STRATEGIES.into_iter().flat_map(of).collect();
    let small = |kib: u64| common::forced(common::small_bindings(kib << 10), "stepwise", None);
    // Bindings too small for an output, and for a layer's parameters, which are then packed one after another.
    devices.extend([(small(8), &all[..]), (small(4), &all[..2])]);
    devices.extend(common::half_devices().into_iter().map(|device| (device, &all[..2])));
    for (device, batches) in devices {
        for &cell in Cell::ALL {
            for &batch in batches {
                let config = RnnConfig::new(cell, 5, 6).layers(2).bidirectional(true);
                let layer = Layer::random(config, 40, batch, 1).lengths(&vec![30; batch]);
                let layer = Layer { flow: batch == 2, ..layer };
                let mut layers = vec![layer.clone()];
                if device.gpu().is_some_and(|gpu| gpu.capabilities().f16) {
                    // Of one direction, inner gradients are f16 too.
                    let one = Layer::random(RnnConfig::new(cell, 5, 6).layers(2), 4, batch, 1);
                    layers.extend([true, false].map(|sequences| layer.clone().half(sequences)));
                    layers.push(Layer { recompute: Some(2), ..one.half(true) });
                }
                for layer in layers {
                    let running = layer.bind(&device, Mode::Train).expect("a plan");
                    check_known(&known, [&running.bound.forward, &running.bound.backward], &mut launched);
                }
            }
        }
    }
    let mut layer = Layer::random(RnnConfig::new(Cell::Gru, 3, 20), 2, 3, 1);
    layer.repack = Some(true);
    let device = common::forced(common::tiled(AdapterKind::Software), "stepwise", None);
    let running = layer.bind(&device, Mode::Infer).expect("a plan");
    check_known(&known, [&running.bound.forward], &mut launched);
    // Of recipes with options some variants are known, of what goes with them all.
    let recurrent_dropout = Some(0.2.into());
    let options = StepOptions { peephole: true, resets: true, recurrent_dropout, ..StepOptions::NONE };
    for device in [common::tiled(AdapterKind::Gpu)].into_iter().chain(common::half_devices().into_iter().take(1)) {
        let layer = Layer::random(
            RnnConfig::new(Cell::Lstm, 3, 6)
                .options(options)
                .layers(2)
                .dropout(0.5)
                .input_dropout(0.2)
                .weight_dropout(0.2),
            4,
            3,
            1,
        );
        let half = device.gpu().is_some_and(|gpu| gpu.capabilities().f16);
        let running = if half { layer.half(true) } else { layer }.bind(&device, Mode::Train).expect("a plan");
        for op in [&running.bound.forward, &running.bound.backward].into_iter().flat_map(|program| program.ops()) {
            let spec = op.spec().expect("a GPU op");
            assert!(spec.recipe.is_some() || known.contains(&identity(spec)), "{} is not validated", describe(spec));
            launched.insert(op.name());
        }
    }
    for kind in kinds {
        let config = RnnConfig::new(Cell::Lstm, 4, 6);
        let model = Model::new(&common::tiled(kind), config, BatchShape::new(3, 5)).expect("a model");
        check_known(&known, model.programs(), &mut launched);
    }
    // Of the others, loss scaling, quantiles, moments and tuned products have tests of their own.
    let missing: Vec<_> =
        variants::kernels().map(|kernel| kernel.name).filter(|name| !launched.contains(name)).collect();
    let elsewhere =
        ["gemm_staged_vector", "gemm_slices", "gemm_cooperative_8", "gemm_cooperative_16", "moments", "regression"];
    let missing: Vec<_> = missing.into_iter().filter(|name| !elsewhere.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?} not in {launched:?}");
}

/// The cache tells kernels of one name apart by all that is composed, and a second plan compiles nothing.
#[test]
fn pipelines_are_compiled_once() {
    let device = common::tiled(AdapterKind::Software);
    let gpu = device.gpu().expect("a GPU");
    let layer = |cell, batch| Layer::random(RnnConfig::new(cell, 4, 8), 3, batch, 1);
    assert_eq!(gpu.counters().pipelines, 0);
    let one = layer(Cell::Lstm, 1).bind(&device, Mode::Train).expect("a plan");
    let distinct = |programs: [&Program; 2]| {
        let specs = programs.into_iter().flat_map(Program::ops).filter_map(|op| op.spec());
        specs.map(|spec| compose(spec).source).collect::<BTreeSet<_>>()
    };
    let first = distinct([&one.bound.forward, &one.bound.backward]);
    assert_eq!(gpu.counters().pipelines, first.len());

    // The same kernels with other register tiles, or of another cell, are other pipelines.
    let four = layer(Cell::Lstm, 4).bind(&device, Mode::Train).expect("a plan");
    let second = distinct([&four.bound.forward, &four.bound.backward]);
    assert!(second.difference(&first).count() >= 2);
    assert_eq!(gpu.counters().pipelines, first.union(&second).count());
    let other = layer(Cell::Gru, 4).bind(&device, Mode::Train).expect("a plan");
    let third = distinct([&other.bound.forward, &other.bound.backward]);
    assert!(third.difference(&second).count() >= 2);
    let all: BTreeSet<_> = first.iter().chain(&second).chain(&third).collect();
    assert_eq!(gpu.counters().pipelines, all.len());

    // Neither recording, nor recording again, nor another plan of the same kind compiles anything.
    let compiled = gpu.counters().pipelines;
    for running in [&one, &four, &other] {
        running.run().expect("a run");
        running.run().expect("a run");
    }
    let again = layer(Cell::Gru, 4).bind(&device, Mode::Train).expect("a plan");
    again.run().expect("a run");
    assert_eq!(gpu.counters().pipelines, compiled);
}
