//! Floors below which no time of a device can be: of a submit, of a dispatch, of one that waits for another, of moving a
//! byte, of a multiply-add.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use wgpu_rnn::gpu::{Gpu, Timestamps};
use wgpu_rnn::kernel::Program;
use wgpu_rnn::kernel::copy::copy;
use wgpu_rnn::kernel::gemm::{Gemm, Matrix};
use wgpu_rnn::{Device, wgpu};

use super::findings::Findings;
use crate::base::stats::{median, sorted};

/// Rounds of each measurement, after one to warm up. The median counts.
const ROUNDS: usize = 7;
/// Dispatches in one pass.
const DISPATCHES: u32 = 256;

/// Adds everything that can be measured on the device.
pub fn measure(device: &Device, found: &mut Findings) -> Result<()> {
    if let Some(gpu) = device.gpu() {
        let round_trip = rounds(|| {
            let start = Instant::now();
            gpu.queue().submit([gpu.device().create_command_encoder(&Default::default()).finish()]);
            gpu.wait()?;
            Ok(start.elapsed().as_secs_f64())
        })?;
        found.measure("empty submit and wait", round_trip * 1e6, "µs");
        for (name, entry) in [("empty dispatch", "empty"), ("dispatch that waits for the one before", "chain")] {
            let seconds = Floor::new(gpu, entry)?.seconds()?;
            found.measure(name, seconds / f64::from(DISPATCHES) * 1e6, "µs");
        }
    }
    let hardware = device.kind_name() == "gpu";
    let floats: usize = if hardware { 16 << 20 } else { 4 << 20 };
    let seconds = copying(device, floats)?;
    found.measure(format!("copying {} MiB", floats >> 18), 8.0 * floats as f64 / seconds * 1e-9, "GB/s");
    let size: usize = if hardware { 1024 } else { 384 };
    let seconds = product(device, size)?;
    let rate = (size * size * size) as f64 / seconds;
    found.measure(format!("product of {size} x {size} matrices"), rate * 1e-9, "billion multiply-adds/s");
    Ok(())
}

/// The median of some rounds.
fn rounds(mut once: impl FnMut() -> Result<f64>) -> Result<f64> {
    once()?;
    let times: Vec<f64> = (0..ROUNDS).map(|_| once()).collect::<Result<_>>()?;
    Ok(median(&sorted(times.into_iter())))
}

/// Seconds of a program, by the device's clock where it has one.
fn seconds(device: &Device, program: &Program) -> Result<f64> {
    rounds(|| {
        let timing = device.time(|recorder| program.record(recorder))?;
        Ok(timing.gpu_ms.filter(|ms| *ms > 0.0).unwrap_or(timing.wall_ms) * 1e-3)
    })
}

fn copying(device: &Device, floats: usize) -> Result<f64> {
    let columns = 1024;
    let [from, to] = [(); 2].map(|()| device.alloc("copied", floats));
    let (from, to) = (Matrix::dense(&from?, columns), Matrix::dense(&to?, columns));
    let mut program = Program::default();
    program.push(copy(device, 1, floats / columns, columns, Some(&from), &to)?);
    seconds(device, &program)
}

fn product(device: &Device, size: usize) -> Result<f64> {
    let matrix = || device.alloc("a product", size * size).map(|buffer| Matrix::dense(&buffer, size));
    let mut program = Program::default();
    Gemm::plain(size, size, size, matrix()?, matrix()?, matrix()?).add_to(device, &mut program)?;
    seconds(device, &program)
}

/// A kernel of `floors.wgsl`, ready to be dispatched.
struct Floor<'a> {
    gpu: &'a Gpu,
    pipeline: wgpu::ComputePipeline,
    bind_group: Option<wgpu::BindGroup>,
}

impl<'a> Floor<'a> {
    fn new(gpu: &'a Gpu, entry: &'static str) -> Result<Self> {
        let device = gpu.device();
        let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let module = device.create_shader_module(wgpu::include_wgsl!("floors.wgsl"));
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(entry),
            layout: None,
            module: &module,
            entry_point: Some(entry),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        });
        let bind_group = (entry == "chain").then(|| {
            let counter = device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(entry),
                size: 16,
                usage: wgpu::BufferUsages::STORAGE,
                mapped_at_creation: false,
            });
            device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(entry),
                layout: &pipeline.get_bind_group_layout(0),
                entries: &[wgpu::BindGroupEntry { binding: 0, resource: counter.as_entire_binding() }],
            })
        });
        let refused = pollster::block_on(scope.pop());
        ensure!(
            refused.is_none(),
            "the kernel `{entry}` is refused: {}",
            refused.map_or(String::new(), |e| e.to_string())
        );
        Ok(Self { gpu, pipeline, bind_group })
    }

    /// Seconds of [`DISPATCHES`] dispatches in one pass.
    fn seconds(&self) -> Result<f64> {
        let gpu = self.gpu;
        rounds(|| {
            let timestamps = gpu.capabilities().timestamps.then(|| Timestamps::new(gpu)).transpose()?;
            let start = Instant::now();
            let mut encoder = gpu.device().create_command_encoder(&Default::default());
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: None,
                timestamp_writes: timestamps.as_ref().map(Timestamps::writes),
            });
            pass.set_pipeline(&self.pipeline);
            if let Some(bind_group) = &self.bind_group {
                pass.set_bind_group(0, bind_group, &[]);
            }
            (0..DISPATCHES).for_each(|_| pass.dispatch_workgroups(1, 1, 1));
            drop(pass);
            if let Some(timestamps) = &timestamps {
                timestamps.resolve(&mut encoder);
            }
            gpu.queue().submit([encoder.finish()]);
            gpu.wait()?;
            let wall = start.elapsed().as_secs_f64();
            let own = timestamps.map(|timestamps| pollster::block_on(timestamps.milliseconds()));
            let own = own.transpose().context("reading timestamps")?;
            Ok(own.filter(|ms| *ms > 0.0).map_or(wall, |ms| ms * 1e-3))
        })
    }
}
