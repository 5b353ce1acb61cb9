//! Classes of adapters: what the processors of each have in registers, which decides the layouts that run there.
//!
//! A compiler that needs more registers than there are moves values to memory, and a kernel that does so in every step is
//! many times slower. What each class allows was found with the compilers of such GPUs: `benches/record/offline/` has
//! their tables, and `tests/offline.rs` holds what is planned for a class against them.

use serde::Serialize;

use super::caps::AdapterKind;

/// What an adapter's processors are like, as far as layouts depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// A software rasteriser on the CPU.
    Software,
    /// AMD RDNA: Radeon RX 5000 and later.
    Rdna,
    /// AMD before RDNA: GCN.
    Gcn,
    /// Apple M and A.
    Apple,
    /// Qualcomm Adreno.
    Adreno,
    /// NVIDIA.
    Nvidia,
    /// Any other hardware, and what is not known: browsers and some drivers do not tell.
    Unknown,
}

/// Registers that a layout may count on, each 32 bits wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Registers {
    /// Of an invocation at most.
    pub each: u32,
    /// Of all invocations of a workgroup together.
    pub all: u32,
    /// Turns of a loop at most that is sure to be unrolled, so that an array it runs over is in registers.
    pub unrolled: u32,
}

/// PCI ids of vendors.
mod vendor {
    pub const AMD: u32 = 0x1002;
    pub const APPLE: u32 = 0x106b;
    pub const MESA: u32 = 0x10005;
    pub const NVIDIA: u32 = 0x10de;
    pub const QUALCOMM: u32 = 0x5143;
}

impl Registers {
    /// Those of an invocation in a workgroup of `lanes`.
    pub const fn of(self, lanes: u32) -> u32 {
        let shared = self.all / if lanes == 0 { 1 } else { lanes };
        if shared < self.each { shared } else { self.each }
    }
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 7] =
        [Self::Software, Self::Rdna, Self::Gcn, Self::Apple, Self::Adreno, Self::Nvidia, Self::Unknown];

    /// The class of an adapter, from what wgpu tells of it.
    pub fn of(info: &wgpu::AdapterInfo) -> Self {
        match info.vendor {
            _ if AdapterKind::of(info) == AdapterKind::Software => Self::Software,
            // Metal tells no vendor.
            0 if info.backend == wgpu::Backend::Metal && info.name.starts_with("Apple") => Self::Apple,
            // Nor does Mesa's driver.
            vendor::APPLE => Self::Apple,
            vendor::MESA if info.name.starts_with("Apple") => Self::Apple,
            // Only RDNA runs subgroups of 32.
            vendor::AMD if info.subgroup_min_size == 32 => Self::Rdna,
            vendor::AMD => Self::Gcn,
            vendor::QUALCOMM => Self::Adreno,
            vendor::NVIDIA => Self::Nvidia,
            _ => Self::Unknown,
        }
    }

    /// Hardware or software.
    pub const fn kind(self) -> AdapterKind {
        match self {
            Self::Software => AdapterKind::Software,
            _ => AdapterKind::Gpu,
        }
    }

    /// What its processors have in registers, and what their compilers do with them.
    pub const fn registers(self) -> Registers {
        let (each, all, unrolled) = match self {
            // Nothing is held in the layouts of software adapters.
            Self::Software => (0, 0, 0),
            // RADV: it moves none of what is laid out for any class; up to 128 at 1024 invocations are needed nowhere.
            Self::Rdna => (256, 128 << 10, 64),
            // RADV: 64 at 1024 invocations, some of them its own.
            Self::Gcn => (256, 60 << 10, 64),
            // Honeykrisp: 256 of 16 bits at 384 invocations, 104 at 1024; it spilled one layout that counts 128.
            Self::Apple => (120, 52 << 10, 64),
            // Turnip: 48 at 1024 invocations, of which vectors of four leave gaps.
            Self::Adreno => (192, 31 << 10, 64),
            // NVK: 64 at 1024 invocations, in steps of eight; it unrolls no loop of more turns.
            Self::Nvidia => (255, 60 << 10, 32),
            // The least of all.
            Self::Unknown => (120, 31 << 10, 32),
        };
        Registers { each, all, unrolled }
    }
}

/// Hardware of no known class, or software.
impl From<AdapterKind> for Class {
    fn from(kind: AdapterKind) -> Self {
        match kind {
            AdapterKind::Software => Self::Software,
            AdapterKind::Gpu => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adapters_are_told_apart_by_vendor_name_and_subgroups() {
        let of = |name: &str, vendor, subgroup_min_size, backend| {
            let info = wgpu::AdapterInfo::new(wgpu::DeviceType::Other, backend);
            Class::of(&wgpu::AdapterInfo { name: name.to_string(), vendor, subgroup_min_size, ..info })
        };
        let vulkan = wgpu::Backend::Vulkan;
        assert_eq!(of("AMD Radeon RX 6800 XT (RADV NAVI21)", 0x1002, 32, vulkan), Class::Rdna);
        assert_eq!(of("AMD Radeon RX 580 Series (RADV POLARIS10)", 0x1002, 64, vulkan), Class::Gcn);
        assert_eq!(of("Apple M1", 0, 4, wgpu::Backend::Metal), Class::Apple);
        assert_eq!(of("Apple M1 (G13G A0)", 0x10005, 32, vulkan), Class::Apple);
        assert_eq!(of("AMD Radeon Pro 5500M", 0, 4, wgpu::Backend::Metal), Class::Unknown);
        assert_eq!(of("Turnip Adreno (TM) 630", 0x5143, 64, vulkan), Class::Adreno);
        assert_eq!(of("NVIDIA GeForce RTX 3060", 0x10de, 32, wgpu::Backend::Dx12), Class::Nvidia);
        assert_eq!(of("Intel(R) Arc(tm) A770", 0x8086, 8, vulkan), Class::Unknown);
        assert_eq!(of("", 0, 4, wgpu::Backend::BrowserWebGpu), Class::Unknown);
    }

    #[test]
    fn software_is_software_whoever_makes_it() {
        let info = wgpu::AdapterInfo::new(wgpu::DeviceType::Cpu, wgpu::Backend::Vulkan);
        for vendor in [0x10005, 0x1002] {
            assert_eq!(Class::of(&wgpu::AdapterInfo { vendor, ..info.clone() }), Class::Software);
        }
    }

    #[test]
    fn a_workgroup_shares_its_registers() {
        let registers = Registers { each: 128, all: 52 << 10, unrolled: 64 };
        assert_eq!([1, 256, 512, 1024].map(|lanes| registers.of(lanes)), [128, 128, 104, 52]);
    }
}
