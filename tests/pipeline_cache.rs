//! Pipeline caches: bytes go from one device to the next, and nothing that comes in their place does harm. Software
//! drivers may keep nothing in theirs, so what was made of the bytes is taken from the log.

mod common;

use std::cell::RefCell;

use common::{GRADIENT_BOUND, Layer, OUTPUT_BOUND, Tensors, assert_close, assert_same_bits, gpu, wgpu_device};
use wgpu_rnn::gpu::Capabilities;
use wgpu_rnn::{Cell, Device, Error, RnnConfig};

fn layer() -> Layer {
    Layer::random(RnnConfig::new(Cell::Lstm, 5, 9), 6, 4, 3)
}

fn oracle() -> Tensors {
    layer().run(&Device::oracle().expect("oracle"))
}

thread_local! {
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Keeps what this crate logs, for each thread apart.
struct Lines;

impl log::Log for Lines {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target().starts_with("wgpu_rnn")
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            LINES.with(|lines| lines.borrow_mut().push(record.args().to_string()));
        }
    }

    fn flush(&self) {}
}

/// A device that begins with `data`, and what it said of them.
fn begin_with(data: &[u8]) -> (Device, Vec<String>) {
    // Another test may have been first.
    let _ = log::set_logger(&Lines);
    log::set_max_level(log::LevelFilter::Debug);
    LINES.take();
    // SAFETY: what these tests change of a cache's own bytes, the checksum notices.
    let device = unsafe { gpu().with_pipeline_cache_data(data) }.expect("a device");
    (device, LINES.take())
}

/// What a device has compiled for the layer, and the layer's results; none on a backend other than Vulkan.
fn compiled() -> Option<(Vec<u8>, Tensors)> {
    let first = gpu();
    assert!(first.pipeline_cache_data().is_none(), "nothing is compiled yet");
    let results = layer().run(&first);
    let data = first.pipeline_cache_data();
    assert_eq!(data.is_some(), first.backend() == "Vulkan");
    Some((data?, results))
}

#[test]
fn a_device_goes_on_with_what_another_has_compiled() {
    let Some((data, results)) = compiled() else { return };
    let (second, said) = begin_with(&data);
    assert!(said.is_empty(), "{said:?}");
    // Before anything is compiled, what came in is what comes out. SwiftShader adds a header of its own to what it was given.
    let before = second.pipeline_cache_data().expect("data");
    let added = if second.name().contains("SwiftShader") { 32 } else { 0 };
    assert_eq!(before.len(), data.len() + added);
    assert_same_bits("with the cache", &layer().run(&second), &results);
    assert_close("with the cache", &results, &oracle(), OUTPUT_BOUND, GRADIENT_BOUND);
    // The kernels were known, so the cache has not grown.
    assert_eq!(second.pipeline_cache_data().expect("data").len(), before.len());
}

#[test]
fn damaged_bytes_are_dropped() {
    let Some((data, results)) = compiled() else { return };
    let changed = |at: usize| {
        let mut bytes = data.clone();
        bytes[at] ^= 0x10;
        bytes
    };
    let mut longer = data.clone();
    longer.push(0);
    let damaged = [
        b"not a pipeline cache".to_vec(),
        vec![0; 4096],
        data[..data.len() / 2].to_vec(),
        data[..7].to_vec(),
        longer,
        Vec::new(),
        changed(0),
        changed(data.len() / 2),
        changed(data.len() - 1),
    ];
    for bytes in damaged {
        let (device, said) = begin_with(&bytes);
        let why = format!("the pipeline cache of {} bytes is damaged; starting with an empty one", bytes.len());
        assert_eq!(said, [why]);
        assert_same_bits("after damage", &layer().run(&device), &results);
        // What comes out is whole again.
        let (_, said) = begin_with(&device.pipeline_cache_data().expect("data"));
        assert!(said.is_empty(), "{said:?}");
    }
}

#[test]
fn an_app_may_bring_its_own_cache() {
    let adapter_device = gpu();
    let own = adapter_device.gpu().expect("a GPU");
    if !own.capabilities().pipeline_cache {
        return;
    }
    let descriptor = wgpu::PipelineCacheDescriptor { label: None, data: None, fallback: true };
    // SAFETY: there is no data.
    let cache = unsafe { own.device().create_pipeline_cache(&descriptor) };
    let guest = Device::from_wgpu(own.device().clone(), own.queue().clone());
    let guest = guest.with_pipeline_cache(cache.clone()).expect("a device");
    layer().run(&guest);
    let (inside, out) = (cache.get_data().expect("data"), guest.pipeline_cache_data().expect("data"));
    assert!(out.starts_with(&inside) && out.len() == inside.len() + 8, "the app's cache and a checksum");
    assert!(matches!(guest.with_pipeline_cache(cache.clone()), Err(Error::Invalid { .. })), "one is enough");

    // Too late, and on an executor that compiles nothing.
    layer().run(&adapter_device);
    let text = adapter_device.with_pipeline_cache(cache.clone()).expect_err("too late").to_string();
    assert_eq!(
        text,
        "the pipeline cache must be given once, before the first kernel is compiled, got one that came later"
    );
    let cpu = Device::cpu().expect("CPU");
    assert!(matches!(cpu.with_pipeline_cache(cache), Err(Error::WrongDevice { .. })));
}

#[test]
fn devices_without_caches_ignore_them() {
    let Some((data, results)) = compiled() else { return };
    // WebGPU's defaults have no pipeline caches.
    let (device, queue) = wgpu_device(|adapter| Capabilities::useful_limits(&adapter));
    for (device, exact) in [(Device::from_wgpu(device, queue), true), (Device::cpu().expect("CPU"), false)] {
        // SAFETY: the data are a cache's own.
        let device = unsafe { device.with_pipeline_cache_data(&data) }.expect("a device");
        let got = layer().run(&device);
        match exact {
            true => assert_same_bits("without a cache", &got, &results),
            false => assert_close("without a cache", &got, &results, OUTPUT_BOUND, GRADIENT_BOUND),
        }
        assert!(device.pipeline_cache_data().is_none());
    }
}
