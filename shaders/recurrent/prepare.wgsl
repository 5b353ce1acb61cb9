// All that a layer needs before its first step, for each direction: W_ihᵀ, and W_hhᵀ with b_hh as its last row and peepholes
// behind it, packed so that lanes read neighbouring columns; and the initial states, or zero, in slot 0.

struct Prepare {
    inputs: u32, hidden: u32, gates: u32, batch: u32, // gates: G·H
    input_offset: u32, input_direction: u32, recurrent_offset: u32, recurrent_direction: u32,
    bias_offset: u32, bias_direction: u32, has_bias: u32, directions: u32,
    h0_offset: u32, c0_offset: u32, h0_row: u32, h0_direction: u32, // row: 0 where all sequences have the same
    c0_row: u32, c0_direction: u32, given: u32, has_c: u32, // given: bit 0 h0, bit 1 c0
    packed_recurrent: u32, packed_direction: u32, // where in `packed` the recurrent weights begin, those of the other direction
    initial: u32, // where in `carry` the initial states go too; NOWHERE: they don't
    recurrent_rows: u32, // rows of W_hhᵀ: H, or none
    peepholes: u32, peepholes_offset: u32, peepholes_direction: u32, // how many there are, and where
}

@group(0) @binding(0) var<uniform> u: Prepare;
@group(0) @binding(1) var<storage, read> values: array<f32>;                      // the parameters
@group(0) @binding(2) var<storage, read> h0: array<h0_t>;                         // [D, B, H] from its offset on
@group(0) @binding(3) var<storage, read> c0: array<c0_t>;                         // the same
@group(0) @binding(4) var<storage, read_write> packed: array<packed_t>;           // [D][I, G·H], then [D] of the recurrent
@group(0) @binding(5) var<storage, read_write> h: array<h_t>;                     // [B, D, H], slot 0
@group(0) @binding(6) var<storage, read_write> c: array<c_t>;                     // the same
@group(0) @binding(7) var<storage, read_write> carry: array<f32>;                 // [B, D, H] of h, then of c; initial states likewise

const NOWHERE: u32 = 0xffffffffu;

@compute @workgroup_size(LANES)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let direction = id.z;
    let inputs = u.inputs * u.gates;
    let recurrent = inputs + u.recurrent_rows * u.gates;
    let biases = recurrent + u.has_bias * u.gates;
    let peepholes = biases + u.peepholes;
    for (var i = id.x; i < peepholes + u.batch * u.hidden; i += groups.x * LANES) {
        // Stores are contiguous over lanes.
        if i < inputs {
            let place = u.input_offset + direction * u.input_direction + (i % u.gates) * u.inputs + i / u.gates;
            packed[direction * inputs + i] = packed_t(values[place]);
            continue;
        }
        if i < biases {
            let at = i - inputs;
            var place = u.recurrent_offset + direction * u.recurrent_direction;
            place += (at % u.gates) * u.hidden + at / u.gates;
            if i >= recurrent {
                place = u.bias_offset + direction * u.bias_direction + i - recurrent;
            }
            packed[u.packed_recurrent + direction * u.packed_direction + at] = packed_t(values[place]);
            continue;
        }
        if i < peepholes {
            let at = i - biases;
            let to = u.packed_recurrent + direction * u.packed_direction + (u.hidden + 1u) * u.gates + at;
            packed[to] = packed_t(values[u.peepholes_offset + direction * u.peepholes_direction + at]);
            continue;
        }
        let at = i - peepholes;
        let sequence = at / u.hidden;
        let unit = at % u.hidden;
        let state = (sequence * u.directions + direction) * u.hidden + unit;
        var first = 0.0;
        if (u.given & 1u) != 0u {
            first = f32(h0[u.h0_offset + direction * u.h0_direction + sequence * u.h0_row + unit]);
        }
        h[state] = h_t(first);
        var second = 0.0;
        if u.has_c != 0u {
            if (u.given & 2u) != 0u {
                second = f32(c0[u.c0_offset + direction * u.c0_direction + sequence * u.c0_row + unit]);
            }
            c[state] = c_t(second);
        }
        if u.initial != NOWHERE {
            carry[u.initial + state] = first;
            if u.has_c != 0u {
                carry[u.initial + u.directions * u.batch * u.hidden + state] = second;
            }
        }
        if CARRIED == 1u {
            carry[state] = first;
            if u.has_c != 0u {
                carry[u.directions * u.batch * u.hidden + state] = second;
            }
        }
    }
}
