//! What a kernel is made of: WGSL files and the table of its bindings.

use crate::cell::{Cell, for_each_cell};
use crate::gpu::BindingKind;

/// One WGSL file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fragment {
    /// Its path below `shaders/`.
    pub name: &'static str,
    /// Its text.
    pub source: &'static str,
}

/// `fragments!["lib/a.wgsl", …]`: the named files of `shaders/`.
macro_rules! fragments {
    ($($name:literal),* $(,)?) => {
        &[$($crate::shader::Fragment {
            name: $name,
            source: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/", $name)),
        }),*]
    };
}
pub(crate) use fragments;

/// One row of a kernel's buffer table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Binding {
    /// The variable's name in WGSL.
    pub name: &'static str,
    /// How it is bound.
    pub kind: BindingKind,
}

/// A kernel: entry point `main` in the last of its fragments, bindings `0..` of group 0 in table order.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Kernel {
    /// Its name, the stem of its file.
    pub name: &'static str,
    /// Its files; the cell's comes before them when the spec names one.
    pub fragments: &'static [Fragment],
    /// Its buffer table.
    pub bindings: &'static [Binding],
    /// Bytes of its uniform structure.
    pub uniform_bytes: usize,
}

macro_rules! cell_fragments {
    ($($(#[$doc:meta])* $id:ident { stem: $stem:ident, $($rest:tt)* })*) => {
        /// The WGSL file of a cell: `cell_forward` and `cell_backward`.
        pub const fn cell_fragment(cell: Cell) -> Fragment {
            match cell {
                $(Cell::$id => Fragment {
                    name: concat!("cell/", stringify!($stem), ".wgsl"),
                    source: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/cell/", stringify!($stem), ".wgsl")),
                },)*
            }
        }
    };
}
for_each_cell!(cell_fragments);
