//! What streams refuse, on any executor.

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

/// An error for states that are not `[L, B, H]`, or a c that the cell does not have.
pub(super) fn expect_states(config: &RnnConfig, batch: usize, h: Option<&[f32]>, c: Option<&[f32]>) -> Result<()> {
    if c.is_some() && !config.recipe().has_c() {
        return Err(Error::unsupported("a cell state (`c`)", config.cell));
    }
    let shape = [config.layers, batch, config.hidden];
    [("h", h), ("c", c)].into_iter().try_for_each(|(name, state)| match state {
        Some(state) if state.len() != shape.iter().product::<usize>() => {
            Err(Error::shape(name, &shape, &[state.len()]))
        }
        _ => Ok(()),
    })
}

/// An error for states of one sequence that are not `[L, H]`; of a cell without c that is empty.
pub(super) fn expect_one_state(config: &RnnConfig, h: &[f32], c: &[f32]) -> Result<()> {
    let has_c = usize::from(config.recipe().has_c());
    [("h", h, 1), ("c", c, has_c)].into_iter().try_for_each(|(name, state, there)| {
        let shape = [there * config.layers, config.hidden];
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
