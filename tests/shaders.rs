//! Every kernel with every cell and constant it can be composed with: valid WGSL, the buffers that the host binds,
//! within the limits that WebGPU guarantees. No GPU is needed but for the last tests, on what is compiled when.

mod common;

use std::collections::BTreeSet;

use common::Layer;
use wgpu::naga;
use wgpu_rnn::gpu::{AdapterKind, BindingKind, Capabilities};
use wgpu_rnn::kernel::recurrent::{Pass, SequenceTile};
use wgpu_rnn::kernel::{self, Program};
use wgpu_rnn::plan::Mode;
use wgpu_rnn::shader::{Composed, Fragment, Kernel, Members, Spec, compose};
use wgpu_rnn::{Cell, RnnConfig};

/// What WebGPU guarantees.
const STORAGE_BUFFERS: usize = 8;
const WORKGROUP_MEMORY: u32 = 16 << 10;
const INVOCATIONS: u32 = 256;

/// Whether a kernel's text names a constant.
fn mentions(kernel: &Kernel, name: &str) -> bool {
    let word = |c: char| !(c.is_alphanumeric() || c == '_');
    let code = |line: &'static str| line.split("//").next().unwrap_or_default();
    kernel.fragments.iter().flat_map(|f| f.source.lines()).flat_map(|line| code(line).split(word)).any(|w| w == name)
}

/// Whether its factors are cooperative matrices, which are always f16.
fn is_cooperative(kernel: &Kernel) -> bool {
    kernel.fragments.iter().any(|fragment| fragment.source.contains("coop_mat"))
}

/// Everything that a kernel may be composed as: the product of its cells and of the values of its constants.
fn variants(kernel: &'static Kernel) -> Vec<Spec> {
    let by_cell = kernel.fragments.iter().any(|fragment| fragment.name == "lib/cell.wgsl");
    let cells: Vec<Option<Cell>> = if by_cell { Cell::ALL.iter().copied().map(Some).collect() } else { vec![None] };
    // Everything stored as f32, all that may be as f16, and the first of it alone.
    let halves: Vec<_> = kernel.bindings.iter().filter(|binding| binding.or_half).map(|binding| binding.name).collect();
    let stored: BTreeSet<&[&'static str]> = [&halves[..0], &halves[..], &halves[..halves.len().min(1)]].into();
    let of = |cell| stored.iter().map(move |halves| Spec { kernel, cell, consts: Vec::new(), halves: halves.to_vec() });
    let mut specs: Vec<Spec> = cells.into_iter().flat_map(of).collect();
    if is_cooperative(kernel) {
        specs.retain(|spec| spec.halves.len() == halves.len());
    }
    let tiled = mentions(kernel, "BM");
    if tiled {
        let with = |spec: &Spec, tile: &[(&'static str, u32); 6]| Spec { consts: tile.to_vec(), ..spec.clone() };
        specs = specs.iter().flat_map(|spec| kernel::TILES.iter().map(move |tile| with(spec, tile))).collect();
    }
    if mentions(kernel, "SPLIT") {
        // These constants go together.
        let caps =
            [AdapterKind::Software, AdapterKind::Gpu].map(|kind| capabilities(kind, INVOCATIONS, WORKGROUP_MEMORY));
        let laid_out = |spec: &Spec| {
            let cell = spec.cell.expect("a cell");
            let tiles = caps.iter().flat_map(move |caps| layouts(kernel, caps, cell));
            let consts: BTreeSet<_> = tiles.map(|tile| tile.constants()).collect();
            consts.into_iter().map(|consts| Spec { consts, ..spec.clone() }).collect::<Vec<_>>()
        };
        specs = specs.iter().flat_map(laid_out).collect();
    }
    let known: Vec<&str> =
        specs.first().map(|spec| spec.consts.iter().map(|(name, _)| *name).collect()).unwrap_or_default();
    let named = |name: &str| mentions(kernel, name) && !known.contains(&name);
    for &(name, values) in kernel::CONSTANTS.iter().filter(|(name, _)| named(name)) {
        let with = |spec: &Spec, value| {
            let consts = spec.consts.iter().copied().chain([(name, value)]).collect();
            Spec { consts, ..spec.clone() }
        };
        specs = specs.iter().flat_map(|spec| values.iter().map(move |&value| with(spec, value))).collect();
    }
    specs
}

/// Of a device with no more than these limits.
fn capabilities(kind: AdapterKind, invocations: u32, memory: u32) -> Capabilities {
    Capabilities {
        kind,
        max_buffer: 256 << 20,
        max_binding: 128 << 20,
        storage_buffers: STORAGE_BUFFERS as u32,
        workgroup_memory: memory,
        workgroup_invocations: invocations,
        max_workgroups: 65_535,
        offset_alignment: 256,
        timestamps: false,
        f16: false,
        subgroups: false,
        subgroup_size: [8, 8],
        cooperative_matrix: false,
        cooperative_size: None,
        pipeline_cache: false,
    }
}

/// How a sequence kernel is laid out for layers of many sizes: fewer units than lanes and more, one sequence and many.
fn layouts(kernel: &Kernel, caps: &Capabilities, cell: Cell) -> Vec<SequenceTile> {
    let pass = if kernel.name == "sequence_forward" { Pass::Forward } else { Pass::Backward };
    let sizes = [1, 6, 33, 64, 100, 200, 300, 600, 1500];
    let of = |hidden| {
        [1, 2, 5, 9, 200, 1000]
            .into_iter()
            .filter_map(move |batch| SequenceTile::new(caps, pass, cell, hidden, 1, batch))
    };
    sizes.into_iter().flat_map(of).collect()
}

/// The layouts that a device allows keep to its limits, and say truly what they take.
#[test]
fn sequence_layouts_keep_to_the_limits_they_are_made_for() {
    for (invocations, memory) in [(256, 16 << 10), (512, 32 << 10), (1024, 48 << 10), (1024, 227 << 10)] {
        for kind in [AdapterKind::Software, AdapterKind::Gpu] {
            let caps = capabilities(kind, invocations, memory);
            for kernel in [&kernel::recurrent::SEQUENCE_FORWARD, &kernel::recurrent::SEQUENCE_BACKWARD] {
                for &cell in Cell::ALL {
                    let tiles = layouts(kernel, &caps, cell);
                    assert!(tiles.len() > 20, "{cell}: {} layouts", tiles.len());
                    for tile in tiles {
                        let consts = [&tile.constants()[..], &[("CARRIED", 0), ("FLOW", 1)]].concat();
                        let spec = Spec { kernel, cell: Some(cell), consts, halves: Vec::new() };
                        let what = describe(&spec);
                        let module = parse(&what, &compose(&spec));
                        let globals = module.global_variables.iter().map(|(_, global)| global);
                        let shared = globals.filter(|global| global.space == naga::AddressSpace::WorkGroup);
                        let taken: u32 = shared.map(|global| module.types[global.ty].inner.size(module.to_ctx())).sum();
                        assert_eq!(taken, tile.memory, "{what}");
                        assert!(taken <= memory && tile.lanes <= invocations, "{what}: {tile:?}");
                        assert_eq!(tile.lanes % tile.split, 0, "{what}");
                    }
                }
            }
        }
    }
}

fn all() -> impl Iterator<Item = Spec> {
    kernel::ALL.iter().flat_map(|kernel| variants(kernel))
}

fn describe(spec: &Spec) -> String {
    format!("{} of {:?} with {:?}, f16 {:?}", spec.kernel.name, spec.cell, spec.consts, spec.halves)
}

fn parse(what: &str, composed: &Composed) -> naga::Module {
    naga::front::wgsl::parse_str(&composed.source).unwrap_or_else(|error| {
        let line = error.location(&composed.source).map_or(0, |place| place.line_number as usize);
        panic!("{what}: {}: {}", composed.locate(line), error.emit_to_string(&composed.source))
    })
}

#[test]
fn every_variant_is_valid() {
    let mut count = 0;
    for spec in all() {
        let what = describe(&spec);
        let composed = compose(&spec);
        let module = parse(&what, &composed);
        let flags = naga::valid::ValidationFlags::all();
        // Nothing beyond what every WebGPU implementation has, except f16 and cooperative matrices where asked for.
        let mut capabilities = naga::valid::Capabilities::empty();
        capabilities.set(naga::valid::Capabilities::SHADER_FLOAT16, !spec.halves.is_empty());
        capabilities.set(naga::valid::Capabilities::COOPERATIVE_MATRIX, is_cooperative(spec.kernel));
        let mut validator = naga::valid::Validator::new(flags, capabilities);
        if let Err(error) = validator.validate(&module) {
            panic!("{what}: {}", error.emit_to_string(&composed.source));
        }
        count += 1;
    }
    assert!(count > 3 * kernel::ALL.len(), "only {count} variants");
}

#[test]
fn bindings_are_what_the_host_binds() {
    for spec in all() {
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

#[test]
fn every_variant_keeps_to_the_limits_of_webgpu() {
    for spec in all() {
        let what = describe(&spec);
        let storage =
            |binding: &&wgpu_rnn::shader::Binding| !matches!(binding.kind, BindingKind::Uniform | BindingKind::Step);
        assert!(spec.kernel.bindings.iter().filter(storage).count() <= STORAGE_BUFFERS, "{what}");
        let module = parse(&what, &compose(&spec));
        let shared = module.global_variables.iter().map(|(_, global)| global);
        let shared = shared.filter(|global| global.space == naga::AddressSpace::WorkGroup);
        let memory: u32 = shared.map(|global| module.types[global.ty].inner.size(module.to_ctx())).sum();
        // Only the first tile is for devices that have more.
        let most = match kernel::TILES[0].iter().all(|constant| spec.consts.contains(constant)) {
            true => 2 * WORKGROUP_MEMORY,
            false => WORKGROUP_MEMORY,
        };
        assert!(memory <= most, "{what}: {memory} bytes of workgroup memory");
        let [main] = &module.entry_points[..] else { panic!("{what}: {} entry points", module.entry_points.len()) };
        assert_eq!((main.name.as_str(), main.stage), ("main", naga::ShaderStage::Compute), "{what}");
        let invocations: u32 = main.workgroup_size.iter().product();
        assert!((1..=INVOCATIONS).contains(&invocations), "{what}: {invocations} invocations");
        let lanes = spec.consts.iter().find(|(name, _)| *name == "LANES").map(|(_, value)| *value);
        assert_eq!(invocations, lanes.unwrap_or(1), "{what}");
    }
}

#[test]
fn every_line_is_traced_to_its_fragment() {
    for spec in all() {
        let composed = compose(&spec);
        let cell = spec.cell.map(wgpu_rnn::shader::cell_fragment);
        let lines: Vec<&str> = composed.source.lines().collect();
        let mut traced = 0;
        for fragment in cell.iter().chain(spec.kernel.fragments) {
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
    for cell in [None, Some(Cell::Gru)] {
        let composed =
            compose(&Spec { kernel: &PLANTED, cell, consts: vec![("LANES", 8), ("OTHER", 3)], halves: vec![] });
        let error = naga::front::wgsl::parse_str(&composed.source).expect_err("a planted error");
        let line = error.location(&composed.source).expect("a place").line_number as usize;
        // The cell's file comes first and uses what this kernel does not have: then it is the place.
        let place = if cell.is_some() { "cell/gru.wgsl:6" } else { "lib/bad.wgsl:3" };
        assert_eq!(composed.locate(line), place);
    }
}

#[test]
fn cells_and_constants_change_the_text() {
    let mut texts = BTreeSet::new();
    let specs: Vec<Spec> = all().collect();
    for spec in &specs {
        assert!(texts.insert(compose(spec).source), "{} has the text of another", describe(spec));
    }
    assert_eq!(texts.len(), specs.len());
}

/// What a bound layer launches is among the variants above, with no constant missing and none to spare.
#[test]
fn what_is_launched_is_what_is_validated() {
    let known: Vec<Spec> = all().collect();
    let sorted = |spec: &Spec| {
        let consts: BTreeSet<_> = spec.consts.iter().copied().collect();
        (spec.kernel.name, spec.cell, consts)
    };
    let known: Vec<_> = known.iter().map(sorted).collect();
    let mut launched = BTreeSet::new();
    let all = [1, 2, 5, 9];
    let kinds = [AdapterKind::Software, AdapterKind::Gpu];
    let of = |strategy| kinds.map(|kind| (common::forced(common::tiled(kind), strategy, None), &all[..]));
    let mut devices: Vec<(_, &[usize])> = common::GPU_STRATEGIES.into_iter().flat_map(of).collect();
    let small = |kib: u64| common::forced(common::small_bindings(kib << 10), "stepwise", None);
    // Bindings too small for an output, and for a layer's parameters, which are then packed one after another.
    devices.extend([(small(8), &all[..]), (small(4), &all[..2])]);
    for (device, batches) in devices {
        for &cell in Cell::ALL {
            for &batch in batches {
                let config = RnnConfig::new(cell, 5, 6).layers(2).bidirectional(true);
                let layer = Layer::random(config, 40, batch, 1).lengths(&vec![30; batch]);
                let running = layer.bind(&device, Mode::Train).expect("a plan");
                let ops = [&running.bound.forward, &running.bound.backward].into_iter().flat_map(Program::ops);
                for op in ops {
                    let spec = op.spec().expect("a GPU op");
                    assert!(known.contains(&sorted(spec)), "{} is not validated", describe(spec));
                    launched.insert(op.name());
                }
            }
        }
    }
    let mut layer = Layer::random(RnnConfig::new(Cell::Gru, 3, 20), 2, 3, 1);
    layer.repack = Some(true);
    let device = common::forced(common::tiled(AdapterKind::Software), "stepwise", None);
    let running = layer.bind(&device, Mode::Infer).expect("a plan");
    for spec in running.bound.forward.ops().iter().filter_map(|op| op.spec()) {
        assert!(known.contains(&sorted(spec)), "{} is not validated", describe(spec));
        launched.insert(spec.kernel.name);
    }
    let recurrent = [
        "copy",
        "transpose",
        "gemm",
        "gemm_staged",
        "recurrent_prepare",
        "recurrent_states",
        "recurrent_forward",
        "recurrent_backward",
        "recurrent_forward_shared",
        "recurrent_forward_repacked",
        "recurrent_backward_shared",
        "recurrent_output",
        "sequence_forward",
        "sequence_backward",
    ];
    let missing: Vec<_> = recurrent.iter().filter(|name| !launched.contains(*name)).collect();
    assert!(missing.is_empty() && launched.contains("recurrent_upstream"), "{missing:?} not in {launched:?}");
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
