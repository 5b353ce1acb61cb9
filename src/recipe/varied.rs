//! Recipes that tests and self-tests know beside each cell as PyTorch has it.

use super::{Clip, StepOptions, Zoneout};
use crate::activation::{Activation, Function, Number};
use crate::cell::Cell;

/// Cells with options, such that of any two options of a cell each occurs with and without the other (the cells without any
/// included). Each option of the LSTM is on in another four of six rows, of the other cells in another three of five. The GRU
/// with the reset before the product, and the LSTM with a projection, are there alone too, as files have them; two rows more have the
/// projection with each of the options that it goes with. The
/// rectified RNN, which is the RNN with another function, has one row with all of its options.
pub(super) const VARIED: &[(Cell, StepOptions)] = {
    const NONE: StepOptions = StepOptions::NONE;
    const fn clip(inputs: f32, cell: f32, cell_as_read: f32, gradient: f32) -> Clip {
        const fn some(limit: f32) -> Option<Number> {
            if limit > 0.0 { Some(Number::new(limit)) } else { None }
        }
        Clip {
            inputs: some(inputs),
            cell: some(cell),
            cell_as_read: some(cell_as_read),
            gradient: some(gradient),
            projection: None,
        }
    }
    const fn clip_of_h(limit: f32, others: Clip) -> Clip {
        Clip { projection: clip(limit, 0.0, 0.0, 0.0).inputs, ..others }
    }
    const fn of(function: Function) -> Option<Activation> {
        Some(Activation::of(function))
    }
    const THRESHOLDED: Option<Activation> = Some(Activation::with_alpha(Function::ThresholdedRelu, 0.1));
    // So near that some of what random layers make is beyond them.
    const INPUT: f32 = 0.5;
    const STATE: f32 = 0.4;
    const SLOPE: f32 = 0.6;
    const fn zoneout(h: f32, c: f32) -> Zoneout {
        let Clip { inputs: h, cell: c, .. } = clip(h, c, 0.0, 0.0);
        Zoneout { h, c }
    }
    const fn drop(share: f32) -> Option<Number> {
        clip(share, 0.0, 0.0, 0.0).inputs
    }
    const STAYS: f32 = 0.3;
    const STAYS_CELL: f32 = 0.4;
    const DROPS: f32 = 0.25;
    &[
        (
            Cell::Lstm,
            StepOptions {
                peephole: true,
                coupled: true,
                resets: true,
                candidate: of(Function::Elu),
                clip: clip(INPUT, STATE, 0.0, 0.0),
                zoneout: zoneout(STAYS, STAYS_CELL),
                recurrent_dropout: drop(DROPS),
                ..NONE
            },
        ),
        (
            Cell::Lstm,
            StepOptions {
                peephole: true,
                candidate: of(Function::Softplus),
                output: of(Function::ScaledTanh),
                clip: clip(INPUT, 0.0, STATE, SLOPE),
                zoneout: zoneout(STAYS, STAYS_CELL),
                recurrent_dropout: drop(DROPS),
                ..NONE
            },
        ),
        (
            Cell::Lstm,
            StepOptions {
                peephole: true,
                resets: true,
                gate: of(Function::HardSigmoid),
                output: of(Function::Softsign),
                clip: clip(0.0, STATE, STATE / 2.0, 0.0),
                zoneout: zoneout(STAYS, STAYS_CELL),
                ..NONE
            },
        ),
        (
            Cell::Lstm,
            StepOptions {
                coupled: true,
                resets: true,
                gate: of(Function::HardSigmoid),
                clip: clip(INPUT, 0.0, STATE, SLOPE),
                zoneout: zoneout(STAYS, 0.0),
                recurrent_dropout: drop(DROPS),
                ..NONE
            },
        ),
        (
            Cell::Lstm,
            StepOptions {
                coupled: true,
                gate: of(Function::Affine),
                candidate: of(Function::LeakyRelu),
                output: of(Function::Elu),
                clip: clip(0.0, STATE, 0.0, SLOPE),
                zoneout: zoneout(0.0, STAYS_CELL),
                recurrent_dropout: drop(DROPS),
                ..NONE
            },
        ),
        (
            Cell::Lstm,
            StepOptions {
                peephole: true,
                coupled: true,
                resets: true,
                gate: of(Function::Sigmoid),
                candidate: of(Function::Tanh),
                output: of(Function::Relu),
                clip: clip(INPUT, STATE, STATE / 2.0, SLOPE),
                ..NONE
            },
        ),
        (Cell::Lstm, StepOptions { projection: Some(3), ..NONE }),
        (
            Cell::Lstm,
            StepOptions {
                peephole: true,
                projection: Some(3),
                resets: true,
                candidate: of(Function::Softsign),
                clip: clip_of_h(INPUT, clip(INPUT, STATE, 0.0, 0.0)),
                recurrent_dropout: drop(DROPS),
                ..NONE
            },
        ),
        (
            Cell::Lstm,
            StepOptions {
                coupled: true,
                projection: Some(4),
                gate: of(Function::HardSigmoid),
                output: of(Function::ScaledTanh),
                clip: clip_of_h(INPUT, clip(0.0, 0.0, STATE, SLOPE)),
                zoneout: zoneout(0.0, STAYS_CELL),
                ..NONE
            },
        ),
        (Cell::Gru, StepOptions { reset_before: true, ..NONE }),
        (
            Cell::Gru,
            StepOptions {
                reset_before: true,
                candidate: of(Function::Relu),
                clip: clip(INPUT, 0.0, 0.0, SLOPE),
                zoneout: zoneout(STAYS, 0.0),
                ..NONE
            },
        ),
        (
            Cell::Gru,
            StepOptions {
                gate: of(Function::Softsign),
                candidate: of(Function::Softplus),
                clip: clip(INPUT, 0.0, 0.0, 0.0),
                recurrent_dropout: drop(DROPS),
                ..NONE
            },
        ),
        (
            Cell::Gru,
            StepOptions {
                reset_before: true,
                resets: true,
                gate: of(Function::HardSigmoid),
                clip: clip(INPUT, 0.0, 0.0, 0.0),
                zoneout: zoneout(STAYS, 0.0),
                recurrent_dropout: drop(DROPS),
                ..NONE
            },
        ),
        (
            Cell::Gru,
            StepOptions {
                resets: true,
                gate: of(Function::HardSigmoid),
                clip: clip(0.0, 0.0, 0.0, SLOPE),
                zoneout: zoneout(STAYS, 0.0),
                ..NONE
            },
        ),
        (
            Cell::Gru,
            StepOptions {
                reset_before: true,
                resets: true,
                candidate: of(Function::ScaledTanh),
                clip: clip(0.0, 0.0, 0.0, SLOPE),
                recurrent_dropout: drop(DROPS),
                ..NONE
            },
        ),
        (
            Cell::RnnTanh,
            StepOptions { resets: true, clip: clip(INPUT, 0.0, 0.0, SLOPE), zoneout: zoneout(STAYS, 0.0), ..NONE },
        ),
        (
            Cell::RnnTanh,
            StepOptions {
                candidate: THRESHOLDED,
                clip: clip(INPUT, 0.0, 0.0, 0.0),
                zoneout: zoneout(STAYS, 0.0),
                ..NONE
            },
        ),
        (
            Cell::RnnTanh,
            StepOptions {
                candidate: of(Function::Tanh),
                clip: clip(0.0, 0.0, 0.0, SLOPE),
                recurrent_dropout: drop(DROPS),
                ..NONE
            },
        ),
        (
            Cell::RnnTanh,
            StepOptions {
                resets: true,
                candidate: of(Function::Softsign),
                zoneout: zoneout(STAYS, 0.0),
                recurrent_dropout: drop(DROPS),
                ..NONE
            },
        ),
        (
            Cell::RnnTanh,
            StepOptions { resets: true, clip: clip(INPUT, 0.0, 0.0, SLOPE), recurrent_dropout: drop(DROPS), ..NONE },
        ),
        (
            Cell::RnnRelu,
            StepOptions {
                resets: true,
                clip: clip(INPUT, 0.0, 0.0, SLOPE),
                zoneout: zoneout(STAYS, 0.0),
                recurrent_dropout: drop(DROPS),
                ..NONE
            },
        ),
        (
            Cell::MinGru,
            StepOptions {
                resets: true,
                candidate: of(Function::Softsign),
                clip: clip(0.0, 0.0, 0.0, SLOPE),
                zoneout: zoneout(STAYS, 0.0),
                ..NONE
            },
        ),
        (Cell::MinGru, StepOptions { gate: of(Function::HardSigmoid), clip: clip(INPUT, 0.0, 0.0, 0.0), ..NONE }),
        (
            Cell::MinLstm,
            StepOptions {
                resets: true,
                candidate: of(Function::Tanh),
                clip: clip(0.0, 0.0, 0.0, SLOPE),
                zoneout: zoneout(STAYS, 0.0),
                ..NONE
            },
        ),
        (Cell::MinLstm, StepOptions { candidate: of(Function::Elu), clip: clip(INPUT, 0.0, 0.0, SLOPE), ..NONE }),
        (
            Cell::Sru,
            StepOptions {
                resets: true,
                output: of(Function::Tanh),
                clip: clip(0.0, STATE, 0.0, SLOPE),
                zoneout: zoneout(STAYS, STAYS_CELL),
                ..NONE
            },
        ),
        (
            Cell::Sru,
            StepOptions {
                gate: of(Function::HardSigmoid),
                candidate: of(Function::Tanh),
                clip: clip(INPUT, STATE, STATE / 2.0, 0.0),
                ..NONE
            },
        ),
        (
            Cell::IndRnn,
            StepOptions { resets: true, clip: clip(0.0, 0.0, 0.0, SLOPE), zoneout: zoneout(STAYS, 0.0), ..NONE },
        ),
        (Cell::IndRnn, StepOptions { candidate: of(Function::Tanh), clip: clip(INPUT, 0.0, 0.0, 0.0), ..NONE }),
    ]
};
