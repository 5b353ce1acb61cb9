// What a cell's file implements, for one unit of one sequence at one step:
//
//   fn cell_forward(x: array<f32, GATES>, r: array<f32, GATES>, h: f32, c: f32) -> Forward
//     x: W_ih x + b_ih and r: W_hh h + b_hh of each gate; h, c: the states before the step.
//   fn cell_backward(saved: array<f32, SAVED>, h: f32, c_before: f32, c: f32, dh: f32, dc: f32) -> Backward
//     h, c_before: the states before the step, c after it; dh, dc: gradients of the states after it.
//
// GATES, SAVED, HAS_C, HIDDEN_SLOTS and SLOT_GATES come from the cell table, the last two as four bits an entry: an array
// with an index that is no constant would be kept in memory.

// The slot that holds the recurrent gradient of a gate.
fn hidden_slot(gate: u32) -> u32 {
    return (HIDDEN_SLOTS >> (4u * gate)) & 15u;
}

// The gate whose recurrent gradient a slot holds; 15 for none.
fn slot_gate(slot: u32) -> u32 {
    return (SLOT_GATES >> (4u * slot)) & 15u;
}

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
