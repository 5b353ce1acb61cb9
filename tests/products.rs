//! Products on every kernel and tile: against f64, with the same bits whatever makes them, on sizes with edges.

mod common;

use common::{Random, relative_error};
use wgpu_rnn::gpu::AdapterKind;
use wgpu_rnn::kernel::Program;
use wgpu_rnn::kernel::gemm::{self, Accumulate, Gemm, Mapped, Matrix, STAGED, Shape, Slices, Tile};
use wgpu_rnn::kernel::rows::RowMap;
use wgpu_rnn::{Buffer, Device};

/// Sequences of a mapped product.
const BATCH: usize = 3;

/// A product with random operands, and how it is made.
#[derive(Clone, Copy, Debug)]
struct Case {
    m: usize,
    n: usize,
    k: usize,
    directions: usize,
    transposed: bool,
    mapped: Mapped,
    accumulate: Accumulate,
    bias: bool,
    /// Whether A, B and C are stored as f16.
    halves: [bool; 3],
    /// Rows of a slice, and for how many there is scratch.
    slices: Option<(usize, usize)>,
    tile: Option<Tile>,
}

impl Case {
    fn new(m: usize, n: usize, k: usize) -> Self {
        Self {
            m,
            n,
            k,
            directions: 1,
            transposed: false,
            mapped: Mapped::No,
            accumulate: Accumulate::No,
            bias: false,
            halves: [false; 3],
            slices: None,
            tile: None,
        }
    }

    /// Steps of the mapped side.
    fn steps(&self) -> usize {
        if self.mapped == Mapped::B { self.k } else { self.m }.div_ceil(BATCH)
    }

    /// C after `run` on a device, in f64. Directions share the rows of A and C, as gates and states do.
    fn run(&self, device: &Device) -> Vec<f64> {
        self.parts(device, std::slice::from_ref(&(0..self.k)))
    }

    /// The same in several products, each over some of k, that go on where the one before it ended.
    fn parts(&self, device: &Device, parts: &[std::ops::Range<usize>]) -> Vec<f64> {
        let Self { m, n, k, directions, transposed, mapped, .. } = *self;
        let mut random = Random::new(7);
        let window = self.steps() * BATCH;
        let [a_rows, b_rows, c_rows] = match mapped {
            Mapped::No => [m, k, m],
            Mapped::A => [window, k, m],
            Mapped::B => [m, window, m],
            Mapped::C => [m, k, window],
        };
        let mut matrix = |rows: usize, columns: usize, half: bool| {
            // Numbers of f16, whose sums f32 has to round: every order gives bits of its own.
            let values = random.values(directions * rows * columns, 1.0);
            let values: Vec<f64> = values.into_iter().map(to_half).collect();
            let buffer = match half && device.gpu().is_some() {
                true => device.alloc_half("values", values.len()),
                false => device.alloc("values", values.len()),
            };
            let buffer = buffer.expect("memory");
            device.write_f64(&buffer, &values).expect("a write");
            Matrix { direction: columns, ..Matrix::dense(&buffer, directions * columns) }
        };
        let a = match transposed {
            true => matrix(k, a_rows, self.halves[0]).transposed(),
            false => matrix(a_rows, k, self.halves[0]),
        };
        let (b, c) = (matrix(b_rows, n, self.halves[1]), matrix(c_rows, n, self.halves[2]));
        let bias = matrix(1, n, false);
        let lengths: Vec<u32> = (0..BATCH as u32).map(|b| (self.steps() as u32).saturating_sub(b)).collect();
        let rows = RowMap {
            first_reversed: 1,
            lengths: device.alloc_u32("lengths", BATCH).expect("memory"),
            batch: BATCH,
            first_step: 0,
            window_first: 0,
            window_rows: window,
        };
        device.write_u32(&rows.lengths, &lengths).expect("a write");
        let mut program = Program::default();
        for (index, part) in parts.iter().enumerate() {
            let right = Matrix { offset: b.offset + part.start * b.row, ..b.clone() };
            let call = Gemm {
                directions: 0..directions,
                bias: self.bias.then(|| bias.clone()),
                accumulate: if index > 0 { Accumulate::Before } else { self.accumulate },
                mapped,
                rows: (mapped != Mapped::No).then(|| rows.clone()),
                // Columns of the mapped side that come from the other direction.
                split: if mapped == Mapped::A { k } else { n } / 8 * 4,
                slices: self.slices.map(|(rows, room)| Slices {
                    rows,
                    scratch: device.alloc("scratch", room * directions * m * n).expect("memory"),
                }),
                tile: self.tile,
                ..Gemm::plain(
                    m,
                    n,
                    part.len(),
                    Matrix { offset: a.offset + part.start * a.column, ..a.clone() },
                    if mapped == Mapped::B { b.clone() } else { right },
                    c.clone(),
                )
            };
            call.add_to(device, &mut program).expect("a product");
        }
        device.run(|recorder| program.record(recorder)).expect("a run");
        device.read_f64(&c.buffer).expect("a read")
    }

    /// Runs it with several tiles: each as near to f64 as its storage allows, all with the same bits.
    #[track_caller]
    fn check(&self, devices: &[&Device], tiles: &[Option<Tile>]) {
        let want = self.run(&Device::oracle().expect("oracle"));
        let bound = if self.halves[2] { 1e-3 } else { 2e-6 };
        let mut first: Option<Vec<f64>> = None;
        for device in devices {
            for &tile in tiles {
                let case = Self { tile, ..*self };
                let got = case.run(device);
                let error = relative_error(&got, &want);
                assert!(error <= bound, "{case:?} is off by {error:.3e}");
                let first = first.get_or_insert_with(|| got.clone());
                let differs = got.iter().zip(&*first).position(|(a, b)| a.to_bits() != b.to_bits());
                assert_eq!(differs, None, "{case:?}: an element has other bits than with {:?}", tiles[0]);
            }
        }
    }
}

/// The nearest number of 11 bits.
fn to_half(value: f64) -> f64 {
    let unit = value.abs().log2().floor().max(-14.0).exp2() / 1024.0;
    (value / unit).round() * unit
}

/// Hardware's table on whatever adapter there is, with all features.
fn hardware() -> Device {
    common::tiled(AdapterKind::Gpu)
}

/// The staged tile that small products have, and that a software adapter compiles fastest.
const SMALLEST: usize = STAGED.len() - 1;

fn staged(index: usize) -> Option<Tile> {
    Some(Tile::Staged(&STAGED[index]))
}

const MAPPINGS: [Mapped; 4] = [Mapped::No, Mapped::A, Mapped::B, Mapped::C];

/// Edges on every side, vectors of four or not, both layouts of A, every map. The larger tiles are texts of the same
/// kernel: a software adapter takes seconds to compile each, so they take turns.
#[test]
fn staged_products_have_the_bits_of_direct_ones() {
    let device = common::gpu();
    for [m, n, k] in [[37, 35, 19], [40, 36, 20]] {
        for mapped in MAPPINGS {
            for transposed in [false, true] {
                let case = Case { mapped, transposed, directions: 2, bias: true, ..Case::new(m, n, k) };
                case.check(&[&device], &[None, staged(SMALLEST)]);
            }
        }
    }
}

#[test]
fn every_tile_gives_the_same_bits() {
    let device = common::gpu();
    for index in 0..SMALLEST {
        // Full tiles and edges in both directions, with vectors in every other.
        let odd = (index + 1) % 2;
        let [m, n] = [STAGED[index].bm, STAGED[index].bn].map(|size| size as usize + 4 + odd);
        let case = Case { transposed: index % 3 == 0, mapped: MAPPINGS[index % 3], ..Case::new(m, n, 36 + odd) };
        case.check(&[&device], &[None, staged(index)]);
    }
}

#[test]
fn sums_start_from_c_or_are_added_to_it() {
    let device = common::gpu();
    let (n, mapped) = (34, Mapped::C);
    for accumulate in [Accumulate::No, Accumulate::Before, Accumulate::After] {
        let case = Case { accumulate, bias: true, directions: 2, ..Case::new(37, n, 21) };
        case.check(&[&device], &[None, staged(SMALLEST)]);
        let case = Case { accumulate, ..Case::new(40, 36, 24) };
        case.check(&[&device], &[None, staged(SMALLEST)]);
        if accumulate != Accumulate::Before {
            Case { accumulate, mapped, ..Case::new(37, n, 21) }.check(&[&device], &[None, staged(SMALLEST)]);
        }
    }
}

#[test]
fn operands_may_be_f16() {
    let device = common::gpu();
    if !device.gpu().is_some_and(|gpu| gpu.capabilities().f16) {
        return;
    }
    // A software adapter takes long to compile these.
    for (halves, size, transposed) in
        [([true; 3], 37, false), ([true, false, true], 40, true), ([false, true, false], 40, false)]
    {
        let case = Case { halves, transposed, accumulate: Accumulate::After, ..Case::new(size, size, size) };
        case.check(&[&device], &[None, staged(SMALLEST)]);
    }
}

#[test]
fn one_row_one_column_one_sum() {
    let (software, hardware) = (common::tiled(AdapterKind::Software), hardware());
    for [m, n, k] in [[1, 70, 9], [70, 1, 9], [70, 9, 1], [1, 1, 1], [1, 1, 300], [4, 4, 4]] {
        for transposed in [false, true] {
            Case { transposed, ..Case::new(m, n, k) }.check(&[&software, &hardware], &[None, staged(SMALLEST)]);
        }
    }
}

/// What the table chooses, on both classes of devices.
#[test]
fn the_tables_of_both_classes_agree() {
    let (software, hardware) = (common::tiled(AdapterKind::Software), hardware());
    for (m, n, k) in [(15, 64, 32), (16, 64, 32), (64, 65, 64), (520, 516, 5)] {
        Case::new(m, n, k).check(&[&software, &hardware], &[None]);
    }
}

/// Slices that are all summed side by side, some at a time or one after another are the same bits; so are products that
/// end where a slice does.
#[test]
fn slices_depend_on_nothing_but_their_length() {
    let device = hardware();
    let case = Case { transposed: true, directions: 2, ..Case::new(20, 24, 1000) };
    let oracle = case.run(&Device::oracle().expect("oracle"));
    for accumulate in [Accumulate::No, Accumulate::Before] {
        let case = Case { accumulate, ..case };
        let oracle =
            if accumulate == Accumulate::No { oracle.clone() } else { case.run(&Device::oracle().expect("f64")) };
        let sliced = |room, tile| Case { slices: Some((96, room)), tile, ..case };
        let want = sliced(0, None).run(&device);
        assert!(relative_error(&want, &oracle) < 2e-6);
        for room in [1, 2, 5, 11, 40] {
            for tile in [None, staged(SMALLEST)] {
                assert_eq!(sliced(room, tile).run(&device), want, "room for {room} slices, {tile:?}");
            }
        }
        for cut in [96, 480, 960] {
            let got = sliced(4, None).parts(&device, &[cut..1000, 0..cut]);
            assert_eq!(got, want, "cut at {cut}");
        }
        assert!(case.run(&device) != want, "whole sums are in another order");
    }
    // Rows in time order.
    let case = Case { mapped: Mapped::B, slices: Some((96, 3)), ..case };
    case.check(&[&device], &[None, staged(SMALLEST)]);
}

#[test]
fn products_that_end_anywhere_go_on() {
    let device = hardware();
    for tile in [None, staged(SMALLEST)] {
        let case = Case { transposed: true, tile, ..Case::new(36, 20, 100) };
        let want = case.run(&device);
        for cut in [4, 37, 64] {
            assert_eq!(case.parts(&device, &[cut..100, 0..cut]), want, "cut at {cut}, {tile:?}");
        }
    }
}

#[test]
fn slices_take_scratch_where_c_is_small_and_only_there() {
    let device = hardware();
    assert_eq!(gemm::slice_rows(&device, 64, 64, 1, 32), Some(256));
    assert_eq!(gemm::slice_rows(&device, 64, 64, 1, 3), Some(258));
    assert_eq!(gemm::slice_rows(&device, 64, 64, 1, 1000), Some(1000));
    assert_eq!(gemm::slice_rows(&device, 4096, 1024, 1, 32), None);
    assert_eq!(gemm::scratch_len(&device, 64, 64, 2, 1024, 32), 4 * 2 * 64 * 64);
    assert_eq!(gemm::scratch_len(&device, 64, 64, 2, 256, 32), 0);
    for device in [common::tiled(AdapterKind::Software), Device::cpu().expect("CPU")] {
        assert_eq!(gemm::slice_rows(&device, 64, 64, 1, 32), None);
    }
    let buffer = |len| device.alloc("values", len).expect("memory");
    let [a, b, c, scratch]: [Buffer; 4] = [64; 4].map(buffer);
    let [a, b, c] = [&a, &b, &c].map(|buffer| Matrix::dense(buffer, 8));
    let product = |rows, accumulate| Gemm {
        slices: Some(Slices { rows, scratch: scratch.clone() }),
        accumulate,
        ..Gemm::plain(8, 8, 8, a.clone(), b.clone(), c.clone())
    };
    let added = |call: Gemm| call.add_to(&device, &mut Program::default());
    assert!(added(product(4, Accumulate::Before)).is_ok());
    assert!(added(product(0, Accumulate::No)).is_err());
    assert!(added(product(4, Accumulate::After)).is_err());
    // An operand that is mapped comes with its map.
    let why = added(Gemm { mapped: Mapped::B, ..product(4, Accumulate::No) }).expect_err("no map").to_string();
    assert!(why.contains("map of a product's rows"), "{why}");
    // Neither does a tile that no device can run reach one.
    for lanes in [0, 1 << 20] {
        let tile = Some(Tile::Direct { lanes, rows: 8, columns: 8 });
        assert!(added(Gemm { tile, ..product(4, Accumulate::No) }).is_err());
    }
}

/// A tuning changes which kernel runs and no bit, and is taken only by the adapter it is of.
#[test]
fn a_tuning_is_followed_and_changes_no_bit() {
    let device = hardware();
    let gpu = device.gpu().expect("a GPU");
    let shape = Shape { m: 40, n: 36, k: 24, transposed: false };
    let measured = gemm::tune(&device, &[shape]).expect("a tuning");
    assert_eq!(measured.choices.keys().collect::<Vec<_>>(), ["64x64x32"]);
    assert!(measured.is_of(gpu));

    let case = Case::new(40, 36, 24);
    let want = case.run(&device);
    let names = [("direct-64x8x2", (8, 2)), ("staged-32x64x16", (32, 64)), ("a tile of a later version", (32, 32))];
    for (name, tile) in names {
        let mut tuning = measured.clone();
        tuning.choices.insert("64x64x32".to_string(), name.to_string());
        let text = serde_json::to_string(&tuning).expect("JSON");
        assert_eq!(serde_json::from_str::<wgpu_rnn::gpu::Tuning>(&text).expect("JSON"), tuning);
        gpu.set_tuning(tuning).expect("its own");
        assert_eq!(case.run(&device), want, "{name}");
        let mut program = Program::default();
        let dense = |rows: usize, columns: usize| {
            Matrix::dense(&device.alloc("values", rows * columns).expect("memory"), columns)
        };
        Gemm::plain(40, 36, 24, dense(40, 24), dense(24, 36), dense(40, 36))
            .add_to(&device, &mut program)
            .expect("a plan");
        let rows =
            program.ops()[0].spec().and_then(|spec| spec.consts.iter().find(|(name, _)| ["RM", "BM"].contains(name)));
        let columns =
            program.ops()[0].spec().and_then(|spec| spec.consts.iter().find(|(name, _)| ["RN", "BN"].contains(name)));
        let made = rows.zip(columns).map(|(rows, columns)| (rows.1, columns.1));
        assert_eq!(made, Some(tile), "{name}");
    }
    let mut other = measured;
    other.driver.push('x');
    let why = gpu.set_tuning(other).expect_err("another driver's").to_string();
    assert!(why.starts_with("the tuning must be of "), "{why}");
    assert!(gemm::tune(&Device::cpu().expect("CPU"), &[shape]).is_err());
    assert!(gemm::tune(&device, &[Shape { m: 0, ..shape }]).is_err());
}

/// Prints GFLOP/s of direct tiles on the software adapter: what the table's choice for it rests on.
#[test]
#[ignore = "a measurement, for a machine that does nothing else"]
fn direct_tiles_on_the_software_adapter() {
    let device = common::tiled(AdapterKind::Software);
    let tiles = [(8, 8, 8), (8, 12, 8), (8, 16, 8), (8, 8, 16), (16, 8, 8)];
    for (m, n, k, transposed) in [(1024, 512, 128, false), (1024, 128, 512, false), (512, 128, 1024, true)] {
        let dense = |rows: usize, columns: usize| {
            Matrix::dense(&device.alloc("values", rows * columns).expect("memory"), columns)
        };
        let a = if transposed { dense(k, m).transposed() } else { dense(m, k) };
        let (b, c) = (dense(k, n), dense(m, n));
        let programs = tiles.map(|(lanes, rows, columns)| {
            let mut program = Program::default();
            let tile = Some(Tile::Direct { lanes, rows, columns });
            let call = Gemm { tile, ..Gemm::plain(m, n, k, a.clone(), b.clone(), c.clone()) };
            call.add_to(&device, &mut program).expect("a product");
            (program, Vec::new())
        });
        let mut programs = Vec::from(programs);
        // In turns, so that a machine that slows down slows all of them.
        for _ in 0..25 {
            for (program, times) in &mut programs {
                times.push(device.time(|recorder| program.record(recorder)).expect("a run").wall_ms);
            }
        }
        for ((_, times), tile) in programs.iter_mut().zip(tiles) {
            times.sort_by(f64::total_cmp);
            let rate = |ms: f64| 2.0 * (m * n * k) as f64 / ms * 1e-6;
            let (median, best) = (rate(times[times.len() / 2]), rate(times[0]));
            println!("{m}x{n}x{k} {transposed} {tile:?}: median {median:.2}, best {best:.2} GFLOP/s");
        }
    }
}
