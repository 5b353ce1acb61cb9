//! Threads, and the division of a batch into parts that need no synchronisation.
//!
//! Sequences of a batch are independent, and so are the two directions of a layer. A [`Partition`] deals both out as
//! [`Task`]s; [`Partition::run`] gives each task sole access to its own rows of some buffers for the whole call, so that
//! a task runs all its steps without ever waiting for another. Where there are fewer sequences than threads have use for,
//! several threads are a [`Team`] that runs one task, and each [`Member`] waits for the others between its shares.

mod rows;

pub use rows::TaskRows;

use std::marker::PhantomData;
use std::num::NonZero;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use rayon::prelude::*;

use rows::Shared;

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
        let (mut work, mut result) = (Some(work), None);
        self.enter(&mut || result = work.take().map(|work| work()));
        // Never without one: `enter` calls its work, and passes on its panic.
        result.unwrap_or_else(|| std::panic::resume_unwind(Box::new("work without a result")))
    }

    /// [`run`](Self::run), compiled once and not for each kind of work.
    fn enter(&self, work: &mut (dyn FnMut() + Send)) {
        let Some(pool) = &self.pool else { return work() };
        if rayon::current_thread_index().is_none() || pool.current_thread_index().is_some() {
            return pool.install(work);
        }
        // A thread of another pool would take up that pool's work while it waits, and what it holds for this work that
        // may need as well. So another thread waits, and this one for that.
        if let Err(panic) = std::thread::scope(|scope| scope.spawn(|| pool.install(work)).join()) {
            std::panic::resume_unwind(panic);
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

/// How many directions share the threads out between them.
const fn shared(threads: Threads, directions: usize) -> usize {
    if directions == 2 && threads.0.is_multiple_of(2) { 2 } else { 1 }
}

/// Threads that work on one task together.
#[derive(Debug)]
#[repr(align(128))]
pub struct Team {
    size: usize,
    arrived: AtomicUsize,
    meetings: AtomicUsize,
    /// Whether a member has panicked: nobody is to wait for it.
    broken: AtomicBool,
}

/// One of a [`Team`], which may be the only one.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    team: &'a Team,
    index: usize,
}

impl Team {
    const fn new(size: usize) -> Self {
        let (arrived, meetings, broken) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
        Self { size, arrived, meetings, broken }
    }
}

/// Tells a team that a member's work has ended by a panic.
struct Breaks<'a>(&'a Team);

impl Drop for Breaks<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.broken.store(true, Ordering::Relaxed);
        }
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
        const SPINS: u32 = 1 << 9;
        let Team { size, arrived, meetings, broken } = self.team;
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
            if broken.load(Ordering::Relaxed) {
                std::panic::resume_unwind(Box::new("another thread of the team has panicked"));
            }
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
        let slices = (threads.0 / shared(threads, directions)).clamp(1, batch.max(1));
        Self::of(threads, batch, directions, slices)
    }

    /// The same where a step of one sequence is `step` multiply-adds, of which `least` are worth a thread's meeting others:
    /// fewer slices, where each is so small that it would read the weights for little, and a team of threads for each.
    pub fn together(threads: Threads, batch: usize, directions: usize, step: usize, least: usize) -> Self {
        /// Sequences that keep a thread multiplying while weights come from beyond its own cache. Measured on two cores:
        /// with 8 both ways take as long, with fewer teams are faster, by half with one.
        const MANY: usize = 8;
        let apart = Self::new(threads, batch, directions);
        let each = threads.0 / shared(threads, directions);
        let slices =
            (1..=each.min((batch / MANY).max(1))).rev().find(|&slices| each.is_multiple_of(slices)).unwrap_or(1);
        let few = Self::of(threads, batch, directions, slices);
        let rows = |partition: &Self| partition.tasks.iter().map(|task| task.rows.len()).max().unwrap_or(0);
        let team = (threads.0 / few.tasks.len().max(1)).min(step.saturating_mul(rows(&few)) / least.max(1));
        // The longest that a thread works, in sequences: never longer than before.
        let before = rows(&apart) * apart.tasks.len().div_ceil(threads.0);
        match team > 1 && rows(&few) <= before * team {
            true => Self { team, ..few },
            false => apart,
        }
    }

    fn of(threads: Threads, batch: usize, directions: usize, slices: usize) -> Self {
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

    /// Calls `work` once with every task and its [`TaskRows`] of each of `buffers`, `[N, B, D·W]` with its W, and of those in
    /// `lists`, on threads of the current pool if it [is parallel](Self::is_parallel), and returns when all are done. A
    /// buffer whose size is not a multiple of `B·D·W` has its end ignored. Where threads work [together](Self::together),
    /// and the current pool has them, `work` is called by every member of a task's team; [`Pool::run_together`] sees to it
    /// that these are all there.
    ///
    /// # Safety
    ///
    /// Members of a team have the same parts. Of an element that one of them writes between two meetings, no other may
    /// have a reference between these.
    pub unsafe fn run<'a, S: Send + Sync, const N: usize, const M: usize, const LISTS: usize>(
        &self,
        buffers: [(&'a mut [S], usize); N],
        lists: [[(&'a mut [S], usize); M]; LISTS],
        work: impl Fn(&Task, Member<'_>, [TaskRows<'a, S>; N], [[TaskRows<'a, S>; M]; LISTS]) + Send + Sync,
    ) {
        let share = |(buffer, width): (&'a mut [S], usize)| {
            let block = self.batch.saturating_mul(self.directions).saturating_mul(width);
            let blocks = buffer.len().checked_div(block).unwrap_or(0);
            Shared { data: buffer.as_mut_ptr(), blocks, width, owned: PhantomData }
        };
        let (buffers, lists) = (buffers.map(share), lists.map(|list| list.map(share)));
        // A task's parts are made once for each of its team: no two tasks' parts have a row in common.
        let (batch, directions) = (self.batch, self.directions);
        let one = |task: &Task, member: Member<'_>| {
            let part = |shared: &Shared<'a, S>| {
                let Shared { data, blocks, width, owned } = *shared;
                TaskRows { data, blocks, batch, directions, width, task: task.clone(), owned }
            };
            let lists = lists.each_ref().map(|list| list.each_ref().map(part));
            work(task, member, buffers.each_ref().map(part), lists);
        };
        let alone = |task: &Task| one(task, Member { team: &Team::new(1), index: 0 });
        // Where there is no pool, asking for its size would start rayon's own.
        let there = || rayon::current_num_threads() >= self.tasks.len() * self.team;
        match (self.is_parallel(), self.is_together() && there()) {
            (false, _) => self.tasks.iter().for_each(alone),
            (true, false) => self.tasks.par_iter().with_max_len(1).for_each(alone),
            (true, true) => {
                let teams: Vec<Team> = self.tasks.iter().map(|_| Team::new(self.team)).collect();
                rayon::broadcast(|thread| {
                    let (task, index) = (thread.index() / self.team, thread.index() % self.team);
                    if let (Some(task), Some(team)) = (self.tasks.get(task), teams.get(task)) {
                        let _breaks = Breaks(team);
                        one(task, Member { team, index });
                    }
                });
            }
        }
    }
}

#[cfg(test)]
mod tests;
