//! [`Op`]: one kernel bound to its buffers and sizes, ready to be recorded any number of times.

use std::ops::Range;
use std::sync::Arc;

use crate::cpu::threads::Pool;
use crate::device::{Buffer, DType, Device, Executor, Facts, NativeFloat, Recorder};
use crate::error::{Error, Result};
use crate::gpu::{BindingKind, Compiled, Gpu, Lease, Subject, Trouble, Work};
use crate::recipe::Recipe;
use crate::shader::{Binding, Kernel, Spec, compose};

/// One kernel bound to its buffers and sizes. Recording it uploads, allocates and compiles nothing.
pub struct Op {
    name: &'static str,
    body: Body,
    why: Option<&'static str>,
}

type CpuWork = Box<dyn Fn() -> Result<()> + Send + Sync>;

enum Body {
    Gpu {
        gpu: Gpu,
        /// Of its first dispatch.
        spec: Box<Spec>,
        /// Dispatched one after another, at every step where there are steps: as many as it takes for each to be short.
        each_step: Vec<Dispatch>,
        /// What the bind groups bind stays out of the pool while the op lives.
        leases: Vec<Arc<Lease>>,
        steps: Option<Steps>,
    },
    Cpu(CpuWork),
}

/// A part of an op's work that is dispatched at once.
struct Dispatch {
    /// None on a device for plans alone.
    compiled: Option<Arc<Compiled>>,
    /// None on a device for plans alone.
    bind_group: Option<wgpu::BindGroup>,
    groups: [u32; 3],
    work: Work,
    /// On the slowest adapter of the device's class.
    milliseconds: f64,
}

/// Dispatches of a time-step kernel: the same pipeline and bind group with the step's offset moving.
#[derive(Clone, Copy)]
struct Steps {
    count: u32,
    stride: u32,
}

/// What a GPU op is made of.
pub(crate) struct Launch<'a> {
    pub(crate) kernel: &'static Kernel,
    pub(crate) recipe: Option<Recipe>,
    pub(crate) consts: Vec<(&'static str, u32)>,
    pub(crate) uniform: &'a [u8],
    /// The storage buffers, in table order.
    pub(crate) buffers: &'a [&'a Buffer],
    pub(crate) groups: [u32; 3],
    /// How many times a time-step kernel is dispatched, with step index 0, 1, ….
    pub(crate) steps: Option<u32>,
    /// What one dispatch has to do.
    pub(crate) work: Work,
}

impl Op {
    /// Compiles (or finds) the pipeline and binds the buffers.
    pub(crate) fn gpu(gpu: &Gpu, launch: &Launch<'_>) -> Result<Self> {
        let kernel = launch.kernel;
        let halves = halves(kernel, launch.buffers)?;
        let spec = Spec { kernel, recipe: launch.recipe.map(Recipe::text), consts: launch.consts.clone(), halves };
        let caps = gpu.capabilities();
        log::trace!("kernel {}: {} (a {:?} adapter's tiles)", kernel.name, spec.variant(), caps.kind);
        let compiled = if gpu.plans_only() { None } else { Some(compile(gpu, &spec)?) };
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
        let group = |compiled: &Arc<Compiled>| {
            let (label, layout) = (Some(kernel.name), &compiled.layout);
            gpu.bind_group(&wgpu::BindGroupDescriptor { label, layout, entries: &entries })
        };
        let bind_group = compiled.as_ref().map(group).transpose();
        let bind_group = bind_group
            .map_err(|error| gpu.failed(&format!("was binding the buffers of kernel `{}`", kernel.name), error))?;
        let leases = launch.buffers.iter().filter_map(|buffer| Some(buffer.lease()?.0.clone())).collect();
        let steps = launch.steps.map(|count| Steps { count, stride });
        let (work, milliseconds) = (launch.work, gpu.milliseconds(&launch.work));
        let each_step = vec![Dispatch { compiled, bind_group, groups: launch.groups, work, milliseconds }];
        let body = Body::Gpu { gpu: gpu.clone(), spec: Box::new(spec), each_step, leases, steps };
        Ok(Self { name: kernel.name, body, why: None })
    }

    /// Several ops of one kernel as one, whose dispatches come in their order, step by step where there are steps: work that
    /// is cut so that no dispatch takes long, and the phases of a step.
    pub(crate) fn of_dispatches(ops: impl IntoIterator<Item = Result<Self>>) -> Result<Self> {
        let mut ops = ops.into_iter();
        let nothing = || Err(Error::invalid("the work of an op", "one dispatch or more", "none"));
        let mut all = ops.next().unwrap_or_else(nothing)?;
        for op in ops {
            let op = op?;
            if let (Body::Gpu { each_step, leases, .. }, Body::Gpu { each_step: more, leases: others, .. }) =
                (&mut all.body, op.body)
            {
                each_step.extend(more);
                leases.extend(others);
            }
        }
        if let Body::Gpu { leases, .. } = &mut all.body {
            leases.sort_by_key(Arc::as_ptr);
            leases.dedup_by(|one, other| Arc::ptr_eq(one, other));
        }
        Ok(all)
    }

    /// Native work.
    pub(crate) fn cpu(name: &'static str, work: impl Fn() -> Result<()> + Send + Sync + 'static) -> Self {
        Self { name, body: Body::Cpu(Box::new(work)), why: None }
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
        match &self.body {
            Body::Gpu { spec, .. } => Some(spec),
            Body::Cpu(_) => None,
        }
    }

    /// Whether it is a time-step kernel, recorded once a step with a moving offset.
    pub fn is_stepped(&self) -> bool {
        matches!(&self.body, Body::Gpu { steps: Some(_), .. })
    }

    /// Dispatches it makes (on the CPU: one call).
    pub fn dispatches(&self) -> usize {
        match &self.body {
            Body::Gpu { each_step, steps, .. } => each_step.len() * steps.map_or(1, |steps| steps.count as usize),
            Body::Cpu(_) => 1,
        }
    }

    /// What one of its [`dispatches`](Self::dispatches) has to do; none for native work.
    pub fn work(&self, dispatch: usize) -> Option<&Work> {
        Some(&self.dispatch(dispatch)?.work)
    }

    /// How long one of its dispatches takes on the slowest adapter of the device's class, milliseconds; 0 for native work.
    pub fn milliseconds_of(&self, dispatch: usize) -> f64 {
        self.dispatch(dispatch).map_or(0.0, |one| one.milliseconds)
    }

    /// The same of all its dispatches.
    pub fn milliseconds(&self) -> f64 {
        match &self.body {
            Body::Gpu { each_step, steps, .. } => {
                let one: f64 = each_step.iter().map(|one| one.milliseconds).sum();
                one * steps.map_or(1.0, |steps| f64::from(steps.count))
            }
            Body::Cpu(_) => 0.0,
        }
    }

    fn dispatch(&self, dispatch: usize) -> Option<&Dispatch> {
        match &self.body {
            Body::Gpu { each_step, .. } => each_step.get(dispatch % each_step.len().max(1)),
            Body::Cpu(_) => None,
        }
    }

    /// Dispatches that one submit to its device takes.
    pub(super) fn most_dispatches(&self) -> usize {
        match &self.body {
            Body::Gpu { gpu, .. } => gpu.capabilities().max_dispatches(),
            Body::Cpu(_) => usize::MAX,
        }
    }

    /// The cell and constants that its shader is composed with, in words; empty for native work.
    pub fn variant(&self) -> String {
        self.spec().map(Spec::variant).unwrap_or_default()
    }

    /// Records it; on the CPU does it. An error, and nothing recorded, when an app's encoder would get more dispatches than
    /// the device takes in a submit.
    pub fn record(&self, recorder: &mut Recorder<'_>) -> Result<()> {
        self.record_some(recorder, 0..self.dispatches())
    }

    /// Records some of its dispatches.
    pub(super) fn record_some(&self, recorder: &mut Recorder<'_>, dispatches: Range<usize>) -> Result<()> {
        let facts = Facts { kernel: self.name, dispatches: dispatches.len(), variant: &|| self.variant() };
        match &self.body {
            Body::Cpu(work) => recorder.cpu_op(&facts, work),
            Body::Gpu { gpu, each_step, leases, steps, .. } => {
                gpu.expect_more_than_plans()?;
                let stride = steps.map(|steps| steps.stride);
                let record = |pass: &mut wgpu::ComputePass<'_>, dispatches: Range<usize>| {
                    let mut set: Option<&Arc<Compiled>> = None;
                    for dispatch in dispatches {
                        let Dispatch { compiled, bind_group, groups: [x, y, z], .. } =
                            &each_step[dispatch % each_step.len()];
                        let Some(compiled) = compiled else { return };
                        if !set.is_some_and(|set| Arc::ptr_eq(set, compiled)) {
                            pass.set_pipeline(&compiled.pipeline);
                            set = Some(compiled);
                        }
                        match stride {
                            None => pass.set_bind_group(0, bind_group.as_ref(), &[]),
                            Some(stride) => {
                                let step = (dispatch / each_step.len()) as u32;
                                pass.set_bind_group(0, bind_group.as_ref(), &[step * stride]);
                            }
                        }
                        pass.dispatch_workgroups(*x, *y, *z);
                    }
                };
                recorder.gpu_op(&facts, gpu, leases, dispatches, &|dispatch| self.milliseconds_of(dispatch), record)
            }
        }
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
    if size > caps.binding_bytes() {
        let limit = format!("{} bytes a binding", caps.binding_bytes());
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
