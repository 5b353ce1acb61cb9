//! Reading safetensors files: f32 tensors by name, each shape and element type checked where it is used.

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
    tensors: BTreeMap<String, std::result::Result<Tensor, String>>,
    /// The file's metadata.
    pub metadata: HashMap<String, String>,
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
            let tensor = match view.dtype() {
                Dtype::F32 => Ok(Tensor {
                    shape: view.shape().to_vec(),
                    values: view.data().chunks_exact(4).map(bytemuck::pod_read_unaligned).collect(),
                }),
                other => Err(format!("{other:?}")),
            };
            tensors.insert(name, tensor);
        }
        Ok(Self { path: path.to_string(), tensors, metadata: header.metadata().clone().unwrap_or_default() })
    }

    /// Names of all tensors.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// A tensor of a shape; an error when it is missing, of another shape or of another element type.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<&Tensor> {
        let found = self.tensors.get(name).ok_or_else(|| Error::Missing {
            name: name.to_string(),
            place: self.path.clone(),
            found: self.names().collect::<Vec<_>>().join(", "),
        })?;
        let tensor = found.as_ref().map_err(|got| Error::DType {
            name: name.to_string(),
            expected: "F32".to_string(),
            got: got.clone(),
        })?;
        if tensor.shape != shape {
            return Err(Error::shape(name, shape, &tensor.shape));
        }
        Ok(tensor)
    }
}
