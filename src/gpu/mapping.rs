//! Futures of wgpu: those that are ready at once, and the completion of a `map_async`.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// The value of a future that is ready at once, as wgpu's error scopes are natively.
pub(crate) fn ready<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// What became of a `map_async`.
type Mapped = Result<(), String>;

/// Completion of a `map_async`, as a future.
#[derive(Clone, Default)]
pub(super) struct Mapping(Arc<Mutex<(Option<Mapped>, Option<Waker>)>>);

impl Mapping {
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn is_told(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.is_some()
    }

    pub(super) fn tell(&self, result: Mapped) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 = Some(result);
        if let Some(waker) = state.1.take() {
            waker.wake();
        }
    }
}

impl Future for Mapping {
    type Output = Mapped;

    fn poll(self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Mapped> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match state.0.take() {
            Some(result) => Poll::Ready(result),
            None => {
                state.1 = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}
