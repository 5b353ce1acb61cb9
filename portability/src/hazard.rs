//! A planted hazard: one dispatch writes a buffer, the next reads it, and no barrier stands between them, so that a
//! validation layer that is silent about it is known not to look. wgpu would put the barrier there, so this talks to
//! Vulkan itself. (Layers say nothing of two dispatches that both write: a buffer's elements may be shared out.)

use anyhow::{Context, Result, bail};
use ash::vk;

/// The two kernels. Each has a variable of its own for the buffer: layers look at what a module does to a variable, not at
/// which kernel does it.
const SOURCE: &str = "
@group(0) @binding(0) var<storage, read_write> written: array<u32>;
@group(0) @binding(0) var<storage> values: array<u32>;
@group(0) @binding(1) var<storage, read_write> copies: array<u32>;

@compute @workgroup_size(1)
fn write() {
    written[0] = 1u;
}

@compute @workgroup_size(1)
fn read() {
    copies[0] = values[0];
}
";

/// Their names.
const ENTRIES: [&std::ffi::CStr; 2] = [c"write", c"read"];

/// Bytes of each of the two buffers.
const SIZE: u64 = 256;

/// Records and runs the two dispatches on the first Vulkan device. What a layer says of it is the layer's.
pub fn run() -> Result<()> {
    let code = spirv()?;
    // SAFETY: the loader is the system's own; every handle is used with the device that made it, lives until the queue is
    // idle, and is freed with the process, which ends after this. The hazard is on purpose: what is read is not used.
    unsafe {
        let entry = ash::Entry::load().context("there is no Vulkan loader")?;
        let application = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_1);
        let instance = vk::InstanceCreateInfo::default().application_info(&application);
        let instance = entry.create_instance(&instance, None).context("there is no Vulkan instance")?;
        let Some(&physical) = instance.enumerate_physical_devices()?.first() else {
            bail!("there is no Vulkan device")
        };
        let families = instance.get_physical_device_queue_family_properties(physical);
        let compute = |family: &vk::QueueFamilyProperties| family.queue_flags.contains(vk::QueueFlags::COMPUTE);
        let family = families.iter().position(compute).context("the Vulkan device does not compute")? as u32;
        let queues = [vk::DeviceQueueCreateInfo::default().queue_family_index(family).queue_priorities(&[1.0])];
        let device =
            instance.create_device(physical, &vk::DeviceCreateInfo::default().queue_create_infos(&queues), None)?;

        let buffer = || -> Result<vk::Buffer> {
            let buffer = vk::BufferCreateInfo::default().size(SIZE).usage(vk::BufferUsageFlags::STORAGE_BUFFER);
            let buffer = device.create_buffer(&buffer, None)?;
            let needs = device.get_buffer_memory_requirements(buffer);
            let memory = vk::MemoryAllocateInfo::default()
                .allocation_size(needs.size)
                .memory_type_index(needs.memory_type_bits.trailing_zeros());
            device.bind_buffer_memory(buffer, device.allocate_memory(&memory, None)?, 0)?;
            Ok(buffer)
        };
        let buffers = [buffer()?, buffer()?];

        let bindings = [0, 1].map(|binding| {
            vk::DescriptorSetLayoutBinding::default()
                .binding(binding)
                .descriptor_type(vk::DescriptorType::STORAGE_BUFFER)
                .descriptor_count(1)
                .stage_flags(vk::ShaderStageFlags::COMPUTE)
        });
        let layout = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
        let layouts = [device.create_descriptor_set_layout(&layout, None)?];
        let sizes = [vk::DescriptorPoolSize::default().ty(vk::DescriptorType::STORAGE_BUFFER).descriptor_count(2)];
        let pool = vk::DescriptorPoolCreateInfo::default().max_sets(1).pool_sizes(&sizes);
        let pool = device.create_descriptor_pool(&pool, None)?;
        let sets = vk::DescriptorSetAllocateInfo::default().descriptor_pool(pool).set_layouts(&layouts);
        let sets = device.allocate_descriptor_sets(&sets)?;
        let bound = buffers.map(|buffer| vk::DescriptorBufferInfo::default().buffer(buffer).range(vk::WHOLE_SIZE));
        let write = vk::WriteDescriptorSet::default()
            .dst_set(sets[0])
            .descriptor_type(vk::DescriptorType::STORAGE_BUFFER)
            .buffer_info(&bound);
        device.update_descriptor_sets(&[write], &[]);

        let module = device.create_shader_module(&vk::ShaderModuleCreateInfo::default().code(&code), None)?;
        let pipeline_layout = vk::PipelineLayoutCreateInfo::default().set_layouts(&layouts);
        let pipeline_layout = device.create_pipeline_layout(&pipeline_layout, None)?;
        let pipelines = ENTRIES.map(|name| {
            let stage = vk::PipelineShaderStageCreateInfo::default()
                .stage(vk::ShaderStageFlags::COMPUTE)
                .module(module)
                .name(name);
            vk::ComputePipelineCreateInfo::default().stage(stage).layout(pipeline_layout)
        });
        let pipelines = device.create_compute_pipelines(vk::PipelineCache::null(), &pipelines, None);
        let pipelines = pipelines.map_err(|(_, error)| error).context("the kernels are refused")?;

        let commands = vk::CommandPoolCreateInfo::default().queue_family_index(family);
        let commands = device.create_command_pool(&commands, None)?;
        let commands = vk::CommandBufferAllocateInfo::default().command_pool(commands).command_buffer_count(1);
        let commands = device.allocate_command_buffers(&commands)?;
        device.begin_command_buffer(commands[0], &vk::CommandBufferBeginInfo::default())?;
        device.cmd_bind_descriptor_sets(commands[0], vk::PipelineBindPoint::COMPUTE, pipeline_layout, 0, &sets, &[]);
        for pipeline in pipelines {
            device.cmd_bind_pipeline(commands[0], vk::PipelineBindPoint::COMPUTE, pipeline);
            device.cmd_dispatch(commands[0], 1, 1, 1);
        }
        device.end_command_buffer(commands[0])?;
        let queue = device.get_device_queue(family, 0);
        let submit = vk::SubmitInfo::default().command_buffers(&commands);
        device.queue_submit(queue, &[submit], vk::Fence::null())?;
        device.device_wait_idle()?;
    }
    Ok(())
}

fn spirv() -> Result<Vec<u32>> {
    use naga::valid::{Capabilities, ValidationFlags, Validator};
    let module = naga::front::wgsl::parse_str(SOURCE)?;
    let info = Validator::new(ValidationFlags::all(), Capabilities::empty()).validate(&module)?;
    Ok(naga::back::spv::write_vec(&module, &info, &naga::back::spv::Options::default(), None)?)
}
