//! Every kernel variant through naga's SPIR-V writer, as wgpu calls it for Vulkan, and one layer on a device with every
//! feature that there is. `cargo xtask portability` does the same for the other languages, and has real compilers look.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};

use common::{Layer, assert_close};
use wgpu::naga;
use wgpu::naga::back::spv::{self, Capability, WriterFlags, ZeroInitializeWorkgroupMemoryMode};
use wgpu::naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use wgpu_rnn::gpu::{Capabilities, adapters};
use wgpu_rnn::kernel::variants;
use wgpu_rnn::shader::{Spec, compose};
use wgpu_rnn::{Cell, Device, RnnConfig};

/// Half precision's bound.
const BOUND: f64 = 1e-2;

/// What wgpu asks naga for, of Vulkan devices of the first version and of recent ones; with the checks that it adds to
/// shaders that are not trusted, or without.
fn options(spec: &Spec, version: (u8, u8), checked: bool) -> spv::Options<'static> {
    let half = [Capability::Float16].into_iter().filter(|_| !spec.halves.is_empty());
    let cooperative = [Capability::CooperativeMatrixKHR, Capability::VulkanMemoryModel].into_iter();
    let cooperative = cooperative.filter(|_| spec.kernel.is_cooperative());
    let policy = if checked { BoundsCheckPolicy::Restrict } else { BoundsCheckPolicy::Unchecked };
    spv::Options {
        lang_version: version,
        flags: WriterFlags::LABEL_VARYINGS | WriterFlags::FORCE_POINT_SIZE,
        capabilities: Some(
            [Capability::Shader, Capability::Matrix].into_iter().chain(half).chain(cooperative).collect(),
        ),
        bounds_check_policies: BoundsCheckPolicies {
            index: policy,
            buffer: policy,
            image_load: policy,
            binding_array: BoundsCheckPolicy::Unchecked,
        },
        zero_initialize_workgroup_memory: ZeroInitializeWorkgroupMemoryMode::None,
        force_loop_bounding: checked,
        emit_int_div_checks: checked,
        fake_missing_bindings: true,
        ..Default::default()
    }
}

#[test]
fn every_variant_becomes_spirv() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for spec in variants::all() {
        let source = compose(&spec).source;
        let what = format!("{}: {}", spec.kernel.name, spec.variant());
        let module = naga::front::wgsl::parse_str(&source).unwrap_or_else(|error| panic!("{what}: {error}"));
        let mut allowed = naga::valid::Capabilities::empty();
        allowed.set(naga::valid::Capabilities::SHADER_FLOAT16, !spec.halves.is_empty());
        allowed.set(naga::valid::Capabilities::COOPERATIVE_MATRIX, spec.kernel.is_cooperative());
        let mut validator = naga::valid::Validator::new(naga::valid::ValidationFlags::all(), allowed);
        let info = validator.validate(&module).unwrap_or_else(|error| panic!("{what}: {error:?}"));
        let pipeline =
            spv::PipelineOptions { shader_stage: naga::ShaderStage::Compute, entry_point: "main".to_string() };
        for (version, checked) in [((1, 0), false), ((1, 6), false), ((1, 6), true)] {
            let options = options(&spec, version, checked);
            let write = || spv::write_vec(&module, &info, &options, Some(&pipeline));
            match catch_unwind(AssertUnwindSafe(write)) {
                Ok(Ok(words)) => assert!(words.len() > 100, "{what}: {} words", words.len()),
                Ok(Err(error)) => wrong.push(format!("{what}, {version:?}: {error}")),
                Err(_) => wrong.push(format!("{what}, {version:?}: naga panics")),
            }
            count += 1;
        }
    }
    assert!(count > 9 * variants::kernels().count(), "only {count} modules");
    wrong.truncate(10);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Kernels that only some adapters can run are compiled and run where one can: with all sizes in whole tiles, products of
/// half precision are cooperative matrices' where the adapter has them.
#[test]
fn adapters_compute_with_all_their_features() {
    let oracle = Device::oracle().expect("the oracle");
    let layer = Layer::random(RnnConfig::new(Cell::Lstm, 32, 32), 8, 16, 1);
    let want = layer.run(&oracle);
    let mut opened = 0;
    for report in pollster::block_on(adapters()).expect("adapters").iter().filter(|report| report.unusable.is_none()) {
        let device = pollster::block_on(Device::open_adapter(report)).expect("a device with all features");
        let caps = device.gpu().expect("a GPU").capabilities();
        let features = device.gpu().expect("a GPU").device().features();
        let of = |feature, has| Capabilities::useful_features().contains(feature) && has == features.contains(feature);
        assert!(of(wgpu::Features::SHADER_F16, report.capabilities.f16), "{report:?}");
        assert!(of(wgpu::Features::TIMESTAMP_QUERY, report.capabilities.timestamps), "{report:?}");
        assert!(of(wgpu::Features::PIPELINE_CACHE, report.capabilities.pipeline_cache), "{report:?}");
        let cooperative = features.contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX);
        assert_eq!(cooperative, report.capabilities.cooperative_size.is_some(), "{report:?}");
        assert_eq!(caps.cooperative_size, report.capabilities.cooperative_size, "{report:?}");
        assert_close(&report.name, &layer.run(&device), &want, common::OUTPUT_BOUND, common::GRADIENT_BOUND);
        if caps.f16 {
            assert_close(&report.name, &layer.clone().half(true).run(&device), &want, BOUND, BOUND);
        }
        opened += 1;
    }
    assert!(opened > 0, "the shader tests need a Vulkan adapter: run `cargo xtask driver`");
}
