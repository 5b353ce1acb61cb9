//! Every variant by naga to what drivers take, with the options that wgpu-hal 30 sets for a trusted shader module whose
//! workgroup memory is not zeroed; and to SPIR-V with the checks of an untrusted one as well.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use naga::back::spv::{Capability, WriterFlags, ZeroInitializeWorkgroupMemoryMode};
use naga::back::{glsl, hlsl, msl, spv};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::ModuleInfo;
use naga::{AddressSpace, Module, ResourceBinding, ShaderStage, StorageAccess};
use rayon::prelude::*;

use crate::corpus::Variant;
use crate::report::Report;

/// Versions that wgpu writes, by the Vulkan version of the device: 1.0, 1.1, 1.2, 1.3 and later.
pub const SPIRV: [(u8, u8); 4] = [(1, 0), (1, 3), (1, 5), (1, 6)];

/// Versions that wgpu writes, by the system: macOS 10.13 to 26.
const MSL: [(u8, u8); 9] = [(2, 0), (2, 1), (2, 2), (2, 3), (2, 4), (3, 0), (3, 1), (3, 2), (4, 0)];

/// Shader models: FXC's, DXC's oldest, the first with f16, and a recent one.
const HLSL: [hlsl::ShaderModel; 4] =
    [hlsl::ShaderModel::V5_1, hlsl::ShaderModel::V6_0, hlsl::ShaderModel::V6_2, hlsl::ShaderModel::V6_6];

/// The least versions with compute shaders, and the one in browsers' drivers.
const GLSL: [glsl::Version; 3] = [
    glsl::Version::Desktop(430),
    glsl::Version::Embedded { version: 310, is_webgl: false },
    glsl::Version::Embedded { version: 320, is_webgl: false },
];

const ENTRY: &str = "main";

/// Translates every variant to every language and version that takes it.
pub fn run(variants: &[Variant]) -> Report {
    silence_panics();
    variants.par_iter().map(one).reduce(Report::default, Report::and)
}

/// A panic of naga's is a failure that the report names, not a message on its own.
pub fn silence_panics() {
    std::panic::set_hook(Box::new(|_| ()));
}

fn one(variant: &Variant) -> Report {
    let mut report = Report::default();
    let name = variant.name();
    let (module, info) = match variant.module() {
        Ok(parsed) => parsed,
        Err(why) => {
            report.add("WGSL", &name, Err(why));
            return report;
        }
    };
    let mut add = |kind: String, result: Result<(), String>| report.add(&kind, &name, result);
    for version in SPIRV {
        for checked in [false, true] {
            let kind = format!("SPIR-V {}.{}{}", version.0, version.1, if checked { " with checks" } else { "" });
            add(kind, to_spirv(variant, &module, &info, version, checked).map(drop));
        }
    }
    for model in HLSL.into_iter().filter(|&model| has_hlsl(variant, model)) {
        add(format!("HLSL {}", model.to_str()), to_hlsl(&module, &info, model).map(drop));
    }
    // Matrices come with 2.3.
    for version in MSL.into_iter().filter(|&version| !variant.is_cooperative() || version >= (2, 3)) {
        add(format!("MSL {}.{}", version.0, version.1), to_msl(&module, &info, version).map(drop));
    }
    if !variant.is_half() {
        for version in GLSL {
            add(format!("GLSL {version}"), to_glsl(&module, &info, version).map(drop));
        }
    }
    report
}

/// Whether wgpu has DX12 devices of this shader model with what a variant needs.
pub fn has_hlsl(variant: &Variant, model: hlsl::ShaderModel) -> bool {
    !variant.is_cooperative() && (!variant.is_half() || model >= hlsl::ShaderModel::V6_2)
}

/// A result, or what naga panicked with.
fn caught<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        Err(format!("naga panics: {}", text.or_else(|| panic.downcast_ref().copied()).unwrap_or("no message")))
    })
}

const fn policies(policy: BoundsCheckPolicy) -> BoundsCheckPolicies {
    BoundsCheckPolicies {
        index: policy,
        buffer: policy,
        image_load: policy,
        binding_array: BoundsCheckPolicy::Unchecked,
    }
}

/// SPIR-V words; with checks those that wgpu adds to untrusted modules, and names as in builds for debugging.
pub fn to_spirv(
    variant: &Variant,
    module: &Module,
    info: &ModuleInfo,
    version: (u8, u8),
    checked: bool,
) -> Result<Vec<u32>, String> {
    let mut capabilities = vec![Capability::Shader, Capability::Matrix, Capability::ImageQuery];
    if variant.is_half() {
        capabilities.push(Capability::Float16);
    }
    if variant.is_cooperative() {
        capabilities.extend([Capability::CooperativeMatrixKHR, Capability::VulkanMemoryModel]);
    }
    let mut flags = WriterFlags::LABEL_VARYINGS | WriterFlags::FORCE_POINT_SIZE;
    flags.set(WriterFlags::DEBUG, checked);
    let policy = if checked { BoundsCheckPolicy::Restrict } else { BoundsCheckPolicy::Unchecked };
    let options = spv::Options {
        lang_version: version,
        flags,
        capabilities: Some(capabilities.into_iter().collect()),
        bounds_check_policies: policies(policy),
        zero_initialize_workgroup_memory: ZeroInitializeWorkgroupMemoryMode::None,
        force_loop_bounding: checked,
        emit_int_div_checks: checked,
        binding_map: bindings(module)
            .map(|(at, _)| (at, spv::BindingInfo { descriptor_set: 0, binding: at.binding, binding_array_size: None }))
            .collect(),
        ..Default::default()
    };
    let pipeline = spv::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: ENTRY.to_string() };
    caught(|| spv::write_vec(module, info, &options, Some(&pipeline)).map_err(|error| error.to_string()))
}

/// HLSL and the name of its entry point.
pub fn to_hlsl(module: &Module, info: &ModuleInfo, model: hlsl::ShaderModel) -> Result<(String, String), String> {
    // Registers count up: constants, read-only and writable buffers each for themselves.
    let mut next = [0; 3];
    let mut place = |class: usize| {
        let register = next[class];
        next[class] += 1;
        hlsl::BindTarget { register, ..Default::default() }
    };
    let class = |space| match space {
        AddressSpace::Storage { access } if access.contains(StorageAccess::STORE) => 2,
        AddressSpace::Storage { .. } => 1,
        _ => 0,
    };
    let binding_map = bindings(module).map(|(at, space)| (at, place(class(space)))).collect();
    let options = hlsl::Options {
        shader_model: model,
        binding_map,
        fake_missing_bindings: false,
        special_constants_binding: Some(place(0)),
        zero_initialize_workgroup_memory: false,
        restrict_indexing: false,
        force_loop_bounding: false,
        ..Default::default()
    };
    let pipeline = hlsl::PipelineOptions { entry_point: Some((ShaderStage::Compute, ENTRY.to_string())) };
    caught(|| {
        let mut source = String::new();
        let written = hlsl::Writer::new(&mut source, &options, &pipeline).write(module, info, None);
        let names = written.map_err(|error| error.to_string())?.entry_point_names;
        match names.into_iter().next() {
            Some(Ok(name)) => Ok((source, name)),
            Some(Err(error)) => Err(error.to_string()),
            None => Err("no entry point".to_string()),
        }
    })
}

fn to_msl(module: &Module, info: &ModuleInfo, version: (u8, u8)) -> Result<String, String> {
    let mut resources = msl::EntryPointResources::default();
    for (slot, (at, space)) in (0..).zip(bindings(module)) {
        let mutable = matches!(space, AddressSpace::Storage { access } if access.contains(StorageAccess::STORE));
        resources.resources.insert(at, msl::BindTarget { buffer: Some(slot), mutable, ..Default::default() });
        resources.sizes_buffer = Some(slot + 1);
    }
    let options = msl::Options {
        lang_version: version,
        per_entry_point_map: BTreeMap::from([(ENTRY.to_string(), resources)]),
        fake_missing_bindings: false,
        bounds_check_policies: policies(BoundsCheckPolicy::Unchecked),
        zero_initialize_workgroup_memory: false,
        force_loop_bounding: false,
        emit_int_div_checks: false,
        ..Default::default()
    };
    let pipeline = msl::PipelineOptions {
        entry_point: Some((ShaderStage::Compute, ENTRY.to_string())),
        vertex_pulling_transform: true,
        ..Default::default()
    };
    caught(|| {
        let (source, translated) =
            msl::write_string(module, info, &options, &pipeline).map_err(|error| error.to_string())?;
        match translated.entry_point_names.into_iter().next() {
            Some(Ok(_)) => Ok(source),
            Some(Err(error)) => Err(error.to_string()),
            None => Err("no entry point".to_string()),
        }
    })
}

fn to_glsl(module: &Module, info: &ModuleInfo, version: glsl::Version) -> Result<String, String> {
    // Uniform and storage buffers count up for themselves.
    let mut next = [0; 2];
    let mut place = |space| {
        let class = usize::from(matches!(space, AddressSpace::Storage { .. }));
        next[class] += 1;
        next[class] - 1
    };
    let options = glsl::Options {
        version,
        writer_flags: glsl::WriterFlags::ADJUST_COORDINATE_SPACE | glsl::WriterFlags::FORCE_POINT_SIZE,
        binding_map: bindings(module).map(|(at, space)| (at, place(space))).collect(),
        zero_initialize_workgroup_memory: false,
    };
    let pipeline =
        glsl::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: ENTRY.to_string(), multiview: None };
    caught(|| {
        let mut source = String::new();
        let unchecked = policies(BoundsCheckPolicy::Unchecked);
        let writer = glsl::Writer::new(&mut source, module, info, &options, &pipeline, unchecked);
        writer.and_then(|mut writer| writer.write()).map_err(|error| error.to_string())?;
        Ok(source)
    })
}

/// What a module binds, in the order of bindings.
fn bindings(module: &Module) -> impl Iterator<Item = (ResourceBinding, AddressSpace)> + use<> {
    let of = |global: &naga::GlobalVariable| Some((global.binding?, global.space));
    let all: BTreeMap<_, _> = module.global_variables.iter().filter_map(|(_, global)| of(global)).collect();
    all.into_iter()
}
