// The states that steps saw, where those before the steps are kept, so that products over all steps of a chunk multiply with
// what each step saw: of a step that begins anew the initial states, and of h what dropout leaves.

struct Seen {
    batch: u32, hidden: u32, directions: u32, first_step: u32,
    first: u32, end: u32, // elements of the chunk's states, [steps, B, D, H], from the first to before the end
    first_reversed: u32,
    initial: u32, // where in `carry` the initial states begin
    has_c: u32, resets: u32, drops: u32,
    left: u32, // where in `lengths` the bits are of what is left of h
    scale: f32, // what that is multiplied by
}

@group(0) @binding(0) var<uniform> u: Seen;
@group(0) @binding(1) var<storage, read> lengths: array<u32>;
@group(0) @binding(2) var<storage, read> carry: array<f32>;
@group(0) @binding(3) var<storage, read_write> h: array<h_t>;      // [steps + 1, B, D, H]
@group(0) @binding(4) var<storage, read_write> c: array<c_t>;      // the same, for cells that have it

@compute @workgroup_size(LANES)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let states = u.batch * u.directions * u.hidden;
    for (var i = u.first + id.x; i < u.end; i += groups.x * LANES) {
        let own = i % states;
        let reversed = is_reversed(own / u.hidden % u.directions, u.first_reversed);
        let sequence = own / (u.hidden * u.directions);
        let anew = u.resets != 0u && begins_anew(sequence, u.first_step + i / states, reversed, u.batch);
        if anew && u.has_c != 0u {
            c[i] = c_t(carry[u.initial + states + own]);
        }
        if anew || u.drops != 0u {
            var seen = f32(h[i]);
            if anew {
                seen = carry[u.initial + own];
            }
            if u.drops != 0u {
                seen = left_of(seen, own, u.left, u.scale);
            }
            h[i] = h_t(seen);
        }
    }
}
