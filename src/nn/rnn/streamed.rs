//! What streams refuse, on any executor.

use crate::cell::MOST_STATES;
use crate::config::RnnConfig;
use crate::error::{Error, Result};

/// An error for a layer whose steps can't be taken as they come.
pub(super) fn expect_forward(config: &RnnConfig) -> Result<()> {
    match config.is_reversed() {
        false => Ok(()),
        true => Err(Error::Unsupported {
            option: "a step at a time".to_string(),
            place: "a layer with a direction that starts at the end".to_string(),
        }),
    }
}

/// A value for each state, in their order, with its name.
type States<T> = [(&'static str, T); MOST_STATES];

/// An error for states that are not `[L, B, H]`, or that the cell does not have.
pub(super) fn expect_states(config: &RnnConfig, batch: usize, states: States<Option<&[f32]>>) -> Result<()> {
    let mut others = states.iter().skip(config.recipe().states());
    if let Some((name, _)) = others.find(|(_, state)| state.is_some()) {
        return Err(Error::unsupported(format!("a cell state (`{name}`)"), config.cell));
    }
    states.into_iter().enumerate().try_for_each(|(index, (name, state))| {
        let shape = [config.layers, batch, config.width(index)];
        match state {
            Some(state) if state.len() != shape.iter().product::<usize>() => {
                Err(Error::shape(name, &shape, &[state.len()]))
            }
            _ => Ok(()),
        }
    })
}

/// An error for states of one sequence that are not `[L, H]`; those that the cell does not have are empty.
pub(super) fn expect_one_state(config: &RnnConfig, states: States<&[f32]>) -> Result<()> {
    states.into_iter().enumerate().try_for_each(|(index, (name, state))| {
        let there = usize::from(index < config.recipe().states());
        let shape = [there * config.layers, config.width(index)];
        match state.len() == shape.iter().product::<usize>() {
            true => Ok(()),
            false => Err(Error::shape(name, &shape, &[state.len()])),
        }
    })
}

/// An error for a sequence that there is not: one that begins anew, or one to replace.
pub(super) fn expect_sequences(what: &str, batch: usize, sequences: &[usize]) -> Result<()> {
    match sequences.iter().find(|&&sequence| sequence >= batch) {
        Some(odd) => Err(Error::invalid(what, format!("below {batch}"), odd)),
        None => Ok(()),
    }
}
