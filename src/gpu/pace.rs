//! How fast a device turns out to be, beside the slowest of its class: submits that are done say it, and what is cut
//! afterwards follows. No result depends on it: where work is cut changes no bit.

#[cfg(not(target_arch = "wasm32"))]
use std::sync::Arc;
#[cfg(not(target_arch = "wasm32"))]
use std::time::Instant;

use parking_lot::Mutex;

use super::context::Gpu;
use super::cost::{Costs, DISPATCH_MS, Rates, SUBMIT_MS, Work};

/// How long work may keep a device from everything else, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// A dispatch. An app that draws wants less than a frame.
    pub dispatch_ms: f64,
    /// A submit of [`Device::run`](crate::Device::run).
    pub submit_ms: f64,
}

impl Default for Bounds {
    /// [`DISPATCH_MS`] and [`SUBMIT_MS`].
    fn default() -> Self {
        Self { dispatch_ms: DISPATCH_MS, submit_ms: SUBMIT_MS }
    }
}

/// Submits of fewer estimated milliseconds say more of the host than of the device.
#[cfg(not(target_arch = "wasm32"))]
const LEAST_MS: f64 = 5.0;
/// A device may be so many times as fast, or slow, as the table says.
#[cfg(not(target_arch = "wasm32"))]
const MOST: f64 = 8.0;
/// Dispatches are made for a device at most so many times as fast as the slowest of its class: one measurement is no promise.
const MOST_OF_DISPATCHES: f64 = 4.0;

/// Work that was seen to be done.
#[cfg(not(target_arch = "wasm32"))]
#[derive(Clone, Copy, Debug)]
struct Seen {
    begin: Instant,
    done: Instant,
    estimated: f64,
    /// What was known before.
    ratio: f64,
}

/// What is known of a device's speed.
#[derive(Debug)]
pub(super) struct Pace {
    bounds: Bounds,
    /// Measured over estimated milliseconds.
    ratio: f64,
    /// Estimated milliseconds of submits that were too small to be measured by themselves.
    #[cfg(not(target_arch = "wasm32"))]
    small_ms: f64,
    #[cfg(not(target_arch = "wasm32"))]
    seen: Option<Seen>,
    /// Since when the host waits for the device.
    #[cfg(not(target_arch = "wasm32"))]
    waits_since: Option<Instant>,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            bounds: Bounds::default(),
            ratio: 1.0,
            #[cfg(not(target_arch = "wasm32"))]
            small_ms: 0.0,
            #[cfg(not(target_arch = "wasm32"))]
            seen: None,
            #[cfg(not(target_arch = "wasm32"))]
            waits_since: None,
        }
    }
}

impl Pace {
    /// Takes in that work of `estimated` milliseconds took `measured`: exactly, or at most, since nobody looked sooner.
    #[cfg(not(target_arch = "wasm32"))]
    fn observe(&mut self, estimated: f64, measured: f64, exact: bool) {
        let seen = (measured / estimated).clamp(1.0 / MOST, MOST);
        if !seen.is_finite() {
            return;
        }
        if seen < self.ratio {
            // Half of the way: the next submit may be of another kind.
            self.ratio = self.ratio.midpoint(seen);
        } else if exact {
            self.ratio = seen;
        }
    }

    /// Takes in that work of `estimated` milliseconds, submitted at `start`, is done by `now`. Submits that nobody looked
    /// for are all seen done at once: they are one measurement.
    #[cfg(not(target_arch = "wasm32"))]
    fn done(&mut self, estimated: f64, start: Instant, now: Instant) {
        let at_once = |seen: &Seen| (now - seen.done).as_secs_f64() * 1e3 < estimated / (2.0 * MOST);
        let work = match self.seen {
            Some(seen) if at_once(&seen) => Seen { done: now, estimated: seen.estimated + estimated, ..seen },
            seen => {
                let begin = seen.map_or(start, |seen| seen.done.max(start));
                Seen { begin, done: now, estimated, ratio: self.ratio }
            }
        };
        self.ratio = work.ratio;
        // Who has waited for a while sees the end of the work, not the end of something else.
        let exact = self.waits_since.is_some_and(|since| (now - since).as_secs_f64() > 1e-3);
        self.observe(work.estimated, (now - work.begin).as_secs_f64() * 1e3, exact);
        self.seen = Some(work);
    }

    fn dispatch_ms(&self) -> f64 {
        self.bounds.dispatch_ms / self.ratio.max(1.0 / MOST_OF_DISPATCHES)
    }

    fn submit_ms(&self) -> f64 {
        self.bounds.submit_ms / self.ratio
    }
}

/// While it lives, the host waits for the device.
#[cfg(not(target_arch = "wasm32"))]
pub(super) struct Waiting(Arc<Mutex<Pace>>);

#[cfg(not(target_arch = "wasm32"))]
impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.lock().waits_since = None;
    }
}

impl Gpu {
    /// How long dispatches and submits may take.
    pub fn bounds(&self) -> Bounds {
        self.pace().lock().bounds
    }

    /// Bounds dispatches of plans made from now on, and submits. No result changes a bit. What is not above zero leaves
    /// a bound as it is; no dispatch is less than one workgroup's least work.
    pub fn set_bounds(&self, bounds: Bounds) {
        let mut pace = self.pace().lock();
        if bounds.dispatch_ms > 0.0 {
            pace.bounds.dispatch_ms = bounds.dispatch_ms;
        }
        if bounds.submit_ms > 0.0 {
            pace.bounds.submit_ms = bounds.submit_ms;
        }
    }

    /// Estimated milliseconds, [`Op::milliseconds`](crate::kernel::Op::milliseconds), that one submit should stay below:
    /// its bound, or more on a device that was seen to be faster than the slowest of its class, or less. What an app hands to
    /// [`Program::parts`](crate::kernel::Program::parts).
    pub fn submit_ms(&self) -> f64 {
        self.pace().lock().submit_ms()
    }

    /// Measured over estimated time of what was submitted last, 1 before anything was: below 1 the device is faster than the
    /// slowest of its class.
    pub fn measured_pace(&self) -> f64 {
        self.pace().lock().ratio
    }

    /// What dispatches are cut by.
    pub(crate) fn costs(&self) -> Costs {
        Costs { rates: Rates::of(self.capabilities().kind), dispatch_ms: self.pace().lock().dispatch_ms() }
    }

    /// How long a dispatch takes on the slowest adapter of this device's class, milliseconds.
    pub fn milliseconds(&self, work: &Work) -> f64 {
        Rates::of(self.capabilities().kind).milliseconds(work)
    }

    /// After a submit of so many estimated milliseconds: looks at the clock when it is done. Nothing waits for it.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn submitted(&self, estimated: f64) {
        let start = Instant::now();
        let estimated = {
            let mut pace = self.pace().lock();
            pace.small_ms += estimated;
            if pace.small_ms < LEAST_MS {
                return;
            }
            std::mem::take(&mut pace.small_ms)
        };
        let pace = self.pace().clone();
        self.queue().on_submitted_work_done(move || {
            let now = Instant::now();
            pace.lock().done(estimated, start, now);
        });
    }

    /// A browser's clock is not asked.
    #[cfg(target_arch = "wasm32")]
    pub(crate) fn submitted(&self, _: f64) {}

    /// From now on the host waits.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn waiting(&self) -> Waiting {
        self.pace().lock().waits_since = Some(Instant::now());
        Waiting(self.pace().clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A fast device gets longer submits at once and dispatches up to a safe factor, a slow one shorter of both; what was only
    /// looked at late makes nothing shorter.
    #[test]
    fn bounds_follow_what_was_measured() {
        let mut pace = Pace::default();
        (0..20).for_each(|_| pace.observe(100.0, 0.1, false));
        assert!((pace.submit_ms() - SUBMIT_MS * MOST).abs() < 1.0, "{pace:?}");
        assert_eq!(pace.dispatch_ms(), DISPATCH_MS * MOST_OF_DISPATCHES);
        let before = pace.ratio;
        pace.observe(100.0, 1000.0, false);
        assert_eq!(pace.ratio, before, "late is not slow");
        pace.observe(100.0, 300.0, true);
        assert_eq!((pace.submit_ms(), pace.dispatch_ms()), (SUBMIT_MS / 3.0, DISPATCH_MS / 3.0));
        pace.observe(100.0, 1e9, true);
        assert_eq!((pace.submit_ms(), pace.dispatch_ms()), (SUBMIT_MS / MOST, DISPATCH_MS / MOST));
        pace.observe(0.0, 0.0, true);
        assert!(pace.ratio.is_finite());
    }

    /// Submits that are all seen done at once are measured together, others one after another.
    #[test]
    fn submits_are_measured_from_the_end_of_the_one_before() {
        let start = Instant::now();
        let after = |ms: u64| start + std::time::Duration::from_millis(ms);
        let mut pace = Pace { waits_since: Some(start), ..Pace::default() };
        for _ in 0..3 {
            pace.done(100.0, start, after(600));
        }
        assert!((pace.ratio - 2.0).abs() < 1e-9, "{pace:?}");
        pace.done(100.0, start, after(900));
        assert!((pace.ratio - 3.0).abs() < 1e-9, "{pace:?}");
        pace.done(100.0, after(2000), after(2400));
        assert!((pace.ratio - 4.0).abs() < 1e-9, "{pace:?}");
    }
}
