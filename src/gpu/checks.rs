//! What a device watches besides its work: bounds of arrays in kernels, and bands around buffers. Both cost time or memory,
//! so they are off unless a test, or who looks for a fault, asks for them.

use std::sync::OnceLock;

use super::context::Gpu;
use crate::error::{Error, Result};

/// The environment variable that turns [`Checks::bounds`] on where nothing else was asked for: `1`. It is read once.
const VARIABLE: &str = "WGPU_RNN_CHECKED";

/// Bytes of a band on either side of a buffer: a multiple of every alignment of offsets.
pub(super) const BAND: u64 = 16 << 10;
/// What it holds: NaN, whether it is read as f32 or as f16.
const NAN: [u8; 4] = 0x7fc0_7fc0u32.to_ne_bytes();

/// What a device watches besides its work. Results keep their bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Checks {
    /// Kernels are compiled with all checks that naga adds: no index beyond an array, no loop without an end, no division by
    /// zero. What is beyond a buffer's binding is left to drivers that promise to guard it.
    pub bounds: bool,
    /// Buffers of the pool lie between bands of NaN. A binding reaches over the band behind its buffer, so that a kernel that
    /// reads or writes beyond the end finds NaN, or leaves a trace that [`Gpu::broken_bands`] finds.
    pub bands: bool,
}

impl Checks {
    /// What the environment asks for.
    fn from_environment() -> Self {
        static BOUNDS: OnceLock<bool> = OnceLock::new();
        let bounds = *BOUNDS.get_or_init(|| std::env::var_os(VARIABLE).is_some_and(|value| value == "1"));
        Self { bounds, bands: false }
    }

    /// How kernels are compiled.
    pub(super) fn runtime_checks(self) -> wgpu::ShaderRuntimeChecks {
        if self.bounds { wgpu::ShaderRuntimeChecks::checked() } else { wgpu::ShaderRuntimeChecks::unchecked() }
    }

    /// Bytes on either side of a buffer.
    pub(super) fn band(self) -> u64 {
        if self.bands { BAND } else { 0 }
    }
}

impl Gpu {
    /// What is watched: what [`watch`](Self::watch) asked for, or the environment.
    pub fn checks(&self) -> Checks {
        *self.watching().get_or_init(Checks::from_environment)
    }

    /// Asks for checks; before anything is allocated or compiled on this device.
    pub fn watch(&self, checks: Checks) -> Result<()> {
        self.watching().set(checks).map_err(|_| {
            let expected = "asked for before the first buffer and kernel of the device";
            Error::invalid("checks of a device", expected, format!("{:?} are settled", self.checks()))
        })
    }

    /// Fills the bands of a buffer that holds `bytes` between them.
    pub(super) fn fill_bands(&self, buffer: &wgpu::Buffer, bytes: u64) -> Result<()> {
        let band = NAN.repeat(BAND as usize / NAN.len());
        self.work("was laying bands around a buffer", || {
            for offset in [0, BAND + bytes] {
                self.queue().write_buffer(buffer, offset, &band);
            }
        })
    }

    /// Labels of the buffers in whose bands something was written, with the offset of the first such byte from the buffer's
    /// beginning. Of all buffers that were made with [`Checks::bands`], those included that are given back.
    pub async fn broken_bands(&self) -> Result<Vec<(String, i64)>> {
        let banded = self.pool().banded.clone();
        let mut broken = Vec::new();
        for (label, buffer) in banded {
            let inner = buffer.size() - 2 * BAND;
            for (offset, place) in [(0, -(BAND as i64)), (BAND + inner, inner as i64)] {
                let found = self.download(&buffer, offset, BAND).await?;
                let at = found.chunks_exact(NAN.len()).position(|word| word != NAN);
                broken.extend(at.map(|at| (label.clone(), place + (at * NAN.len()) as i64)));
            }
        }
        Ok(broken)
    }
}
