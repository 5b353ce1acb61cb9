//! Which adapters are software, whatever they call themselves.

use super::caps::AdapterKind;

/// Parts of names and drivers that only software adapters have, in lower case. Vulkan and DX12 drivers say themselves that
/// they run on the CPU; OpenGL has no such word, and wgpu guesses from the renderer's name. A paravirtualised adapter
/// (VirGL, Venus, gfxstream) is as fast as the host's own and names it, so that these words find a software one behind it.
const SOFTWARE: &[&str] = &[
    // Mesa's rasterisers: "llvmpipe (LLVM 15.0.6, 256 bits)" under OpenGL, with driver "lavapipe" under Vulkan.
    "llvmpipe",
    "lavapipe",
    // Mesa's reference rasteriser is "softpipe", and wgpu takes it for unknown hardware.
    "softpipe",
    // Mesa's older ones: "Software Rasterizer", driver swrast; "SWR (LLVM 12.0.0, 256 bits)".
    "swrast",
    "software rasterizer",
    "swr (llvm",
    "mesa offscreen",
    // Google's: "SwiftShader Device (Subzero)", and what ANGLE puts around it.
    "swiftshader",
    // Windows' WARP, under DX12 and behind Mesa's layers on DX12.
    "microsoft basic render",
    // macOS' OpenGL without a GPU, and Windows' OpenGL 1.1.
    "apple software renderer",
    "gdi generic",
];

/// Vendor and device numbers of software adapters, as PCI would have them.
const SOFTWARE_IDS: &[(u32, u32)] = &[
    // Google, SwiftShader.
    (0x1ae0, 0xc0de),
    // Microsoft, Basic Render Driver.
    (0x1414, 0x008c),
];

impl AdapterKind {
    /// Software where the adapter says so, or where its name, its driver or its numbers are those of software.
    ///
    /// Vendor numbers alone don't tell: Mesa's (0x10005) is lavapipe's and that of Mesa's drivers for hardware too.
    pub fn of(info: &wgpu::AdapterInfo) -> Self {
        let says_so = info.device_type == wgpu::DeviceType::Cpu;
        let text = format!("{}\n{}\n{}", info.name, info.driver, info.driver_info).to_lowercase();
        let named = SOFTWARE.iter().any(|part| text.contains(part));
        let numbered = SOFTWARE_IDS.contains(&(info.vendor, info.device));
        if says_so || named || numbered { Self::Software } else { Self::Gpu }
    }
}

#[cfg(test)]
mod tests {
    use super::AdapterKind;
    use wgpu::{AdapterInfo, Backend, DeviceType};

    fn named(name: &str, driver: &str, device_type: DeviceType, backend: Backend) -> AdapterInfo {
        AdapterInfo { name: name.into(), driver: driver.into(), ..AdapterInfo::new(device_type, backend) }
    }

    #[test]
    fn software_is_known_whatever_it_calls_itself() {
        let software = [
            named("anything", "", DeviceType::Cpu, Backend::Vulkan),
            named("softpipe", "", DeviceType::Other, Backend::Gl),
            named("Software Rasterizer", "", DeviceType::Other, Backend::Gl),
            named("llvmpipe (LLVM 15.0.6, 256 bits)", "llvmpipe", DeviceType::Other, Backend::Vulkan),
            named("virgl (LLVMPIPE (LLVM 17.0.6, 256 bits))", "", DeviceType::Other, Backend::Gl),
            named("Virtio-GPU Venus (llvmpipe)", "venus", DeviceType::VirtualGpu, Backend::Vulkan),
            named("zink Vulkan 1.3(SwiftShader Device (Subzero))", "", DeviceType::IntegratedGpu, Backend::Gl),
            named("D3D12 (Microsoft Basic Render Driver)", "", DeviceType::Other, Backend::Gl),
            named("Apple Software Renderer", "", DeviceType::Other, Backend::Gl),
            AdapterInfo { vendor: 0x1414, device: 0x8c, ..named("WARP", "", DeviceType::IntegratedGpu, Backend::Dx12) },
            AdapterInfo { driver_info: "Mesa 25.0 swrast".into(), ..named("?", "", DeviceType::Other, Backend::Gl) },
        ];
        for info in software {
            assert_eq!(AdapterKind::of(&info), AdapterKind::Software, "{info:?}");
        }
    }

    #[test]
    fn hardware_is_hardware_behind_a_layer_too() {
        let hardware = [
            named("NVIDIA GeForce RTX 4090", "NVIDIA", DeviceType::DiscreteGpu, Backend::Vulkan),
            named("AMD Radeon RX 6800 (radeonsi, navi21, LLVM 15.0.6, DRM 3.49)", "", DeviceType::Other, Backend::Gl),
            named("Mesa Intel(R) UHD Graphics 630 (CFL GT2)", "", DeviceType::IntegratedGpu, Backend::Gl),
            named("virgl (AMD Radeon RX 6800)", "", DeviceType::Other, Backend::Gl),
            named("Virtio-GPU Venus (NVIDIA T4)", "venus", DeviceType::VirtualGpu, Backend::Vulkan),
            named("Mali-G78", "panvk", DeviceType::IntegratedGpu, Backend::Vulkan),
            // Mesa's vendor number, as lavapipe has it.
            AdapterInfo {
                vendor: 0x10005,
                ..named("Apple M1", "Honeykrisp", DeviceType::IntegratedGpu, Backend::Vulkan)
            },
            AdapterInfo { vendor: 0x1414, ..named("NVIDIA T4 (vGPU)", "", DeviceType::VirtualGpu, Backend::Dx12) },
        ];
        for info in hardware {
            assert_eq!(AdapterKind::of(&info), AdapterKind::Gpu, "{info:?}");
        }
    }
}
