//! What is dropped in training, as arguments and as kept in files.

use serde::{Deserialize, Serialize};
use wgpu_rnn::RnnConfig;

/// Probabilities; none is 0.
#[derive(Clone, Copy, Debug, Default, clap::Args, Serialize, Deserialize)]
pub struct Dropouts {
    /// Dropout between layers, in training: the probability that a value is dropped on its way to the next [default: 0]
    #[arg(long, value_name = "P", value_parser = probability)]
    pub dropout: Option<f32>,
    /// Variational dropout of each layer's inputs, in training: the probability that an input is dropped at all steps of a
    /// sequence [default: 0]
    #[arg(long, value_name = "P", value_parser = probability)]
    pub input_dropout: Option<f32>,
    /// Dropout of the weights between steps, in training: the probability that an element of W_hh is dropped [default: 0]
    #[arg(long, value_name = "P", value_parser = probability)]
    pub weight_dropout: Option<f32>,
}

fn probability(text: &str) -> Result<f32, String> {
    let share: Option<f32> = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "expected a number from 0 to 1".to_string())
}

impl Dropouts {
    /// Those of a layer.
    pub fn of(config: &RnnConfig) -> Self {
        let some = |probability: wgpu_rnn::Number| Some(probability.get()).filter(|share| *share != 0.0);
        Self {
            dropout: some(config.dropout),
            input_dropout: some(config.input_dropout),
            weight_dropout: some(config.weight_dropout),
        }
    }

    /// An error where something is to be dropped between layers of which there is one.
    pub fn check(self, layers: usize) -> anyhow::Result<()> {
        match self.dropout {
            Some(share) if share > 0.0 && layers == 1 => {
                anyhow::bail!("--dropout: expected --layers of at least 2, between which values are dropped, got 1")
            }
            _ => Ok(()),
        }
    }

    /// The layer with them.
    pub fn onto(self, config: RnnConfig) -> RnnConfig {
        let [dropout, inputs, weights] = self.named().map(|(_, share)| share.unwrap_or(0.0));
        config.dropout(dropout).input_dropout(inputs).weight_dropout(weights)
    }

    /// Each by its name.
    pub const fn named(self) -> [(&'static str, Option<f32>); 3] {
        [("dropout", self.dropout), ("input-dropout", self.input_dropout), ("weight-dropout", self.weight_dropout)]
    }

    /// Those that there are in words, each after `before`.
    pub fn words(self, before: &str) -> String {
        let all =
            self.named().into_iter().filter_map(|(name, share)| Some((name, share.filter(|share| *share != 0.0)?)));
        all.map(|(name, share)| format!("{before}{name}={share}")).collect()
    }
}
