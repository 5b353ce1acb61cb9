//! The kernel of cooperative matrices: f16 factors, f32 sums, where an adapter has such matrices and its driver turns out
//! to compute them.

use super::{Accumulate, BINDINGS, Gemm, Mapped, Matrix, Slices, Sum, Uniform};
use crate::device::{Buffer, DType, Device};
use crate::error::Result;
use crate::gpu::{Gpu, Subject};
use crate::kernel::Program;
use crate::shader::{Binding, Kernel, Uniform as _, fragments};

/// For matrices of 8 × 8.
pub static KERNEL_8: Kernel = Kernel {
    name: "gemm_cooperative_8",
    fragments: fragments![
        "lib/direction.wgsl",
        "lib/rows.wgsl",
        "gemm/product.wgsl",
        "gemm/cooperative_8.wgsl",
        "gemm/cooperative.wgsl"
    ],
    bindings: BOUND,
    uniform: Uniform::MEMBERS,
};

/// For matrices of 16 × 16.
pub static KERNEL_16: Kernel = Kernel {
    name: "gemm_cooperative_16",
    fragments: fragments![
        "lib/direction.wgsl",
        "lib/rows.wgsl",
        "gemm/product.wgsl",
        "gemm/cooperative_16.wgsl",
        "gemm/cooperative.wgsl"
    ],
    bindings: BOUND,
    uniform: Uniform::MEMBERS,
};

/// [`BINDINGS`] with a C that is never f16.
const BOUND: &[Binding] = &{
    let mut bindings = [BINDINGS[0], BINDINGS[1], BINDINGS[2], BINDINGS[3], BINDINGS[4], BINDINGS[5]];
    bindings[5].or_half = false;
    bindings
};

/// Lanes of a workgroup, which is one subgroup: what [`Capabilities`](crate::gpu::Capabilities) takes such matrices with.
pub(in crate::kernel) const SUBGROUPS: [u32; 5] = [8, 16, 32, 64, 128];

/// Elements of the sums that are made before they are brought to an f16 C: 16 MiB.
const ROOM: usize = 4 << 20;

/// What its check is called.
pub const CHECK: &str = "cooperative matrices";

/// Has the test products made, if there are such matrices and that was not done yet.
pub(crate) fn check_once(device: &Device) {
    let Some(gpu) = device.gpu() else { return };
    let open = !gpu.has_passed(CHECK) && gpu.doubt(&Subject::CooperativeMatrices).is_none();
    // A device that is being checked goes by what was found.
    if open && gpu.capabilities().cooperative_size.is_some() && !gpu.is_checking() && !gpu.plans_only() {
        check(device);
    }
}

/// Rows of a device's cooperative matrices, if it has any that are trusted. The first to ask has the test products made.
pub(super) fn size(device: &Device) -> Option<u32> {
    let gpu = device.gpu()?;
    let size = gpu.capabilities().cooperative_size?;
    if gpu.plans_only() {
        return Some(size);
    }
    check_once(device);
    (gpu.has_passed(CHECK) && gpu.doubt(&Subject::CooperativeMatrices).is_none()).then_some(size)
}

/// Makes small products of two directions in every way there is, and compares them with what they must be: why they are not
/// right, if they are not. Sums of these numbers are exact, so every order gives the same. What comes out is remembered.
pub(crate) fn check(device: &Device) -> Option<String> {
    let (Some(gpu), aside) = (device.gpu(), device.beside(false, u64::MAX)) else { return None };
    let size = gpu.capabilities().cooperative_size?;
    let why = gpu.one_at_a_time(|| test(&aside, size));
    match &why {
        Some(why) => gpu.found(Subject::CooperativeMatrices, why.clone()),
        None => gpu.passed(CHECK.to_string()),
    }
    why
}

/// Elements of [`Gemm::room`] for products `[rows, n]` in two directions or one, of rows in multiples of `granule`; 0 on
/// a device without cooperative matrices, and for sizes that they don't fit.
pub fn room_len(device: &Device, rows: usize, n: usize, directions: usize, granule: usize) -> usize {
    let (Some(gpu), Some(size)) = (device.gpu(), size(device)) else { return 0 };
    let (caps, tile) = (gpu.capabilities(), 2 * size as usize);
    if !granule.is_multiple_of(tile) || !n.is_multiple_of(tile) {
        return 0;
    }
    let most = usize::try_from(caps.binding_bytes() / 4).unwrap_or(usize::MAX).min(ROOM);
    rows_at_once(most, n * directions, tile).min(rows) * n * directions
}

/// Rows of `width` elements that fit `room` elements, whole tiles of them.
fn rows_at_once(room: usize, width: usize, tile: usize) -> usize {
    room / width.max(1) / tile * tile
}

/// Rows of the matrices that a product is made with, if it is one for them.
pub(super) fn tile(device: &Device, call: &Gemm) -> Option<u32> {
    let size = device.gpu()?.capabilities().cooperative_size?;
    if call.tile.is_none() && fits(call, size as usize) { self::size(device) } else { None }
}

/// Whether every matrix of the product is whole and aligned. What decides is the same for all products that have to give
/// the same bits: a granule of m or k, not m or k themselves.
fn fits(call: &Gemm, size: usize) -> bool {
    let tile = 2 * size;
    let half = |matrix: &Matrix| matrix.buffer.dtype() == DType::Half;
    let aligned = |matrix: &Matrix| {
        // Strides and starts in whole blocks of 16 bytes.
        [matrix.offset, matrix.row.max(matrix.column), matrix.direction].iter().all(|at| at.is_multiple_of(8))
    };
    let whole_slices =
        |slices: &Slices| slices.rows.is_multiple_of(size) && slices.scratch.len() >= call.slice_elements();
    let sums = call.slices.as_ref().is_none_or(whole_slices)
        && call.mapped == Mapped::No
        && call.accumulate != Accumulate::After;
    let room = call.room.as_ref().map_or(0, Buffer::len);
    let leaves_sums = call.accumulate == Accumulate::No && rows_at_once(room, call.n * call.directions.end, tile) > 0;
    let types = half(&call.a) && half(&call.b) && (!half(&call.c) || leaves_sums);
    let sizes = [call.granule, call.m, call.n, call.k].iter().all(|size| size.is_multiple_of(tile));
    sums && types
        && sizes
        && [&call.a, &call.b, &call.c].into_iter().all(aligned)
        && (call.a.column == 1 || call.a.row == 1)
}

/// Appends what makes `sum`, whose C is f32.
pub(super) fn launch(call: &Gemm, gpu: &Gpu, size: u32, sum: &Sum<'_>, program: &mut Program) -> Result<()> {
    let kernel = if size == 8 { &KERNEL_8 } else { &KERNEL_16 };
    let lanes = gpu.capabilities().subgroup_size[1];
    let consts = [("LANES", lanes), ("A_ALONG", u32::from(call.a.column != 1))];
    let why = "its factors are f16, and the adapter's cooperative matrices made a test product right";
    call.dispatch(gpu, (kernel, &consts, why), [2 * size as usize; 2], sum, program)
}

/// Appends the product and its bias. An f16 C gets what sums leave in the room that there is, some rows at a time.
pub(super) fn whole(call: &Gemm, gpu: &Gpu, size: u32, program: &mut Program) -> Result<()> {
    let Some(room) = call.room.as_ref().filter(|_| call.c.buffer.dtype() == DType::Half) else {
        launch(call, gpu, size, &Sum::whole(call), program)?;
        if let Some(bias) = &call.bias {
            program.push(call.add_up(gpu, &bias.buffer, 0, true)?);
        }
        return Ok(());
    };
    let at_once = rows_at_once(room.len(), call.n * call.directions.end, 2 * size as usize);
    for first in (0..call.m).step_by(at_once.max(1)) {
        let from = |matrix: &Matrix| Matrix { offset: matrix.offset + first * matrix.row, ..matrix.clone() };
        let m = at_once.min(call.m - first);
        let part = Gemm { m, a: from(&call.a), c: from(&call.c), ..call.clone() };
        let sums = Matrix { direction: m * call.n, ..Matrix::dense(room, call.n) };
        launch(&part, gpu, size, &Sum { c: &sums, ..Sum::whole(&part) }, program)?;
        program.push(part.add_up(gpu, room, 1, false)?);
    }
    Ok(())
}

/// Test products, of either layout of A.
#[derive(Clone, Copy, Debug)]
enum Trial {
    /// Onto what an f32 C holds, with a bias.
    Onto,
    /// Into an f16 C, in two parts, with a bias.
    Half,
    /// In slices.
    Sliced,
}

/// Why a test product is not right, if one is not.
fn test(device: &Device, size: u32) -> Option<String> {
    let all = [Trial::Onto, Trial::Half, Trial::Sliced].into_iter();
    let mut all = all.flat_map(|trial| [false, true].map(|transposed| (trial, transposed)));
    all.find_map(|(trial, transposed)| match try_out(device, size, trial, transposed) {
        Ok(true) => None,
        Ok(false) => Some(format!("a test product was wrong ({trial:?})")),
        Err(why) => Some(format!("a test product failed: {why}")),
    })
}

/// Whether a test product is right.
fn try_out(device: &Device, size: u32, trial: Trial, transposed: bool) -> Result<bool> {
    let Some(gpu) = device.gpu() else { return Ok(false) };
    let [m, n, k] = [4, 2, 4].map(|tiles| tiles * size as usize);
    let values = |seed: usize, len: usize| (0..2 * len).map(|at| ((at * seed) % 7) as f32 - 3.0).collect::<Vec<_>>();
    let half = |values: &[f32]| -> Result<Buffer> {
        let buffer = device.alloc_half("a test product", values.len())?;
        device.write(&buffer, values)?;
        Ok(buffer)
    };
    let (a, b, before, bias) = (values(3, m * k), values(5, k * n), values(2, m * n), values(4, n));
    let c = match trial {
        Trial::Half => half(&before)?,
        _ => device.upload("a test product", &before)?,
    };
    let of = |buffer: &Buffer, columns: usize, len: usize| Matrix { direction: len, ..Matrix::dense(buffer, columns) };
    let left = of(&half(&a)?, if transposed { m } else { k }, m * k);
    let left = if transposed { left.transposed() } else { left };
    let (row, column) = (left.row, left.column);
    let plain = Gemm::plain(m, n, k, left, of(&half(&b)?, n, k * n), of(&c, n, m * n));
    let plain = Gemm { directions: 0..2, ..plain };
    let biased = Some(of(&device.upload("a test product", &bias)?, n, n));
    let room = |elements: usize| device.alloc("a test product", elements);
    let mut program = Program::default();
    match trial {
        Trial::Onto => {
            let call = Gemm { accumulate: Accumulate::Before, bias: biased, ..plain };
            whole(&call, gpu, size, &mut program)?;
        }
        Trial::Half => {
            // Room for half of the rows.
            let call = Gemm { room: Some(room(m * n)?), bias: biased, ..plain };
            whole(&call, gpu, size, &mut program)?;
        }
        Trial::Sliced => {
            let slices = Slices { rows: k / 2, scratch: room(4 * m * n)? };
            let call = Gemm { accumulate: Accumulate::Before, slices: Some(slices), ..plain };
            call.in_slices(gpu, Some(size), &mut program)?;
        }
    }
    device.run(|recorder| program.record(recorder))?;
    let got = download(device, &c)?;
    let want = |at: usize| {
        let (direction, row_of, column_of) = (at / (m * n), at / n % m, at % n);
        let (a, b) = (&a[direction * m * k..], &b[direction * k * n..]);
        let sum: f32 = (0..k).map(|k| a[row_of * row + k * column] * b[k * n + column_of]).sum();
        let kept = if matches!(trial, Trial::Half) { 0.0 } else { before[at] };
        let bias = if matches!(trial, Trial::Sliced) { 0.0 } else { bias[direction * n + column_of] };
        kept + sum + bias
    };
    Ok(got.iter().enumerate().all(|(at, &got)| got == want(at)))
}

#[cfg(not(target_arch = "wasm32"))]
fn download(device: &Device, buffer: &Buffer) -> Result<Vec<f32>> {
    device.read(buffer)
}

/// A browser can't wait for a result, and has no cooperative matrices either.
#[cfg(target_arch = "wasm32")]
fn download(device: &Device, _: &Buffer) -> Result<Vec<f32>> {
    let option = "cooperative matrices".to_string();
    Err(crate::error::Error::Unsupported { option, place: device.name() })
}
