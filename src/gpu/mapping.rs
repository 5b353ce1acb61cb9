//! Reading back, and futures of wgpu: those that are ready at once, and the completion of a `map_async`.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use super::context::Gpu;
use crate::error::Result;

impl Gpu {
    /// Copies `bytes` bytes at `offset` of `buffer` to the host.
    pub async fn download(&self, buffer: &wgpu::Buffer, offset: u64, bytes: u64) -> Result<Vec<u8>> {
        self.expect_more_than_plans()?;
        self.counting().downloads.add();
        let lease = self.staging(bytes)?;
        let staging = lease.buffer();
        let mapped = Mapping::default();
        let told = mapped.clone();
        self.work("was being read", || {
            let mut encoder = self.device().create_command_encoder(&Default::default());
            encoder.copy_buffer_to_buffer(buffer, offset, staging, 0, bytes);
            self.queue().submit([encoder.finish()]);
            staging.map_async(wgpu::MapMode::Read, .., move |result| told.tell(result.map_err(|e| e.to_string())));
        })?;
        #[cfg(not(target_arch = "wasm32"))]
        self.settle(&mapped)?;
        if let Err(why) = mapped.await {
            self.alive("was being read")?;
            return Err(self.failed("was being read", why));
        }
        let content = self.work("was being read", || {
            let view = staging.get_mapped_range(..bytes).map_err(|why| why.to_string())?;
            let content = view.to_vec();
            drop(view);
            staging.unmap();
            std::result::Result::<_, String>::Ok(content)
        });
        let content = content?.map_err(|why| self.failed("was being read", why))?;
        // Only now: a read-back that failed, or that nobody waited for, may leave it mapped.
        lease.reuse();
        Ok(content)
    }

    /// Blocks until `mapped` is told of. Another thread that polls may be the one to tell it; a lost device need not tell.
    #[cfg(not(target_arch = "wasm32"))]
    fn settle(&self, mapped: &Mapping) -> Result<()> {
        loop {
            self.wait()?;
            if mapped.is_told() {
                return Ok(());
            }
            std::thread::yield_now();
        }
    }
}

/// The value of a future that is ready at once, as wgpu's error scopes are natively.
pub(crate) fn ready<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// What became of a `map_async`.
type Mapped = std::result::Result<(), String>;

/// Completion of a `map_async`, as a future.
#[derive(Clone, Default)]
struct Mapping(Arc<Mutex<(Option<Mapped>, Option<Waker>)>>);

impl Mapping {
    #[cfg(not(target_arch = "wasm32"))]
    fn is_told(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.is_some()
    }

    fn tell(&self, result: Mapped) {
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
