//! What is examined: adapter, driver, system, versions, compiler, limits and features.

use sysinfo::System;
use wgpu_rnn::gpu::Gpu;
use wgpu_rnn::{Device, wgpu};

/// Facts by name, of the machine and of the device.
pub fn facts(device: &Device) -> anyhow::Result<Vec<(&'static str, String)>> {
    let mut all = vec![
        ("date", crate::base::today()),
        ("command", crate::base::command_line()),
        ("versions", format!("wgpu-rnn {}, wgpu {}", env!("CARGO_PKG_VERSION"), env!("WGPU_VERSION"))),
        ("system", system()),
        ("device", crate::base::device::describe(device)),
    ];
    if let Some(gpu) = device.gpu() {
        all.extend(of(gpu));
    }
    Ok(all)
}

/// Operating system, architecture, processor and memory, as far as the system tells.
fn system() -> String {
    let mut parts = Vec::new();
    let long = System::long_os_version().or_else(|_| System::os_version());
    parts.push(long.unwrap_or_else(|_| std::env::consts::OS.to_string()));
    parts.extend(System::kernel_version().map(|version| format!("kernel {version}")));
    parts.push(System::cpu_arch());
    if let Ok(mut system) = System::new() {
        system.refresh_cpu_all();
        system.refresh_memory();
        let brand = system.cpus().first().map_or("unknown processor", |cpu| cpu.brand().trim()).to_string();
        parts.push(format!("{brand}, {} threads", system.cpus().len()));
        parts.push(format!("{} MiB", system.total_memory() >> 20));
    }
    parts.join(", ")
}

fn of(gpu: &Gpu) -> Vec<(&'static str, String)> {
    let (info, device) = (gpu.info(), gpu.device());
    let bus = if info.device_pci_bus_id.is_empty() { "none told" } else { &info.device_pci_bus_id };
    let driver = format!("{} {}", info.driver, info.driver_info);
    let subgroups = format!("{} to {}", info.subgroup_min_size, info.subgroup_max_size);
    vec![
        ("adapter", info.name.clone()),
        ("numbers", format!("vendor {:#06x}, device {:#06x}, bus {bus}", info.vendor, info.device)),
        ("type", format!("{:?}, treated as {:?}", info.device_type, gpu.capabilities().kind)),
        ("driver", if driver.trim().is_empty() { "none told".to_string() } else { driver }),
        ("backend", format!("{:?}", info.backend)),
        ("compiler", compiler(info.backend).to_string()),
        ("subgroups", subgroups),
        ("cooperative matrices", format!("{:?}", gpu.capabilities().cooperative_size)),
        ("features", list(device.features().iter_names().map(|(name, _)| name))),
        ("limits", limits(&device.limits())),
    ]
}

/// What turns WGSL into a program of the device, as far as wgpu tells.
fn compiler(backend: wgpu::Backend) -> &'static str {
    match backend {
        wgpu::Backend::Vulkan => "naga to SPIR-V, then the driver",
        wgpu::Backend::Metal => "naga to MSL, then Metal",
        wgpu::Backend::Gl => "naga to GLSL, then the driver",
        wgpu::Backend::BrowserWebGpu => "the browser",
        wgpu::Backend::Noop => "none",
        wgpu::Backend::Dx12 => match wgpu::Dx12Compiler::from_env().unwrap_or_default() {
            wgpu::Dx12Compiler::Fxc => "naga to HLSL, then FXC",
            wgpu::Dx12Compiler::DynamicDxc { .. } => "naga to HLSL, then DXC from dxcompiler.dll",
            wgpu::Dx12Compiler::StaticDxc => "naga to HLSL, then the built-in DXC",
            wgpu::Dx12Compiler::Auto => "naga to HLSL, then DXC where it is built in or found, else FXC",
        },
    }
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() { "none".to_string() } else { names.join(" ") }
}

/// All of wgpu's limits, `name=value`.
fn limits(limits: &wgpu::Limits) -> String {
    let text = format!("{limits:?}");
    let inner = text.strip_prefix("Limits {").and_then(|text| text.strip_suffix('}')).unwrap_or(&text);
    inner.split(", ").map(|part| part.trim().replacen(": ", "=", 1)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use wgpu_rnn::wgpu;

    #[test]
    fn limits_are_names_with_values() {
        let text = super::limits(&wgpu::Limits::defaults());
        assert!(text.contains("max_compute_invocations_per_workgroup=256"), "{text}");
        assert!(text.split(' ').all(|part| part.split_once('=').is_some_and(|(_, value)| !value.is_empty())), "{text}");
    }
}
