//! The backward program of a layer stack.
use super::Rnn;
use super::bind::BindContext;
use super::dropped::SumTo;
use super::peepholes::{PeepedAt, peephole_gradients};
use super::stage::{BoundChunk, Stage};
use crate::device::Buffer;
use crate::error::Result;
use crate::kernel::Program;
use crate::kernel::column_sum::{self, ColumnSum};
use crate::kernel::copy::no_sums;
use crate::kernel::gemm::{self, Accumulate, Gemm, Mapped, Matrix};
use crate::kernel::recurrent::{self, Chunk, Move, move_states};
use crate::kernel::rows::RowMap;
use crate::plan::{bindable, granule, overlap, windows};
use crate::recipe::{GateRun, Operand, Tensor};

/// Layers last first, and of each the chunks last first: that is the order of all sums over steps.
pub(super) fn build(with: &BindContext<'_>) -> Result<Program> {
    let BindContext { rnn, gradients, workspace, .. } = *with;
    let mut program = Program::default();
    let carry = &workspace.carry;
    for layer in (0..rnn.config.layers).rev() {
        // y may be its own gradient: computing states again leaves it alone.
        let stage = Stage::new(with, layer, false)?;
        let again = rnn.recompute().is_some();
        with.drop(layer, &mut program)?;
        with.drop_gradient_of_output(layer, &mut program)?;
        if again {
            stage.pack(&mut program)?;
            stage.keep_initial_again(&mut program)?;
        }
        let resets = rnn.config.recipe().resets();
        let native = rnn.native_layer();
        let [initial, of_initial] = [recurrent::initial_from(&native), recurrent::initial_gradients_from(&native)];
        if resets {
            stage.kept_initial_to(carry, initial, &mut program)?;
            let zero = Move::each(rnn.widths(), std::iter::repeat(None), rnn.states_from(carry, of_initial));
            move_states(&rnn.device, rnn.state_shape(), &zero, &mut program)?;
        }
        let last_layer = layer + 1 == rnn.config.layers;
        let carried = || rnn.states_from(carry, 0);
        rnn.states_in(layer, gradients.final_states(), carried(), &mut program)?;
        let dlast = gradients.dlast.as_ref().filter(|_| last_layer);
        dlast.map_or(Ok(()), |dlast| add_last(rnn, dlast, &rnn.slot(0, carry, 0), &mut program))?;
        if with.norms.is_some() {
            let direct_to_h = direct(rnn, carry, 0);
            let direct = (0..rnn.config.recipe().states()).map(|state| direct(rnn, carry, state));
            rnn.states_in(layer, gradients.final_states(), direct, &mut program)?;
            dlast.map_or(Ok(()), |dlast| add_last(rnn, dlast, &direct_to_h, &mut program))?;
        }
        let dy = if last_layer { gradients.dy.as_ref() } else { Some(with.inner(layer)) };
        let dx = if layer > 0 { Some(with.inner(layer - 1)) } else { gradients.dx.as_ref() };
        // Chunks of two directions reach into each other's times, so both directions add.
        let adds = rnn.config.directions() > 1 && stage.chunks.len() > 1;
        if let (Some(dx), true) = (dx, adds) {
            clear(rnn, dx, rnn.config.layer_input(layer), &mut program)?;
        }
        for (index, bound) in stage.chunks.iter().rev().enumerate() {
            if again {
                stage.forward(bound, &mut program)?;
            }
            let chunk = &bound.chunk;
            let (dy, rows, in_step_order) = upstream(rnn, chunk, dy, &workspace.upstream, &mut program)?;
            let (carry, norms) = match with.norms {
                None => (carry.clone(), None),
                Some(norms) => {
                    (carry.slice(0..chunk.carry_len(&rnn.device))?, Some(norms_of(rnn, norms, layer, chunk)?))
                }
            };
            let go_on = index > 0 || with.params.accumulates();
            let around = recurrent::ChunkGradients { dy, in_step_order, rows, carry, norms };
            program.push(rnn.strategy.backward(&rnn.device, chunk, &stage.weights, &around)?);
            chunk.flow(&rnn.device, &around)?.into_iter().for_each(|op| program.push(op));
            peephole_gradients(with, layer, chunk, PeepedAt::After, go_on, &mut program)?;
            // Without a product nothing reads the states after this.
            let reads = rnn.config.recipe().has_product() || rnn.config.recipe().peepholes() > 0;
            if reads && (resets || rnn.config.options.recurrent_dropout.is_some()) {
                let initial = recurrent::Initial { buffer: around.carry.clone(), offset: initial };
                program.push(chunk.seen(&rnn.device, Some(&initial).filter(|_| resets))?);
            }
            let dw_hh = with.gradient_of_weights(layer, index, go_on)?;
            weight_gradients(with, &stage, bound, dw_hh, go_on, &mut program)?;
            bias_gradients(with, layer, chunk, go_on, &mut program)?;
            peephole_gradients(with, layer, chunk, PeepedAt::Before, go_on, &mut program)?;
            if let Some(dx) = dx {
                input_gradient(with, layer, chunk, dx, adds, &mut program)?;
            }
        }
        // With resets the first step has begun anew too, and its gradients are in the sums, unless its state was carried over.
        let anew = || rnn.states_from(carry, of_initial);
        let first =
            || -> Vec<Matrix> { if resets && !with.io.carried { anew().collect() } else { carried().collect() } };
        let of_learnt = match (resets, with.io.carried) {
            (true, _) => Some(anew().collect()),
            (false, true) => None,
            (false, false) => Some(first()),
        };
        learnt_gradients(with, layer, of_learnt, &mut program)?;
        with.drop_gradient_of_weights(layer, &mut program)?;
        rnn.states_out(layer, first(), gradients.initial_states(), &mut program)?;
    }
    with.drop_gradient_of_x(&mut program)?;
    Ok(program)
}

impl BindContext<'_> {
    /// Gradient of the output of an inner layer.
    pub(super) fn inner(&self, layer: usize) -> &Buffer {
        let [one, other] = &self.workspace.inner;
        if other.is_empty() || layer.is_multiple_of(2) { one } else { other }
    }
}

/// Sums over sequences of the gradients of the initial states, where these are learnt; none: no sequence began with them.
fn learnt_gradients(
    with: &BindContext<'_>,
    layer: usize,
    of_states: Option<Vec<Matrix>>,
    program: &mut Program,
) -> Result<()> {
    let rnn = with.rnn;
    let learnt = Tensor::INITIAL.into_iter().filter(|tensor| rnn.config.recipe().has(*tensor));
    for (state, tensor) in learnt.enumerate() {
        let to = with.tensor(tensor, layer, true)?;
        let Some(from) = of_states.as_ref().and_then(|all| all.get(state)) else {
            if !with.params.accumulates() {
                let rows = Matrix { row: to.direction, ..to };
                program.push(no_sums(&rnn.device, rnn.config.directions(), rnn.config.width(state), &rows)?);
            }
            continue;
        };
        for direction in 0..rnn.config.directions() {
            let from = Matrix { offset: from.offset + direction * from.direction, ..from.clone() };
            let to = Matrix { offset: to.offset + direction * to.direction, row: 0, ..to.clone() };
            let sum = ColumnSum::total(rnn.shape.batch, rnn.config.width(state), from, to, with.params.accumulates());
            program.push(sum.op(&rnn.device)?);
        }
    }
    Ok(())
}

/// Elements of a sum of two rows at most: those of one dispatch on every device.
const ADDED: usize = 1 << 20;

/// Adds the gradient of the last outputs, `[B, D·H]` or of a projection `[B, D·P]`, to that of h.
fn add_last(rnn: &Rnn, dlast: &Buffer, h: &Matrix, program: &mut Program) -> Result<()> {
    let (width, batch, hidden) = (rnn.config.outputs(), rnn.shape.batch, rnn.config.width(0));
    // Rows without gaps are one.
    let whole = h.row == width && h.direction == hidden;
    let (rows, columns) = if whole { (1, batch * width) } else { (batch * rnn.config.directions(), hidden) };
    for row in 0..rows {
        let (sequence, direction) = (row / rnn.config.directions(), row % rnn.config.directions());
        let first = h.offset + if whole { 0 } else { sequence * h.row + direction * h.direction };
        for begin in (0..columns).step_by(ADDED) {
            let some = ADDED.min(columns - begin);
            let from = Matrix { offset: row * columns + begin, ..Matrix::dense(dlast, some) };
            let to = Matrix { offset: first + begin, row: 0, ..h.clone() };
            program.push(ColumnSum::total(1, some, from, to, true).op(&rnn.device)?);
        }
    }
    Ok(())
}

/// Where what comes directly of the gradient of a state, 0 h, is carried.
fn direct(rnn: &Rnn, carry: &Buffer, state: usize) -> Matrix {
    let (recipe, hidden, directions) = (rnn.config.recipe(), rnn.config.hidden, rnn.config.directions());
    let begin = recurrent::direct_from(&rnn.native_layer());
    let first = Matrix { offset: begin, ..rnn.slot(0, carry, 0) };
    match rnn.device.gpu() {
        Some(_) => {
            let slot = rnn.slot(state, carry, state);
            Matrix { offset: slot.offset + begin, ..slot }
        }
        None => {
            let width = recurrent::follow_width(recipe) * hidden;
            Matrix {
                offset: first.offset + state * hidden,
                row: directions * width,
                column: 1,
                direction: width,
                ..first
            }
        }
    }
}

/// Where a chunk's norms go: no more than it needs is bound.
fn norms_of(rnn: &Rnn, norms: &Buffer, layer: usize, chunk: &Chunk) -> Result<Matrix> {
    let width = recurrent::flows(rnn.config.recipe()) * rnn.config.directions();
    let first = layer * rnn.shape.rows() + chunk.first_step * chunk.batch;
    let rows =
        bindable(&rnn.device, width, norms.element_bytes() as usize, &(first..first + chunk.steps * chunk.batch));
    let part = norms.slice(rows.start * width..rows.end * width)?;
    Ok(Matrix { offset: (first - rows.start) * width, ..Matrix::dense(&part, width) })
}

/// Makes a sequence ready to be added to, window by window.
fn clear(rnn: &Rnn, sequence: &Buffer, width: usize, program: &mut Program) -> Result<()> {
    let row = rnn.shape.batch * width;
    for window in windows(&rnn.device, rnn.shape.steps, row, sequence.element_bytes() as usize)? {
        let part = sequence.slice(window.start * row..window.end * row)?;
        let rows = window.len() * rnn.shape.batch;
        program.push(no_sums(&rnn.device, rows, width, &Matrix::dense(&part, width))?);
    }
    Ok(())
}

/// The output gradient as a chunk's steps can bind it: the caller's, or brought into step order in pieces.
fn upstream(
    rnn: &Rnn,
    chunk: &Chunk,
    dy: Option<&Buffer>,
    staging: &Buffer,
    program: &mut Program,
) -> Result<(Option<Buffer>, RowMap, bool)> {
    let (steps, whole) = (rnn.steps_of(chunk), 0..rnn.shape.steps);
    let row = rnn.shape.batch * rnn.config.outputs();
    let size = dy.map_or(rnn.device.float_bytes(), Buffer::element_bytes) as usize;
    let pieces = windows(&rnn.device, rnn.shape.steps, row, size)?;
    let (Some(dy), Some(gpu), true) = (dy, rnn.device.gpu(), pieces.len() > 1) else {
        return Ok((dy.cloned(), rnn.row_map(chunk, &steps, &whole), false));
    };
    let staging = staging.slice(0..chunk.steps * row)?;
    for window in pieces {
        if rnn.may_share(&steps, &window) {
            let part = dy.slice(window.start * row..window.end * row)?;
            program.push(chunk.upstream(gpu, &part, &rnn.row_map(chunk, &steps, &window), &staging)?);
        }
    }
    Ok((Some(staging), rnn.row_map(chunk, &steps, &whole), true))
}

/// `dW_ih = dGᵀ·input` and `dW_hh = dGᵀ·h` of the step before, or of gates of a later phase what that read; with `go_on` the sums
/// start from what the gradients hold, that of `dW_hh` where `dw_hh` says so.
fn weight_gradients(
    with: &BindContext<'_>,
    stage: &Stage<'_>,
    bound: &BoundChunk,
    dw_hh: Option<SumTo>,
    go_on: bool,
    program: &mut Program,
) -> Result<()> {
    let (rnn, source, chunk, goes_on) = (with.rnn, &stage.source, &bound.chunk, go_on);
    let (hidden, directions, batch) = (rnn.config.hidden, rnn.config.directions(), rnn.shape.batch);
    let native = rnn.device.gpu().is_none();
    let slices_of = |height: usize, width: usize| {
        let rows = gemm::slice_rows(&rnn.device, height, width, directions, batch)?;
        Some(gemm::Slices { rows, scratch: with.workspace.products.clone() })
    };
    let slices = |width: usize, gates: usize| slices_of(gates * hidden, width);
    let accumulate = |go_on| if go_on { Accumulate::Before } else { Accumulate::No };
    let dw_ih = with.tensor(Tensor::WeightIh, stage.layer, true)?;
    for GateRun { gates, slot } in rnn.config.recipe().input_runs() {
        let to = Matrix { offset: gates.start * hidden * source.width, ..dw_ih.clone() };
        let mut go_on = go_on;
        // Steps of two directions come from several pieces in no order, so it is the granules that are in order.
        let cut = native || (rnn.config.is_reversed() && source.pieces.len() > 1);
        for steps in rnn.granules(chunk, cut).into_iter().rev() {
            let left = rnn.saved(chunk, &steps, slot).transposed();
            for (right, map) in rnn.pieces(source, chunk, &steps).into_iter().rev() {
                let rows = steps.len() * batch;
                let product = Gemm::plain(gates.len() * hidden, source.width, rows, left.clone(), right, to.clone());
                let gemm = Gemm {
                    directions: 0..directions,
                    accumulate: accumulate(go_on),
                    mapped: if map.is_some() { Mapped::B } else { Mapped::No },
                    rows: map,
                    split: source.split,
                    slices: slices(source.width, gates.len()),
                    room: native.then(|| with.workspace.products.clone()),
                    granule: if source.pieces.len() == 1 { batch } else { 1 },
                    ..product
                };
                gemm.add_to(&rnn.device, program)?;
                go_on = true;
            }
        }
    }
    let Some(dw_hh) = dw_hh else { return Ok(()) };
    let (recipe, width) = (rnn.config.recipe(), rnn.config.width(0));
    let runs =
        recipe.phases().flat_map(|phase| recipe.runs_of(&phase).into_iter().map(move |run| (run, phase.operand)));
    for (GateRun { gates, slot }, operand) in runs {
        let columns = if operand == Operand::H { width } else { hidden };
        let to = Matrix { offset: gates.start * hidden * columns, ..dw_hh.matrix.clone() };
        let mut go_on = dw_hh.goes_on;
        for steps in rnn.granules(chunk, native).into_iter().rev() {
            let left = rnn.saved(chunk, &steps, slot).transposed();
            let right = match operand {
                Operand::H => rnn.slot(0, chunk.h(), steps.start - chunk.first_step),
                Operand::Saved(slot) => rnn.saved(chunk, &steps, slot),
            };
            let rows = steps.len() * batch;
            let product = Gemm::plain(gates.len() * hidden, columns, rows, left, right, to.clone());
            let (slices, granule) = (slices(columns, gates.len()), batch);
            Gemm { directions: 0..directions, accumulate: accumulate(go_on), slices, granule, ..product }
                .add_to(&rnn.device, program)?;
            go_on = true;
        }
    }
    let Some(made) = recipe.projected_slot() else { return Ok(()) };
    // dW_hr = dhᵀ·m, whose dh lies behind the slots.
    let (to, mut go_on) = (with.tensor(Tensor::WeightHr, stage.layer, true)?, goes_on);
    for steps in rnn.granules(chunk, native).into_iter().rev() {
        let left = rnn.saved(chunk, &steps, recipe.saved()).transposed();
        let right = rnn.saved(chunk, &steps, made);
        let product = Gemm::plain(width, hidden, steps.len() * batch, left, right, to.clone());
        let (slices, granule) = (slices_of(width, hidden), batch);
        Gemm { directions: 0..directions, accumulate: accumulate(go_on), slices, granule, ..product }
            .add_to(&rnn.device, program)?;
        go_on = true;
    }
    Ok(())
}

/// `db = Σ over steps and sequences of dG` of the biases that there are: partial sums of all slots at once, then each bias from
/// its own slots.
fn bias_gradients(
    with: &BindContext<'_>,
    layer: usize,
    chunk: &Chunk,
    go_on: bool,
    program: &mut Program,
) -> Result<()> {
    let rnn = with.rnn;
    let (recipe, hidden, directions) = (rnn.config.recipe(), rnn.config.hidden, rnn.config.directions());
    let biases = [(Tensor::BiasIh, recipe.input_runs()), (Tensor::BiasHh, recipe.hidden_runs())];
    if !recipe.has_bias() {
        return Ok(());
    }
    let slots = recipe.saved_width(hidden);
    let (rows, width) = (chunk.steps * chunk.batch, directions * slots);
    let scratch = Matrix::dense(&with.workspace.sums, width);
    let all = Matrix::dense(&chunk.saved, width);
    let run = granule(&rnn.device, rnn.shape) * chunk.batch;
    program.push(ColumnSum::partial(rows, width, run, all, scratch.clone()).op(&rnn.device)?);
    for (tensor, runs) in biases.into_iter().filter(|(tensor, _)| recipe.has(*tensor)) {
        let bias = with.tensor(tensor, layer, true)?;
        for direction in 0..directions {
            for GateRun { gates, slot } in &runs {
                let from = Matrix { offset: direction * slots + slot * hidden, ..scratch.clone() };
                let offset = direction * bias.direction + gates.start * hidden;
                let to = Matrix { offset, row: 0, ..bias.clone() };
                let parts = column_sum::parts(rows, run);
                let total = ColumnSum::total(parts, gates.len() * hidden, from, to, go_on);
                program.push(total.op(&rnn.device)?);
            }
        }
    }
    Ok(())
}

/// `dx = Σ over directions of dG·W_ih` of a chunk, in time order. Both directions add to what is there, or else
/// direction 0 writes every row once, padding included, and direction 1 adds to them.
fn input_gradient(
    with: &BindContext<'_>,
    layer: usize,
    chunk: &Chunk,
    dx: &Buffer,
    adds: bool,
    program: &mut Program,
) -> Result<()> {
    let rnn = with.rnn;
    let (hidden, inputs, batch) = (rnn.config.hidden, rnn.config.layer_input(layer), rnn.shape.batch);
    let row = batch * inputs;
    let w_ih = with.tensor(Tensor::WeightIh, layer, false)?;
    let windows = windows(&rnn.device, rnn.shape.steps, row, dx.element_bytes() as usize)?;
    let native = rnn.device.gpu().is_none();
    for direction in 0..rnn.config.directions() {
        for steps in rnn.granules(chunk, native) {
            for window in &windows {
                let reversed = direction >= rnn.config.first_reversed();
                let needed = if reversed { rnn.may_share(&steps, window) } else { overlap(&steps, window) };
                if !needed {
                    continue;
                }
                let part = dx.slice(window.start * row..window.end * row)?;
                // Forward a step is at its own time.
                let same = !reversed && window.start <= steps.start && steps.end <= window.end;
                let to = match same {
                    true => Matrix { offset: (steps.start - window.start) * row, ..Matrix::dense(&part, inputs) },
                    false => Matrix::dense(&part, inputs),
                };
                for GateRun { gates, slot } in rnn.config.recipe().input_runs() {
                    let left = rnn.saved(chunk, &steps, slot);
                    let right = Matrix { offset: gates.start * hidden * inputs, ..w_ih.clone() };
                    let add = adds || direction > 0 || gates.start > 0;
                    let gemm = Gemm {
                        directions: direction..direction + 1,
                        accumulate: if add { Accumulate::After } else { Accumulate::No },
                        mapped: if same { Mapped::No } else { Mapped::C },
                        rows: (!same).then(|| rnn.row_map(chunk, &steps, window)),
                        room: native.then(|| with.workspace.products.clone()),
                        granule: if windows.len() == 1 { batch } else { 1 },
                        ..Gemm::plain(steps.len() * batch, inputs, gates.len() * hidden, left, right, to.clone())
                    };
                    gemm.add_to(&rnn.device, program)?;
                }
            }
        }
    }
    Ok(())
}
