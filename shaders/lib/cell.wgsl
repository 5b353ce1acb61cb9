// What a cell's file implements, for one unit of one sequence at one step:
//
//   fn cell_forward(at: Site, x: array<f32, READS>, r: array<f32, GATES>, h: f32, c: f32) -> Forward
//     x: W_ih x + b_ih and r: W_hh h + b_hh of each gate; h, c: the states before the step.
//   fn cell_backward(at: Site, saved: array<f32, SAVED>, h: f32, c_before: f32, c: f32, dh: f32, dc: f32) -> Backward
//     h, c_before: the states before the step, c after it; dh, dc: gradients of the states after it.
//
// The recurrent parts of gates are made by products, PHASES one after the other. A cell with two has in its file what comes
// between them, other cells have hook/one_phase.wgsl. Its functions get all slots in place of x, and of r the gates of the phase.
//
//   fn between_forward(x: array<f32, READS>, r: array<f32, GATES>, h_read: f32) -> array<f32, READS>
//     the slots, with the values of the gates that are done and what the next phase reads; h_read: what products read of h.
//   fn between_backward(saved: array<f32, SAVED>, h_read: f32, gradient: f32) -> Between
//     after cell_backward: gradient: that of what the later phase read.
//
// Here is what its equations leave open: the functions of gates, candidate and output, peepholes and limits. What the recipe
// does not ask for is a constant false, and leaves the equations as they are.
//
// PROJECTION: h is a product of what the cell makes, which kernels keep as the last saved value, and u.recipe.width wide; behind the
// saved values of a row there are as many elements for the gradient of h. What the cell gives as h, and gets as its gradient, is then
// of what it makes.
//
// GATES, SAVED, HAS_C, HIDDEN_SLOTS, SLOT_GATES, PHASE_BOUNDS and PHASE_OPERANDS come from the recipe, the last four as four bits an entry: an array
// with an index that is no constant would be kept in memory. So do RESETS, PEEPHOLE, COUPLED and the
// CLIPS_…; and of gate, candidate and output a `…_value(x)` and a `…_slope(y)`, the slope where the value is y, which call a file
// of function/.

// A cell is called by `step_forward` and `step_backward` of a file of hook/, which say what becomes of its states;
// hook/begins_anew.wgsl says which states it sees, hook/operand.wgsl what products read of h.

// Where a cell runs.
struct Site {
    sequence: u32,
    step: u32, // of its sequence
    direction: u32,
    unit: u32,
}

// Numbers of a recipe; `u.recipe` in every kernel with a cell.
struct Recipe {
    peepholes: u32, peepholes_direction: u32, // where in `w` they begin, and how far those of the other direction are
    width: u32, // elements of h of a sequence and direction: H, or those of its projection
    projection: u32, projection_direction: u32, // where in `w` the weights of that are, as for peepholes
    first_reversed: u32, // the first direction that starts at the end
    initial: u32, // where in `carry` the initial states begin, [B, D, H] of h, then of c
    clip_inputs: f32, clip_cell: f32, clip_cell_as_read: f32, clip_gradient: f32, clip_projection: f32,
    random: u32, // where in `lengths` the seed and the draw are; all bits: there is no draw
    left: u32, left_scale: f32, // where in `lengths` the bits are of what is left of h, and its factor
    zoneout_masks: u32, // the masks of this layer
    zoneout: f32, zoneout_cell: f32, zoneout_below: u32, zoneout_cell_below: u32, // probabilities; states stay by words below
    gate_alpha: f32, gate_beta: f32, candidate_alpha: f32, candidate_beta: f32, output_alpha: f32, output_beta: f32,
}

// States that go from step to step.
const CARRIES: u32 = select(1u, 2u, HAS_C);

// What a cell reads of the slots before it makes its values: input parts and, where phases came before, their values.
const READS: u32 = select(SAVED, GATES, PHASES < 2u);

// Values that the cell saves and, the last of them, the cell state which may not be the one that is left; behind them what a
// projection reads.
const CELL_SAVED: u32 = SAVED - select(0u, 1u, PROJECTION);

// The slot of what was clipped.
const CLIPPED: u32 = CELL_SAVED - select(1u, 2u, ZONEOUT_CELL);

struct Forward {
    saved: array<f32, SAVED>,
    h: f32,
    c: f32,
}

// saved: gradients of the pre-activations, slot for slot; dh: what reaches the state before the step directly, not
// through W_hh; dc: gradient of the cell state before the step; dc_all: the whole gradient of the cell state after it.
struct Backward {
    saved: array<f32, SAVED>,
    dh: f32,
    dc: f32,
    dc_all: f32,
}

// saved: gradients and values, slot for slot; dh: the gradient of what products read of h, as far as it comes from between.
struct Between {
    saved: array<f32, SAVED>,
    dh: f32,
}

// A unit's place in the states [B, D, H], and of the states of one kind how many there are.
fn own_place(sequence: u32, direction: u32, unit: u32) -> u32 {
    return (sequence * u.directions + direction) * u.hidden + unit;
}

fn state_count() -> u32 {
    return u.batch * u.directions * u.hidden;
}

// The same of h, which with a projection is of another width than the units.
fn h_width() -> u32 {
    if PROJECTION {
        return u.recipe.width;
    }
    return u.hidden;
}

fn h_place(sequence: u32, direction: u32, unit: u32) -> u32 {
    return (sequence * u.directions + direction) * h_width() + unit;
}

fn h_count() -> u32 {
    return u.batch * u.directions * h_width();
}

fn initial_place(sequence: u32, direction: u32, unit: u32) -> u32 {
    return u.recipe.initial + h_place(sequence, direction, unit);
}

// Elements of all states.
fn carried_count() -> u32 {
    if PROJECTION {
        return h_count() + (CARRIES - 1u) * state_count();
    }
    return CARRIES * state_count();
}

// Where a row's saved values begin, of a step, sequence and direction; and where, with a projection, the gradient of h.
fn saved_place(row: u32) -> u32 {
    if PROJECTION {
        return row * (u.hidden * SAVED + h_width());
    }
    return row * u.hidden * SAVED;
}

fn kept_gradient_place(row: u32) -> u32 {
    return saved_place(row) + u.hidden * SAVED;
}

// A phase's first gate, and the first that is no longer its own.
fn phase_first(phase: u32) -> u32 {
    return (PHASE_BOUNDS >> (4u * phase)) & 15u;
}

fn phase_end(phase: u32) -> u32 {
    return (PHASE_BOUNDS >> (4u * phase + 4u)) & 15u;
}

// Whether a gate is of a phase. Without phases before or after nothing is asked.
fn is_of_phase(phase: u32, gate: u32) -> bool {
    return PHASES == 1u || (gate >= phase_first(phase) && gate < phase_end(phase));
}

// The slot that a phase reads; 15: it reads h.
fn phase_operand(phase: u32) -> u32 {
    return (PHASE_OPERANDS >> (4u * phase)) & 15u;
}

// The slot that holds the recurrent gradient of a gate.
fn hidden_slot(gate: u32) -> u32 {
    return (HIDDEN_SLOTS >> (4u * gate)) & 15u;
}

// The gate whose recurrent gradient a slot holds; 15 for none.
fn slot_gate(slot: u32) -> u32 {
    return (SLOT_GATES >> (4u * slot)) & 15u;
}

// The argument of a gate or candidate.
fn argument(a: f32) -> f32 {
    if CLIPS_INPUTS {
        return limited(a, u.recipe.clip_inputs);
    }
    return a;
}

// What is saved of a gate's argument having been clipped: the bit of its slot.
fn clipped_input(a: f32, slot: u32) -> u32 {
    if CLIPS_INPUTS {
        return select(0u, 1u << slot, is_beyond(a, u.recipe.clip_inputs));
    }
    return 0u;
}

// And of the cell state.
fn clipped_cell(c: f32) -> u32 {
    if CLIPS_CELL {
        return select(0u, 1u << GATES, is_beyond(c, u.recipe.clip_cell));
    }
    return 0u;
}

// What was saved of it.
fn clipped_of(saved: array<f32, SAVED>) -> u32 {
    if CLIPS_INPUTS || CLIPS_CELL {
        return u32(saved[CLIPPED]);
    }
    return 0u;
}

// A gradient, or none where what it is of was clipped.
fn unless_clipped(clipped: u32, bit: u32, gradient: f32) -> f32 {
    if CLIPS_INPUTS || CLIPS_CELL {
        return select(gradient, 0.0, ((clipped >> bit) & 1u) != 0u);
    }
    return gradient;
}

fn gate(a: f32) -> f32 {
    return gate_value(argument(a));
}

fn candidate(a: f32) -> f32 {
    return candidate_value(argument(a));
}

// The cell state as it is stored.
fn stored_cell(c: f32) -> f32 {
    if CLIPS_CELL {
        return limited(c, u.recipe.clip_cell);
    }
    return c;
}

// The cell state as the next step and h read it.
fn read_cell(c: f32) -> f32 {
    if CLIPS_CELL_AS_READ {
        return limited(c, u.recipe.clip_cell_as_read);
    }
    return c;
}

// The gradient of a cell state of which this is the gradient of what was read.
fn through_read(c: f32, gradient: f32) -> f32 {
    if CLIPS_CELL_AS_READ {
        return select(gradient, 0.0, is_beyond(c, u.recipe.clip_cell_as_read));
    }
    return gradient;
}

// What h sees of a cell state.
fn output(c: f32) -> f32 {
    return output_value(read_cell(c));
}

// Its slope where its value is y.
fn output_slope_at(c: f32, y: f32) -> f32 {
    return through_read(c, output_slope(y));
}

// The weight by which a gate sees the cell state.
fn peephole(at: Site, which: u32) -> f32 {
    return f32(w[u.recipe.peepholes + at.direction * u.recipe.peepholes_direction + which * u.hidden + at.unit]);
}

// A gate's argument, with what it sees of a cell state.
fn peeped(at: Site, which: u32, c: f32, a: f32) -> f32 {
    if PEEPHOLE {
        return fma(peephole(at, which), c, a);
    }
    return a;
}

// The gradient of a cell state that a gate saw: of the gate's argument it is `da`.
fn through_peephole(at: Site, which: u32, da: f32, gradient: f32) -> f32 {
    if PEEPHOLE {
        return fma(peephole(at, which), da, gradient);
    }
    return gradient;
}
