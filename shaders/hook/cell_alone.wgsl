// A step whose states are its cell's.

fn step_forward(at: Site, x: array<f32, READS>, r: array<f32, GATES>, h: f32, c: f32) -> Forward {
    return cell_forward(at, x, r, h, c);
}

fn step_backward(at: Site, saved: array<f32, SAVED>, h: f32, c_before: f32, c: f32, dh: f32, dc: f32) -> Backward {
    return cell_backward(at, saved, h, c_before, c, dh, dc);
}
