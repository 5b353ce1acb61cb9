//! What a training begins with: the options of `train`, and the data, the net and the rule that follow from them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use wgpu_rnn::{Bias, Cell, Direction, Precision, RnnConfig, StepOptions};

use super::saved::{About, Data, Rule};
use crate::base::directed::Directed;
use crate::base::dropouts::Dropouts;
use crate::base::{seed, size};
use crate::data::series::Ask;
use crate::task::{Goals, Judging, Kind, MEDIAN, More, Sizes, Source, Stored, Windowing, fingerprint};

/// What is forecast of a series: so many rows ahead, at these levels.
const HORIZONS: [usize; 3] = [1, 6, 24];
const LEVELS: [f64; 3] = [0.05, 0.5, 0.95];
const SEED: u64 = 1;

/// What a training begins with; one that goes on has it from its checkpoint.
#[derive(clap::Args)]
pub struct New {
    /// What the data are, where their name does not say; without --data, which bundled data to take: series (the weather)
    /// or speech (Japanese vowels).
    #[arg(long, value_enum)]
    task: Option<Kind>,
    /// Columns of the series that are forecast, separated by commas [default of the weather: temp]
    #[arg(long)]
    column: Vec<String>,
    #[command(flatten)]
    ask: Ask,
    #[command(flatten)]
    pub windowing: Windowing,
    #[command(flatten)]
    judging: Judging,
    /// Quantiles that are forecast, between 0 and 1 and 0.5 among them, separated by commas; the outer ones are an
    /// interval. `none` forecasts the mean [default: 0.05,0.5,0.95]
    #[arg(long, value_parser = levels)]
    quantiles: Option<Levels>,
    /// Cell: lstm, gru, min_lstm, min_gru, sru, ind_rnn, rnn_tanh or rnn_relu [default: lstm]
    #[arg(long)]
    cell: Option<Cell>,
    /// Hidden size [default: 32 for a series, 128 for a text, 64 for speech]
    #[arg(long, value_parser = size)]
    hidden: Option<usize>,
    /// Layers [default: 1]
    #[arg(long, value_parser = size)]
    layers: Option<usize>,
    /// Biases of the recurrent layers: none, input, recurrent or both [default: both]
    #[arg(long)]
    bias: Option<Bias>,
    /// What is changed about the cell's step, separated by commas: peephole, coupled, reset_before, projection=SIZE,
    /// gate=FUNCTION, candidate=FUNCTION, output=FUNCTION, clip_inputs=LIMIT, clip_cell=LIMIT, clip_cell_as_read=LIMIT,
    /// clip_gradient=LIMIT, clip_projection=LIMIT, zoneout=P, zoneout_cell=P, recurrent_dropout=P; a function is ONNX's, with its
    /// numbers: hard_sigmoid:0.2:0.5 [default: nothing]
    #[arg(long, value_parser = trained)]
    options: Option<StepOptions>,
    #[command(flatten)]
    directed: Directed,
    #[command(flatten)]
    dropouts: Dropouts,
    /// Initial states are parameters, zero at first [default: no, they are zero]
    #[arg(long)]
    learn_state: bool,
    /// The recurrent layers read and write sequences with the batch as their first axis: the same numbers
    #[arg(long)]
    batch_first: bool,
    /// Truncated back-propagation through a text: each batch goes on where the one before it ended, from the states that it left,
    /// and no gradient passes between them; in validation too [default: a batch is of random stretches, each from the initial state]
    #[arg(long)]
    carry: bool,
    /// What ends each document of a text, after which states begin anew; \n is a line feed, \r a carriage return, \t a tab, \\ a
    /// backslash
    #[arg(long, value_name = "TEXT", value_parser = unescaped)]
    reset_after: Option<String>,
    /// Steps of a sequence [default: 72 of a series, 64 of a text; utterances are as long as they are]
    #[arg(long, value_parser = size)]
    steps: Option<usize>,
    /// Batches whose gradients are added up before each training step, which is made by their mean: as large a batch, in the
    /// memory of a small one [default: 1]
    #[arg(long, value_parser = size)]
    accumulate: Option<usize>,
    /// Training steps, over which the learning rate falls [default: 2000]
    #[arg(long, value_parser = size)]
    updates: Option<usize>,
    /// Learning rate of Adam [default: 0.002 for a series, 0.006 for a text, 0.005 for speech]
    #[arg(long, value_parser = rate)]
    learning_rate: Option<f64>,
    /// Training steps between checkpoints [default: 100]
    #[arg(long, value_parser = size)]
    save_every: Option<usize>,
    /// Training steps between validations [default: 100]
    #[arg(long, value_parser = size)]
    look_every: Option<usize>,
    /// Validations without a better one after which training ends [default: 10]
    #[arg(long, value_parser = size)]
    patience: Option<usize>,
    /// full: f32. half: packed weights and activations stored as f16, with a loss scale; on GPUs that have f16
    /// [default: full]
    #[arg(long)]
    precision: Option<Precision>,
    /// Seed of weights and batches [default: 1]
    #[arg(long, value_parser = seed)]
    seed: Option<u64>,
}

/// Ascending levels of quantiles, or none.
#[derive(Clone, Debug)]
struct Levels(Vec<f64>);

fn levels(text: &str) -> Result<Levels, String> {
    if text == "none" {
        return Ok(Levels(Vec::new()));
    }
    let level = |part: &str| part.trim().parse().ok().filter(|level: &f64| *level > 0.0 && *level < 1.0);
    let levels: Option<Vec<f64>> = text.split(',').map(level).collect();
    let levels = levels.filter(|levels| levels.is_sorted_by(|a, b| a < b) && levels.contains(&MEDIAN));
    let expected = || "expected ascending numbers between 0 and 1 with 0.5 among them, or `none`".to_string();
    levels.map(Levels).ok_or_else(expected)
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: Option<f64> = text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| "expected a number above zero".to_string())
}

/// Options but for `resets`, which follows from what the sequences are.
fn trained(text: &str) -> Result<StepOptions, String> {
    let options: StepOptions = text.parse().map_err(|error: wgpu_rnn::Error| error.to_string())?;
    match options.resets {
        true => Err("`resets` follows from --reset-after and --carry, which say where states begin anew".to_string()),
        false => Ok(options),
    }
}

/// What [`unescaped`] makes a text of.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t")
}

/// A text that is not empty, with what backslashes stand for.
fn unescaped(text: &str) -> Result<String, String> {
    let (mut plain, mut rest) = (String::new(), text.chars());
    while let Some(character) = rest.next() {
        plain.push(match (character, if character == '\\' { rest.next() } else { None }) {
            ('\\', Some('n')) => '\n',
            ('\\', Some('t')) => '\t',
            ('\\', Some('r')) => '\r',
            ('\\', Some('\\')) => '\\',
            ('\\', other) => {
                let got = other.map_or_else(|| "nothing".to_string(), |other| format!("{other:?}"));
                return Err(format!("expected n, r, t or another backslash behind a backslash, got {got}"));
            }
            (other, _) => other,
        });
    }
    if plain.is_empty() { Err("expected at least one character".to_string()) } else { Ok(plain) }
}

impl New {
    /// The seed of weights and batches.
    pub fn seed(&self) -> u64 {
        self.seed.unwrap_or(SEED)
    }

    /// Training steps.
    pub fn updates(&self) -> usize {
        self.updates.unwrap_or(2000)
    }

    /// The data, and where they are from.
    pub fn load(&self, data: Option<&Path>) -> Result<(Box<dyn Stored>, Source)> {
        let path = data.map(kept_path).transpose()?;
        let mut source = Source {
            kind: self.task,
            path: data.map(Path::to_path_buf),
            columns: self.column.clone(),
            ask: self.ask.clone(),
            reset_after: self.reset_after.clone(),
        };
        let kind = source.kind();
        let (windowing, judging) = (&self.windowing, self.judging);
        let quantiles = [("--quantiles", self.quantiles.is_some())];
        source.only_of_series(&[&quantiles, &windowing.given(), &judging.given(), &self.ask.given()])?;
        self.only_of_texts(kind)?;
        self.dropouts.check(self.layers.unwrap_or(1))?;
        // Before data are read, whose widths it does not depend on.
        self.layer(1, self.hidden.unwrap_or(1)).check()?;
        if kind == Kind::Speech && self.steps.is_some() {
            bail!("--steps: expected none, since utterances are as long as they are");
        }
        let levels = self.quantiles.as_ref().map_or(LEVELS.to_vec(), |levels| levels.0.clone());
        let Judging { period, negative } = judging;
        let goals = Goals { levels, period, negative, ..windowing.goals(&HORIZONS)? };
        let task = source.load(Sizes { steps: self.steps, batch: windowing.batch, carries: self.carry }, &goals)?;
        (source.kind, source.path) = (Some(kind), path);
        Ok((task, source))
    }

    /// An error where an option was given that is for texts alone, or not for texts.
    fn only_of_texts(&self, kind: Kind) -> Result<()> {
        let (text, direction) = (kind == Kind::Text, self.directed.direction());
        let of_texts = [("--carry", self.carry), ("--reset-after", self.reset_after.is_some())];
        match of_texts.iter().find(|(_, given)| *given) {
            Some((option, _)) if !text => bail!("{option}: expected a text, which these data are not"),
            _ if text && direction != Direction::Forward => bail!(
                "--direction: expected forward, since a layer that reads a text from its end sees the next character, got {}",
                direction.name()
            ),
            _ => Ok(()),
        }
    }

    /// An error unless what was said fits a training that goes on; how long it may be, and how patient, may change.
    pub fn go_on(&self, about: &mut About) -> Result<()> {
        let About { net, data, rule, .. } = &*about;
        let goals = net.known.goals();
        let text = |one: &dyn std::fmt::Display| one.to_string();
        let list = |all: &[usize]| all.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
        let of_levels = |all: &[f64]| match all {
            [] => "none".to_string(),
            all => all.iter().map(f64::to_string).collect::<Vec<_>>().join(","),
        };
        let (source, ask) = (&data.source, &data.source.ask);
        let options = StepOptions { resets: false, ..net.options.parse()? };
        let names = |all: &[String]| (!all.is_empty()).then(|| all.join(","));
        let sizes = |given: &[usize]| (!given.is_empty()).then(|| list(given));
        let mine = |flag: bool| flag.then(|| "yes".to_string());
        let has = |flag: bool| if flag { "yes" } else { "no" }.to_string();
        let time = |ask: &Ask| ask.time.clone();
        let kind = |kind: Kind| kind.name().to_string();
        let precision = |half: bool| if half { "half" } else { "full" }.to_string();
        let said = [
            ("--task", self.task.map(kind), kind(source.kind())),
            ("--column", names(&self.column), source.columns.join(",")),
            ("--inputs", names(&self.ask.inputs), ask.inputs.join(",")),
            ("--without", names(&self.ask.without), ask.without.join(",")),
            ("--missing", names(&self.ask.missing), ask.missing.join(",")),
            ("--time", time(&self.ask), time(ask).unwrap_or_default()),
            ("--no-time", mine(self.ask.no_time), has(ask.no_time)),
            ("--view", self.windowing.view.map(|view| view.name().to_string()), goals.view.name().to_string()),
            (
                "--period",
                self.judging.period.map(|period| text(&period)),
                goals.period.map_or("none".into(), |one| text(&one)),
            ),
            ("--negative", mine(self.judging.negative), has(goals.negative)),
            ("--horizons", sizes(&self.windowing.horizons), list(&goals.horizons)),
            ("--quantiles", self.quantiles.as_ref().map(|levels| of_levels(&levels.0)), of_levels(&goals.levels)),
            ("--cell", self.cell.map(|cell| text(&cell)), net.cell.clone()),
            ("--hidden", self.hidden.map(|size| text(&size)), text(&net.hidden)),
            ("--layers", self.layers.map(|count| text(&count)), text(&net.layers)),
            ("--bias", self.bias.map(|bias| bias.name().to_string()), net.bias.clone()),
            ("--options", self.options.map(|options| options.to_string()), options.to_string()),
            ("--direction", self.directed.given().map(|one| one.name().to_string()), net.direction.clone()),
            ("--batch-first", mine(self.batch_first), has(rule.batch_first)),
            ("--carry", mine(self.carry), has(data.carries)),
            (
                "--reset-after",
                self.reset_after.as_deref().map(escaped),
                escaped(source.reset_after.as_deref().unwrap_or_default()),
            ),
            ("--learn-state", mine(self.learn_state), has(net.learn_state)),
            ("--steps", self.steps.map(|steps| text(&steps)), text(&data.steps)),
            ("--batch", self.windowing.batch.map(|batch| text(&batch)), text(&data.batch)),
            ("--accumulate", self.accumulate.map(|batches| text(&batches)), text(&rule.accumulate)),
            ("--learning-rate", self.learning_rate.map(|rate| text(&rate)), text(&rule.learning_rate)),
            ("--save-every", self.save_every.map(|steps| text(&steps)), text(&rule.save_every)),
            ("--look-every", self.look_every.map(|steps| text(&steps)), text(&rule.look_every)),
            ("--precision", self.precision.map(|one| precision(one == Precision::Half)), precision(rule.half)),
            ("--seed", self.seed.map(|seed| text(&seed)), text(&rule.seed)),
        ];
        let dropped = self.dropouts.named().into_iter().zip(net.dropouts.named());
        let dropped: Vec<_> = dropped
            .map(|((name, given), (_, has))| {
                (format!("--{name}"), given.map(|share| text(&share)), text(&has.unwrap_or(0.0)))
            })
            .collect();
        let said = said.iter().map(|(option, given, has)| (*option, given, has));
        let dropped = dropped.iter().map(|(option, given, has)| (option.as_str(), given, has));
        for (option, given, has) in said.chain(dropped) {
            if let Some(given) = given.as_ref().filter(|given| *given != has) {
                let has = if has.is_empty() { "none" } else { has };
                bail!(
                    "{option}: expected {has}, with which the training began, got {given} (--updates and --patience may change)"
                );
            }
        }
        if let Some(updates) = self.updates {
            let made = about.state.step;
            if updates < made {
                bail!("--updates: expected at least the {made} steps that were made, got {updates}");
            }
            about.rule.updates = updates;
        }
        about.rule.patience = self.patience.unwrap_or(about.rule.patience);
        Ok(())
    }

    /// The layer that is trained on it.
    pub fn config(&self, task: &dyn Stored) -> RnnConfig {
        self.layer(task.width(), self.hidden.unwrap_or(task.usual().trained_hidden))
    }

    fn layer(&self, input: usize, hidden: usize) -> RnnConfig {
        let resets = self.carry || self.reset_after.is_some();
        let layer = RnnConfig::new(self.cell.unwrap_or(Cell::Lstm), input, hidden)
            .layers(self.layers.unwrap_or(1))
            .bias(self.bias.unwrap_or_default())
            .direction(self.directed.direction())
            .options(StepOptions { resets, ..self.options.unwrap_or_default() })
            .learn_state(self.learn_state);
        self.dropouts.onto(layer)
    }

    /// What training begins with.
    pub fn about(&self, task: &dyn Stored, source: Source) -> About {
        let (usual, shape, config) = (task.usual(), task.shape(), self.config(task));
        let (name, fingerprint) = (task.used().name, fingerprint(task));
        let (steps, batch, carries) = (shape.steps, shape.batch, self.carry);
        let opening = task.opening();
        let data = Data { source, name, fingerprint, steps, batch, carries, opening };
        let rule = Rule {
            learning_rate: self.learning_rate.unwrap_or(usual.rate),
            updates: self.updates(),
            save_every: self.save_every.unwrap_or(100),
            look_every: self.look_every.unwrap_or(100),
            patience: self.patience.unwrap_or(10),
            seed: self.seed(),
            half: self.precision == Some(Precision::Half),
            batch_first: self.batch_first,
            accumulate: self.accumulate.unwrap_or(1),
        };
        About::new(task, config, data, rule)
    }
}

/// A path as a checkpoint keeps it.
pub fn kept_path(path: &Path) -> Result<PathBuf> {
    let path = std::path::absolute(path).context("the data's path can't be made absolute")?;
    if path.to_str().is_none() {
        bail!("{}: expected a path in UTF-8, which a checkpoint can hold", path.display());
    }
    Ok(path)
}
