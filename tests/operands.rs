//! What is handed to a kernel is checked when its op is made: sizes, devices, shared allocations. Nothing hangs, and
//! nothing reaches a shader that would leave its buffers.

mod common;

use common::{devices, wgpu_device};
use wgpu_rnn::kernel::Program;
use wgpu_rnn::kernel::column_sum::ColumnSum;
use wgpu_rnn::kernel::copy::copy;
use wgpu_rnn::kernel::gemm::Matrix;
use wgpu_rnn::kernel::recurrent::{Move, move_states};
use wgpu_rnn::nn::rnn::{Gradients, Io, Options, Rnn, tensors};
use wgpu_rnn::nn::{Linear, Loss, Parameters};
use wgpu_rnn::plan::Mode;
use wgpu_rnn::{BatchShape, Cell, Device, DeviceKind, Recorder, Result, RnnConfig, StepOptions};

#[track_caller]
fn text<T>(result: Result<T>) -> String {
    result.map(|_| ()).expect_err("an error").to_string()
}

#[test]
fn operands_that_share_an_allocation_are_errors() {
    for device in devices() {
        let [y, target] = [(); 2].map(|()| device.alloc("values", 128).expect("memory"));
        let why = text(Loss::mse(&device, &y, &target, Some(&y)));
        assert_eq!(why, "what `mse` writes must be an allocation of its own, got one that another operand lies in too");

        let linear = Linear { inputs: 1, outputs: 1, bias: true };
        let params = Parameters::new(&device, linear.parameters("")).expect("memory");
        let [x, y] = [0..64, 64..128].map(|half| target.slice(half).expect("a half"));
        let why = text(linear.bind(&params, "", 64, &x, &y));
        assert!(why.starts_with("what `gemm` writes must be an allocation of its own"), "{why} on {device:?}");

        let config = RnnConfig::new(Cell::Gru, 2, 2);
        let rnn = Rnn::new(&device, config, BatchShape::new(8, 4), Mode::Train, Options::default()).expect("a plan");
        let params = Parameters::new(&device, tensors(&config, "")).expect("memory");
        let (reserve, workspace) = (rnn.reserve().expect("memory"), rnn.workspace().expect("memory"));
        let bind = |io: &Io, gradients: &Gradients| rnn.bind(&params, "", io, gradients, &reserve, &workspace);
        let none = Gradients::default();
        assert_eq!(text(bind(&Io::new(&x, &x), &none)), "`y` must be memory of its own, got that of `x`");
        let state = device.alloc("a state", 8).expect("memory");
        let (own, dx) = (Io::new(&x, &y), Gradients { dx: Some(x.clone()), ..Gradients::default() });
        assert_eq!(text(bind(&own, &dx)), "`dx` must be memory of its own, got that of `x`");
        let streaming = Io { h0: Some(state.clone()), hn: Some(state), ..own };
        bind(&streaming, &none).expect("a final state may take the initial one's place");
    }
}

/// WebGPU forbids one range of a buffer behind two writable bindings, though native drivers let it pass.
#[test]
fn a_kernel_writes_no_range_through_two_bindings() {
    for device in devices().into_iter().filter(|device| device.gpu().is_some()) {
        let state = device.alloc("states", 192).expect("memory");
        let part = |range| Matrix::dense(&state.slice(range).expect("a part"), 64);
        let to =
            |h, c| move_states(&device, [1, 1], &Move::each([64; 2], [None, None], [h, c]), &mut Program::default());
        to(part(0..64), part(64..128)).expect("neighbours");
        let why = text(to(part(0..64), part(0..64)));
        let want = "`h_to` of kernel `recurrent_states` must be bound alone, got what `c_to` holds too";
        assert_eq!(why, want, "{device:?}");
        assert_eq!(text(to(part(0..128), part(64..192))), want, "{device:?}");
        // Two places of one part are bound once.
        let place = |offset| Matrix { offset, ..part(0..128) };
        to(place(0), place(64)).expect("two places");
        assert_eq!(text(to(place(0), place(63))), want, "{device:?}");
    }
}

#[test]
fn sizes_beyond_a_buffer_are_errors() {
    for device in devices() {
        let [small, other] = [(); 2].map(|()| device.alloc("values", 64).expect("memory"));
        let (from, to) = (Matrix::dense(&small, 8), Matrix::dense(&other, 8));
        assert!(text(copy(&device, 1, 1 << 20, 256, Some(&from), &to)).contains("of a product must be"));
        assert!(copy(&device, 1, 8, 8, Some(&from), &to).is_ok());
        let sum =
            |rows, part_rows| ColumnSum { part_rows, ..ColumnSum::total(rows, 8, from.clone(), to.clone(), false) };
        assert!(text(sum(100, 100).op(&device)).contains("must be"));
        assert_eq!(text(sum(8, 0).op(&device)), "the rows of one sum must be at least 1, got 0");
        assert!(sum(8, 8).op(&device).is_ok());
    }
}

#[test]
fn devices_do_not_take_each_others_buffers() {
    let open = || {
        let (device, queue) = wgpu_device(|_| wgpu::Limits::defaults());
        Device::from_wgpu(device, queue)
    };
    let software = || pollster::block_on(Device::open(DeviceKind::Software));
    let mut pairs = vec![[open(), open()]];
    pairs.extend(software().ok().zip(software().ok()).map(|(one, other)| [one, other]));
    for [one, other] in pairs {
        assert!(one.same(&one.clone()) && !one.same(&other));
        let theirs = other.upload("theirs", &[1.0, 2.0]).expect("memory");
        assert!(text(one.write(&theirs, &[3.0, 4.0])).starts_with("`the written buffer` must be on "));
        assert!(text(one.read(&theirs)).starts_with("`the read buffer` must be on "));
        assert_eq!(other.read(&theirs).expect("their own"), [1.0, 2.0]);
    }
}

#[test]
fn recorders_take_only_programs_of_their_own_executor() {
    let cpu = Device::cpu().expect("CPU");
    let [y, target] = [(); 2].map(|()| cpu.alloc("values", 4).expect("memory"));
    let loss = Loss::mse(&cpu, &y, &target, None).expect("a loss");
    let (device, _queue) = wgpu_device(|_| wgpu::Limits::defaults());
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    let why = text(loss.record(&mut Recorder::new(&mut encoder)));
    assert_eq!(why, "the recorder must be on the CPU executor, got a GPU");
    loss.record(&mut Recorder::cpu()).expect("its own");
}

#[test]
fn a_reverse_tensor_declared_first_is_an_error_that_names_it() {
    let device = Device::cpu().expect("CPU");
    let config = RnnConfig::new(Cell::RnnTanh, 3, 2).bidirectional(true);
    let mut table = tensors(&config, "");
    table.rotate_left(4);
    let params = Parameters::new(&device, table).expect("memory");
    let rnn = Rnn::new(&device, config, BatchShape::new(4, 2), Mode::Infer, Options::default()).expect("a plan");
    let [x, y] = [4 * 2 * 3, 4 * 2 * 4].map(|len| device.alloc("values", len).expect("memory"));
    let (reserve, workspace) = (rnn.reserve().expect("memory"), rnn.workspace().expect("memory"));
    let bound = rnn.bind(&params, "", &Io::new(&x, &y), &Gradients::default(), &reserve, &workspace);
    let why = text(bound);
    assert!(why.contains("_l0_reverse` must be declared after `"), "{why}");
}

/// On every device: a GPU binds peepholes behind the weights that they go with.
#[test]
fn peepholes_declared_before_the_weights_are_an_error() {
    let options = StepOptions { peephole: true, ..StepOptions::NONE };
    let config = RnnConfig::new(Cell::Lstm, 3, 2).options(options);
    for device in [Device::cpu().expect("CPU"), common::gpu()] {
        for mode in [Mode::Infer, Mode::Train] {
            let mut table = tensors(&config, "");
            table.rotate_right(1);
            assert_eq!(table[0].0, "weight_ch_l0");
            let params = Parameters::new(&device, table).expect("memory");
            let rnn = Rnn::new(&device, config, BatchShape::new(4, 2), mode, Options::default()).expect("a plan");
            let [x, y] = [4 * 2 * 3, 4 * 2 * 2].map(|len| device.alloc("values", len).expect("memory"));
            let (reserve, workspace) = (rnn.reserve().expect("memory"), rnn.workspace().expect("memory"));
            let bound = rnn.bind(&params, "", &Io::new(&x, &y), &Gradients::default(), &reserve, &workspace);
            let want = "`weight_ch_l0` must be declared after `weight_hh_l0`, got declared before it";
            assert_eq!(text(bound), want, "{device:?}");
        }
    }
}

/// Floats stored as f16: rounded to nearest on the way in, widened on the way out, in whole words.
#[test]
fn half_buffers_round_and_widen() {
    let device = common::gpu();
    if !device.gpu().is_some_and(|gpu| gpu.capabilities().f16) {
        assert!(device.alloc_half("halves", 4).is_err());
        return;
    }
    let values = [1.0, -0.333_333_34, 65504.0, 1e-7, 70000.0];
    let buffer = device.alloc_half("halves", values.len()).expect("a buffer");
    assert_eq!((buffer.bytes(), buffer.allocated_bytes(), buffer.dtype()), (12, 12, wgpu_rnn::DType::Half));
    device.write(&buffer, &values).expect("a write");
    let got = device.read(&buffer).expect("a read");
    assert_eq!(got, [1.0, -0.333_251_95, 65504.0, 1.192_092_9e-7, f32::INFINITY]);
    let part = buffer.slice(2..4).expect("a slice");
    device.write(&part, &[2.0, 3.0]).expect("a write of whole words");
    assert_eq!(device.read(&buffer).expect("a read")[1..], [-0.333_251_95, 2.0, 3.0, f32::INFINITY]);
    // Words can't be cut.
    assert!(device.write(&buffer.slice(0..1).expect("a slice"), &[0.0]).is_err());
    assert!(device.read(&buffer.slice(1..3).expect("a slice")).is_err());
}
