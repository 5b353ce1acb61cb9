//! Threads, and the division of a batch into parts that need no synchronisation.
//!
//! Sequences of a batch are independent, and so are the two directions of a layer. A [`Partition`] deals both out as
//! [`Task`]s; [`Partition::run`] gives each task sole access to its own rows of some buffers for the whole call, so that
//! a task runs all its steps without ever waiting for another.

use std::marker::PhantomData;
use std::num::NonZero;
use std::ops::Range;

use rayon::prelude::*;

use crate::error::{Error, Result, at_least_one};

/// How many threads work on one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Threads(usize);

impl Threads {
    /// One thread: everything runs on the caller's.
    pub const ONE: Self = Self(1);

    /// `count` threads, or an error when it is zero.
    pub fn new(count: usize) -> Result<Self> {
        at_least_one("the number of threads", count).map(Self)
    }

    /// As many as the system lets this process run at once.
    pub fn available() -> Self {
        Self(std::thread::available_parallelism().map_or(1, NonZero::get))
    }

    /// Their number, at least 1.
    pub const fn count(self) -> usize {
        self.0
    }
}

impl Default for Threads {
    fn default() -> Self {
        Self::available()
    }
}

/// Threads of one's own, so that work here neither waits for nor crowds out the caller's pool. With one thread there
/// is no pool, and work runs on the calling thread.
#[derive(Debug)]
pub struct Pool {
    threads: Threads,
    pool: Option<rayon::ThreadPool>,
}

impl Pool {
    /// Starts the threads.
    pub fn new(threads: Threads) -> Result<Self> {
        let build = || {
            let name = |i| format!("wgpu-rnn-{i}");
            rayon::ThreadPoolBuilder::new().num_threads(threads.0).thread_name(name).build()
        };
        let failed = |error: rayon::ThreadPoolBuildError| Error::Device {
            device: "the CPU".to_string(),
            doing: format!("started {} threads", threads.0),
            why: error.to_string(),
        };
        let pool = if threads.0 > 1 { Some(build().map_err(failed)?) } else { None };
        Ok(Self { threads, pool })
    }

    /// Number of threads.
    pub const fn threads(&self) -> Threads {
        self.threads
    }

    /// Threads for so many multiply-adds: one where they are done sooner than another thread is awake.
    pub const fn threads_for(&self, work: usize) -> Threads {
        const SMALL: usize = 1 << 22;
        if work <= SMALL { Threads::ONE } else { self.threads }
    }

    /// Threads for work over so many elements that each are read, and little is done with: an element of memory takes the
    /// time of some multiply-adds.
    pub const fn threads_over(&self, elements: usize) -> Threads {
        self.threads_for(elements.saturating_mul(16))
    }

    /// Runs `work` with `threads`: on this pool, unless that is one.
    pub fn run_on<R: Send>(&self, threads: Threads, work: impl FnOnce() -> R + Send) -> R {
        if threads == Threads::ONE { work() } else { self.run(work) }
    }

    /// Runs `work` on this pool: everything in it that takes a [`Threads`] then uses this pool's threads.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match &self.pool {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }
}

/// Calls `work` once with every item, on up to `threads` threads of the current pool, and returns when all are done.
pub fn for_each<T: Send>(threads: Threads, items: Vec<T>, work: impl Fn(T) + Send + Sync) {
    if threads.0 == 1 || items.len() == 1 {
        items.into_iter().for_each(work);
    } else {
        items.into_par_iter().with_max_len(1).for_each(work);
    }
}

/// One direction of some sequences of the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    direction: usize,
    rows: Range<usize>,
}

impl Task {
    /// The direction, `0..D`.
    pub const fn direction(&self) -> usize {
        self.direction
    }

    /// The sequences of the batch, at least one.
    pub fn rows(&self) -> Range<usize> {
        self.rows.clone()
    }
}

/// A batch of B sequences in D directions, dealt out to tasks. Every (direction, sequence) is in exactly one task.
#[derive(Clone, Debug)]
pub struct Partition {
    threads: Threads,
    batch: usize,
    directions: usize,
    tasks: Vec<Task>,
}

impl Partition {
    /// As many even slices of the batch as keep all threads busy, and no more, since a larger slice reads the weights
    /// less often.
    pub fn new(threads: Threads, batch: usize, directions: usize) -> Self {
        let shared = if directions == 2 && threads.0.is_multiple_of(2) { 2 } else { 1 };
        let slices = (threads.0 / shared).clamp(1, batch.max(1));
        let bound = |i: usize| i * (batch / slices) + i.min(batch % slices);
        let task = |direction| move |i| Task { direction, rows: bound(i)..bound(i + 1) };
        let tasks = (0..directions).flat_map(|d| (0..slices).map(task(d))).filter(|t| !t.rows.is_empty()).collect();
        Self { threads, batch, directions, tasks }
    }

    /// An error unless it is one of so many sequences and directions.
    pub(super) fn check(&self, batch: usize, directions: usize) -> Result<()> {
        if [self.batch, self.directions] == [batch, directions] {
            return Ok(());
        }
        Err(Error::shape("a partition", &[batch, directions], &[self.batch, self.directions]))
    }

    /// The tasks.
    pub fn tasks(&self) -> &[Task] {
        &self.tasks
    }

    /// Whether there is work for more than one thread.
    pub fn is_parallel(&self) -> bool {
        self.threads != Threads::ONE && self.tasks.len() > 1
    }

    /// Calls `work` once with every task and its [`Part`] of each of `buffers`, `[N, B, D·W]` with its W, on threads of
    /// the current pool if it [is parallel](Self::is_parallel), and returns when all are done. A buffer whose size is not a
    /// multiple of `B·D·W` has its end ignored.
    pub fn run<'a, S: Send, const N: usize>(
        &self,
        buffers: [(&'a mut [S], usize); N],
        work: impl Fn(&Task, [Part<'a, S>; N]) + Send + Sync,
    ) {
        let shared = buffers.map(|(buffer, width)| {
            let block = self.batch.saturating_mul(self.directions).saturating_mul(width);
            let blocks = buffer.len().checked_div(block).unwrap_or(0);
            Shared { data: buffer.as_mut_ptr(), blocks, width, owned: PhantomData }
        });
        // Every task's parts are made once: no two parts have a row in common.
        let (batch, directions) = (self.batch, self.directions);
        let part = |&Shared { data, blocks, width, owned }: &Shared<'a, S>, task: &Task| Part {
            data,
            blocks,
            batch,
            directions,
            width,
            task: task.clone(),
            owned,
        };
        let one = |task: &Task| work(task, shared.each_ref().map(|shared| part(shared, task)));
        match self.is_parallel() {
            false => self.tasks.iter().for_each(one),
            true => self.tasks.par_iter().with_max_len(1).for_each(one),
        }
    }
}

/// A buffer of which every task gets its part.
struct Shared<'a, S> {
    data: *mut S,
    blocks: usize,
    width: usize,
    owned: PhantomData<&'a mut [S]>,
}

// SAFETY: threads that share it do nothing with it but make parts of it, which are `&mut` to elements that no other part
// has, so `S: Send` is all that is needed.
unsafe impl<S: Send> Sync for Shared<'_, S> {}

/// What one task owns of a buffer `[N, B, D·W]`: in each of the N blocks the rows of its sequences, and of each row the
/// W elements of its direction.
#[derive(Debug)]
pub struct Part<'a, S> {
    data: *mut S,
    blocks: usize,
    batch: usize,
    directions: usize,
    width: usize,
    task: Task,
    owned: PhantomData<&'a mut [S]>,
}

// SAFETY: a part is a `&'a mut` to its own rows and no others: `Partition::run` makes one for each task of a
// partition, and no two of its tasks share a (direction, sequence). Sending it is sending those `&mut S`.
unsafe impl<S: Send> Send for Part<'_, S> {}

impl<S> Part<'_, S> {
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
        // part's rows, which nothing else refers to for 'a; `&self` keeps this part's own `&mut` away.
        unsafe { std::slice::from_raw_parts(self.data.add(start), len) }
    }

    /// [`Part::row`], to write.
    #[inline]
    pub fn row_mut(&mut self, block: usize, row: usize) -> &mut [S] {
        let (start, len) = self.place(block, row);
        // SAFETY: as in `row`; `&mut self` keeps every other reference of this part away.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(start), len) }
    }

    /// Some columns of the rows at these blocks and sequences, in ascending order, to write; none of those out of order.
    #[inline(always)]
    pub fn rows_mut<const M: usize>(&mut self, places: [(usize, usize); M], columns: Range<usize>) -> [&mut [S]; M] {
        let mut rows: [&mut [S]; M] = [(); M].map(|()| Default::default());
        let mut next = 0;
        for (row, place) in rows.iter_mut().zip(places) {
            let (start, len) = self.place(place.0, place.1);
            if start >= next && columns.start <= columns.end && columns.end <= len {
                next = start + len;
                // SAFETY: as in `row_mut`; each row begins where all before it have ended, so no two have an element in
                // common, and the columns are within the row.
                *row = unsafe {
                    std::slice::from_raw_parts_mut(self.data.add(start + columns.start), columns.end - columns.start)
                };
            }
        }
        rows
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_cover_everything_once() {
        for threads in 1..9 {
            for batch in 1..20 {
                for directions in 1..3 {
                    let partition = Partition::new(Threads(threads), batch, directions);
                    let mut buffer = vec![0u32; 3 * batch * directions * 2];
                    let pool = Pool::new(Threads(threads)).unwrap();
                    let all = [(&mut buffer[..], 2)];
                    pool.run(|| {
                        partition.run(all, |task, [mut part]| {
                            let rows = task.rows();
                            for (block, row) in (0..3).flat_map(|n| rows.clone().map(move |b| (n, b))) {
                                part.row_mut(block, row).iter_mut().for_each(|x| *x += 1);
                            }
                        })
                    });
                    assert!(buffer.iter().all(|&x| x == 1), "{threads} threads, {batch} rows, {directions} directions");
                }
            }
        }
    }

    #[test]
    fn a_part_has_no_rows_but_its_own() {
        let partition = Partition::new(Threads(2), 4, 1);
        let mut buffer: Vec<u32> = (0..2 * 4 * 3).collect();
        assert_eq!(partition.tasks().len(), 2);
        partition.run([(&mut buffer, 3)], |task, [mut part]| match task.rows().start {
            0 => assert_eq!(part.row(1, 1), [15, 16, 17]),
            _ => {
                assert_eq!(part.row(0, 1), [0u32; 0]);
                assert_eq!(part.row(2, 2), [0u32; 0]);
                let (from, to) = part.step(0, 2);
                assert_eq!((from, &*to), (&[6, 7, 8][..], &[18, 19, 20][..]));
                assert_eq!(part.step(1, 2).1, [0u32; 0]);
            }
        });
    }

    #[test]
    fn a_pool_runs_on_its_own_threads() {
        let pool = Pool::new(Threads(3)).unwrap();
        assert_eq!(pool.run(rayon::current_num_threads), 3);
        assert_eq!(Pool::new(Threads::ONE).unwrap().run(|| 7), 7);
        assert!(Threads::new(0).is_err());
    }
}
