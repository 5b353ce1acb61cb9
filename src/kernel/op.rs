//! [`Op`]: one kernel bound to its buffers and sizes, ready to be recorded any number of times.

use std::sync::Arc;

use crate::cell::Cell;
use crate::cpu::threads::Pool;
use crate::device::{Buffer, DType, Device, Executor, Facts, NativeFloat, Recorder};
use crate::error::{Error, Result};
use crate::gpu::{AdapterKind, BindingKind, Capabilities, Compiled, Gpu, Lease, Subject, Trouble};
use crate::shader::{Binding, Kernel, Spec, compose};

/// One kernel bound to its buffers and sizes. Recording it uploads, allocates and compiles nothing.
pub struct Op {
    name: &'static str,
    work: Work,
    why: Option<&'static str>,
}

type CpuWork = Box<dyn Fn() -> Result<()> + Send + Sync>;

enum Work {
    Gpu {
        gpu: Gpu,
        spec: Spec,
        compiled: Arc<Compiled>,
        bind_group: wgpu::BindGroup,
        /// What the bind group binds stays out of the pool while the op lives.
        leases: Vec<Arc<Lease>>,
        groups: [u32; 3],
        steps: Option<Steps>,
    },
    Cpu(CpuWork),
}

/// Dispatches of a time-step kernel: the same pipeline and bind group with the step's offset moving.
#[derive(Clone, Copy)]
struct Steps {
    count: u32,
    stride: u32,
}

/// Ops in order.
#[derive(Default)]
pub struct Program {
    ops: Vec<Op>,
}

/// What a GPU op is made of.
pub(crate) struct Launch<'a> {
    pub(crate) kernel: &'static Kernel,
    pub(crate) cell: Option<Cell>,
    pub(crate) consts: Vec<(&'static str, u32)>,
    pub(crate) uniform: &'a [u8],
    /// The storage buffers, in table order.
    pub(crate) buffers: &'a [&'a Buffer],
    pub(crate) groups: [u32; 3],
    /// How many times a time-step kernel is dispatched, with step index 0, 1, ….
    pub(crate) steps: Option<u32>,
}

/// Lanes of an element-wise kernel.
pub(crate) fn element_lanes(caps: &Capabilities) -> u32 {
    match caps.kind {
        AdapterKind::Software => 32,
        AdapterKind::Gpu => 64,
    }
}

/// Workgroups along x for a kernel that strides over `elements`.
pub(crate) fn linear_groups(gpu: &Gpu, elements: usize, lanes: u32) -> u32 {
    let caps = gpu.capabilities();
    // A software adapter gains nothing from more groups than it has threads, and pays for each.
    let most = match caps.kind {
        AdapterKind::Software => 256,
        AdapterKind::Gpu => 8192,
    };
    (elements.div_ceil(lanes as usize).max(1)).min(caps.max_workgroups.min(most) as usize) as u32
}

impl Op {
    /// Compiles (or finds) the pipeline and binds the buffers.
    pub(crate) fn gpu(gpu: &Gpu, launch: &Launch<'_>) -> Result<Self> {
        let kernel = launch.kernel;
        let halves = halves(kernel, launch.buffers)?;
        let spec = Spec { kernel, cell: launch.cell, consts: launch.consts.clone(), halves };
        let caps = gpu.capabilities();
        log::trace!("kernel {}: {} (a {:?} adapter's tiles)", kernel.name, spec.variant(), caps.kind);
        let compiled = compile(gpu, &spec)?;
        let most = gpu.capabilities().max_workgroups;
        if let Some(&groups) = launch.groups.iter().find(|&&groups| groups > most) {
            let what = format!("kernel `{}`", kernel.name);
            return Err(gpu.limit(what, format!("{groups} workgroups"), format!("{most} in one dimension")));
        }
        debug_assert_eq!(launch.uniform.len(), kernel.uniform.bytes, "{}", kernel.name);
        expect_apart(kernel, launch.buffers)?;
        let uniform = gpu.baked("sizes", launch.uniform)?;
        let stride = gpu.capabilities().offset_alignment;
        let table = launch.steps.map(|count| gpu.step_table(count)).transpose()?;
        let mut buffers = launch.buffers.iter();
        let mut entries = Vec::with_capacity(kernel.bindings.len());
        for (index, binding) in kernel.bindings.iter().enumerate() {
            let resource = match binding.kind {
                BindingKind::Uniform => uniform.as_entire_binding(),
                BindingKind::Step => match &table {
                    Some(table) => range(table, 0, 16),
                    None => return Err(Error::invalid(kernel.name, "called with steps", "none")),
                },
                BindingKind::Read | BindingKind::ReadWrite => match buffers.next() {
                    Some(buffer) => bind(gpu, kernel.name, binding.name, buffer)?,
                    None => return Err(Error::invalid(kernel.name, "called with all its buffers", "fewer")),
                },
            };
            entries.push(wgpu::BindGroupEntry { binding: index as u32, resource });
        }
        let descriptor =
            wgpu::BindGroupDescriptor { label: Some(kernel.name), layout: &compiled.layout, entries: &entries };
        let bind_group = gpu
            .bind_group(&descriptor)
            .map_err(|error| gpu.failed(&format!("was binding the buffers of kernel `{}`", kernel.name), error))?;
        let leases = launch.buffers.iter().filter_map(|buffer| Some(buffer.lease()?.0.clone())).collect();
        let steps = launch.steps.map(|count| Steps { count, stride });
        let (gpu, groups) = (gpu.clone(), launch.groups);
        let work = Work::Gpu { gpu, spec, compiled, bind_group, leases, groups, steps };
        Ok(Self { name: kernel.name, work, why: None })
    }

    /// Native work.
    pub(crate) fn cpu(name: &'static str, work: impl Fn() -> Result<()> + Send + Sync + 'static) -> Self {
        Self { name, work: Work::Cpu(Box::new(work)), why: None }
    }

    /// With a reason for its kernel and tile, as a clause.
    pub(crate) fn because(self, why: &'static str) -> Self {
        log::debug!("kernel {}: {}, because {why}", self.name, self.variant());
        Self { why: Some(why), ..self }
    }

    /// Why it has this kernel and tile and no other, where there was a choice, as a clause.
    pub fn why(&self) -> Option<&'static str> {
        self.why
    }

    /// The kernel's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What its shader is composed of; none for native work.
    pub fn spec(&self) -> Option<&Spec> {
        match &self.work {
            Work::Gpu { spec, .. } => Some(spec),
            Work::Cpu(_) => None,
        }
    }

    /// Whether it is a time-step kernel, recorded once a step with a moving offset.
    pub fn is_stepped(&self) -> bool {
        matches!(&self.work, Work::Gpu { steps: Some(_), .. })
    }

    /// Dispatches it makes (on the CPU: one call).
    pub fn dispatches(&self) -> usize {
        match &self.work {
            Work::Gpu { steps: Some(steps), .. } => steps.count as usize,
            _ => 1,
        }
    }

    /// The cell and constants that its shader is composed with, in words; empty for native work.
    pub fn variant(&self) -> String {
        self.spec().map(Spec::variant).unwrap_or_default()
    }

    /// Records it; on the CPU does it. An error, and nothing recorded, when the device does not take so many dispatches
    /// at once.
    pub fn record(&self, recorder: &mut Recorder<'_>) -> Result<()> {
        let facts = Facts { kernel: self.name, dispatches: self.dispatches(), variant: &|| self.variant() };
        match &self.work {
            Work::Cpu(work) => recorder.cpu_op(&facts, work),
            Work::Gpu { gpu, compiled, bind_group, leases, groups: [x, y, z], steps, .. } => {
                recorder.gpu_op(&facts, gpu, leases, |pass| {
                    pass.set_pipeline(&compiled.pipeline);
                    match steps {
                        None => {
                            pass.set_bind_group(0, bind_group, &[]);
                            pass.dispatch_workgroups(*x, *y, *z);
                        }
                        Some(Steps { count, stride }) => {
                            for step in 0..*count {
                                pass.set_bind_group(0, bind_group, &[step * stride]);
                                pass.dispatch_workgroups(*x, *y, *z);
                            }
                        }
                    }
                })
            }
        }
    }
}

impl Program {
    /// Appends an op.
    pub fn push(&mut self, op: Op) {
        self.ops.push(op);
    }

    /// Appends another program.
    pub fn append(&mut self, mut other: Self) {
        self.ops.append(&mut other.ops);
    }

    /// Its ops.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// Dispatches of one recording.
    pub fn dispatches(&self) -> usize {
        self.ops.iter().map(Op::dispatches).sum()
    }

    /// Records every op in order.
    pub fn record(&self, recorder: &mut Recorder<'_>) -> Result<()> {
        self.ops.iter().try_for_each(|op| op.record(recorder))
    }
}

/// Calls `$work::<f32>` or `$work::<f64>` for the device's precision; the arguments are cloned into the op.
macro_rules! cpu_op {
    ($precision:expr, $name:literal, $work:ident($($arg:ident),*)) => {
        match $precision {
            $crate::device::NativeFloat::F32 => $crate::kernel::Op::cpu($name, move || $work::<f32>($(&$arg),*)),
            $crate::device::NativeFloat::F64 => $crate::kernel::Op::cpu($name, move || $work::<f64>($(&$arg),*)),
        }
    };
}
pub(crate) use cpu_op;

/// An error when something written shares an allocation with another operand: neither executor binds such a pair.
pub(crate) fn distinct(kernel: &str, written: &[&Buffer], read: &[&Buffer]) -> Result<()> {
    for (index, one) in written.iter().enumerate() {
        if written[index + 1..].iter().chain(read).any(|other| one.shares(other)) {
            let got = "one that another operand lies in too";
            return Err(Error::invalid(format!("what `{kernel}` writes"), "an allocation of its own", got));
        }
    }
    Ok(())
}

/// An error when what a writable binding holds is held by another binding too: WebGPU allows a range of a buffer behind
/// one writable binding, or behind any number that are read, and a buffer behind either kind.
fn expect_apart(kernel: &Kernel, buffers: &[&Buffer]) -> Result<()> {
    let bindings = kernel.bindings.iter().filter(|binding| binding.is_storage());
    let bound: Vec<_> = bindings.zip(buffers).collect();
    for (index, (one, buffer)) in bound.iter().enumerate() {
        for (other, its_buffer) in &bound[index + 1..] {
            let both_written = [one, other].iter().all(|binding| binding.kind == BindingKind::ReadWrite);
            let collide = match (one.kind == other.kind, both_written) {
                (true, false) => false,
                (true, true) => buffer.overlaps(its_buffer),
                (false, _) => buffer.shares(its_buffer),
            };
            if collide {
                let got = format!("what `{}` holds too", other.name);
                return Err(Error::invalid(format!("`{}` of kernel `{}`", one.name, kernel.name), "bound alone", got));
            }
        }
    }
    Ok(())
}

/// The GPU, or the CPU executor's pool and precision.
pub(crate) enum Target<'a> {
    Gpu(&'a Gpu),
    Cpu(Arc<Pool>, NativeFloat),
}

impl Device {
    pub(crate) fn target(&self) -> Target<'_> {
        match self.executor() {
            Executor::Gpu(gpu) => Target::Gpu(gpu),
            Executor::Cpu { pool, precision } => Target::Cpu(pool.clone(), *precision),
        }
    }
}

/// The pipeline of `spec`, compiled on first use. What the driver refuses is not tried again on its adapter.
pub(crate) fn compile(gpu: &Gpu, spec: &Spec) -> Result<Arc<Compiled>> {
    let (kernel, composed) = (spec.kernel, compose(spec));
    let refused = |place: String, why: String| Error::Shader { shader: kernel.name.to_string(), place, why };
    let subject = Subject::variant(kernel.name, spec.variant());
    if let Some(why) = gpu.doubt(&subject) {
        let place = format!("{}, because {why}", gpu.info().name);
        return Err(Error::Unsupported { option: subject.to_string(), place });
    }
    let kinds: Vec<BindingKind> = kernel.bindings.iter().map(|binding| binding.kind).collect();
    gpu.pipeline(kernel.name, &composed.source, &kinds).map_err(|failure| {
        let why = failure.trouble.to_string();
        match failure.trouble {
            Trouble::Lost(_) => gpu.failed(&format!("was compiling kernel `{}`", kernel.name), why),
            // There may be memory another time.
            Trouble::Refused(wgpu::Error::OutOfMemory { .. }) => refused(composed.locate(failure.line), why),
            Trouble::Refused(_) | Trouble::Panicked(_) => {
                let first = why.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
                gpu.found(subject, format!("it did not compile: {}", first.trim()));
                refused(composed.locate(failure.line), why)
            }
        }
    })
}

/// The bindings whose buffers hold f16; an error when the kernel can't take one there.
fn halves(kernel: &Kernel, buffers: &[&Buffer]) -> Result<Vec<&'static str>> {
    let storage = kernel.bindings.iter().filter(|binding| binding.is_storage());
    let halves = storage.zip(buffers).filter(|(_, buffer)| buffer.dtype() == DType::Half);
    let check = |(binding, _): (&Binding, _)| match binding.or_half {
        true => Ok(binding.name),
        false => Err(Error::DType {
            name: format!("{}` of kernel `{}", binding.name, kernel.name),
            expected: "f32".to_string(),
            got: "f16".to_string(),
        }),
    };
    halves.map(check).collect()
}

fn range(buffer: &wgpu::Buffer, offset: u64, size: u64) -> wgpu::BindingResource<'_> {
    wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset, size: std::num::NonZeroU64::new(size) })
}

fn bind<'b>(gpu: &Gpu, kernel: &str, name: &str, buffer: &'b Buffer) -> Result<wgpu::BindingResource<'b>> {
    let (lease, offset) = buffer.lease().ok_or_else(|| Error::WrongDevice {
        what: format!("`{name}` of kernel `{kernel}`"),
        expected: gpu.info().name.clone(),
        got: "the CPU executor".to_string(),
    })?;
    let caps = gpu.capabilities();
    let size = buffer.bytes().max(4);
    if size > caps.max_binding {
        let limit = format!("{} bytes a binding", caps.max_binding);
        return Err(gpu.limit(format!("`{name}` of kernel `{kernel}`"), format!("{size} bytes"), limit));
    }
    if !offset.is_multiple_of(u64::from(caps.offset_alignment)) {
        let expected = format!("a multiple of {}", caps.offset_alignment);
        return Err(Error::invalid(format!("the offset of `{name}`"), expected, offset));
    }
    // Over the band behind its buffer, if it has one: what is read or written there is to be seen.
    let reach = if offset + size == lease.end() { lease.begin() } else { 0 };
    Ok(range(lease.buffer(), offset, (size + reach).min(caps.max_binding)))
}
