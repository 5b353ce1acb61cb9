//! That parts are disjoint, teams complete, and nobody waits for what is not there.

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
                    partition.run(all, [[]; 0], |task, _, [mut part], _| {
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
    let check = |task: &Task, _: Member<'_>, [mut part]: [TaskRows<'_, u32>; 1], _: [[_; 0]; 0]| match task.rows().start
    {
        0 => assert_eq!(part.row(1, 1), [15, 16, 17]),
        _ => {
            assert_eq!(part.row(0, 1), [0u32; 0]);
            assert_eq!(part.row(2, 2), [0u32; 0]);
            let (from, to) = part.step(0, 2);
            assert_eq!((from, &*to), (&[6, 7, 8][..], &[18, 19, 20][..]));
            assert_eq!(part.step(1, 2).1, [0u32; 0]);
            // Rows in ascending order, and columns that they have; nothing else.
            let mut rows = |places: [(usize, usize); 2], columns| {
                let mut rows: [&mut [u32]; 2] = Default::default();
                part.rows_mut(|index| places[index], columns, &mut rows);
                rows.map(|row| row.to_vec())
            };
            assert_eq!(rows([(0, 2), (1, 3)], 1..3), [[7, 8], [22, 23]]);
            assert_eq!(rows([(1, 3), (0, 2)], 0..1), [vec![21], vec![]]);
            assert_eq!(rows([(0, 2), (0, 2)], 0..1), [vec![6], vec![]]);
            assert_eq!(rows([(0, 1), (0, 2)], 0..1), [vec![], vec![6]]);
            assert_eq!(rows([(0, 2), (0, 3)], 2..4), [[0u32; 0]; 2]);
        }
    };
    // SAFETY: every task has one thread.
    unsafe { partition.run([(&mut buffer, 3)], [[]; 0], check) };
}

#[test]
fn threads_are_in_teams_where_none_works_longer() {
    // Threads, batch, directions; tasks, and threads on each.
    let cases = [
        ([2, 1, 1], [1, 2]),
        ([2, 8, 1], [1, 2]),
        ([2, 16, 1], [2, 1]),
        ([4, 12, 1], [1, 4]),
        ([16, 64, 1], [8, 2]),
        ([4, 1, 2], [2, 2]),
        // Slices that do not divide the threads would leave some of them idle.
        ([3, 23, 1], [1, 3]),
        ([8, 40, 1], [4, 2]),
        ([5, 24, 2], [10, 1]),
    ];
    for ([threads, batch, directions], [tasks, team]) in cases {
        let partition = Partition::together(Threads(threads), batch, directions, 1 << 20, 1);
        let got = [partition.tasks().len(), partition.team];
        assert_eq!(got, [tasks, team], "{threads} threads, {batch} sequences, {directions} directions");
    }
    // And where a step is worth it: so many of them as it is.
    let team = |step| Partition::together(Threads(16), 1, 1, step, 100).team;
    assert_eq!([199, 200, 500, 1 << 20].map(team), [1, 2, 5, 16]);
}

fn together(threads: usize, batch: usize, directions: usize) -> (Pool, Partition) {
    let partition = Partition::together(Threads(threads), batch, directions, 1, 1);
    (Pool::new(Threads(threads)).unwrap(), partition)
}

#[test]
fn a_team_meets_and_shares() {
    for (threads, batch, directions) in [(4, 4, 1), (4, 4, 2), (5, 7, 1), (16, 20, 1)] {
        let (pool, partition) = together(threads, batch, directions);
        assert!(partition.is_together());
        let sums: Vec<AtomicUsize> = partition.tasks().iter().map(|_| AtomicUsize::new(0)).collect();
        // SAFETY: there are no parts.
        pool.run_together(|| unsafe {
            partition.run::<u32, 0, 0, 0>([], [], |task, member, [], []| {
                let at = partition.tasks().iter().position(|one| one == task).unwrap();
                for meeting in 1..=200 {
                    sums[at].fetch_add(member.share(17).len(), Ordering::Relaxed);
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
fn nobody_waits_for_a_member_that_panicked() {
    let (pool, partition) = together(3, 3, 1);
    // SAFETY: there are no parts.
    let run = || unsafe {
        partition.run::<u32, 0, 0, 0>([], [], |_, member, [], []| {
            assert!(member.index != 1, "on purpose");
            member.meet();
        });
    };
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| pool.run_together(run)));
    assert!(caught.is_err());
}

#[test]
fn a_team_that_is_not_there_is_not_waited_for() {
    let (_, partition) = together(4, 4, 1);
    let calls = AtomicUsize::new(0);
    // SAFETY: there are no parts.
    let work = || unsafe {
        partition.run::<u32, 0, 0, 0>([], [], |_, member, [], []| {
            member.meet();
            calls.fetch_add(member.share(8).len(), Ordering::Relaxed);
        });
    };
    Pool::new(Threads(2)).unwrap().run(work);
    assert_eq!(calls.load(Ordering::Relaxed), 8);
}

#[test]
fn a_pool_runs_on_its_own_threads() {
    let pool = Pool::new(Threads(3)).unwrap();
    assert_eq!(pool.run(rayon::current_num_threads), 3);
    assert_eq!(Pool::new(Threads::ONE).unwrap().run(|| 7), 7);
    assert!(Threads::new(0).is_err());
}
