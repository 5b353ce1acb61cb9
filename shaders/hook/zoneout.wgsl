// Zoneout (Krueger et al. 2017): of the states before a step each unit's stays with a probability, and else it is what the cell
// makes, h and c each by a draw of its own. Without draws, to infer, a state is the mean of the two, so weighted. A draw
// depends on the seed, the layer and the place in step order, so that backward has those of forward.

const NO_DRAWS: u32 = 0xffffffffu;

// The shares of h and c before a step in those after it.
fn staying(at: Site) -> vec2<f32> {
    if u.recipe.random == NO_DRAWS {
        return vec2(u.recipe.zoneout, u.recipe.zoneout_cell);
    }
    let place = at.step * state_count() + own_place(at.sequence, at.direction, at.unit);
    let words = threefry(
        vec2(lengths[u.recipe.random], lengths[u.recipe.random + 1u] ^ u.recipe.zoneout_masks),
        vec2(place, lengths[u.recipe.random + 2u]),
    );
    return select(vec2(0.0), vec2(1.0), words < vec2(u.recipe.zoneout_below, u.recipe.zoneout_cell_below));
}

fn step_forward(at: Site, x: array<f32, READS>, r: array<f32, GATES>, h: f32, c: f32) -> Forward {
    var done = cell_forward(at, x, r, h, c);
    let stay = staying(at);
    if ZONEOUT_CELL {
        done.saved[CELL_SAVED - 1u] = done.c;
        done.c = fma(stay.y, c, (1.0 - stay.y) * done.c);
    }
    if ZONEOUT {
        done.h = fma(stay.x, h, (1.0 - stay.x) * done.h);
    }
    return done;
}

fn step_backward(at: Site, saved: array<f32, SAVED>, h: f32, c_before: f32, c: f32, dh: f32, dc: f32) -> Backward {
    let stay = staying(at);
    var made = c;
    if ZONEOUT_CELL {
        made = saved[CELL_SAVED - 1u];
    }
    var done = cell_backward(at, saved, h, c_before, made, (1.0 - stay.x) * dh, (1.0 - stay.y) * dc);
    done.dh = fma(stay.x, dh, done.dh);
    done.dc = fma(stay.y, dc, done.dc);
    if ZONEOUT_CELL {
        // The output gate's peephole saw the cell state that was made, so its gradient needs that; h has seen nothing of the
        // one that is left.
        done.saved[CELL_SAVED - 1u] = made;
        done.dc_all = dc;
    }
    return done;
}
