//! Ctrl-C: the first asks work to stop at the next step, the second ends the program.

use std::sync::atomic::{AtomicBool, Ordering};

static ASKED: AtomicBool = AtomicBool::new(false);

/// From here on an interrupt is remembered instead of ending the program; a second one ends it.
pub fn listen() -> anyhow::Result<()> {
    ctrlc::set_handler(|| {
        if ASKED.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
    })?;
    Ok(())
}

/// Whether an interrupt has come.
pub fn asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}
