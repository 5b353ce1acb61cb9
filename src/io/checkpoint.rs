//! What training has come to, in one safetensors file.

use std::collections::HashMap;
use std::io::Write;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use safetensors::tensor::{Dtype, TensorView};

use super::TensorFile;
use crate::device::{Buffer, DType, Device};
use crate::error::{Error, Result};
use crate::nn::{Entry, Parameters};

/// A checkpoint: parameters by their names, which PyTorch's `load_state_dict` knows, an optimiser's moments and whatever
/// else there is, and texts.
///
/// ```
/// use wgpu_rnn::io::Checkpoint;
/// use wgpu_rnn::nn::rnn::tensors;
/// use wgpu_rnn::nn::{Init, Layer, Parameters};
/// use wgpu_rnn::train::{Optimizer, OptimizerConfig};
/// use wgpu_rnn::{Cell, Device, RnnConfig};
///
/// # fn main() -> wgpu_rnn::Result<()> {
/// let (device, config) = (Device::cpu()?, RnnConfig::new(Cell::Gru, 4, 8));
/// let params = Parameters::new(&device, tensors(&config, "rnn."))?;
/// Init::new(1).apply(&params, "rnn.", Layer::Rnn(&config))?;
/// let optimizer = Optimizer::new(&params, OptimizerConfig::adam(1e-3))?;
///
/// let [state, counters] = optimizer.progress();
/// let (moments, rest) = (optimizer.moments(), [("state", state), ("counters", counters)]);
/// # let folder = std::env::temp_dir().join(format!("wgpu-rnn-checkpoint-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder).unwrap();
/// let path = folder.join("last.safetensors");
/// Checkpoint::save(&path, &params, [&moments, &rest], [("step", "100")])?;
///
/// let checkpoint = Checkpoint::open(&path)?;
/// assert_eq!(checkpoint.text("step")?, "100");
/// checkpoint.restore(&params, [&moments, &rest])?;
/// # std::fs::remove_dir_all(&folder).unwrap();
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Checkpoint {
    file: TensorFile,
}

/// What other buffers' names begin with in the file.
const OTHERS: &str = "optimizer.";

/// A buffer's values as they are on its device.
enum Values {
    F32(Vec<f32>),
    F64(Vec<f64>),
    U32(Vec<u32>),
}

impl Values {
    fn read(device: &Device, buffer: &Buffer) -> Result<Self> {
        Ok(match (buffer.dtype(), device.float_bytes()) {
            (DType::U32, _) => Self::U32(device.read_u32(buffer)?),
            (DType::Float, 8) => Self::F64(device.read_f64(buffer)?),
            _ => Self::F32(device.read(buffer)?),
        })
    }

    fn view<'a>(&'a self, shape: &[usize], range: Range<usize>) -> Result<TensorView<'a>> {
        let (dtype, bytes): (Dtype, &[u8]) = match self {
            Self::F32(values) => (Dtype::F32, bytemuck::cast_slice(&values[range])),
            Self::F64(values) => (Dtype::F64, bytemuck::cast_slice(&values[range])),
            Self::U32(values) => (Dtype::U32, bytemuck::cast_slice(&values[range])),
        };
        TensorView::new(dtype, shape.to_vec(), bytes)
            .map_err(|error| Error::invalid("a tensor of a checkpoint", "one that fits its shape", error))
    }
}

impl Checkpoint {
    /// Writes parameters, moments (buffers laid out as [`Parameters::values`] are), other buffers and texts to `path`: under
    /// another name first, which then replaces what was there, so that whatever happens there is the old file or the new
    /// one. Reads back, so that everything submitted before is in it. Floats keep their bits.
    pub fn save<'a>(
        path: &Path,
        params: &Parameters,
        [moments, others]: [&[(&str, &Buffer)]; 2],
        texts: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<()> {
        let stored = stored(params, moments, others)?;
        let read = |(buffer, _): &(&Buffer, Vec<Stored>)| Values::read(params.device(), buffer);
        let values = stored.iter().map(read).collect::<Result<Vec<_>>>()?;
        let mut tensors = Vec::new();
        for (values, (_, stored)) in values.iter().zip(stored) {
            for one in stored {
                tensors.push((one.name, values.view(&one.shape, one.range)?));
            }
        }
        let texts: HashMap<String, String> =
            texts.into_iter().map(|(name, text)| (name.to_string(), text.to_string())).collect();
        let failed = |why: String| Error::File { path: path.display().to_string(), why };
        let bytes = safetensors::serialize(tensors, Some(texts))
            .map_err(|error| failed(format!("can't be written as safetensors: {error}")))?;
        replace(path, &bytes).map_err(|error| failed(format!("can't be written: {error}")))
    }

    /// Reads a file.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self { file: TensorFile::open(path)? })
    }

    /// A text that was saved with it.
    pub fn text(&self, name: &str) -> Result<&str> {
        self.file.metadata.get(name).map(String::as_str).ok_or_else(|| Error::Missing {
            name: name.to_string(),
            place: self.file.path.clone(),
            found: self.file.metadata.keys().cloned().collect::<Vec<_>>().join(", "),
        })
    }

    /// Writes parameters, moments and other buffers back to their device. Every tensor must be there in the shape and type
    /// that it has here, else nothing is written.
    pub fn restore(&self, params: &Parameters, [moments, others]: [&[(&str, &Buffer)]; 2]) -> Result<()> {
        let device = params.device();
        let stored = stored(params, moments, others)?;
        let find = |(buffer, stored): &(&Buffer, Vec<Stored>)| self.find(device, buffer, stored);
        let found = stored.iter().map(find).collect::<Result<Vec<_>>>()?;
        stored.iter().zip(&found).try_for_each(|((buffer, _), values)| match values {
            Values::F32(values) => device.write(buffer, values),
            Values::F64(values) => device.write_f64(buffer, values),
            Values::U32(values) => device.write_u32(buffer, values),
        })
    }

    /// All values of a buffer, zero where no tensor lies.
    fn find(&self, device: &Device, buffer: &Buffer, stored: &[Stored]) -> Result<Values> {
        let mut values = match (buffer.dtype(), device.float_bytes()) {
            (DType::U32, _) => Values::U32(vec![0; buffer.len()]),
            (_, 8) => Values::F64(vec![0.0; buffer.len()]),
            _ => Values::F32(vec![0.0; buffer.len()]),
        };
        for Stored { name, shape, range } in stored {
            let range = range.clone();
            match &mut values {
                Values::F32(values) => values[range].copy_from_slice(&self.file.tensor(name, shape)?.values),
                Values::F64(values) => values[range].copy_from_slice(self.file.doubles(name, shape)?),
                Values::U32(values) => values[range].copy_from_slice(self.file.words(name, shape)?),
            }
        }
        Ok(values)
    }
}

/// A tensor of the file, and where its values lie in a buffer.
struct Stored {
    name: String,
    shape: Vec<usize>,
    range: Range<usize>,
}

/// Every buffer, and the tensors that it is stored as: parameters and moments one by one, as the gaps between them differ
/// from device to device; others whole.
fn stored<'a>(
    params: &'a Parameters,
    moments: &[(&str, &'a Buffer)],
    others: &[(&str, &'a Buffer)],
) -> Result<Vec<(&'a Buffer, Vec<Stored>)>> {
    let each = |before: &str| -> Vec<Stored> {
        let one = |entry: &Entry| Stored {
            name: format!("{before}{}", entry.name),
            shape: entry.shape.clone(),
            range: entry.offset..entry.offset + entry.len(),
        };
        params.entries().iter().map(one).collect()
    };
    let mut all = vec![(params.values(), each(""))];
    for (name, buffer) in moments {
        let needed = params.values().len();
        if buffer.len() != needed {
            return Err(Error::shape(format!("the moments `{name}`"), &[needed], &[buffer.len()]));
        }
        all.push((*buffer, each(&format!("{OTHERS}{name}."))));
    }
    for (name, buffer) in others {
        let one = Stored { name: format!("{OTHERS}{name}"), shape: vec![buffer.len()], range: 0..buffer.len() };
        all.push((*buffer, vec![one]));
    }
    Ok(all)
}

/// Puts `bytes` at `path` in one step, and on the disk before it takes the place of what was there. No other process, and no
/// other thread of this one, writes to the name that it has until then.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    static ATTEMPTS: AtomicU32 = AtomicU32::new(0);
    // A browser has no processes, nor files.
    let process = if cfg!(target_arch = "wasm32") { 0 } else { std::process::id() };
    name.push(format!(".{process}-{}.part", ATTEMPTS.fetch_add(1, Ordering::Relaxed)));
    let part = path.with_file_name(name);
    let written = std::fs::File::create(&part).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&part, path)
    });
    if written.is_err() {
        // What is left of an attempt is of no use; that it can't be removed says less than why it failed.
        let _ = std::fs::remove_file(&part);
    }
    written
}
