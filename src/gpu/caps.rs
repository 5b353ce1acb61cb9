//! What an adapter or device can do, as far as this engine cares.

use serde::Serialize;

use super::class::Class;
use super::cost::Rates;

/// Hardware or software.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AdapterKind {
    /// A GPU: discrete, integrated or virtual.
    Gpu,
    /// A software rasteriser on the CPU, such as llvmpipe. Used only when asked for.
    Software,
}

/// Features and limits that decide which kernels run and how they are tiled.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Capabilities {
    /// Hardware or software.
    pub kind: AdapterKind,
    /// What its processors are like.
    pub class: Class,
    /// Largest buffer, bytes.
    pub max_buffer: u64,
    /// Largest storage binding, bytes; longer sequences are split over several.
    pub max_binding: u64,
    /// Storage buffers a kernel may bind (8 at least).
    pub storage_buffers: u32,
    /// Workgroup memory, bytes (16 KiB at least).
    pub workgroup_memory: u32,
    /// Invocations a workgroup (256 at least).
    pub workgroup_invocations: u32,
    /// Workgroups a dispatch dimension (65,535 at least).
    pub max_workgroups: u32,
    /// Alignment of offsets into storage and uniform buffers, bytes (256 at most).
    pub offset_alignment: u32,
    /// GPU timestamps at pass boundaries.
    pub timestamps: bool,
    /// `enable f16`.
    pub f16: bool,
    /// Subgroup operations.
    pub subgroups: bool,
    /// Smallest and largest subgroup, invocations.
    pub subgroup_size: [u32; 2],
    /// Cooperative matrices.
    pub cooperative_matrix: bool,
    /// Pipeline caches (Vulkan only).
    pub pipeline_cache: bool,
    /// Rows of the square cooperative matrices with f16 factors and f32 sums, 8 or 16. Only adapters tell, so there are
    /// none on devices that an app opened.
    pub cooperative_size: Option<u32>,
}

/// Whether FXC may be what compiles shaders. wgpu does not say; but FXC knows no f16, which DXC has wherever the GPU has it.
fn perhaps_fxc(backend: wgpu::Backend, features: wgpu::Features) -> bool {
    backend == wgpu::Backend::Dx12 && !features.contains(wgpu::Features::SHADER_F16)
}

/// 4 GiB: 2³¹ elements of f16. Kernels count elements in 32 bits, and some compilers bytes.
const MOST_BINDING: u64 = (4 << 30) - 256;

impl Capabilities {
    /// Workgroup memory, bytes, that kernels use where FXC may compile them: all that WebGPU guarantees. Beyond,
    /// FXC took more than three seconds for most sequence kernels that were tried.
    pub const FXC_WORKGROUP_MEMORY: u32 = 16 << 10;

    /// From what wgpu says of an adapter or device.
    pub fn new(info: &wgpu::AdapterInfo, features: wgpu::Features, limits: &wgpu::Limits) -> Self {
        let class = Class::of(info);
        Self {
            kind: class.kind(),
            class,
            max_buffer: limits.max_buffer_size,
            max_binding: limits.max_storage_buffer_binding_size.min(limits.max_buffer_size),
            storage_buffers: limits.max_storage_buffers_per_shader_stage,
            workgroup_memory: match perhaps_fxc(info.backend, features) {
                true => limits.max_compute_workgroup_storage_size.min(Self::FXC_WORKGROUP_MEMORY),
                false => limits.max_compute_workgroup_storage_size,
            },
            workgroup_invocations: limits
                .max_compute_invocations_per_workgroup
                .min(limits.max_compute_workgroup_size_x),
            max_workgroups: limits.max_compute_workgroups_per_dimension,
            offset_alignment: limits
                .min_storage_buffer_offset_alignment
                .max(limits.min_uniform_buffer_offset_alignment),
            timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
            f16: features.contains(wgpu::Features::SHADER_F16),
            subgroups: features.contains(wgpu::Features::SUBGROUP),
            subgroup_size: [info.subgroup_min_size, info.subgroup_max_size],
            cooperative_matrix: features.contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX),
            pipeline_cache: features.contains(wgpu::Features::PIPELINE_CACHE),
            cooperative_size: None,
        }
    }

    /// With what the adapter says of cooperative matrices.
    pub(super) fn with_cooperative(self, matrices: &[wgpu::CooperativeMatrixProperties]) -> Self {
        let has = |size| {
            matrices.iter().any(|matrix| {
                [matrix.m_size, matrix.n_size, matrix.k_size] == [size; 3]
                    && matrix.ab_type == wgpu::CooperativeScalarType::F16
                    && matrix.cr_type == wgpu::CooperativeScalarType::F32
            })
        };
        // A workgroup has to be one subgroup, of a size that is known.
        let [least, most] = self.subgroup_size;
        let known = self.cooperative_matrix && self.f16 && least == most && most.is_power_of_two();
        let largest = [16, 8].into_iter().find(|&size| has(size));
        let lanes = (8..=128).contains(&most);
        Self { cooperative_size: largest.filter(|_| known && lanes), ..self }
    }

    /// Bytes that a binding may have: the device's limit, and no more than 32-bit indices of any element type reach, with
    /// room for the strides of kernels that walk over it.
    pub fn binding_bytes(&self) -> u64 {
        self.max_binding.min(self.max_buffer).min(MOST_BINDING)
    }

    /// Elements of a dispatch of kernels that leave a sum for each workgroup: it decides how sums are grouped, so it depends on
    /// the class alone.
    pub(crate) fn summed_at_once(&self) -> usize {
        Rates::of(self.kind).summed_at_once
    }

    /// Dispatches that one submit takes. llvmpipe maps memory anew for every dispatch, and Linux allows a process 65,530
    /// mappings; beyond them it ends the process. Hardware takes any number.
    pub fn max_dispatches(&self) -> usize {
        match self.kind {
            AdapterKind::Software => 50_000,
            AdapterKind::Gpu => usize::MAX,
        }
    }

    /// The features this engine makes use of, to be intersected with the adapter's. None is required.
    pub fn useful_features() -> wgpu::Features {
        wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::PIPELINE_CACHE | wgpu::Features::SHADER_F16
    }

    /// The limits a host should request to give this engine room: WebGPU's defaults with the adapter's own buffer, binding
    /// and workgroup sizes. The defaults alone suffice; longer sequences are then split, and smaller workgroups run them.
    pub fn useful_limits(adapter: &wgpu::Limits) -> wgpu::Limits {
        let defaults = wgpu::Limits::defaults();
        wgpu::Limits {
            max_buffer_size: adapter.max_buffer_size,
            max_storage_buffer_binding_size: adapter.max_storage_buffer_binding_size,
            max_compute_workgroup_storage_size: adapter.max_compute_workgroup_storage_size,
            max_compute_invocations_per_workgroup: adapter.max_compute_invocations_per_workgroup,
            max_compute_workgroup_size_x: adapter.max_compute_workgroup_size_x,
            // Not needed here; asking for the adapter's keeps old and small adapters usable.
            max_inter_stage_shader_variables: adapter
                .max_inter_stage_shader_variables
                .min(defaults.max_inter_stage_shader_variables),
            ..defaults
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FXC has to finish: on DX12 only a device with f16 is surely DXC's, and no other backend knows FXC.
    #[test]
    fn workgroup_memory_is_what_the_shader_compiler_manages() {
        let f16 = wgpu::Features::SHADER_F16;
        for (backend, features, fxc) in [
            (wgpu::Backend::Dx12, wgpu::Features::empty(), true),
            (wgpu::Backend::Dx12, wgpu::Features::TIMESTAMP_QUERY, true),
            (wgpu::Backend::Dx12, f16, false),
            (wgpu::Backend::Vulkan, wgpu::Features::empty(), false),
            (wgpu::Backend::Metal, f16, false),
        ] {
            let info = wgpu::AdapterInfo::new(wgpu::DeviceType::DiscreteGpu, backend);
            for (given, wanted) in
                [(8 << 10, 8 << 10), (16 << 10, 16 << 10), (32 << 10, if fxc { 16 << 10 } else { 32 << 10 })]
            {
                let limits = wgpu::Limits { max_compute_workgroup_storage_size: given, ..wgpu::Limits::defaults() };
                let caps = Capabilities::new(&info, features, &limits);
                assert_eq!(caps.workgroup_memory, wanted, "{backend:?}, {features:?}, {given}");
            }
        }
    }
}
