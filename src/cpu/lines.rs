//! Memory that begins on a cache line, so that no vector of a row lies across two, wherever the allocator puts it.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use bytemuck::{Pod, Zeroable};

use crate::error::{Error, Result};

/// A cache line.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
struct Line([u8; 64]);

/// Elements from the start of a cache line on.
#[derive(Clone, Debug)]
pub struct Lines<E> {
    lines: Vec<Line>,
    len: usize,
    of: PhantomData<E>,
}

impl<E: Pod> Lines<E> {
    /// `len` zeros, or an error when there is no memory for so many.
    pub fn zeroed(what: &str, len: usize) -> Result<Self> {
        let count = len.div_ceil(size_of::<Line>() / size_of::<E>());
        let mut lines = Vec::new();
        lines.try_reserve_exact(count).map_err(|_| Error::Limit {
            what: what.to_string(),
            needed: format!("{} bytes", len.saturating_mul(size_of::<E>())),
            limit: "no more memory".to_string(),
            device: "the CPU".to_string(),
        })?;
        lines.resize(count, Line::zeroed());
        Ok(Self { lines, len, of: PhantomData })
    }

    /// Bytes of the elements; the allocator's granules, and the rest of the last line, are not counted.
    pub const fn bytes(&self) -> usize {
        self.len * size_of::<E>()
    }
}

impl<E: Pod> Deref for Lines<E> {
    type Target = [E];

    #[inline]
    fn deref(&self) -> &[E] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }
}

impl<E: Pod> DerefMut for Lines<E> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [E] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len]
    }
}
