// What there is to a dispatch beside its work: one that does nothing, and one that has to wait for the one before it.

@group(0) @binding(0) var<storage, read_write> counter: array<u32>;

@compute @workgroup_size(1)
fn empty() {}

@compute @workgroup_size(1)
fn chain() {
    counter[0] += 1u;
}
