//! What a layer needs before its first step on a GPU, in one dispatch: packed weights and initial states.

use super::{Chunk, Weights, packed_recurrent};
use crate::device::{Buffer, Device, Nothing};
use crate::error::{Error, Result};
use crate::gpu::Work;
use crate::kernel::cuts::{element_lanes, index, linear_groups};
use crate::kernel::gemm::Matrix;
use crate::kernel::op::{Launch, Op, distinct};
use crate::shader::{Binding, Kernel, Uniform as _, fragments, uniform};

/// Packed weights and initial states.
pub static KERNEL: Kernel = Kernel {
    name: "recurrent_prepare",
    fragments: fragments!["recurrent/prepare.wgsl"],
    bindings: &[
        Binding::uniform("u"),
        Binding::read("values"),
        Binding::read("h0").or_half(),
        Binding::read("c0").or_half(),
        Binding::read_write("packed").or_half(),
        Binding::read_write("h").or_half(),
        Binding::read_write("c").or_half(),
        Binding::read_write("carry"),
    ],
    uniform: Uniform::MEMBERS,
};

uniform! {
    struct Uniform {
        inputs: u32,
        hidden: u32,
        gates: u32,
        batch: u32,
        input_offset: u32,
        input_direction: u32,
        recurrent_offset: u32,
        recurrent_direction: u32,
        bias_offset: u32,
        bias_direction: u32,
        has_bias: u32,
        directions: u32,
        h0_offset: u32,
        c0_offset: u32,
        h0_row: u32,
        h0_direction: u32,
        c0_row: u32,
        c0_direction: u32,
        given: u32,
        has_c: u32,
        packed_recurrent: u32,
        packed_direction: u32,
        initial: u32,
        recurrent_rows: u32,
        peepholes: u32,
        peepholes_offset: u32,
        peepholes_direction: u32,
    }
}

/// What is brought into place before a layer's first chunk.
pub struct Prepare<'a> {
    /// I.
    pub inputs: usize,
    /// `W_ih [G·H, I]` of each direction.
    pub w_ih: Matrix,
    /// Where `W_ihᵀ [D][I, G·H]` goes.
    pub packed_input: &'a Buffer,
    /// Each initial state, `[D, B, H]` from its offset on, or one row for all sequences; zero where there is none.
    pub initial: Vec<Option<Matrix>>,
}

impl Chunk {
    /// Packs the layer's weights, and puts the initial states in front of this, its first chunk. None on the CPU, which
    /// packs for itself, with a projection, where the layer's parameters are too far apart for one binding, where it is too much
    /// for one dispatch, and where the driver does not take the kernel.
    pub fn prepare(&self, device: &Device, weights: &Weights, with: &Prepare<'_>) -> Result<Option<Op>> {
        let Some(gpu) = device.gpu() else { return Ok(None) };
        // Whose states are of two widths, and whose weights are more.
        if self.recipe.projection().is_some() {
            return Ok(None);
        }
        let has_product = self.recipe.has_product();
        let w_ch = weights.w_ch.as_ref().filter(|_| has_product);
        let parts = [Some(&with.w_ih), weights.w_hh.as_ref(), weights.b_hh.as_ref(), w_ch];
        let buffers: Vec<&Buffer> = parts.iter().flatten().map(|part| &part.buffer).collect();
        let Some((values, firsts)) = Buffer::covering(&buffers) else { return Ok(None) };
        let both = match has_product {
            true => Buffer::covering(&[with.packed_input, &weights.workspace]),
            false => Some((with.packed_input.clone(), vec![0; 2])),
        };
        let Some((packed, [_, recurrent_first])) =
            both.and_then(|(packed, firsts)| Some((packed, <[usize; 2]>::try_from(firsts).ok()?)))
        else {
            return Ok(None);
        };
        if [&values, &packed].iter().any(|bound| bound.bytes() > gpu.capabilities().binding_bytes()) {
            return Ok(None);
        }
        let gates = self.recipe.gates() * self.hidden;
        let lanes = element_lanes(gpu.capabilities());
        let (peepholes, packed_direction) =
            (w_ch.map_or(0, |_| self.recipe.peepholes() * self.hidden), packed_recurrent(self.recipe, self.hidden));
        let elements = with.inputs * gates + packed_direction + self.batch * self.hidden;
        let bytes = (values.element_bytes() + with.packed_input.element_bytes()) as f64;
        let work = Work::moved(self.directions * elements, bytes, lanes);
        if gpu.milliseconds(&work) > gpu.costs().dispatch_ms {
            return Ok(None);
        }
        self.check(device)?;
        weights.check(self)?;
        with.w_ih.check("weight_ih", gates, with.inputs, self.directions)?;
        let input = Matrix { direction: with.inputs * gates, ..Matrix::dense(with.packed_input, gates) };
        input.check("the packed input weights", with.inputs, gates, self.directions)?;
        if has_product {
            let recurrent = Matrix { direction: packed_direction, ..Matrix::dense(&weights.workspace, gates) };
            recurrent.check("the packed recurrent weights", self.hidden + 1, gates, self.directions)?;
        }
        for state in with.initial.iter().flatten() {
            state.check("an initial state", self.batch, self.hidden, self.directions)?;
        }
        let carry = self.carried();
        let written: Vec<&Buffer> = [&packed].into_iter().chain(&self.states).chain(carry).collect();
        let read: Vec<&Buffer> = with.initial.iter().flatten().map(|state| &state.buffer).chain([&values]).collect();
        distinct(KERNEL.name, &written, &read)?;
        let mut firsts = firsts.into_iter();
        let mut place = |part: Option<&Matrix>| match part.zip(part.and_then(|_| firsts.next())) {
            Some((part, first)) => Ok::<_, Error>([index(first + part.offset)?, index(part.direction)?]),
            None => Ok([0; 2]),
        };
        let [w_ih, w_hh, b_hh, w_ch] = parts;
        let [input_offset, input_direction] = place(w_ih)?;
        let [recurrent_offset, recurrent_direction] = place(w_hh)?;
        let [bias_offset, bias_direction] = place(b_hh)?;
        let [peepholes_offset, peepholes_direction] = place(w_ch)?;
        let initial = |name: &str| self.recipe.state(name).and_then(|state| with.initial.get(state)?.as_ref());
        let [h0, c0] = ["h", "c"].map(initial);
        let place_of = |state: Option<&Matrix>| match state {
            Some(state) => Ok::<_, Error>([index(state.offset)?, index(state.row)?, index(state.direction)?]),
            None => Ok([0; 3]),
        };
        let [h0_offset, h0_row, h0_direction] = place_of(h0)?;
        let [c0_offset, c0_row, c0_direction] = place_of(c0)?;
        let uniform = Uniform {
            inputs: index(with.inputs)?,
            hidden: index(self.hidden)?,
            gates: index(gates)?,
            batch: index(self.batch)?,
            input_offset,
            input_direction,
            recurrent_offset,
            recurrent_direction,
            bias_offset,
            bias_direction,
            has_bias: u32::from(weights.b_hh.is_some()),
            directions: index(self.directions)?,
            h0_offset,
            c0_offset,
            h0_row,
            h0_direction,
            c0_row,
            c0_direction,
            given: u32::from(h0.is_some()) | u32::from(c0.is_some()) << 1,
            has_c: u32::from(self.c().is_some()),
            packed_recurrent: index(recurrent_first)?,
            packed_direction: index(packed_direction)?,
            // NOWHERE in the shader.
            initial: self.initial.as_ref().map_or(Ok(u32::MAX), |initial| index(initial.offset))?,
            recurrent_rows: index(if has_product { self.hidden } else { 0 })?,
            peepholes: index(peepholes)?,
            peepholes_offset,
            peepholes_direction,
        };
        let Nothing { read: nothing, written: [no_c, no_carry, _] } = Nothing::of(gpu)?;
        let bound = |state: Option<&Matrix>| state.map_or(nothing.clone(), |state| state.buffer.clone());
        let state = self.batch * self.directions * self.hidden;
        let c = self.c().map(|c| c.slice(0..state)).transpose()?;
        let made = Op::gpu(
            gpu,
            &Launch {
                kernel: &KERNEL,
                recipe: None,
                consts: vec![("LANES", lanes), ("CARRIED", u32::from(self.carry.is_some()))],
                uniform: &uniform.bytes(),
                buffers: &[
                    &values,
                    &bound(h0),
                    &bound(c0),
                    &packed,
                    &self.h().slice(0..state)?,
                    c.as_ref().unwrap_or(&no_c),
                    carry.unwrap_or(&no_carry),
                ],
                groups: [linear_groups(gpu, elements, lanes), 1, index(self.directions)?],
                steps: None,
                work,
            },
        );
        match made {
            Ok(op) => Ok(Some(op)),
            // The driver refuses it, now or before.
            Err(Error::Shader { .. } | Error::Unsupported { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
