//! Cells as `compare`, `flow` and `gates` set them beside each other: each with what is changed about its step.

use std::str::FromStr;

use wgpu_rnn::{Cell, RnnConfig, StepOptions};

/// A cell and the options of its step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    pub cell: Cell,
    pub options: StepOptions,
}

impl From<Cell> for Kind {
    fn from(cell: Cell) -> Self {
        Self { cell, options: StepOptions::NONE }
    }
}

impl FromStr for Kind {
    type Err = wgpu_rnn::Error;

    /// A cell, and behind a plus each of its options: `gru`, `gru+reset_before`, `lstm+peephole+clip_cell=3`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (cell, options) = text.split_once('+').unwrap_or((text, ""));
        let kind = Self { cell: cell.parse()?, options: options.replace('+', ",").parse()? };
        kind.config(1, 1).check()?;
        Ok(kind)
    }
}

impl Kind {
    /// A layer of it.
    pub fn config(self, input: usize, hidden: usize) -> RnnConfig {
        RnnConfig::new(self.cell, input, hidden).options(self.options)
    }
}

/// What a layer is called on pages and in results: its cell, and what is changed about its step.
pub fn title(config: &RnnConfig) -> String {
    let (cell, options) = (config.cell.title(), config.options.to_string());
    if options.is_empty() { cell.to_string() } else { format!("{cell} ({})", options.replace(',', ", ")) }
}

/// The same as [`Kind`] reads it, in files of numbers: `gru+reset_before`.
pub fn named(config: &RnnConfig) -> String {
    let options = config.options.to_string();
    let options = options.split(',').filter(|option| !option.is_empty());
    options.fold(config.cell.name().to_string(), |named, option| named + "+" + option)
}

/// An error where one of the cells that are set beside each other is there twice, or where an option has no effect.
pub fn expect_apart(kinds: &[Kind]) -> anyhow::Result<()> {
    for (index, kind) in kinds.iter().enumerate() {
        if kinds[..index].contains(kind) {
            anyhow::bail!("--cells names {} twice", title(&kind.config(1, 1)));
        }
        if kind.options.resets {
            anyhow::bail!(
                "--cells: no sequence of the data begins anew within a batch, so `resets` would have no effect"
            );
        }
    }
    Ok(())
}

/// Parameters of a layer and direction in words: `3·(32·8 + 32·32 + 2·32)`.
pub fn formula(config: &RnnConfig) -> String {
    let (recipe, input, hidden) = (config.recipe(), config.input, config.hidden);
    let gates = recipe.gates();
    let peepholes = match recipe.peepholes() {
        0 => String::new(),
        some => format!(" + {some}·{hidden}"),
    };
    if let Some(size) = recipe.projection() {
        return format!("{gates}·({hidden}·{input} + {hidden}·{size} + 2·{hidden}) + {size}·{hidden}{peepholes}");
    }
    match recipe.has_product() {
        true => format!("{gates}·({hidden}·{input} + {hidden}·{hidden} + 2·{hidden}){peepholes}"),
        false => format!("{gates}·({hidden}·{input} + {hidden}){peepholes}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_read_and_named() {
        let of = |text: &str| text.parse::<Kind>().map(|kind| title(&kind.config(8, 32)));
        assert_eq!(of("gru").unwrap(), "GRU");
        assert_eq!(of("gru+reset_before").unwrap(), "GRU (reset_before)");
        assert_eq!(of("lstm+peephole+clip_cell=3").unwrap(), "LSTM (peephole, clip_cell=3)");
        for text in ["gru", "gru+reset_before", "lstm+peephole+clip_cell=3", "lstm+projection=16"] {
            assert_eq!(named(&text.parse::<Kind>().unwrap().config(8, 32)), text);
        }
        assert!(of("lstm+reset_before").unwrap_err().to_string().contains("which has no reset gate"));
        assert!(of("gru+").is_ok() && of("gru+peepholes").is_err() && of("gro").is_err());
    }

    #[test]
    fn formulas_are_what_is_counted() {
        for (text, formula_of_it, count) in [
            ("gru", "3·(32·8 + 32·32 + 2·32)", 3 * (32 * 8 + 32 * 32 + 64)),
            ("lstm+peephole", "4·(32·8 + 32·32 + 2·32) + 3·32", 4 * (32 * 8 + 32 * 32 + 64) + 96),
            ("min_gru", "2·(32·8 + 32)", 2 * (32 * 8 + 32)),
            ("sru", "4·(32·8 + 32) + 2·32", 4 * (32 * 8 + 32) + 64),
            ("ind_rnn", "1·(32·8 + 32) + 1·32", 32 * 8 + 32 + 32),
            ("lstm+projection=16", "4·(32·8 + 32·16 + 2·32) + 16·32", 4 * (32 * 8 + 32 * 16 + 64) + 512),
        ] {
            let config = text.parse::<Kind>().unwrap().config(8, 32);
            assert_eq!((formula(&config).as_str(), config.parameters()), (formula_of_it, count));
        }
    }
}
