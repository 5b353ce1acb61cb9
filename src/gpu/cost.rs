//! What work costs: how fast the slowest adapter of each class is that this engine cares for. Everything that bounds a
//! dispatch or a submit in time reads this table and nothing else.
//!
//! ```text
//! ms = dispatch + steps·step + multiply-adds / rate + bytes / rate + functions / rate
//!      rate = min(one·workgroups, all)
//! ```

use super::caps::AdapterKind;

/// A dispatch ends within so many milliseconds on the slowest adapter of its class: a screen waits for it, and drivers end
/// what takes seconds.
pub const DISPATCH_MS: f64 = 50.0;

/// A submit ends within half a second there: some drivers reset a device after two, and an estimate may be off.
pub const SUBMIT_MS: f64 = 500.0;

/// What a dispatch, or several, have to do.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// Multiply-adds of sums.
    pub multiply_adds: f64,
    /// Bytes read and written, once for each workgroup that reads them.
    pub bytes: f64,
    /// Exponentials, divisions and roots.
    pub functions: f64,
    /// Workgroups that work side by side.
    pub groups: f64,
    /// Steps that wait for each other inside of a dispatch.
    pub steps: f64,
}

impl Work {
    /// Moving `elements` of so many bytes each, with their reads and writes, by as many workgroups of `lanes` as they fill.
    pub(crate) fn moved(elements: usize, bytes: f64, lanes: u32) -> Self {
        let elements = elements as f64;
        Self { bytes: elements * bytes, groups: (elements / f64::from(lanes)).ceil().max(1.0), ..Self::default() }
    }

    /// A few numbers by one invocation.
    pub(crate) fn small() -> Self {
        Self { bytes: 64.0, groups: 1.0, ..Self::default() }
    }
}

/// What an adapter does in a millisecond.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Speed {
    /// By one workgroup.
    one: f64,
    /// By all that there is room for.
    all: f64,
}

impl Speed {
    fn milliseconds(&self, amount: f64, groups: f64) -> f64 {
        amount / (self.one * groups.max(1.0)).min(self.all)
    }
}

/// A row of the table: the slowest adapter of a class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rates {
    multiply_adds: Speed,
    bytes: Speed,
    functions: Speed,
    /// Milliseconds of a dispatch that does nothing, and of a step that waits for the one before it.
    dispatch: f64,
    step: f64,
    /// Elements of one dispatch of kernels that leave a sum a workgroup: how many there are decides how their sums are
    /// grouped, so it depends on nothing that is measured.
    pub(crate) summed_at_once: usize,
}

/// An integrated GPU of about ten years ago that gives a product a tenth of its 400 GFLOP/s.
const HARDWARE: Rates = Rates {
    multiply_adds: Speed { one: 2e6, all: 20e6 },
    bytes: Speed { one: 1e6, all: 8e6 },
    functions: Speed { one: 0.2e6, all: 2e6 },
    dispatch: 0.01,
    step: 5e-3,
    summed_at_once: 8 << 20,
};

/// llvmpipe on two threads of a processor that others use too.
const SOFTWARE: Rates = Rates {
    multiply_adds: Speed { one: 0.5e6, all: 1e6 },
    bytes: Speed { one: 1e6, all: 2e6 },
    functions: Speed { one: 0.1e6, all: 0.2e6 },
    dispatch: 0.03,
    step: 2e-3,
    summed_at_once: 2 << 20,
};

impl Rates {
    /// The row of a class.
    pub(crate) const fn of(kind: AdapterKind) -> &'static Self {
        match kind {
            AdapterKind::Software => &SOFTWARE,
            AdapterKind::Gpu => &HARDWARE,
        }
    }

    /// How long one dispatch takes.
    pub(crate) fn milliseconds(&self, work: &Work) -> f64 {
        self.dispatch
            + work.steps * self.step
            + self.multiply_adds.milliseconds(work.multiply_adds, work.groups)
            + self.bytes.milliseconds(work.bytes, work.groups)
            + self.functions.milliseconds(work.functions, work.groups)
    }
}

/// The table's row for a device, and how long its dispatches may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Costs {
    pub(crate) rates: &'static Rates,
    /// Milliseconds, by the table.
    pub(crate) dispatch_ms: f64,
}

impl Costs {
    /// Whether one dispatch may do it.
    pub(crate) fn fits(&self, work: &Work) -> bool {
        self.rates.milliseconds(work) <= self.dispatch_ms
    }

    /// The most of `units` that one dispatch may do, if `work` tells what so many are; at least one. More units are
    /// more work.
    pub(crate) fn most(&self, units: usize, work: impl Fn(usize) -> Work) -> usize {
        let fits = |units: usize| self.fits(&work(units));
        if fits(units) {
            return units.max(1);
        }
        let (mut fit, mut too_many) = (1, units);
        while too_many - fit > 1 {
            let middle = fit.midpoint(too_many);
            if fits(middle) { fit = middle } else { too_many = middle }
        }
        fit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the class: more work takes longer, more workgroups never do, and what is cut stays within the bound.
    #[test]
    fn estimates_grow_with_the_work() {
        for kind in [AdapterKind::Software, AdapterKind::Gpu] {
            let costs = Costs { rates: Rates::of(kind), dispatch_ms: DISPATCH_MS };
            let of = |amount: f64, groups: f64| {
                let work = Work { multiply_adds: amount, bytes: amount, functions: amount, groups, steps: 0.0 };
                costs.rates.milliseconds(&work)
            };
            assert!(of(1e9, 4.0) > of(1e8, 4.0) && of(1e9, 4.0) >= of(1e9, 8.0) && of(1e9, 1.0) > of(1e9, 8.0));
            let rows = |rows: usize| Work { multiply_adds: rows as f64 * 1e6, groups: rows as f64, ..Work::default() };
            let most = costs.most(1 << 20, rows);
            assert!(costs.rates.milliseconds(&rows(most)) <= DISPATCH_MS, "{kind:?}: {most}");
            assert!(costs.rates.milliseconds(&rows(most + 1)) > DISPATCH_MS, "{kind:?}: {most}");
            assert_eq!(costs.most(3, rows), 3, "{kind:?}: little is not cut");
            assert_eq!(costs.most(5, |_| Work { steps: 1e9, ..Work::default() }), 1, "{kind:?}: never less than one");
        }
    }
}
