//! Measuring one layer: its time, that of each kernel, and that of single steps.

mod kernels;
mod profile;
mod step;
mod subject;

pub use kernels::{Kernel, distinct};
pub use profile::{Profiling, profile};
pub use step::step;
pub use subject::{Extras, Subject};

use wgpu_rnn::{Bias, RnnConfig};

/// What is not usual about a layer, each with a space before it: biases, options of its step, learnt states.
pub fn changes(config: &RnnConfig) -> String {
    let mut words = String::new();
    if config.bias != Bias::Both {
        words += &format!(" bias={}", config.bias.name());
    }
    let options = config.options.to_string();
    if !options.is_empty() {
        words += &format!(" {options}");
    }
    if config.learns_state {
        words += " learnt state";
    }
    words
}
