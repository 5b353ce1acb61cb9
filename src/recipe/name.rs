//! How a recipe is named.

use std::fmt;

use super::Recipe;

impl fmt::Display for Recipe {
    /// The cell and what changes its kernels' text, as in the names of kernels' variants and in what is kept of an adapter:
    /// `lstm+peephole+clip_inputs`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.cell.name())?;
        let options = self.options.to_string();
        // Numbers are not in a text.
        let is_number = |name: &str| name == "projection" || self.options.numbers().any(|(number, _)| number == name);
        let named = |word: &str| match word.split_once('=') {
            Some((name, _)) if is_number(name) => format!("+{name}"),
            _ => format!("+{}", word.split(':').next().unwrap_or_default()),
        };
        options.split(',').filter(|word| !word.is_empty()).try_for_each(|word| f.write_str(&named(word)))
    }
}
