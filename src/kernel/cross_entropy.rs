//! Softmax cross-entropy over rows and its gradient, as `torch.nn.CrossEntropyLoss`: with `p = softmax(logits[r])`
//! and the label `t[r]`, `L = −Σ_r log p[t[r]] / n` in nats and `dlogits[r] = (p − onehot(t[r])) / n`, where n is how
//! many rows have a label. The others, those of [`IGNORE`], add nothing and have zero gradient; so does a label beyond
//! the classes, which [`check_labels`] finds on the host. When no row has a label the loss is 0 (PyTorch: NaN).
//! With a loss scale the gradient, not the loss, is multiplied by it.
//!
//! | buffer | shape | role |
//! |---|---|---|
//! | `logits` | `[rows, classes]` | read |
//! | `labels` | `[rows]`, u32 | read |
//! | `count` | `[1]`: n, at least 1 | written by the first kernel, read by the others |
//! | `scale` | `[1]`, the loss scale | read, if there is one |
//! | `dlogits` | `[rows, classes]` | written, unless only the loss is asked for |
//! | `parts` | a sum for each workgroup | written, then summed into the loss |

use super::cuts::{index, runs};
use super::op::{Launch, Op, Target, cpu_op, distinct};
use super::program::Program;
use super::scale;
use super::total::{self, Mode};
use crate::cpu::scalar::Scalar;
use crate::cpu::threads::{Pool, for_each};
use crate::device::{Buffer, DType, Device, Element, Nothing};
use crate::error::{Error, Result, at_least_one};
use crate::gpu::{Gpu, Work};
use crate::shader::{Binding, Kernel, Uniform as _, fragments, uniform};

/// The label of a row that does not count, such as padding.
pub const IGNORE: u32 = u32::MAX;

/// A row takes three passes of its lanes and two reductions: no more lanes than classes, and no more than this.
pub(super) const MOST_LANES: usize = 64;

/// Rows that count.
pub static COUNT: Kernel = Kernel {
    name: "cross_entropy_count",
    fragments: fragments!["lib/reduce.wgsl", "loss/count.wgsl"],
    bindings: &[Binding::uniform("u"), Binding::read("labels"), Binding::read_write("count")],
    uniform: CountUniform::MEMBERS,
};

/// The loss and gradient of each row.
pub static KERNEL: Kernel = Kernel {
    name: "cross_entropy",
    fragments: fragments!["lib/float.wgsl", "lib/exponential.wgsl", "lib/reduce.wgsl", "loss/cross_entropy.wgsl",],
    bindings: &[
        Binding::uniform("u"),
        Binding::read("logits"),
        Binding::read("labels"),
        Binding::read("count"),
        Binding::read("scale"),
        Binding::read_write("dlogits"),
        Binding::read_write("parts"),
    ],
    uniform: Uniform::MEMBERS,
};

uniform! {
    struct CountUniform {
        rows: u32,
        classes: u32,
        begins: u32,
        ends: u32,
    }
}

uniform! {
    struct Uniform {
        rows: u32,
        classes: u32,
        first_part: u32,
    }
}

/// An error naming the first label that is neither a class nor [`IGNORE`].
pub fn check_labels(classes: usize, labels: &[u32]) -> Result<()> {
    match labels.iter().position(|&label| label != IGNORE && label as usize >= classes) {
        None => Ok(()),
        Some(row) => {
            let expected = format!("below {classes}, the number of classes, or IGNORE");
            Err(Error::invalid(format!("label {row}"), expected, labels[row]))
        }
    }
}

/// Appends the loss of `logits [labels.len(), classes]` to `program`: `loss [1]`, and `dlogits` if it is there,
/// times `scale [1]` if that is.
pub fn cross_entropy(
    device: &Device,
    classes: usize,
    [logits, labels, loss]: [&Buffer; 3],
    dlogits: Option<&Buffer>,
    scale: Option<&Buffer>,
    program: &mut Program,
) -> Result<()> {
    let shape = [at_least_one("the number of labels", labels.len())?, at_least_one("the number of classes", classes)?];
    labels.check("the labels", device, &shape[..1], DType::U32)?;
    logits.check("the logits", device, &shape, DType::Float)?;
    loss.check("the loss", device, &[1], DType::Float)?;
    if let Some(dlogits) = dlogits {
        dlogits.check("the gradient of the logits", device, &shape, DType::Float)?;
    }
    if let Some(scale) = scale {
        scale.check("the loss scale", device, &[1], DType::Float)?;
    }
    let written: Vec<&Buffer> = dlogits.into_iter().chain([loss]).collect();
    let read: Vec<&Buffer> = [logits, labels].into_iter().chain(scale).collect();
    distinct("cross_entropy", &written, &read)?;
    match device.target() {
        Target::Gpu(gpu) => on_gpu(gpu, device, classes, [logits, labels, loss], [dlogits, scale], program),
        Target::Cpu(pool, precision) => {
            let buffers = [logits, labels, loss].map(Buffer::clone);
            let (dlogits, scale) = (dlogits.cloned(), scale.cloned());
            program.push(cpu_op!(precision, "cross_entropy", on_cpu(pool, classes, buffers, dlogits, scale)));
            Ok(())
        }
    }
}

fn on_gpu(
    gpu: &Gpu,
    device: &Device,
    classes: usize,
    [logits, labels, loss]: [&Buffer; 3],
    [dlogits, scale]: [Option<&Buffer>; 2],
    program: &mut Program,
) -> Result<()> {
    let caps = gpu.capabilities();
    let rows = labels.len();
    let pieces: Vec<_> = total::pieces(caps, rows, classes).collect();
    let groups = |rows: usize| total::groups(caps, rows);
    let parts = device.alloc("partial sums of a loss", pieces.iter().map(|piece| groups(piece.len())).sum())?;
    let count = device.alloc("rows that count", 1)?;
    let Nothing { read: no_scale, written: [no_gradient, ..] } = Nothing::of(gpu)?;
    let scaled = dlogits.is_some() && scale.is_some();
    // One workgroup counts, exactly, however many dispatches it takes.
    let counting = |rows: usize| Work { bytes: rows as f64 * 4.0, ..Work::small() };
    let counts = runs(gpu, rows, 64, counting).into_iter().map(|some| {
        let (begins, ends) = (u32::from(some.start == 0), u32::from(some.end == rows));
        let uniform = CountUniform { rows: index(some.len())?, classes: index(classes)?, begins, ends };
        Op::gpu(
            gpu,
            &Launch {
                kernel: &COUNT,
                recipe: None,
                consts: vec![("LANES", total::lanes(caps, rows))],
                uniform: &uniform.bytes(),
                buffers: &[&labels.slice(some.clone())?, &count],
                groups: [1, 1, 1],
                steps: None,
                work: counting(some.len()),
            },
        )
    });
    program.push(Op::of_dispatches(counts)?);
    let mut first_part = 0;
    for piece in pieces {
        let groups = groups(piece.len());
        let uniform = Uniform { rows: index(piece.len())?, classes: index(classes)?, first_part: index(first_part)? };
        let all = (piece.len() * classes) as f64;
        let passes = if dlogits.is_some() { 4.0 } else { 2.0 };
        let work =
            Work { bytes: all * 4.0 * passes, functions: all * passes / 2.0, groups: groups as f64, ..Work::default() };
        let elements = piece.start * classes..piece.end * classes;
        let piece_of_gradient = dlogits.map(|dlogits| dlogits.slice(elements.clone())).transpose()?;
        program.push(Op::gpu(
            gpu,
            &Launch {
                kernel: &KERNEL,
                recipe: None,
                consts: vec![
                    ("LANES", total::lanes(caps, classes.min(MOST_LANES))),
                    ("GRADIENT", u32::from(dlogits.is_some())),
                    ("SCALED", u32::from(scaled)),
                ],
                uniform: &uniform.bytes(),
                buffers: &[
                    &logits.slice(elements)?,
                    &labels.slice(piece)?,
                    &count,
                    scale.unwrap_or(&no_scale),
                    piece_of_gradient.as_ref().unwrap_or(&no_gradient),
                    &parts,
                ],
                groups: [index(groups)?, 1, 1],
                steps: None,
                work,
            },
        )?);
        first_part += groups;
    }
    program.push(total::total(gpu, &parts, &Mode::MeanOver(&count), loss, 0)?);
    Ok(())
}

/// Rows of one sum of losses, whatever the number of threads.
const BLOCK: usize = 64;

fn on_cpu<S: Scalar + Element>(
    pool: &Pool,
    classes: &usize,
    [logits, labels, loss]: &[Buffer; 3],
    dlogits: &Option<Buffer>,
    scale: &Option<Buffer>,
) -> Result<()> {
    let classes = *classes;
    let scale = scale.as_ref().map_or(Ok(1.0), scale::read::<S>)?;
    let (logits, labels) = (logits.read::<S>()?, labels.read::<u32>()?);
    let mut dlogits = dlogits.as_ref().map(|dlogits| dlogits.write::<S>()).transpose()?;
    let count = labels.iter().filter(|&&label| (label as usize) < classes).count().max(1) as f64;
    let mut sums = vec![0.0; labels.len().div_ceil(BLOCK)];
    let mut gradients: Vec<Option<&mut [S]>> = match &mut dlogits {
        Some(dlogits) => dlogits.chunks_mut(BLOCK * classes).map(Some).collect(),
        None => sums.iter().map(|_| None).collect(),
    };
    let blocks = sums.iter_mut().zip(labels.chunks(BLOCK)).zip(logits.chunks(BLOCK * classes)).zip(&mut gradients);
    let threads = pool.threads_over(logits.len());
    pool.run_on(threads, || {
        for_each(threads, blocks.collect(), |(((sum, labels), logits), gradient)| {
            *sum = block(labels, logits, gradient.as_deref_mut(), classes, 1.0 / count * scale);
        });
    });
    loss.write::<S>()?[0] = S::from_f64(sums.iter().sum::<f64>() / count);
    Ok(())
}

/// The sum of the losses of some rows; writes their gradients.
fn block<S: Scalar>(labels: &[u32], logits: &[S], mut gradient: Option<&mut [S]>, classes: usize, share: f64) -> f64 {
    let mut powers = vec![S::ZERO; classes];
    let mut losses = 0.0;
    for (row, (&label, logits)) in labels.iter().zip(logits.chunks_exact(classes)).enumerate() {
        let label = label as usize;
        let gradient = gradient.as_deref_mut().map(|gradient| &mut gradient[row * classes..][..classes]);
        if label >= classes {
            if let Some(gradient) = gradient {
                gradient.fill(S::ZERO);
            }
            continue;
        }
        let most = logits.iter().fold(logits[0], |most, &logit| most.max(logit));
        powers.iter_mut().zip(logits).for_each(|(power, &logit)| *power = (logit - most).exp());
        let sum: S = powers.iter().copied().sum();
        losses += (sum.ln() - (logits[label] - most)).to_f64();
        if let Some(gradient) = gradient {
            let share = S::from_f64(share);
            gradient.iter_mut().zip(&powers).for_each(|(gradient, &power)| *gradient = power / sum * share);
            gradient[label] = (powers[label] / sum - S::ONE) * share;
        }
    }
    losses
}
