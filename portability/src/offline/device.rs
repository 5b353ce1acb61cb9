//! A Vulkan device that compiles and never runs: its limits, and what its driver says of a compute pipeline.

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char};

use anyhow::{Context, Result, bail};
use ash::{ext, khr, vk};
use serde::{Deserialize, Serialize};
use wgpu_rnn::gpu::{BindingKind, Class};
use wgpu_rnn::wgpu;

/// What is known of an adapter, in the table's first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adapter {
    /// The device's name.
    pub name: String,
    /// PCI id of the vendor, or Khronos' own.
    pub vendor: u32,
    /// Name of the driver, with its version.
    pub driver: String,
    /// Version of Vulkan, major and minor.
    pub vulkan: [u32; 2],
    /// Workgroup memory, bytes.
    pub workgroup_memory: u32,
    /// Invocations a workgroup.
    pub workgroup_invocations: u32,
    /// Smallest subgroup.
    pub subgroup: u32,
    /// Whether wgpu offers `SHADER_F16`.
    pub f16: bool,
}

impl Adapter {
    /// Version of SPIR-V that wgpu writes for it.
    pub fn spirv(&self) -> (u8, u8) {
        match self.vulkan {
            [1, 0] => (1, 0),
            [1, 1] => (1, 3),
            [1, 2] => (1, 5),
            _ => (1, 6),
        }
    }

    /// The class that the library takes it for, from what wgpu would tell of it.
    pub fn class(&self) -> Class {
        let info = wgpu::AdapterInfo {
            name: self.name.clone(),
            vendor: self.vendor,
            subgroup_min_size: self.subgroup,
            ..wgpu::AdapterInfo::new(wgpu::DeviceType::Other, wgpu::Backend::Vulkan)
        };
        Class::of(&info)
    }
}

/// What a driver says of a pipeline, by its own names.
pub type Statistics = BTreeMap<String, f64>;

/// The first device of the first driver.
pub struct Device {
    adapter: Adapter,
    device: ash::Device,
    statistics: khr::pipeline_executable_properties::Device,
    // Dropped last: what is above was loaded through it.
    _entry: ash::Entry,
}

impl Device {
    /// Opens it with what wgpu asks of a device: bounds checks of buffers, and half precision where there is all of it.
    pub fn open() -> Result<Self> {
        // SAFETY: the loader that the system has is trusted, as it is by wgpu.
        let entry = unsafe { ash::Entry::load() }.context("there is no Vulkan loader (libvulkan.so.1)")?;
        let app = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
        let info = vk::InstanceCreateInfo::default().application_info(&app);
        // SAFETY: `info` and what it points to are complete; the instance lives until the process ends.
        let instance = unsafe { entry.create_instance(&info, None) }.context("no Vulkan driver could be loaded")?;
        // SAFETY: the instance is alive.
        let found = unsafe { instance.enumerate_physical_devices() }.context("the driver lists no device")?;
        let Some(&physical) = found.first() else { bail!("the driver has no device") };

        // SAFETY: `physical` is one of the instance's, here and below.
        let extensions = unsafe { instance.enumerate_device_extension_properties(physical) }?;
        let has = |name: &CStr| extensions.iter().any(|one| one.extension_name_as_c_str() == Ok(name));
        if !has(khr::pipeline_executable_properties::NAME) {
            bail!("the driver has no VK_KHR_pipeline_executable_properties");
        }
        let mut driver = vk::PhysicalDeviceDriverProperties::default();
        let mut sizes = vk::PhysicalDeviceSubgroupSizeControlProperties::default();
        let mut plain = vk::PhysicalDeviceSubgroupProperties::default();
        let mut properties = vk::PhysicalDeviceProperties2::default().push_next(&mut driver).push_next(&mut plain);
        if has(ext::subgroup_size_control::NAME) {
            properties = properties.push_next(&mut sizes);
        }
        // SAFETY: both structures are of this version of Vulkan.
        unsafe { instance.get_physical_device_properties2(physical, &mut properties) };
        let properties = properties.properties;

        let (mut of_11, mut of_12) =
            (vk::PhysicalDeviceVulkan11Features::default(), vk::PhysicalDeviceVulkan12Features::default());
        let mut robust = vk::PhysicalDeviceRobustness2FeaturesEXT::default();
        let mut features = vk::PhysicalDeviceFeatures2::default().push_next(&mut of_11).push_next(&mut of_12);
        if has(ext::robustness2::NAME) {
            features = features.push_next(&mut robust);
        }
        // SAFETY: as above.
        unsafe { instance.get_physical_device_features2(physical, &mut features) };
        let robust_buffers = features.features.robust_buffer_access;
        let f16 = of_12.shader_float16 == vk::TRUE
            && of_11.storage_buffer16_bit_access == vk::TRUE
            && of_11.uniform_and_storage_buffer16_bit_access == vk::TRUE;

        let mut half = vk::PhysicalDeviceShaderFloat16Int8Features::default().shader_float16(f16);
        let mut stored = vk::PhysicalDevice16BitStorageFeatures::default()
            .storage_buffer16_bit_access(f16)
            .uniform_and_storage_buffer16_bit_access(f16);
        let mut robust = vk::PhysicalDeviceRobustness2FeaturesEXT::default()
            .robust_buffer_access2(robust.robust_buffer_access2 == vk::TRUE);
        let mut told =
            vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default().pipeline_executable_info(true);
        let core = vk::PhysicalDeviceFeatures::default().robust_buffer_access(robust_buffers == vk::TRUE);
        let queue = [vk::DeviceQueueCreateInfo::default().queue_priorities(&[1.0])];
        let mut names = vec![khr::pipeline_executable_properties::NAME.as_ptr()];
        let mut info = vk::DeviceCreateInfo::default()
            .queue_create_infos(&queue)
            .enabled_features(&core)
            .push_next(&mut half)
            .push_next(&mut stored)
            .push_next(&mut told);
        if has(ext::robustness2::NAME) {
            names.push(ext::robustness2::NAME.as_ptr());
            info = info.push_next(&mut robust);
        }
        let info = info.enabled_extension_names(&names);
        // SAFETY: every feature that is enabled was found above, and every extension.
        let device =
            unsafe { instance.create_device(physical, &info, None) }.context("the device could not be opened")?;
        let statistics = khr::pipeline_executable_properties::Device::new(&instance, &device);
        let limits = properties.limits;
        let name = |text: &[c_char]| {
            let bytes = text.iter().map(|&c| c as u8).take_while(|&c| c != 0).collect();
            String::from_utf8(bytes).unwrap_or_default()
        };
        let version = properties.api_version;
        let adapter = Adapter {
            name: name(&properties.device_name),
            vendor: properties.vendor_id,
            driver: format!("{} {}", name(&driver.driver_name), name(&driver.driver_info)).trim().to_string(),
            vulkan: [vk::api_version_major(version), vk::api_version_minor(version)],
            // As wgpu tells it.
            subgroup: if sizes.min_subgroup_size > 0 { sizes.min_subgroup_size } else { plain.subgroup_size },
            workgroup_memory: limits.max_compute_shared_memory_size,
            workgroup_invocations: limits.max_compute_work_group_invocations.min(limits.max_compute_work_group_size[0]),
            f16,
        };
        Ok(Self { adapter, device, statistics, _entry: entry })
    }

    /// What it is.
    pub fn adapter(&self) -> &Adapter {
        &self.adapter
    }

    /// Makes a pipeline of `code`, which is SPIR-V that binds `kinds`, and tells what its driver says of it.
    pub fn compile(&self, kinds: &[BindingKind], code: &[u32]) -> Result<Statistics> {
        let bindings: Vec<_> = kinds.iter().zip(0..).map(|(&kind, index)| binding(index, kind)).collect();
        let stage = vk::PipelineShaderStageCreateInfo::default().stage(vk::ShaderStageFlags::COMPUTE).name(c"main");
        // SAFETY: the handles are this device's, each made just before its use and dropped after it; the module is valid
        // SPIR-V with the entry point `main`, and the layout has all its bindings.
        unsafe {
            let module = self.device.create_shader_module(&vk::ShaderModuleCreateInfo::default().code(code), None)?;
            let set = self.device.create_descriptor_set_layout(
                &vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings),
                None,
            )?;
            let sets = [set];
            let layout = self
                .device
                .create_pipeline_layout(&vk::PipelineLayoutCreateInfo::default().set_layouts(&sets), None)?;
            let info = vk::ComputePipelineCreateInfo::default()
                .flags(vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR)
                .stage(stage.module(module))
                .layout(layout);
            let made = self.device.create_compute_pipelines(vk::PipelineCache::null(), &[info], None);
            let told = match made {
                Ok(pipelines) => {
                    let told = self.told(pipelines[0]);
                    self.device.destroy_pipeline(pipelines[0], None);
                    told
                }
                Err((_, error)) => Err(error),
            };
            self.device.destroy_pipeline_layout(layout, None);
            self.device.destroy_descriptor_set_layout(set, None);
            self.device.destroy_shader_module(module, None);
            Ok(told?)
        }
    }

    /// The statistics of all executables of a pipeline; compute pipelines have one.
    fn told(&self, pipeline: vk::Pipeline) -> Result<Statistics, vk::Result> {
        let info = vk::PipelineExecutableInfoKHR::default().pipeline(pipeline);
        // SAFETY: the pipeline is this device's, and captures statistics.
        let found = unsafe { self.statistics.get_pipeline_executable_statistics(&info) }?;
        let value = |one: &vk::PipelineExecutableStatisticKHR<'_>| {
            // SAFETY: the format says which member is set.
            unsafe {
                match one.format {
                    vk::PipelineExecutableStatisticFormatKHR::BOOL32 => f64::from(one.value.b32),
                    vk::PipelineExecutableStatisticFormatKHR::INT64 => one.value.i64 as f64,
                    vk::PipelineExecutableStatisticFormatKHR::UINT64 => one.value.u64 as f64,
                    _ => one.value.f64,
                }
            }
        };
        let name = |one: &vk::PipelineExecutableStatisticKHR<'_>| {
            one.name_as_c_str().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
        };
        Ok(found.iter().map(|one| (name(one), value(one))).collect())
    }
}

fn binding(index: u32, kind: BindingKind) -> vk::DescriptorSetLayoutBinding<'static> {
    let kind = match kind {
        BindingKind::Read | BindingKind::ReadWrite => vk::DescriptorType::STORAGE_BUFFER,
        BindingKind::Uniform => vk::DescriptorType::UNIFORM_BUFFER,
        BindingKind::Step => vk::DescriptorType::UNIFORM_BUFFER_DYNAMIC,
    };
    vk::DescriptorSetLayoutBinding::default()
        .binding(index)
        .descriptor_type(kind)
        .descriptor_count(1)
        .stage_flags(vk::ShaderStageFlags::COMPUTE)
}
