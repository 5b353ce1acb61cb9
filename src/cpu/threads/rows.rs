//! What one task has of a buffer.

use std::marker::PhantomData;
use std::ops::Range;

use super::Task;

/// A buffer of which every task gets its part.
pub(super) struct Shared<'a, S> {
    pub(super) data: *mut S,
    pub(super) blocks: usize,
    pub(super) width: usize,
    pub(super) owned: PhantomData<&'a mut [S]>,
}

// SAFETY: threads that share it do nothing with it but make parts of it. Those of different tasks have no element in
// common, which takes `S: Send`; those of one team read the same elements between its meetings, which takes `S: Sync`.
unsafe impl<S: Send + Sync> Sync for Shared<'_, S> {}

/// What one task owns of a buffer `[N, B, D·W]`: in each of the N blocks the rows of its sequences, and of each row the
/// W elements of its direction.
#[derive(Debug)]
pub struct TaskRows<'a, S> {
    pub(super) data: *mut S,
    pub(super) blocks: usize,
    pub(super) batch: usize,
    pub(super) directions: usize,
    pub(super) width: usize,
    pub(super) task: Task,
    pub(super) owned: PhantomData<&'a mut [S]>,
}

// SAFETY: a part refers to its own rows and no others: `Partition::run` makes one for each task of a partition, and no
// two of its tasks share a (direction, sequence). Sending it is sending `&mut S` to those, or, to members of a team, who
// share a task, also `&S`; that none of them writes what another refers to is what `run`'s caller promises.
unsafe impl<S: Send + Sync> Send for TaskRows<'_, S> {}

impl<S> TaskRows<'_, S> {
    /// Where row `row` of block `block` starts, and how long it is; an empty row at 0 where there is none.
    fn place(&self, block: usize, row: usize) -> (usize, usize) {
        if block >= self.blocks || !self.task.rows.contains(&row) {
            return (0, 0);
        }
        (((block * self.batch + row) * self.directions + self.task.direction) * self.width, self.width)
    }

    /// Sequence `row` (counted in the whole batch) in block `block`: W elements, or none outside this part.
    #[inline]
    pub fn row(&self, block: usize, row: usize) -> &[S] {
        let (start, len) = self.place(block, row);
        // SAFETY: `place` stays within the buffer (blocks·batch·directions·width elements at most) and within this
        // part's rows, which for 'a no other task refers to, and none of this one's team writes now; `&self` keeps this
        // part's own `&mut` away.
        unsafe { std::slice::from_raw_parts(self.data.add(start), len) }
    }

    /// Some columns of a row, to read; none where it has not so many.
    #[inline]
    pub fn columns(&self, block: usize, row: usize, columns: Range<usize>) -> &[S] {
        let (start, len) = self.place(block, row);
        if columns.start > columns.end || columns.end > len {
            return &[];
        }
        // SAFETY: as in `row`; the columns are within the row.
        unsafe { std::slice::from_raw_parts(self.data.add(start + columns.start), columns.end - columns.start) }
    }

    /// The same rows once more, for a product that reads some of their columns and writes others.
    ///
    /// # Safety
    ///
    /// Of an element that is written through one of the two no reference may be made through the other meanwhile.
    pub unsafe fn again(&self) -> Self {
        let Self { data, blocks, batch, directions, width, owned, .. } = *self;
        Self { data, blocks, batch, directions, width, task: self.task.clone(), owned }
    }

    /// [`TaskRows::row`], to write.
    #[inline]
    pub fn row_mut(&mut self, block: usize, row: usize) -> &mut [S] {
        let (start, len) = self.place(block, row);
        // SAFETY: as in `row`; `&mut self` keeps every other reference of this part away.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(start), len) }
    }

    /// Sets `rows` to some columns of the rows at `place` of each index, its block and its sequence, in ascending order, to
    /// write; to none where they are out of order.
    #[inline]
    pub fn rows_mut<'s>(
        &'s mut self,
        place: impl Fn(usize) -> (usize, usize),
        columns: Range<usize>,
        rows: &mut [&'s mut [S]],
    ) {
        let mut next = 0;
        for (index, row) in rows.iter_mut().enumerate() {
            let (block, sequence) = place(index);
            let (start, len) = self.place(block, sequence);
            *row = &mut [];
            if start >= next && columns.start <= columns.end && columns.end <= len {
                next = start + len;
                // SAFETY: as in `row_mut`; each row begins where all before it have ended, so no two have an element in
                // common, and the columns are within the row.
                *row = unsafe {
                    std::slice::from_raw_parts_mut(self.data.add(start + columns.start), columns.end - columns.start)
                };
            }
        }
    }

    /// Several runs of columns of one row, in ascending order, to write; none of those that are out of order.
    #[inline]
    pub fn columns_mut<const N: usize>(
        &mut self,
        block: usize,
        row: usize,
        columns: [Range<usize>; N],
    ) -> [&mut [S]; N] {
        let ((start, len), mut next) = (self.place(block, row), 0);
        columns.map(|Range { start: first, end }| {
            if first < next || end < first || end > len {
                return Default::default();
            }
            next = end;
            // SAFETY: as in `row_mut`; each run begins where those before it have ended, so no two have an element in common, and
            // the last ends within the row.
            unsafe { std::slice::from_raw_parts_mut(self.data.add(start + first), end - first) }
        })
    }

    /// Sequence `row` in block `block`, to read, and in the next block, to write.
    #[inline]
    pub fn step(&mut self, block: usize, row: usize) -> (&[S], &mut [S]) {
        let (from, from_len) = self.place(block, row);
        let (to, to_len) = self.place(block + 1, row);
        // SAFETY: as in `row_mut`; the two rows are of different blocks and so do not overlap (an absent one is empty).
        unsafe {
            (
                std::slice::from_raw_parts(self.data.add(from), from_len),
                std::slice::from_raw_parts_mut(self.data.add(to), to_len),
            )
        }
    }
}
