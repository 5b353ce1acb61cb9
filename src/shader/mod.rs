//! From a [`Spec`] to WGSL: a header of constants, the fragments of a kernel, and the map back from lines to fragments.

mod compose;
mod fragment;
mod uniform;

pub(crate) use compose::constants;
pub use compose::{Composed, Spec, compose, recipe_fragments};
pub(crate) use fragment::fragments;
pub use fragment::{Binding, Fragment, Kernel, cell_fragment};
pub use uniform::Members;
pub(crate) use uniform::{Uniform, uniform};
