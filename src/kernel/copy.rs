//! Strided copies and fills: states in and out of a layer, packed biases, sums before anything is added to them.

use super::cuts::{element_lanes, index, linear_groups, rectangles};
use super::gemm::Matrix;
use super::op::{Launch, Op, Target, cpu_op, distinct};
use crate::cpu::scalar::Scalar;
use crate::device::{Device, Element, Nothing};
use crate::error::Result;
use crate::gpu::Work;
use crate::shader::{Binding, Kernel, Uniform as _, fragments, uniform};

/// The kernel's files and buffer table.
pub static KERNEL: Kernel = Kernel {
    name: "copy",
    fragments: fragments!["gemm/copy.wgsl"],
    bindings: &[Binding::uniform("u"), Binding::read("source").or_half(), Binding::read_write("destination").or_half()],
    uniform: Uniform::MEMBERS,
};

uniform! {
    pub(super) struct Uniform {
        pub(super) rows: u32,
        pub(super) columns: u32,
        pub(super) from_row: u32,
        pub(super) to_row: u32,
        pub(super) from_offset: u32,
        pub(super) from_direction: u32,
        pub(super) to_offset: u32,
        pub(super) to_direction: u32,
    }
}

impl Uniform {
    /// Of a rectangle that begins so many elements after where the matrices do.
    pub(super) fn new(
        [rows, columns]: [usize; 2],
        (from, skipped): (&Matrix, usize),
        (to, left): (&Matrix, usize),
    ) -> Result<Self> {
        Ok(Self {
            rows: index(rows)?,
            columns: index(columns)?,
            from_row: index(from.row)?,
            to_row: index(to.row)?,
            from_offset: index(from.offset + skipped)?,
            from_direction: index(from.direction)?,
            to_offset: index(to.offset + left)?,
            to_direction: index(to.direction)?,
        })
    }
}

/// Copies `rows × columns` of each direction from `from`, or zero, to `to`; columns are contiguous in both.
pub fn copy(
    device: &Device,
    directions: usize,
    rows: usize,
    columns: usize,
    from: Option<&Matrix>,
    to: &Matrix,
) -> Result<Op> {
    op(device, [directions, rows, columns], from, 0.0, to)
}

/// Makes `rows × columns` ready to be added to: −0 leaves the bits of what is added to it, of a −0 too.
pub fn no_sums(device: &Device, rows: usize, columns: usize, to: &Matrix) -> Result<Op> {
    op(device, [1, rows, columns], None, -0.0, to)
}

fn op(device: &Device, size: [usize; 3], from: Option<&Matrix>, fill: f32, to: &Matrix) -> Result<Op> {
    let [directions, rows, columns] = size;
    to.check("the destination", rows, columns, directions)?;
    if let Some(from) = from {
        from.check("the source", rows, columns, directions)?;
        distinct("copy", &[&to.buffer], &[&from.buffer])?;
    }
    match device.target() {
        Target::Gpu(gpu) => {
            let lanes = element_lanes(gpu.capabilities());
            // A fill reads nothing; it binds a stand-in, since a buffer can't be bound for reading and writing at once.
            let nothing = Nothing::of(gpu)?.read;
            let source = match from {
                Some(_) => 1,
                None if fill.is_sign_negative() => 2,
                None => 0,
            };
            let bytes = (to.buffer.element_bytes() + from.map_or(0, |from| from.buffer.element_bytes())) as f64;
            let work = |rows: usize, columns: usize| Work::moved(directions * rows * columns, bytes, lanes);
            Op::of_dispatches(rectangles(gpu, [rows, columns], [1, 1], work).into_iter().map(|[rows, columns]| {
                let place = |matrix: &Matrix| rows.start * matrix.row + columns.start;
                let source_of = from.unwrap_or(to);
                let size = [rows.len(), columns.len()];
                let uniform = Uniform::new(size, (source_of, place(source_of)), (to, place(to)))?;
                Op::gpu(
                    gpu,
                    &Launch {
                        kernel: &KERNEL,
                        recipe: None,
                        consts: vec![("LANES", lanes), ("FROM_SOURCE", source)],
                        uniform: &uniform.bytes(),
                        buffers: &[from.map_or(&nothing, |from| &from.buffer), &to.buffer],
                        groups: [linear_groups(gpu, rows.len() * columns.len(), lanes), 1, index(directions)?],
                        steps: None,
                        work: work(rows.len(), columns.len()),
                    },
                )
            }))
        }
        Target::Cpu(_, precision) => {
            let (from, to) = (from.cloned(), to.clone());
            Ok(cpu_op!(precision, "copy", on_cpu(size, from, fill, to)))
        }
    }
}

fn on_cpu<S: Scalar + Element>(size: &[usize; 3], from: &Option<Matrix>, fill: &f32, to: &Matrix) -> Result<()> {
    let [directions, rows, columns] = *size;
    let source = from.as_ref().map(|from| Ok((from, from.buffer.read::<S>()?))).transpose()?;
    let mut destination = to.buffer.write::<S>()?;
    for direction in 0..directions {
        for row in 0..rows {
            let at = to.offset + direction * to.direction + row * to.row;
            let destination = &mut destination[at..at + columns];
            match &source {
                None => destination.fill(S::from_f64(f64::from(*fill))),
                Some((from, source)) => {
                    let at = from.offset + direction * from.direction + row * from.row;
                    destination.copy_from_slice(&source[at..at + columns]);
                }
            }
        }
    }
    Ok(())
}
