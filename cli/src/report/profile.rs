//! The page of a profile: where the time of one layer goes, by kernel and along time.

use super::html::{self, Table, escape, list, section};
use super::timeline::{Chart, Lane};
use crate::base::numbers::{count, share, with_unit};
use anyhow::Result;
use wgpu_rnn::{Clock, Profile};

/// A profile and what it is of.
pub struct Profiled<'a> {
    /// The profile.
    pub profile: &'a Profile,
    /// What ran, such as `GRU, forward`.
    pub title: String,
    /// What else is to be known, by name.
    pub facts: Vec<(&'static str, String)>,
    /// Runs that were profiled, of which this one is the median.
    pub runs: usize,
}

/// The whole page as one HTML document.
pub fn render(profiled: &Profiled<'_>) -> Result<String> {
    let Profiled { profile, title, .. } = profiled;
    let mut body = format!(
        "<header>\n<p class=\"eyebrow\">wgpu-rnn time --profile</p>\n<h1>{}: where the time goes</h1>\n{}{}</header>\n",
        escape(title),
        tiles(profile),
        html::facts(profiled.facts.iter().cloned())
    );
    body += &section("kernels", "By kernel", "All ops of a kernel together, the longest first.", &kernels(profile));
    let lead = "What ran when. An op is one kernel with its buffers; a time-step op is dispatched once a step.";
    body += &section("timeline", "Along time", lead, &timeline(profile)?);
    body += &section("method", "How it was measured", "", &method(profiled));
    let footer = format!("Made by wgpu-rnn {}.", env!("CARGO_PKG_VERSION"));
    Ok(html::document(&format!("{title}: where the time goes"), &body, &footer))
}

fn ms(value: f64) -> String {
    with_unit(value, "ms")
}

fn tiles(profile: &Profile) -> String {
    let kernels = profile.kernels();
    let dispatches: usize = kernels.iter().map(|kernel| kernel.dispatches).sum();
    let longest = kernels.first().map(|kernel| {
        let note = format!("of all kernels’ time is in {}", kernel.kernel);
        ("Longest kernel".to_owned(), share(kernel.share * 100.0), note)
    });
    let elapsed = ("Whole run".to_owned(), ms(profile.elapsed_ms()), "first start to last end".to_owned());
    let calls = match profile.clock {
        Clock::Gpu => ("Dispatches".to_owned(), count(dispatches), format!("in {} ops", count(profile.spans.len()))),
        Clock::Host => ("Calls".to_owned(), count(dispatches), "of the CPU executor".to_owned()),
    };
    html::tiles([elapsed].into_iter().chain(longest).chain([calls]))
}

fn kernels(profile: &Profile) -> String {
    let row = |kernel: wgpu_rnn::KernelTime| {
        vec![
            kernel.kernel.to_owned(),
            count(kernel.ops),
            count(kernel.dispatches),
            ms(kernel.ms),
            share(kernel.share * 100.0),
        ]
    };
    let head = ["kernel", "ops", calls(profile), "time", "share"].map(str::to_owned).to_vec();
    Table { head, rows: profile.kernels().into_iter().map(row).collect() }.open("Time by kernel")
}

/// What the executor counts.
fn calls(profile: &Profile) -> &'static str {
    match profile.clock {
        Clock::Gpu => "dispatches",
        Clock::Host => "calls",
    }
}

fn timeline(profile: &Profile) -> Result<String> {
    // Lanes in the order of first use, so that time runs down and to the right.
    let totals = profile.kernels();
    let mut lanes: Vec<Lane> = Vec::new();
    for span in &profile.spans {
        let place = [span.start_ms, span.ms];
        match lanes.iter_mut().find(|lane| lane.name == span.kernel) {
            Some(lane) => lane.spans.push(place),
            None => {
                let total = totals.iter().find(|total| total.kernel == span.kernel);
                let value =
                    total.map_or_else(String::new, |total| format!("{}, {}", ms(total.ms), share(total.share * 100.0)));
                lanes.push(Lane { name: span.kernel.to_owned(), value, spans: vec![place] });
            }
        }
    }
    let values: Vec<_> = lanes.iter().map(|lane| format!("{} {}", lane.name, lane.value)).collect();
    let label = format!(
        "Timeline of {} ops over {}: {}",
        count(profile.spans.len()),
        ms(profile.elapsed_ms()),
        values.join("; ")
    );
    let svg = Chart { label, lanes }.draw()?;
    let svg = svg.unwrap_or_else(|| "<p class=\"nothing\">Nothing took any time.</p>".to_owned());
    let row = |(index, span): (usize, &wgpu_rnn::Span)| {
        let name = format!("{} {}", count(index + 1), span.kernel);
        vec![name, count(span.dispatches), ms(span.start_ms), ms(span.ms), span.variant.clone()]
    };
    let head = ["op", calls(profile), "start", "time", "composed with"].map(str::to_owned).to_vec();
    let table = Table { head, rows: profile.spans.iter().enumerate().map(row).collect() };
    Ok(format!(
        "<figure class=\"wide\">\n<figcaption>Kernels along time</figcaption>\n\
         <div class=\"across\" tabindex=\"0\" role=\"region\" aria-label=\"Timeline\">{svg}</div>\n{}</figure>\n",
        table.folded("Every op")
    ))
}

fn method(profiled: &Profiled<'_>) -> String {
    let run = format!(
        "{} runs were profiled after warming up; this is the one whose length is the median (of an even number, the \
         shorter of the middle two).",
        count(profiled.runs)
    );
    let clock = match profiled.profile.clock {
        Clock::Gpu => {
            "Times are the GPU’s own, from timestamps at both ends of a compute pass for each op. Without a profile \
             everything is in one pass, which may take more or less time than many."
        }
        Clock::Host => "Times are the host’s clock around each call of the CPU executor.",
    };
    let shares = "Shares are of the sum over all kernels; the gaps between ops are in none of them.";
    list([run.as_str(), clock, shares])
}

#[cfg(test)]
mod tests {
    use super::*;
    use wgpu_rnn::Span;

    fn span(kernel: &'static str, start_ms: f64, ms: f64) -> Span {
        Span { kernel, variant: "lstm, LANES 8".to_owned(), dispatches: 2, start_ms, ms }
    }

    fn page(clock: Clock, spans: Vec<Span>) -> String {
        let profile = Profile { clock, spans };
        let facts = vec![("Device", "Example GPU & Co".to_owned()), (html::COMMAND, "wgpu-rnn <time>".to_owned())];
        render(&Profiled { profile: &profile, title: "LSTM <b>".to_owned(), facts, runs: 5 }).unwrap()
    }

    #[test]
    fn all_is_there_and_nothing_comes_from_elsewhere() {
        let spans = vec![span("transpose", 0.0, 1.0), span("gemm", 1.0, 2.0), span("transpose", 3.5, 1.0)];
        let html = page(Clock::Gpu, spans).replace('\u{202f}', " ");
        for foreign in ["http", "src=", "@import", "url(", "<script", "<b>", "& Co"] {
            assert!(!html.contains(foreign), "{foreign}");
        }
        assert!(html.contains("<tr><th scope=\"row\">gemm</th><td>1</td><td>2</td><td>2.00 ms</td><td>50 %</td></tr>"));
        assert!(html.contains("<td>2</td><td>4</td><td>2.00 ms</td><td>50 %</td>"));
        assert!(html.contains("<p class=\"value\">4.50 ms</p>"));
        assert_eq!(html.matches("<rect").count(), 3);
        assert_eq!(html.matches("lstm, LANES 8").count(), 3);
        assert!(html.contains("role=\"img\" aria-label=\"Timeline of 3"));
    }

    #[test]
    fn nothing_is_a_page_too() {
        let html = page(Clock::Host, Vec::new());
        assert!(html.contains("Nothing took any time.") && html.contains("the host’s clock"));
        assert!(!html.contains("<svg") && !html.contains("NaN"));
    }

    #[test]
    fn tags_are_balanced() {
        let html = page(Clock::Gpu, vec![span("gemm", 0.0, 1.0)]);
        for tag in ["section", "table", "tbody", "tr", "td", "figure", "details", "svg", "div", "ul", "li", "p", "dl"] {
            let open = html.matches(&format!("<{tag}>")).count() + html.matches(&format!("<{tag} ")).count();
            assert_eq!(open, html.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }
}
