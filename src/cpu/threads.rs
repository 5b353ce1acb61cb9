//! Threads, and the division of a batch into parts that need no synchronisation.
//!
//! Sequences of a batch are independent, and so are the two directions of a layer. A [`Partition`] deals both out as
//! [`Task`]s; [`Partition::run`] gives each task sole access to its own rows of some buffers for the whole call, so that
//! a task runs all its steps without ever waiting for another.

use std::marker::PhantomData;
use std::num::NonZero;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
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
    /// Held while threads work on one task together: they wait for each other, so each must be there.
    together: Mutex<()>,
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
        Ok(Self { threads, pool, together: Mutex::new(()) })
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

    /// [`run`](Self::run) for work in which threads wait for each other: one such work at a time.
    pub fn run_together<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        let _one = self.together.lock();
        self.run(work)
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
    /// Threads that work on each task together.
    team: usize,
}

/// Threads that work on one task together.
#[derive(Debug)]
pub struct Team {
    size: usize,
    arrived: AtomicUsize,
    meetings: AtomicUsize,
}

/// One of a [`Team`], which may be the only one.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    team: &'a Team,
    index: usize,
}

impl Team {
    const fn new(size: usize) -> Self {
        Self { size, arrived: AtomicUsize::new(0), meetings: AtomicUsize::new(0) }
    }
}

impl Member<'_> {
    /// Its share of `0..count`; those of the team are disjoint and leave nothing out.
    pub const fn share(&self, count: usize) -> Range<usize> {
        count * self.index / self.team.size..count * (self.index + 1) / self.team.size
    }

    /// Waits for the others: what each has written before, all see afterwards. Meetings are some microseconds apart, so it
    /// spins, and gives its processor away when others need that.
    pub fn meet(&self) {
        const SPINS: u32 = 1 << 12;
        let Team { size, arrived, meetings } = self.team;
        if *size == 1 {
            return;
        }
        let meeting = meetings.load(Ordering::Acquire);
        if arrived.fetch_add(1, Ordering::AcqRel) + 1 == *size {
            arrived.store(0, Ordering::Relaxed);
            meetings.store(meeting.wrapping_add(1), Ordering::Release);
            return;
        }
        let mut spins = 0;
        while meetings.load(Ordering::Acquire) == meeting {
            spins += 1;
            match spins {
                ..SPINS => std::hint::spin_loop(),
                _ => std::thread::yield_now(),
            }
        }
    }
}

impl Partition {
    /// As many even slices of the batch as keep all threads busy, and no more, since a larger slice reads the weights
    /// less often.
    pub fn new(threads: Threads, batch: usize, directions: usize) -> Self {
        Self::of(threads, batch, directions, 1)
    }

    /// Slices that are worth reading the weights for, and where these are fewer than threads, teams of threads that work
    /// on one together.
    pub fn together(threads: Threads, batch: usize, directions: usize) -> Self {
        /// Sequences that keep a thread multiplying while weights come from beyond its own cache. Measured on two cores:
        /// with 8 both ways take as long, with fewer teams are faster, by half with one.
        const MANY: usize = 8;
        let alone = Self::of(threads, batch, directions, MANY);
        Self { team: (threads.0 / alone.tasks.len().max(1)).max(1), ..alone }
    }

    fn of(threads: Threads, batch: usize, directions: usize, fewest: usize) -> Self {
        let shared = if directions == 2 && threads.0.is_multiple_of(2) { 2 } else { 1 };
        let slices = (threads.0 / shared).clamp(1, (batch / fewest).max(1));
        let bound = |i: usize| i * (batch / slices) + i.min(batch % slices);
        let task = |direction| move |i| Task { direction, rows: bound(i)..bound(i + 1) };
        let tasks = (0..directions).flat_map(|d| (0..slices).map(task(d))).filter(|t| !t.rows.is_empty()).collect();
        Self { threads, batch, directions, tasks, team: 1 }
    }

    /// Whether threads wait for each other: [`Pool::run_together`] is for that.
    pub const fn is_together(&self) -> bool {
        self.team > 1
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
        self.threads != Threads::ONE && self.tasks.len() * self.team > 1
    }

    /// Calls `work` once with every task and its [`Part`] of each of `buffers`, `[N, B, D·W]` with its W, on threads of
    /// the current pool if it [is parallel](Self::is_parallel), and returns when all are done. A buffer whose size is not a
    /// multiple of `B·D·W` has its end ignored. Where threads work [together](Self::together), on this pool and no other
    /// call of this kind beside it, `work` is called by every member of a task's team.
    ///
    /// # Safety
    ///
    /// Members of a team have the same parts. Of an element that one of them writes between two meetings, no other may
    /// have a reference between these.
    pub unsafe fn run<'a, S: Send, const N: usize>(
        &self,
        buffers: [(&'a mut [S], usize); N],
        work: impl Fn(&Task, Member<'_>, [Part<'a, S>; N]) + Send + Sync,
    ) {
        let shared = buffers.map(|(buffer, width)| {
            let block = self.batch.saturating_mul(self.directions).saturating_mul(width);
            let blocks = buffer.len().checked_div(block).unwrap_or(0);
            Shared { data: buffer.as_mut_ptr(), blocks, width, owned: PhantomData }
        });
        // A task's parts are made once for each of its team: no two tasks' parts have a row in common.
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
        let one =
            |task: &Task, member: Member<'_>| work(task, member, shared.each_ref().map(|shared| part(shared, task)));
        let alone = |task: &Task| one(task, Member { team: &Team::new(1), index: 0 });
        match (self.is_parallel(), self.is_together()) {
            (false, _) => self.tasks.iter().for_each(alone),
            (true, false) => self.tasks.par_iter().with_max_len(1).for_each(alone),
            (true, true) => {
                let teams: Vec<Team> = self.tasks.iter().map(|_| Team::new(self.team)).collect();
                rayon::broadcast(|thread| {
                    let (task, index) = (thread.index() / self.team, thread.index() % self.team);
                    if let (Some(task), Some(team)) = (self.tasks.get(task), teams.get(task)) {
                        one(task, Member { team, index });
                    }
                });
            }
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
// partition, and no two of its tasks share a (direction, sequence); that members of a team, who share a task, write no
// element that another refers to is what `run`'s caller promises. Sending it is sending those `&mut S`.
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
                    // SAFETY: every task has one thread.
                    pool.run(|| unsafe {
                        partition.run(all, |task, _, [mut part]| {
                            let rows = task.rows();
                            for (block, row) in (0..3).flat_map(|n| rows.clone().map(move |b| (n, b))) {
                                part.row_mut(block, row).iter_mut().for_each(|x| *x += 1);
                            }
                        });
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
        let check = |task: &Task, _: Member<'_>, [mut part]: [Part<'_, u32>; 1]| match task.rows().start {
            0 => assert_eq!(part.row(1, 1), [15, 16, 17]),
            _ => {
                assert_eq!(part.row(0, 1), [0u32; 0]);
                assert_eq!(part.row(2, 2), [0u32; 0]);
                let (from, to) = part.step(0, 2);
                assert_eq!((from, &*to), (&[6, 7, 8][..], &[18, 19, 20][..]));
                assert_eq!(part.step(1, 2).1, [0u32; 0]);
                // Rows in ascending order, and columns that they have; nothing else.
                let places = [(0, 2), (1, 3)];
                assert_eq!(part.rows_mut(places, 1..3).map(|row| row.to_vec()), [[7, 8], [22, 23]]);
                assert_eq!(part.rows_mut([(1, 3), (0, 2)], 0..1).map(|row| row.len()), [1, 0]);
                assert_eq!(part.rows_mut([(0, 2), (0, 2)], 0..1).map(|row| row.len()), [1, 0]);
                assert_eq!(part.rows_mut([(0, 1), (0, 2)], 0..1).map(|row| row.len()), [0, 1]);
                assert_eq!(part.rows_mut([(0, 2)], 2..4).map(|row| row.len()), [0]);
            }
        };
        // SAFETY: every task has one thread.
        unsafe { partition.run([(&mut buffer, 3)], check) };
    }

    #[test]
    fn a_team_meets_and_shares() {
        for (threads, batch, directions, teams) in [(4, 1, 1, 1), (4, 1, 2, 2), (5, 17, 1, 2), (3, 24, 1, 3)] {
            let pool = Pool::new(Threads(threads)).unwrap();
            let partition = Partition::together(Threads(threads), batch, directions);
            assert_eq!((partition.tasks().len(), partition.is_together()), (teams, teams < 3));
            let sums: Vec<AtomicUsize> = partition.tasks().iter().map(|_| AtomicUsize::new(0)).collect();
            // SAFETY: there are no parts.
            pool.run_together(|| unsafe {
                partition.run::<u32, 0>([], |task, member, []| {
                    let at = partition.tasks().iter().position(|one| one == task).unwrap();
                    for meeting in 1..=200 {
                        let share = member.share(17);
                        sums[at].fetch_add(share.len(), Ordering::Relaxed);
                        member.meet();
                        // All have added their shares by now, and none more.
                        assert_eq!(sums[at].load(Ordering::Relaxed), meeting * 17);
                        member.meet();
                    }
                });
            });
        }
    }

    #[test]
    fn a_pool_runs_on_its_own_threads() {
        let pool = Pool::new(Threads(3)).unwrap();
        assert_eq!(pool.run(rayon::current_num_threads), 3);
        assert_eq!(Pool::new(Threads::ONE).unwrap().run(|| 7), 7);
        assert!(Threads::new(0).is_err());
    }
}
