//! Ctrl-C: the first asks work to stop at the next step, the second ends the program.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

static ASKED: AtomicBool = AtomicBool::new(false);
static HELD: AtomicBool = AtomicBool::new(false);

/// What ends a run that was interrupted.
#[derive(Debug, Default)]
pub struct Interrupted {
    /// What was written before it ended.
    pub written: Option<String>,
}

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "interrupted; {}", self.written.as_deref().unwrap_or("nothing was written"))
    }
}

impl std::error::Error for Interrupted {}

/// From here on an interrupt is remembered instead of ending the program; a second one ends it.
pub fn listen() -> anyhow::Result<()> {
    ctrlc::set_handler(|| {
        if ASKED.swap(true, Ordering::SeqCst) {
            if !HELD.load(Ordering::SeqCst) {
                std::process::exit(130);
            }
        } else if std::io::stderr().is_terminal() {
            let _ = writeln!(std::io::stderr(), "\ninterrupted: it ends after this step; once more ends it now");
        }
    })?;
    Ok(())
}

/// Whether an interrupt has come.
pub fn asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}

/// [`Interrupted`] when an interrupt has come.
pub fn check() -> Result<(), Interrupted> {
    if asked() { Err(Interrupted::default()) } else { Ok(()) }
}

/// Does `work` to its end, which must be near, whatever interrupts it.
pub fn hold<T>(work: impl FnOnce() -> T) -> T {
    HELD.store(true, Ordering::SeqCst);
    let done = work();
    HELD.store(false, Ordering::SeqCst);
    done
}
