//! The variants that a part takes: all of them, or a few of every kernel, cell and way of storing.

use std::collections::BTreeMap;

use naga::valid::{self, ModuleInfo, ValidationFlags, Validator};
use wgpu_rnn::gpu::{Capabilities, Class};
use wgpu_rnn::kernel::variants;
use wgpu_rnn::shader::{Spec, compose};

/// One composed kernel.
pub struct Variant {
    /// What it is composed of.
    pub spec: Spec,
    /// Its WGSL.
    pub source: String,
}

impl Variant {
    /// The kernel, cell and constants, as one line.
    pub fn name(&self) -> String {
        format!("{}: {}", self.spec.kernel.name, self.spec.variant())
    }

    /// Whether it needs f16.
    pub fn is_half(&self) -> bool {
        !self.spec.halves.is_empty()
    }

    /// Whether it needs cooperative matrices.
    pub fn is_cooperative(&self) -> bool {
        self.spec.kernel.is_cooperative()
    }

    /// Parsed and validated, as wgpu does; the error names the line of the fragment.
    pub fn module(&self) -> Result<(naga::Module, ModuleInfo), String> {
        let module = naga::front::wgsl::parse_str(&self.source).map_err(|error| {
            let line = error.location(&self.source).map_or(0, |place| place.line_number as usize);
            format!("{}: {}", compose(&self.spec).locate(line), error.emit_to_string(&self.source))
        })?;
        let mut capabilities = valid::Capabilities::empty();
        capabilities.set(valid::Capabilities::SHADER_FLOAT16, self.is_half());
        capabilities.set(valid::Capabilities::COOPERATIVE_MATRIX, self.is_cooperative());
        let info = Validator::new(ValidationFlags::all(), capabilities).validate(&module);
        let info = info.map_err(|error| error.emit_to_string(&self.source))?;
        Ok((module, info))
    }
}

/// Every variant, or a `few` of each kernel, cell and way of storing.
pub fn variants(few: Option<usize>) -> Vec<Variant> {
    composed(variants::all(), few)
}

/// The variants of devices with the workgroup memory of Direct3D 12, which is that of Mesa's software driver too.
pub fn of_32_kib(few: Option<usize>) -> Vec<Variant> {
    let devices = variants::devices().filter(|device| device.workgroup_memory <= 32 << 10);
    composed(variants::on(devices.collect()), few)
}

/// The variants that FXC may be given: those of devices with no more workgroup memory than kernels use there.
pub fn of_fxc(few: Option<usize>) -> Vec<Variant> {
    let device = |class, invocations| variants::device(class, invocations, Capabilities::FXC_WORKGROUP_MEMORY);
    let devices = Class::ALL.into_iter().flat_map(|class| [256, 1024].map(|invocations| device(class, invocations)));
    composed(variants::on(devices.collect()), few)
}

/// Of the recipes with options a few are two of a kernel, however they are stored: every one has the same hooks in its text.
fn composed(specs: impl Iterator<Item = Spec>, few: Option<usize>) -> Vec<Variant> {
    let of = |spec: Spec| Variant { source: compose(&spec).source, spec };
    let Some(few) = few else {
        return specs.map(of).collect();
    };
    let mut groups: BTreeMap<_, Vec<Spec>> = BTreeMap::new();
    for spec in specs {
        let has_options = spec.recipe.is_some_and(|recipe| !recipe.is_plain());
        let recipe = spec.recipe.filter(|_| !has_options).map(|recipe| recipe.to_string());
        let halves = if has_options { vec!["options"] } else { spec.halves.clone() };
        groups.entry((spec.kernel.name, recipe, halves)).or_default().push(spec);
    }
    groups.into_values().flat_map(|specs| spread(&specs, few)).map(of).collect()
}

/// So many of them: the first, the last and what lies evenly between; the middle where it is one.
fn spread(specs: &[Spec], count: usize) -> Vec<Spec> {
    let last = specs.len() - 1;
    let place = |at: usize| if count == 1 { last / 2 } else { at * last / (count - 1) };
    let mut places: Vec<usize> = (0..count).map(place).collect();
    places.dedup();
    places.into_iter().map(|place| specs[place].clone()).collect()
}
