//! [`Uniform`]: the host's side of a kernel's `var<uniform>`. The structure here is the structure in WGSL, member by
//! member; encase derives where each lies.

use encase::internal::WriteInto;
use encase::{ShaderType, UniformBuffer};

/// Where the members of a uniform structure lie. `tests/shaders.rs` compares it with the structure in WGSL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Members {
    /// Bytes of the structure.
    pub bytes: usize,
    /// The members' names, in order.
    pub names: &'static [&'static str],
    /// The byte at which each begins.
    pub offsets: &'static [u64],
}

impl Members {
    /// Of a kernel without a uniform.
    pub const NONE: Self = Self { bytes: 0, names: &[], offsets: &[] };
}

/// A uniform structure, as [`uniform!`] declares one.
pub(crate) trait Uniform: ShaderType + WriteInto + Sized {
    /// Where its members lie.
    const MEMBERS: Members;

    /// What a kernel reads.
    fn bytes(&self) -> Vec<u8> {
        let mut buffer = UniformBuffer::new(Vec::with_capacity(Self::MEMBERS.bytes));
        // Writing to a Vec can't fail: it grows.
        let _ = buffer.write(self);
        buffer.into_inner()
    }
}

/// Declares a structure as WGSL has it. A member that is a structure is `#[shader(align(16))]` here and `@align(16)` there.
macro_rules! uniform {
    ($(#[$of_all:meta])* $public:vis struct $name:ident { $($(#[$of_one:meta])* $visible:vis $member:ident: $type:ty),* $(,)? }) => {
        $(#[$of_all])*
        #[derive(Clone, Copy, Debug, Default, encase::ShaderType)]
        $public struct $name { $($(#[$of_one])* $visible $member: $type),* }

        impl $crate::shader::Uniform for $name {
            const MEMBERS: $crate::shader::Members = $crate::shader::Members {
                bytes: <$name as encase::ShaderSize>::SHADER_SIZE.get() as usize,
                names: &[$(stringify!($member)),*],
                offsets: &<$name as encase::ShaderType>::METADATA.extra.offsets,
            };
        }
    };
}
pub(crate) use uniform;
