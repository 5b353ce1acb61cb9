//! What a kernel is made of: WGSL files and the table of its bindings.

use super::uniform::Members;
use crate::activation::{Function, for_each_function};
use crate::cell::{Cell, for_each_cell};
use crate::gpu::BindingKind;
use crate::recipe::Recipe;

/// One WGSL file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fragment {
    /// Its path below `shaders/`.
    pub name: &'static str,
    /// Its text.
    pub source: &'static str,
}

/// `fragments!["lib/a.wgsl", …]`: the named files of `shaders/`. `fragments![cell: …]`: after those that every kernel with
/// a cell's equations needs.
macro_rules! fragments {
    (cell: $($name:literal),* $(,)?) => {
        $crate::shader::fragments![
            "lib/float.wgsl",
            "lib/exponential.wgsl",
            "lib/activation.wgsl",
            "lib/direction.wgsl",
            "lib/resets.wgsl",
            "lib/left.wgsl",
            "lib/cell.wgsl",
            "hook/begins_anew.wgsl",
            "hook/operand.wgsl",
            $($name),*
        ]
    };
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
    /// Whether its floats may be stored as f16. Its element type in WGSL is then `<name>_t`, f32 or f16 by the buffer
    /// that is bound: loads convert with `f32(…)`, stores with `<name>_t(…)`.
    pub or_half: bool,
}

impl Binding {
    const fn new(name: &'static str, kind: BindingKind) -> Self {
        Self { name, kind, or_half: false }
    }

    /// `var<uniform>`, the sizes.
    pub const fn uniform(name: &'static str) -> Self {
        Self::new(name, BindingKind::Uniform)
    }

    /// `var<uniform>`, the step index.
    pub const fn step(name: &'static str) -> Self {
        Self::new(name, BindingKind::Step)
    }

    /// `var<storage, read>`.
    pub const fn read(name: &'static str) -> Self {
        Self::new(name, BindingKind::Read)
    }

    /// `var<storage, read_write>`.
    pub const fn read_write(name: &'static str) -> Self {
        Self::new(name, BindingKind::ReadWrite)
    }

    /// Whether it is bound to a storage buffer.
    pub const fn is_storage(&self) -> bool {
        matches!(self.kind, BindingKind::Read | BindingKind::ReadWrite)
    }

    /// The same, its floats stored as f32 or f16.
    pub const fn or_half(mut self) -> Self {
        self.or_half = true;
        self
    }
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
    /// Its uniform structure.
    pub uniform: Members,
}

impl Kernel {
    /// Whether its text names a constant, comments aside.
    pub fn names(&self, constant: &str) -> bool {
        let word = |c: char| !(c.is_alphanumeric() || c == '_');
        let code = |line: &'static str| line.split("//").next().unwrap_or_default();
        let mut lines = self.fragments.iter().flat_map(|fragment| fragment.source.lines());
        lines.any(|line| code(line).split(word).any(|found| found == constant))
    }

    /// Whether its factors are cooperative matrices, which are always f16.
    pub fn is_cooperative(&self) -> bool {
        self.fragments.iter().any(|fragment| fragment.source.contains("coop_mat"))
    }
}

macro_rules! cell_fragments {
    ($($(#[$doc:meta])* $id:ident { stem: $stem:ident, file: $file:ident, $($rest:tt)* }
        forms [$($option:ident: $form:ident $row:tt),*])*) => {
        /// The WGSL file of a recipe's equations, which implements what `shaders/lib/cell.wgsl` lists.
        pub const fn cell_fragment(recipe: Recipe) -> Fragment {
            let options = recipe.options();
            match recipe.cell() {
                $($(Cell::$id if options.$option => cell_fragments!(@ $form),)*
                Cell::$id => cell_fragments!(@ $file),)*
            }
        }
    };
    (@ $file:ident) => {
        Fragment {
            name: concat!("cell/", stringify!($file), ".wgsl"),
            source: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/cell/", stringify!($file), ".wgsl")),
        }
    };
}
for_each_cell!(cell_fragments);

macro_rules! function_fragments {
    ($($(#[$doc:meta])* $id:ident, $onnx:literal, $name:literal, [$($default:literal),*])*) => {
        /// The WGSL file of a function: `<name>_value` and `<name>_slope`.
        pub const fn function_fragment(function: Function) -> Fragment {
            match function {
                $(Function::$id => Fragment {
                    name: concat!("function/", $name, ".wgsl"),
                    source: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/function/", $name, ".wgsl")),
                },)*
            }
        }
    };
}
for_each_function!(function_fragments);
