//! Reading safetensors files: tensors by name, each shape and element type checked where it is used.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use safetensors::{Dtype, SafeTensors};

use crate::error::{Error, Result};

/// An f32 tensor on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Row-major shape.
    pub shape: Vec<usize>,
    /// Values.
    pub values: Vec<f32>,
}

/// The tensors and metadata of one file.
#[derive(Clone, Debug)]
pub struct TensorFile {
    /// Where it came from, for messages.
    pub path: String,
    /// Tensors by name; those of other element types keep their type's name, so that using one is a clear error.
    tensors: BTreeMap<String, Stored>,
    /// The file's metadata.
    pub metadata: HashMap<String, String>,
}

#[derive(Clone, Debug)]
enum Stored {
    F32(Tensor),
    F64(Vec<usize>, Vec<f64>),
    U32(Vec<usize>, Vec<u32>),
    Other(String),
}

impl Stored {
    fn dtype(&self) -> &str {
        match self {
            Self::F32(_) => "F32",
            Self::F64(..) => "F64",
            Self::U32(..) => "U32",
            Self::Other(name) => name,
        }
    }
}

impl TensorFile {
    /// Reads a safetensors file.
    pub fn open(path: &Path) -> Result<Self> {
        let failed = |why: String| Error::File { path: path.display().to_string(), why };
        let bytes = std::fs::read(path).map_err(|error| failed(format!("can't be read: {error}")))?;
        Self::parse(&path.display().to_string(), &bytes)
    }

    /// Parses a safetensors file's content; `path` is for messages.
    pub fn parse(path: &str, bytes: &[u8]) -> Result<Self> {
        let damaged = |error: safetensors::SafeTensorError| Error::File {
            path: path.to_string(),
            why: format!("is not a whole safetensors file ({error}, {} bytes)", bytes.len()),
        };
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
        let file = SafeTensors::deserialize(bytes).map_err(damaged)?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.tensors() {
            let (shape, words) = (view.shape().to_vec(), view.data().chunks_exact(4));
            let stored = match view.dtype() {
                Dtype::F32 => Stored::F32(Tensor { shape, values: words.map(bytemuck::pod_read_unaligned).collect() }),
                Dtype::U32 => Stored::U32(shape, words.map(bytemuck::pod_read_unaligned).collect()),
                Dtype::F64 => {
                    Stored::F64(shape, view.data().chunks_exact(8).map(bytemuck::pod_read_unaligned).collect())
                }
                other => Stored::Other(format!("{other:?}")),
            };
            tensors.insert(name, stored);
        }
        Ok(Self { path: path.to_string(), tensors, metadata: header.metadata().clone().unwrap_or_default() })
    }

    /// Names of all tensors.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// An f32 tensor of a shape; an error when it is missing, of another shape or of another element type.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<&Tensor> {
        match self.found(name)? {
            Stored::F32(tensor) => of_shape(name, &tensor.shape, shape).map(|()| tensor),
            other => Err(of_type(name, "F32", other)),
        }
    }

    /// The values of an f64 tensor of a shape; errors as [`tensor`](Self::tensor).
    pub fn doubles(&self, name: &str, shape: &[usize]) -> Result<&[f64]> {
        match self.found(name)? {
            Stored::F64(found, values) => of_shape(name, found, shape).map(|()| &values[..]),
            other => Err(of_type(name, "F64", other)),
        }
    }

    /// The values of a u32 tensor of a shape; errors as [`tensor`](Self::tensor).
    pub fn words(&self, name: &str, shape: &[usize]) -> Result<&[u32]> {
        match self.found(name)? {
            Stored::U32(found, values) => of_shape(name, found, shape).map(|()| &values[..]),
            other => Err(of_type(name, "U32", other)),
        }
    }

    fn found(&self, name: &str) -> Result<&Stored> {
        self.tensors.get(name).ok_or_else(|| Error::Missing {
            name: name.to_string(),
            place: self.path.clone(),
            found: self.names().collect::<Vec<_>>().join(", "),
        })
    }
}

fn of_shape(name: &str, found: &[usize], shape: &[usize]) -> Result<()> {
    if found == shape { Ok(()) } else { Err(Error::shape(name, shape, found)) }
}

fn of_type(name: &str, expected: &str, found: &Stored) -> Error {
    let (name, expected) = (name.to_string(), expected.to_string());
    Error::DType { name, expected, got: found.dtype().to_string() }
}
