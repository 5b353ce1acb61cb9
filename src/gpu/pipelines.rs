//! Compiled pipelines, one a composed source: compiled once a device, shared by every plan.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;

use super::border::{Call, Trouble};
use super::context::Gpu;
use super::mapping::ready;

/// How a kernel binds a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BindingKind {
    /// `var<storage, read>`.
    Read,
    /// `var<storage, read_write>`.
    ReadWrite,
    /// `var<uniform>`: sizes and strides, baked when a plan is built.
    Uniform,
    /// `var<uniform>` with a dynamic offset: the step index.
    Step,
}

/// A compiled kernel.
pub(crate) struct Compiled {
    pub(crate) pipeline: wgpu::ComputePipeline,
    pub(crate) layout: wgpu::BindGroupLayout,
}

/// Why a kernel did not compile.
pub(crate) struct Failure {
    /// Line in the source, from 1, where the compiler names one; else 0.
    pub(crate) line: usize,
    /// What it or the driver said.
    pub(crate) trouble: Trouble,
}

/// How long a shader took to compile, from its WGSL to a pipeline.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Compilation {
    /// Its kernel.
    pub kernel: String,
    /// Milliseconds by the host's clock; 0 in a browser.
    pub ms: f64,
}

/// Pipelines by composed source, and the cache that they are compiled with.
#[derive(Default)]
pub(crate) struct Pipelines {
    pub(super) by_source: HashMap<String, Arc<Compiled>>,
    pub(super) compilations: Vec<Compilation>,
    /// Settled at the first compilation: this one, or none.
    pub(super) cache: Option<Option<wgpu::PipelineCache>>,
}

impl Gpu {
    /// The pipeline of `source`, compiled on first use.
    pub(crate) fn pipeline(
        &self,
        label: &str,
        source: &str,
        bindings: &[BindingKind],
    ) -> Result<Arc<Compiled>, Failure> {
        if let Some(found) = self.pipelines().by_source.get(source) {
            return Ok(found.clone());
        }
        #[cfg(not(target_arch = "wasm32"))]
        let start = std::time::Instant::now();
        let compiled = Arc::new(self.compile(label, source, bindings)?);
        #[cfg(not(target_arch = "wasm32"))]
        let ms = start.elapsed().as_secs_f64() * 1e3;
        #[cfg(target_arch = "wasm32")]
        let ms = 0.0;
        self.counting().pipelines.add();
        let mut pipelines = self.pipelines();
        pipelines.by_source.insert(source.to_string(), compiled.clone());
        pipelines.compilations.push(Compilation { kernel: label.to_string(), ms });
        drop(pipelines);
        Ok(compiled)
    }

    /// Every shader that was compiled on this device so far, in that order: one each of a kernel's variants.
    pub fn compilations(&self) -> Vec<Compilation> {
        self.pipelines().compilations.clone()
    }

    fn compile(&self, label: &str, source: &str, bindings: &[BindingKind]) -> Result<Compiled, Failure> {
        let of = |trouble| Failure { line: 0, trouble };
        if let Some(reason) = self.lost() {
            return Err(of(Trouble::Lost(reason)));
        }
        let device = self.device();
        let cache = self.pipeline_cache();
        let checks = self.checks().runtime_checks();
        let scopes = self.scopes();
        let made = self.catch(Call::Make, || {
            let source = wgpu::ShaderSource::Wgsl(self.with_planted(label, source).into());
            let descriptor = wgpu::ShaderModuleDescriptor { label: Some(label), source };
            // SAFETY: the kernels are this crate's own; each clamps or guards every index by the sizes in its uniform,
            // which the host checks against the bound ranges, and each loop ends by a bound from the same uniform.
            let module = unsafe { device.create_shader_module_trusted(descriptor, checks) };
            let entries: Vec<_> = bindings.iter().enumerate().map(|(index, &kind)| entry(index as u32, kind)).collect();
            let descriptor = wgpu::BindGroupLayoutDescriptor { label: Some(label), entries: &entries };
            let layout = device.create_bind_group_layout(&descriptor);
            let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: Some(label),
                bind_group_layouts: &[Some(&layout)],
                immediate_size: 0,
            });
            let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(label),
                layout: Some(&pipeline_layout),
                module: &module,
                entry_point: Some("main"),
                compilation_options: wgpu::PipelineCompilationOptions {
                    zero_initialize_workgroup_memory: false,
                    ..Default::default()
                },
                cache: cache.as_ref(),
            });
            (module, Compiled { pipeline, layout })
        });
        let refused = scopes.end();
        let (module, compiled) = made.map_err(of)?;
        if let Some(reason) = self.lost() {
            return Err(of(Trouble::Lost(reason)));
        }
        let Some(error) = refused else { return Ok(compiled) };
        let info = ready(module.get_compilation_info());
        let first = info.and_then(|info| info.messages.into_iter().next());
        let line = first.and_then(|message| message.location).map_or(0, |place| place.line_number as usize);
        Err(Failure { line, trouble: Trouble::Refused(error) })
    }
}

fn entry(binding: u32, kind: BindingKind) -> wgpu::BindGroupLayoutEntry {
    let ty = match kind {
        BindingKind::Read => wgpu::BufferBindingType::Storage { read_only: true },
        BindingKind::ReadWrite => wgpu::BufferBindingType::Storage { read_only: false },
        BindingKind::Uniform | BindingKind::Step => wgpu::BufferBindingType::Uniform,
    };
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: kind == BindingKind::Step, min_binding_size: None },
        count: None,
    }
}
