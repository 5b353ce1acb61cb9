//! What the equations of a cell leave open: functions, peepholes and limits. Twin of `shaders/lib/cell.wgsl`.

use pulp::Simd;

use super::functions::Functions;
use crate::activation::Number;
use crate::cpu::scalar::Scalar;
use crate::recipe::Recipe;

/// What is done of an element of a row. The functions are F's; by default there is nothing else, and no cost.
pub(super) trait Hooks<S: Scalar>: Copy {
    /// The functions.
    type Functions: Functions<S>;

    /// The functions.
    fn functions(self) -> Self::Functions;

    /// Whether the input gate is `1 − f`.
    #[inline(always)]
    fn coupled(self) -> bool {
        false
    }

    /// Whether h is a projection of what the cell makes.
    #[inline(always)]
    fn projects(self) -> bool {
        false
    }

    /// The limit of arguments.
    #[inline(always)]
    fn inputs(self) -> Limit<S> {
        Limit::NONE
    }

    /// The limit of cell states as they are stored.
    #[inline(always)]
    fn cell(self) -> Limit<S> {
        Limit::NONE
    }

    /// The limit of cell states as the next step, h and peepholes read them.
    #[inline(always)]
    fn as_read(self) -> Limit<S> {
        Limit::NONE
    }

    /// A gate of its argument.
    #[inline(always)]
    fn gate<A: Simd>(self, a: S) -> S {
        self.functions().gate::<A>(self.inputs().of(a))
    }

    /// What is added to the state, of its argument.
    #[inline(always)]
    fn candidate<A: Simd>(self, a: S) -> S {
        self.functions().candidate::<A>(self.inputs().of(a))
    }

    /// What h sees of a cell state.
    #[inline(always)]
    fn output<A: Simd>(self, c: S) -> S {
        self.functions().output::<A>(self.as_read().of(c))
    }

    /// The slope of a gate where its value is y.
    #[inline(always)]
    fn gate_slope(self, y: S) -> S {
        self.functions().gate_slope(y)
    }

    /// The slope of what is added to the state.
    #[inline(always)]
    fn candidate_slope(self, y: S) -> S {
        self.functions().candidate_slope(y)
    }

    /// The slope of what h sees of a cell state.
    #[inline(always)]
    fn output_slope(self, c: S, y: S) -> S {
        self.through_read(c, self.functions().output_slope(y))
    }

    /// The gradient of a cell state of which this is the gradient of what was read.
    #[inline(always)]
    fn through_read(self, c: S, gradient: S) -> S {
        if self.as_read().is_beyond(c) { S::ZERO } else { gradient }
    }
}

/// Functions, and nothing else.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plain<F>(pub(super) F);

impl<S: Scalar, F: Functions<S>> Hooks<S> for Plain<F> {
    type Functions = F;

    #[inline(always)]
    fn functions(self) -> F {
        self.0
    }

    // Nothing is compared with an infinite limit.
    #[inline(always)]
    fn gate<A: Simd>(self, a: S) -> S {
        self.0.gate::<A>(a)
    }
    #[inline(always)]
    fn candidate<A: Simd>(self, a: S) -> S {
        self.0.candidate::<A>(a)
    }
    #[inline(always)]
    fn output<A: Simd>(self, c: S) -> S {
        self.0.output::<A>(c)
    }
    #[inline(always)]
    fn through_read(self, _: S, gradient: S) -> S {
        gradient
    }
}

/// Functions, and what else a recipe asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chosen<S, F> {
    functions: F,
    coupled: bool,
    projects: bool,
    inputs: Limit<S>,
    cell: Limit<S>,
    as_read: Limit<S>,
}

impl<S: Scalar, F: Functions<S>> Chosen<S, F> {
    pub(super) fn new(recipe: &Recipe, functions: F) -> Self {
        let options = recipe.options();
        Self {
            functions,
            coupled: options.coupled,
            projects: options.projection.is_some(),
            inputs: Limit::new(options.clip.inputs),
            cell: Limit::new(options.clip.cell),
            as_read: Limit::new(options.clip.cell_as_read),
        }
    }
}

impl<S: Scalar, F: Functions<S>> Hooks<S> for Chosen<S, F> {
    type Functions = F;

    #[inline(always)]
    fn functions(self) -> F {
        self.functions
    }
    #[inline(always)]
    fn coupled(self) -> bool {
        self.coupled
    }
    #[inline(always)]
    fn projects(self) -> bool {
        self.projects
    }
    #[inline(always)]
    fn inputs(self) -> Limit<S> {
        self.inputs
    }
    #[inline(always)]
    fn cell(self) -> Limit<S> {
        self.cell
    }
    #[inline(always)]
    fn as_read(self) -> Limit<S> {
        self.as_read
    }
}

/// The largest size that a value keeps; infinite where there is no limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit<S>(S);

impl<S: Scalar> Limit<S> {
    const NONE: Self = Self(S::INFINITY);

    pub(crate) fn new(limit: Option<Number>) -> Self {
        limit.map_or(Self::NONE, |limit| Self(S::from_f64(f64::from(limit.get()))))
    }

    /// Whether a value is beyond it. A NaN is not.
    #[inline(always)]
    pub(super) fn is_beyond(self, x: S) -> bool {
        x.abs() > self.0
    }

    /// Whether a value is at it or beyond.
    #[inline(always)]
    pub(crate) fn is_reached(self, x: S) -> bool {
        x.abs() >= self.0
    }

    /// The value, or the nearest that it may be.
    #[inline(always)]
    pub(crate) fn of(self, x: S) -> S {
        if self.is_beyond(x) { self.0.copysign(x) } else { x }
    }
}

/// Adds what gates see of cell states to their arguments; nothing without peepholes, where `weights` is empty.
#[inline(always)]
pub(super) fn peep<S: Scalar>(hooks: impl Hooks<S>, arguments: &mut [S], weights: &[S], c: &[S]) {
    for ((a, w), c) in arguments.iter_mut().zip(weights).zip(c) {
        *a += *w * hooks.as_read().of(*c);
    }
}

/// Adds what the gradients of arguments send through peepholes to those of the cell states that were read.
#[inline(always)]
pub(super) fn through_peepholes<S: Scalar>(hooks: impl Hooks<S>, da: &[S], weights: &[S], c: &[S], dc: &mut [S]) {
    for (((dc, da), w), c) in dc.iter_mut().zip(da).zip(weights).zip(c) {
        *dc += hooks.through_read(*c, *da * *w);
    }
}

/// Adds `2^bit` to the flags of those values that are beyond a limit; nothing without flags.
#[inline(always)]
pub(super) fn note<S: Scalar>(flags: &mut [S], values: impl Iterator<Item = S>, bit: usize, limit: Limit<S>) {
    let power = S::from_f64(f64::from(1 << bit));
    for (flags, value) in flags.iter_mut().zip(values) {
        *flags += if limit.is_beyond(value) { power } else { S::ZERO };
    }
}

/// Clears the gradients of those whose flags have `2^bit`; nothing without flags.
#[inline(always)]
pub(super) fn unless_clipped<S: Scalar>(flags: &[S], gradients: &mut [S], bit: usize) {
    for (flags, gradient) in flags.iter().zip(gradients) {
        let clipped = (flags.to_u32() >> bit) & 1 == 1;
        *gradient = if clipped { S::ZERO } else { *gradient };
    }
}
