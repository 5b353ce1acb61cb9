//! The border to wgpu. Every call that makes, compiles, uploads, submits, maps or waits goes through [`Gpu::call`], which
//! turns into a [`Trouble`] what wgpu would otherwise hand to the app's error handler, throw as a panic, or keep to itself:
//!
//! - *refusals*, of validation, memory and the driver, are caught in error scopes of the calling thread;
//! - *panics* are caught. wgpu's own locks don't poison and are free again after one. A panic while something was made or
//!   compiled leaves the device as it was, without what was to be made; one while work was submitted or waited for leaves
//!   unknown what the device has done, so it counts as lost. A panic's message is still printed by the panic hook: that is
//!   the app's, and a library has no business to change it. Where panics abort (`panic = "abort"`, browsers) they still do;
//! - *lost devices* report nothing any more, as WebGPU has it, so [`Gpu::lost`] asks.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use super::context::Gpu;
use super::mapping::ready;
use crate::error::Result;

/// What went wrong in a call into wgpu.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// wgpu or the driver refused it.
    Refused(wgpu::Error),
    /// It panicked, with this message.
    Panicked(String),
    /// The device is lost, for this reason.
    Lost(String),
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(why) => write!(f, "{why}"),
            Self::Panicked(message) => write!(f, "wgpu panicked: {message}"),
            Self::Lost(reason) => write!(f, "the device was lost: {reason}"),
        }
    }
}

/// What a call into wgpu does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// It makes or compiles something.
    Make,
    /// It submits, maps or waits.
    Work,
}

/// Error scopes of the calling thread, of every kind there is. Dropped, they end.
pub(crate) struct Scopes([wgpu::ErrorScopeGuard; 3]);

impl Scopes {
    /// The first error of the innermost scope that has one.
    pub(crate) fn end(self) -> Option<wgpu::Error> {
        let [first, second, third] = self.0;
        [third, second, first].map(|scope| ready(scope.pop()).flatten()).into_iter().flatten().next()
    }
}

/// How long a device that was destroyed may work on before its reason is not waited for.
const TELLS_WITHIN: Duration = Duration::from_secs(1);

/// Whether a device is lost, and why. Shared with the callback that wgpu keeps.
#[derive(Clone, Default)]
pub(super) struct Lost(Arc<OnceLock<String>>);

impl Lost {
    /// Has wgpu tell when `device` is lost. It keeps one callback a device, natively: an app's own would be replaced.
    pub(super) fn listen(&self, device: &wgpu::Device) {
        let told = self.0.clone();
        device.set_device_lost_callback(move |reason, message| {
            let why = match (reason, message.trim()) {
                (wgpu::DeviceLostReason::Destroyed, _) => "it was destroyed",
                (wgpu::DeviceLostReason::Unknown, "") => "the driver gave no reason",
                (wgpu::DeviceLostReason::Unknown, message) => message,
            };
            let _ = told.set(why.to_string());
        });
    }

    fn set(&self, reason: String) {
        if self.0.set(reason).is_ok()
            && let Some(reason) = self.0.get()
        {
            log::error!("a device was lost: {reason}");
        }
    }
}

impl Gpu {
    /// Why the device is lost, if it is. Nothing brings it back: open another, and plan anew. Natively this asks
    /// wgpu; in a browser it is what the browser has told so far.
    pub fn lost(&self) -> Option<String> {
        if let Some(reason) = self.loss().0.get() {
            return Some(reason.clone());
        }
        if self.answers() {
            return None;
        }
        if self.listens() {
            // A device that was destroyed tells so once its work is done and somebody polls. One that the driver lost has
            // told already.
            let wait = wgpu::PollType::Wait { submission_index: None, timeout: Some(TELLS_WITHIN) };
            let _ = caught(|| self.device().poll(wait));
        }
        self.loss().set("wgpu gives no reason".to_string());
        self.loss().0.get().cloned()
    }

    /// Takes the device for lost from now on. For an app whose own callback of
    /// [`wgpu::Device::set_device_lost_callback`] has a reason to hand on; the loss itself is noticed without.
    pub fn lose(&self, reason: impl Into<String>) {
        self.loss().set(reason.into());
    }

    /// An error when the device is lost.
    pub(crate) fn alive(&self, doing: &str) -> Result<()> {
        match self.lost() {
            None => Ok(()),
            Some(reason) => Err(self.failed(doing, Trouble::Lost(reason))),
        }
    }

    /// [`alive`](Self::alive) by what is known, without asking.
    pub(crate) fn not_known_lost(&self, doing: &str) -> Result<()> {
        match self.loss().0.get() {
            None => Ok(()),
            Some(reason) => Err(self.failed(doing, Trouble::Lost(reason.clone()))),
        }
    }

    /// Error scopes for calls into wgpu on this thread.
    pub(crate) fn scopes(&self) -> Scopes {
        use wgpu::ErrorFilter::{Internal, OutOfMemory, Validation};
        Scopes([Validation, OutOfMemory, Internal].map(|filter| self.device().push_error_scope(filter)))
    }

    /// Does `work`, a few calls into wgpu. See the [module](self).
    pub(crate) fn call<T>(&self, call: Call, work: impl FnOnce() -> T) -> std::result::Result<T, Trouble> {
        if let Some(reason) = self.loss().0.get() {
            return Err(Trouble::Lost(reason.clone()));
        }
        let scopes = self.scopes();
        let done = self.catch(call, work);
        let refused = scopes.end();
        let done = done?;
        if let Some(reason) = self.lost() {
            return Err(Trouble::Lost(reason));
        }
        refused.map_or(Ok(done), |why| Err(Trouble::Refused(why)))
    }

    /// Does `work` and catches its panic, for callers with scopes of their own.
    pub(crate) fn catch<T>(&self, call: Call, work: impl FnOnce() -> T) -> std::result::Result<T, Trouble> {
        caught(work).map_err(|message| {
            if call == Call::Work {
                // Where the driver lost it, wgpu has told so before it panicked.
                self.lose(format!("wgpu panicked: {message}"));
                return Trouble::Lost(self.loss().0.get().cloned().unwrap_or(message));
            }
            Trouble::Panicked(message)
        })
    }

    /// [`call`](Self::call) of work, as an [`Error::Device`].
    pub(crate) fn work<T>(&self, doing: &str, work: impl FnOnce() -> T) -> Result<T> {
        self.call(Call::Work, work).map_err(|trouble| self.failed(doing, trouble))
    }

    /// Whether the device still reports errors. It has to refuse a buffer of such a size; only a lost one reports nothing.
    #[cfg(not(target_arch = "wasm32"))]
    fn answers(&self) -> bool {
        let scope = self.device().push_error_scope(wgpu::ErrorFilter::Validation);
        let descriptor = wgpu::BufferDescriptor {
            label: None,
            size: u64::MAX,
            usage: wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        };
        let made = caught(|| self.device().create_buffer(&descriptor));
        let refused = ready(scope.pop()).flatten();
        made.is_ok() && refused.is_some()
    }

    /// A browser answers later, and calls back for every listener.
    #[cfg(target_arch = "wasm32")]
    fn answers(&self) -> bool {
        true
    }
}

/// [`caught`], for a future.
pub(super) async fn caught_within<T>(work: impl Future<Output = T>) -> std::result::Result<T, String> {
    let mut work = std::pin::pin!(work);
    std::future::poll_fn(|context| match caught(|| work.as_mut().poll(context)) {
        Ok(polled) => polled.map(Ok),
        Err(message) => Poll::Ready(Err(message)),
    })
    .await
}

/// What `work` returns, or the message that it panics with.
pub(super) fn caught<T>(work: impl FnOnce() -> T) -> std::result::Result<T, String> {
    // What unwinds is wgpu, whose locks don't poison; `Call` says what is believed of it afterwards.
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message").trim().to_string()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_become_their_messages() {
        let quiet = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| ()));
        let formatted = caught(|| -> u32 { panic!("expression {} is not cached", 99) });
        let literal = caught(|| -> u32 { panic!("plain") });
        let other = caught(|| -> u32 { std::panic::panic_any(7) });
        let pending = ready(caught_within(async { std::future::pending::<()>().await }));
        let late = ready(caught_within(async {
            std::future::ready(()).await;
            panic!("late")
        }));
        std::panic::set_hook(quiet);
        assert_eq!((pending, late), (None, Some(Err::<(), _>("late".to_string()))));
        assert_eq!(formatted, Err("expression 99 is not cached".to_string()));
        assert_eq!((literal, other), (Err("plain".to_string()), Err("no message".to_string())));
        assert_eq!(caught(|| 5), Ok(5));
    }
}
