//! States in and out of a layer: h and c in one dispatch.

use crate::device::{Device, Nothing};
use crate::error::Result;
use crate::gpu::Work;
use crate::kernel::Program;
use crate::kernel::copy::copy;
use crate::kernel::cuts::{element_lanes, index, linear_groups, rectangles};
use crate::kernel::gemm::Matrix;
use crate::kernel::op::{Launch, Op, distinct};
use crate::shader::{Binding, Kernel, Uniform as _, fragments, uniform};

/// Both states from one place to another.
pub static KERNEL: Kernel = Kernel {
    name: "recurrent_states",
    fragments: fragments!["recurrent/states.wgsl"],
    bindings: &[
        Binding::uniform("u"),
        Binding::read("h").or_half(),
        Binding::read("c").or_half(),
        Binding::read_write("h_to").or_half(),
        Binding::read_write("c_to").or_half(),
    ],
    uniform: Uniform::MEMBERS,
};

uniform! {
    struct Uniform {
        rows: u32,
        columns: u32,
        from_row: u32,
        to_row: u32,
        from_direction: u32,
        to_direction: u32,
        from_h: u32,
        from_c: u32,
        to_h: u32,
        to_c: u32,
        given: u32,
        together: u32,
    }
}

/// A state on its way.
#[derive(Clone)]
pub struct Move {
    /// Where it comes from; none: it is zero.
    pub from: Option<Matrix>,
    /// Where it goes.
    pub to: Matrix,
    /// Elements of each of its rows, which are contiguous.
    pub columns: usize,
}

impl Move {
    /// Each state, of so many elements a row, to its place.
    pub fn each(
        columns: impl IntoIterator<Item = usize>,
        from: impl IntoIterator<Item = Option<Matrix>>,
        to: impl IntoIterator<Item = Matrix>,
    ) -> Vec<Self> {
        let all = columns.into_iter().zip(from).zip(to);
        all.map(|((columns, from), to)| Self { from, to, columns }).collect()
    }
}

/// Appends copies of `rows` rows of each direction: two moves of one shape on a GPU as one dispatch, else one after another.
pub fn move_states(
    device: &Device,
    [directions, rows]: [usize; 2],
    moves: &[Move],
    program: &mut Program,
) -> Result<()> {
    if let ([Move { from: h, to: h_to, columns }, Move { from: c, to: c_to, columns: of_c }], Some(gpu)) =
        (moves, device.gpu())
        && columns == of_c
    {
        let columns = *columns;
        let strides = |matrix: &Matrix| [matrix.row, matrix.column, matrix.direction];
        let sources: Vec<&Matrix> = h.iter().chain(c).collect();
        let alike = |all: &[&Matrix]| all.windows(2).all(|pair| strides(pair[0]) == strides(pair[1]));
        if alike(&sources) && alike(&[h_to, c_to]) {
            for to in [h_to, c_to] {
                to.check("the destination", rows, columns, directions)?;
                for from in &sources {
                    from.check("the source", rows, columns, directions)?;
                    distinct("recurrent_states", &[&to.buffer], &[&from.buffer])?;
                }
            }
            let from = sources.first().copied().unwrap_or(h_to);
            let Nothing { read: nothing, written: [no_c, ..] } = Nothing::of(gpu)?;
            let bound = |matrix: &Option<Matrix>| matrix.as_ref().map_or(nothing.clone(), |m| m.buffer.clone());
            // One part of a buffer, in which each has its own place, is bound once.
            let end = |to: &Matrix| {
                to.offset + directions.saturating_sub(1) * to.direction + rows.saturating_sub(1) * to.row + columns
            };
            let apart = end(h_to) <= c_to.offset || end(c_to) <= h_to.offset;
            let together = apart && h_to.buffer.is(&c_to.buffer);
            let lanes = element_lanes(gpu.capabilities());
            let read: u64 = sources.iter().map(|from| from.buffer.element_bytes()).sum();
            let bytes = (read + h_to.buffer.element_bytes() + c_to.buffer.element_bytes()) as f64;
            let work = |rows: usize, columns: usize| Work::moved(directions * rows * columns, bytes, lanes);
            let pieces = rectangles(gpu, [rows, columns], [1, 1], work).into_iter().map(|[rows, columns]| {
                let place = |matrix: &Matrix| index(matrix.offset + rows.start * matrix.row + columns.start);
                let given = |matrix: &Option<Matrix>| matrix.as_ref().map_or(Ok(0), &place);
                let uniform = Uniform {
                    rows: index(rows.len())?,
                    columns: index(columns.len())?,
                    from_row: index(from.row)?,
                    to_row: index(h_to.row)?,
                    from_direction: index(from.direction)?,
                    to_direction: index(h_to.direction)?,
                    from_h: given(h)?,
                    from_c: given(c)?,
                    to_h: place(h_to)?,
                    to_c: place(c_to)?,
                    given: u32::from(h.is_some()) | u32::from(c.is_some()) << 1,
                    together: u32::from(together),
                };
                Op::gpu(
                    gpu,
                    &Launch {
                        kernel: &KERNEL,
                        recipe: None,
                        consts: vec![("LANES", lanes)],
                        uniform: &uniform.bytes(),
                        buffers: &[&bound(h), &bound(c), &h_to.buffer, if together { &no_c } else { &c_to.buffer }],
                        groups: [linear_groups(gpu, rows.len() * columns.len(), lanes), 1, index(directions)?],
                        steps: None,
                        work: work(rows.len(), columns.len()),
                    },
                )
            });
            program.push(Op::of_dispatches(pieces)?);
            return Ok(());
        }
    }
    for Move { from, to, columns } in moves {
        program.push(copy(device, directions, rows, *columns, from.as_ref(), to)?);
    }
    Ok(())
}
