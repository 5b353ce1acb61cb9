//! What is planned for a class of adapters against the tables of what compilers of such GPUs make of it:
//! `benches/record/offline/` says how they are made. Neither a GPU nor a driver is needed.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use wgpu_rnn::gpu::Class;
use wgpu_rnn::kernel::planned;
use wgpu_rnn::shader::Spec;
use wgpu_rnn::wgpu;

/// Tables and the class of their GPU: of those in wide use, where nothing may spill, and of older ones.
const CURRENT: [(&str, Class); 6] = [
    ("navi21", Class::Rdna),
    ("navi31", Class::Rdna),
    ("gfx1201", Class::Rdna),
    ("m1", Class::Apple),
    ("adreno630", Class::Adreno),
    ("ampere", Class::Nvidia),
];
const OLDER: [(&str, Class); 2] = [("polaris10", Class::Gcn), ("kepler", Class::Nvidia)];

/// The first line of a table.
#[derive(Deserialize)]
struct Adapter {
    name: String,
    vendor: u32,
    subgroup: u32,
    workgroup_memory: u32,
    workgroup_invocations: u32,
    f16: bool,
}

/// What is read of a row.
#[derive(Deserialize)]
struct Row {
    kernel: String,
    variant: String,
    spills: Option<f64>,
    private: Option<f64>,
    refused: String,
}

type Rows = BTreeMap<(String, String), Row>;

fn table(name: &str) -> (Adapter, Rows) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("benches/record/offline/{name}.csv"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let first = text.lines().next().expect("a line about the adapter");
    let rows = csv::ReaderBuilder::new().comment(Some(b'#')).from_reader(text.as_bytes());
    let rows = rows.into_deserialize().map(|row: Result<Row, _>| {
        let row = row.unwrap_or_else(|error| panic!("{name}: {error}"));
        ((row.kernel.clone(), row.variant.clone()), row)
    });
    (serde_json::from_str(first.trim_start_matches('#')).expect("an adapter"), rows.collect())
}

fn class_of(adapter: &Adapter) -> Class {
    Class::of(&wgpu::AdapterInfo {
        name: adapter.name.clone(),
        vendor: adapter.vendor,
        subgroup_min_size: adapter.subgroup,
        ..wgpu::AdapterInfo::new(wgpu::DeviceType::Other, wgpu::Backend::Vulkan)
    })
}

/// What is wrong with a variant by its row, if anything is.
fn fault(spec: &Spec, rows: &Rows, may_spill: bool) -> Option<String> {
    let Some(row) = rows.get(&(spec.kernel.name.to_string(), spec.variant())) else {
        return Some("is not in the table: run `cargo xtask portability --part offline`".to_string());
    };
    let moved = row.spills.unwrap_or_default() + row.private.unwrap_or_default();
    match row {
        row if !row.refused.is_empty() => Some(format!("is refused: {}", row.refused)),
        row if row.spills.is_none() => Some("has no count of spills in the table".to_string()),
        _ if moved > 0.0 && !may_spill => Some("moves registers to memory".to_string()),
        _ => None,
    }
}

#[test]
fn nothing_spills_that_is_planned_for_a_current_gpu() {
    let tables = CURRENT.iter().map(|one| (one, false)).chain(OLDER.iter().map(|one| (one, true)));
    for (&(name, class), may_spill) in tables {
        let (adapter, rows) = table(name);
        assert_eq!(class_of(&adapter), class, "{name}: {}", adapter.name);
        let specs = planned(class, adapter.workgroup_invocations, adapter.workgroup_memory, adapter.f16);
        assert!(specs.len() > 200, "{name}: only {} variants", specs.len());
        let faults = specs.iter().filter_map(|spec| {
            Some(format!("{} ({}) {}", spec.kernel.name, spec.variant(), fault(spec, &rows, may_spill)?))
        });
        let faults: Vec<String> = faults.collect();
        let some = &faults[..faults.len().min(10)];
        assert!(faults.is_empty(), "{name}: {} of {}: {some:#?}", faults.len(), specs.len());
    }
}

/// A tile that spills is seen, one that is in no table, and one that a driver says nothing of.
#[test]
fn faults_are_told_apart() {
    let (adapter, mut rows) = table("m1");
    let specs = planned(Class::Apple, adapter.workgroup_invocations, adapter.workgroup_memory, adapter.f16);
    let [spills, untold, absent, fine] = [0, 1, 2, 3].map(|index| &specs[index]);
    let key = |spec: &Spec| (spec.kernel.name.to_string(), spec.variant());
    rows.get_mut(&key(spills)).expect("a row").spills = Some(3.0);
    rows.get_mut(&key(untold)).expect("a row").spills = None;
    rows.remove(&key(absent));
    let says = |spec: &Spec, may_spill, text| fault(spec, &rows, may_spill).is_some_and(|fault| fault.contains(text));
    assert!(says(spills, false, "moves registers to memory"));
    assert!(fault(spills, &rows, true).is_none());
    assert!(says(untold, false, "no count of spills"));
    assert!(says(absent, true, "cargo xtask portability --part offline"));
    assert!(fault(fine, &rows, false).is_none());
}

/// The layouts for hardware that is not known are as careful as any.
#[test]
fn unknown_hardware_gets_the_most_careful_row() {
    let unknown = Class::Unknown.registers();
    for class in Class::ALL.into_iter().filter(|class| *class != Class::Software) {
        let known = class.registers();
        assert!(
            unknown.each <= known.each && unknown.all <= known.all && unknown.unrolled <= known.unrolled,
            "{class:?}"
        );
    }
}
