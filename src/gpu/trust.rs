//! Trust: what is not to be used on a device, and why; and what has passed its check there.
//!
//! A [`Doubt`] is written by a pipeline that the driver refused, by a check whose result was wrong
//! ([`Device::check`](crate::Device::check)), and by hand ([`Gpu::distrust`]). The planner asks before it chooses a
//! strategy, a tile, half precision or cooperative matrices. What was *found* is known to every device of the same
//! adapter, driver and version of this crate in the process, and from one run to the next where an app keeps
//! [`trust_data`] and gives it to [`recall_trust`]; what was said by hand holds for one device.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::context::Gpu;
use crate::error::{Error, Result};
use crate::recipe::Recipe;

/// What may turn out not to work on a device.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Subject {
    /// A strategy of recurrent layers.
    Strategy {
        /// Its name.
        strategy: String,
        /// The name of the one cell that is meant; none: all.
        cell: Option<String>,
        /// Whether training alone is meant: its results forward are right.
        backward: bool,
    },
    /// A kernel.
    Kernel {
        /// Its name.
        kernel: String,
        /// What the meant variants begin with, as [`Spec::variant`](crate::shader::Spec::variant) has it: a tile, or all of
        /// one variant. None: every variant.
        variant: Option<String>,
    },
    /// Values stored as f16.
    Half,
    /// Products by cooperative matrices.
    CooperativeMatrices,
}

impl Subject {
    /// A strategy, whatever the cell.
    pub fn strategy(name: impl Into<String>) -> Self {
        Self::Strategy { strategy: name.into(), cell: None, backward: false }
    }

    /// A strategy with one cell; with `backward` its gradients alone.
    pub fn strategy_of(name: impl Into<String>, recipe: impl Into<Recipe>, backward: bool) -> Self {
        Self::Strategy { strategy: name.into(), cell: Some(recipe.into().to_string()), backward }
    }

    /// A kernel, every variant of it.
    pub fn kernel(name: impl Into<String>) -> Self {
        Self::Kernel { kernel: name.into(), variant: None }
    }

    /// The variants of a kernel that begin with `variant`.
    pub fn variant(kernel: impl Into<String>, variant: impl Into<String>) -> Self {
        Self::Kernel { kernel: kernel.into(), variant: Some(variant.into()) }
    }

    /// Whether a doubt about this is one about `used`. Of a strategy, `backward` of `used` says whether it trains.
    fn covers(&self, used: &Self) -> bool {
        match (self, used) {
            (
                Self::Strategy { strategy, cell, backward },
                Self::Strategy { strategy: used, cell: of, backward: trains },
            ) => strategy == used && (cell.is_none() || cell == of) && (!backward || *trains),
            (Self::Kernel { kernel, variant }, Self::Kernel { kernel: used, variant: of }) => {
                let begins = |variant: &String| of.as_ref().is_some_and(|of| begins_with(of, variant));
                kernel == used && variant.as_ref().is_none_or(begins)
            }
            _ => self == used,
        }
    }

    /// Whether a doubt about this is one about every tile that `used`, a tile of a kernel, begins.
    fn touches(&self, used: &Self) -> bool {
        let of_tile = match (self, used) {
            (Self::Kernel { kernel, variant: Some(variant) }, Self::Kernel { kernel: used, variant: Some(tile) }) => {
                kernel == used && begins_with(variant, tile)
            }
            _ => false,
        };
        of_tile || self.covers(used)
    }
}

/// Whether `variant` begins with the whole constants of `tile`.
fn begins_with(variant: &str, tile: &str) -> bool {
    variant.strip_prefix(tile).is_some_and(|rest| rest.is_empty() || rest.starts_with(','))
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Strategy { strategy, cell, backward } => {
                write!(f, "strategy `{strategy}`")?;
                if let Some(cell) = cell {
                    write!(f, " of {cell}")?;
                }
                f.write_str(if *backward { " backward" } else { "" })
            }
            Self::Kernel { kernel, variant: None } => write!(f, "kernel `{kernel}`"),
            Self::Kernel { kernel, variant: Some(variant) } => write!(f, "kernel `{kernel}` ({variant})"),
            Self::Half => f.write_str("half precision"),
            Self::CooperativeMatrices => f.write_str("cooperative matrices"),
        }
    }
}

/// Something that is not used on a device, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doubt {
    /// What.
    pub subject: Subject,
    /// Why, as a clause.
    pub reason: String,
}

/// What was found of one adapter, driver and version.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Ledger {
    doubts: Vec<Doubt>,
    /// Names of the checks that were passed.
    passed: Vec<String>,
}

/// A [`Ledger`] that devices share, and the right to check.
#[derive(Default)]
struct Shared {
    ledger: Mutex<Ledger>,
    checking: Mutex<()>,
}

type Ledgers = BTreeMap<String, Arc<Shared>>;

/// What was found in this process, by adapter, driver and version.
static FOUND: Mutex<Ledgers> = Mutex::new(Ledgers::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a device is not trusted with.
#[derive(Default)]
pub(super) struct Trust {
    /// Said by hand.
    said: Mutex<Vec<Doubt>>,
    shared: Mutex<Arc<Shared>>,
    /// Faults of tests.
    planted: Mutex<Vec<(String, Plant)>>,
    /// Whether nothing is checked before it is chosen.
    believed: AtomicBool,
}

/// A fault that a test puts into a kernel.
#[derive(Clone, Debug)]
#[doc(hidden)]
pub enum Plant {
    /// The first text of its source becomes the second. A source without the first does not compile.
    Text(&'static str, &'static str),
    /// Compiling it panics.
    Panic,
}

/// What was found so far in this process of every adapter, to be given to [`recall_trust`] in a later run: JSON.
pub fn trust_data() -> Vec<u8> {
    let found: BTreeMap<String, Ledger> =
        lock(&FOUND).iter().map(|(key, shared)| (key.clone(), lock(&shared.ledger).clone())).collect();
    // A map of strings and lists is always JSON.
    serde_json::to_vec_pretty(&found).unwrap_or_default()
}

/// Takes what [`trust_data`] gave in an earlier run. What is of another adapter, driver or version of this crate is kept and
/// has no effect here. An error when it is no such data.
pub fn recall_trust(data: &[u8]) -> Result<()> {
    let read: BTreeMap<String, Ledger> = serde_json::from_slice(data)
        .map_err(|why| Error::invalid("what is known of adapters", "JSON as `trust_data` gave it", why))?;
    let mut found = lock(&FOUND);
    for (key, known) in read {
        let shared = found.entry(key).or_default();
        let mut ledger = lock(&shared.ledger);
        known.doubts.into_iter().for_each(|doubt| ledger.doubt(doubt));
        known.passed.into_iter().for_each(|check| ledger.pass(check));
    }
    Ok(())
}

impl Ledger {
    /// The first reason stays.
    fn doubt(&mut self, doubt: Doubt) {
        if !self.doubts.iter().any(|known| known.subject == doubt.subject) {
            self.doubts.push(doubt);
        }
    }

    fn pass(&mut self, check: String) {
        if !self.passed.contains(&check) {
            self.passed.push(check);
        }
    }
}

impl Trust {
    /// That of a device whose `key` names adapter, driver and version.
    pub(super) fn of(key: String) -> Self {
        let shared = lock(&FOUND).entry(key).or_default().clone();
        Self { shared: Mutex::new(shared), ..Self::default() }
    }

    /// The reason of the first doubt that `is` one.
    fn find(&self, is: impl Fn(&Subject) -> bool) -> Option<String> {
        let reason = |doubts: &[Doubt]| Some(doubts.iter().find(|doubt| is(&doubt.subject))?.reason.clone());
        let said = reason(&lock(&self.said));
        said.or_else(|| reason(&lock(&self.shared().ledger).doubts))
    }

    fn shared(&self) -> Arc<Shared> {
        lock(&self.shared).clone()
    }
}

impl Gpu {
    /// Nothing is planned with `subject` on this device from now on; the planner's reasons say `reason`, a clause. What is
    /// found out on this device afterwards is not taken for the adapter's: it may come from what was said.
    pub fn distrust(&self, subject: Subject, reason: impl Into<String>) {
        let doubt = Doubt { subject, reason: reason.into() };
        log::debug!("{} is not used on {}: {}", doubt.subject, self.info().name, doubt.reason);
        let mut said = lock(&self.trust().said);
        if said.is_empty() {
            let found = lock(&self.trust().shared().ledger).clone();
            *lock(&self.trust().shared) = Arc::new(Shared { ledger: Mutex::new(found), ..Shared::default() });
        }
        said.push(doubt);
    }

    /// Takes this device at its word: nothing is checked on it before it is first chosen. For who checks it by other means,
    /// such as a suite of tests. What is doubted stays so.
    pub fn believe(&self) {
        self.trust().believed.store(true, Ordering::Relaxed);
    }

    /// Whether it is taken [at its word](Self::believe).
    pub(crate) fn is_believed(&self) -> bool {
        self.trust().believed.load(Ordering::Relaxed)
    }

    /// Everything that is not used on this device, and why.
    pub fn doubts(&self) -> Vec<Doubt> {
        let said = lock(&self.trust().said).clone();
        said.into_iter().chain(lock(&self.trust().shared().ledger).doubts.clone()).collect()
    }

    /// Why `subject` is not to be used, if it is not.
    pub fn doubt(&self, subject: &Subject) -> Option<String> {
        if self.is_checking() && !matches!(subject, Subject::Kernel { .. }) {
            return None;
        }
        self.trust().find(|doubted| doubted.covers(subject))
    }

    /// Why a tile of a kernel is not to be used, if one of its variants is not.
    pub(crate) fn doubt_tile(&self, kernel: &str, tile: &str) -> Option<String> {
        let used = Subject::variant(kernel, tile);
        self.trust().find(|doubted| doubted.touches(&used))
    }

    /// Notes what was found out about the adapter.
    pub(crate) fn found(&self, subject: Subject, reason: impl Into<String>) {
        let doubt = Doubt { subject, reason: reason.into() };
        log::warn!("{} is not used on {}: {}", doubt.subject, self.info().name, doubt.reason);
        lock(&self.trust().shared().ledger).doubt(doubt);
    }

    /// Notes that a check was passed.
    pub(crate) fn passed(&self, check: String) {
        lock(&self.trust().shared().ledger).pass(check);
    }

    /// Whether a check was passed on this adapter.
    pub(crate) fn has_passed(&self, check: &str) -> bool {
        lock(&self.trust().shared().ledger).passed.iter().any(|passed| passed == check)
    }

    /// Does `check` while no other thread checks this adapter.
    pub(crate) fn one_at_a_time<T>(&self, check: impl FnOnce() -> T) -> T {
        let shared = self.trust().shared();
        let _checking = lock(&shared.checking);
        check()
    }

    /// Puts a fault into a kernel of this device, which knows nothing of what others found from now on, and they nothing
    /// of it. For tests, before the kernel is compiled.
    #[doc(hidden)]
    pub fn plant(&self, kernel: &str, fault: Plant) {
        let trust = self.trust();
        let mut planted = lock(&trust.planted);
        if planted.is_empty() {
            *lock(&trust.shared) = Arc::default();
        }
        planted.push((kernel.to_string(), fault));
    }

    /// The source of a kernel with the faults that a test has planted. Compiling it panics where that was planted.
    pub(super) fn with_planted(&self, kernel: &str, source: &str) -> String {
        let faults = lock(&self.trust().planted).clone();
        let of_kernel = faults.iter().filter(|(of, _)| of == kernel).map(|(_, fault)| fault);
        of_kernel.fold(source.to_string(), |source, fault| match fault {
            Plant::Text(from, to) if source.contains(from) => source.replace(from, to),
            // A fault that is nowhere must not pass for a sound kernel: this is no WGSL, and the message shows it.
            Plant::Text(from, _) => format!("nothing to plant over: {from}"),
            // A test asked for it, and the border catches it.
            Plant::Panic => panic!("a planted panic"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::Cell;

    #[test]
    fn a_doubt_covers_what_it_says_and_no_more() {
        let all = Subject::strategy("sequence");
        let lstm = Subject::strategy_of("sequence", Cell::ALL[0], false);
        let trained = Subject::strategy_of("sequence", Cell::ALL[0], true);
        let other = Subject::strategy_of("sequence", Cell::ALL[1], true);
        assert!(all.covers(&lstm) && all.covers(&trained) && all.covers(&other));
        assert!(lstm.covers(&lstm) && lstm.covers(&trained) && !lstm.covers(&other) && !lstm.covers(&all));
        assert!(trained.covers(&trained) && !trained.covers(&lstm));
        assert!(!Subject::strategy("stepwise").covers(&lstm) && !Subject::Half.covers(&Subject::CooperativeMatrices));

        let whole = Subject::kernel("gemm");
        let [tile, variant] = ["LANES 8, RM 1", "LANES 8, RM 1, MAPPED 0"].map(|text| Subject::variant("gemm", text));
        assert!(whole.covers(&variant) && tile.covers(&variant) && !variant.covers(&tile) && variant.touches(&tile));
        // RM 16 does not begin with RM 1.
        assert!(!tile.covers(&Subject::variant("gemm", "LANES 8, RM 16, MAPPED 0")));
        assert!(!Subject::variant("gemm", "LANES 8, RM 16, MAPPED 0").touches(&tile));
        assert!(whole.touches(&tile) && !Subject::kernel("gemm_staged").touches(&tile));
    }

    #[test]
    fn what_was_found_goes_through_json() {
        let doubt =
            Doubt { subject: Subject::strategy_of("sequence", Cell::ALL[0], true), reason: "it was wrong".into() };
        let key = "an adapter that is nowhere";
        let ledger = Ledger { doubts: vec![doubt.clone(), doubt], passed: vec!["a check".into()] };
        let data = serde_json::to_vec(&BTreeMap::from([(key, ledger)])).expect("JSON");
        for _ in 0..2 {
            recall_trust(&data).expect("data");
        }
        let all: BTreeMap<String, Ledger> = serde_json::from_slice(&trust_data()).expect("JSON");
        assert_eq!((all[key].doubts.len(), all[key].passed.len()), (1, 1));
        assert_eq!(all[key].doubts[0].subject.to_string(), "strategy `sequence` of lstm backward");
        for bad in [&b""[..], b"{", b"[]", b"{\"a\": 1}"] {
            let why = recall_trust(bad).expect_err("no data").to_string();
            assert!(why.starts_with("what is known of adapters must be JSON"), "{why}");
        }
    }
}
