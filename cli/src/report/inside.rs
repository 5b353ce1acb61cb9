//! What the pages of one command each share: where their numbers are from, and the names of nets.

use anyhow::Result;
use wgpu_rnn::{Device, RnnConfig};

use crate::base::device::describe;
use crate::base::{command_line, today};

use super::charts::Role;
use super::html::{COMMAND, document, escape, facts};

/// Where and how the numbers of a page were made.
pub struct Origin {
    pub version: &'static str,
    pub date: String,
    pub command: String,
    pub device: String,
    pub data: String,
}

impl Origin {
    /// Made now on this device, from these data.
    pub fn new(device: &Device, data: String) -> Result<Self> {
        let (date, command, device) = (today(), command_line(), describe(device));
        Ok(Self { version: env!("CARGO_PKG_VERSION"), date, command, device, data })
    }

    /// A page of the command `name` around sections, which are HTML.
    pub fn page(&self, name: &str, title: &str, more: &[(&str, &str)], sections: &str) -> String {
        let own = [("Device", &self.device), ("Data", &self.data)].map(|(name, text)| (name, text.clone()));
        let more = more.iter().map(|(name, text)| (*name, text.to_string()));
        let made = [("Date", self.date.clone()), (COMMAND, self.command.clone())];
        let facts = facts(own.into_iter().chain(more).chain(made));
        let head = format!("<p class=\"eyebrow\">wgpu-rnn {name}</p>\n<h1>{}</h1>\n{facts}", escape(title));
        let footer = format!("Made by wgpu-rnn {}.", escape(self.version));
        document(title, &format!("<header>\n{head}</header>\n{sections}"), &footer)
    }
}

/// A net's name, with the layer, numbered as in the names of its weights, where there are several.
pub fn titled(config: RnnConfig, layer: usize) -> String {
    format!("{}{}", config.cell.title(), of_layer(config, layer))
}

/// The layer as the end of a title, where there are several.
pub fn of_layer(config: RnnConfig, layer: usize) -> String {
    if config.layers == 1 { String::new() } else { format!(", layer {layer}") }
}

/// When a net was looked at.
pub fn when(trained: usize) -> String {
    match trained {
        0 => "untrained".to_string(),
        steps => format!("after {steps} steps"),
    }
}

/// The legend of a chart of these nets.
pub fn legend(names: impl Iterator<Item = String>) -> String {
    let one = |name: String| format!("<li class=\"key-{}\">{}</li>", Role::of(&name).class(), escape(&name));
    format!("<ul class=\"legend\">{}</ul>", names.map(one).collect::<String>())
}
