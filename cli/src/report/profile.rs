//! The page of a profile: where the time of one layer goes, by kernel and along time.

use super::bars::{Bar, Bars};
use super::figure::{Figure, Lane, Plot, Role};
use super::page::{self, Origin, list, section, tiles};
use super::table::Table;
use crate::base::numbers::{count, share, with_unit};
use maud::Markup;
use wgpu_rnn::{Clock, KernelTime, Profile};

/// A profile and what it is of.
pub struct Profiled<'a> {
    /// The profile.
    pub profile: &'a Profile,
    /// What ran, such as `GRU, forward`.
    pub title: String,
    pub origin: Origin,
    /// What else is to be known, by name.
    pub facts: Vec<(&'static str, String)>,
    /// Runs that were profiled, of which this one is the median.
    pub runs: usize,
}

/// The whole page as one HTML document.
pub fn render(profiled: &Profiled<'_>) -> String {
    let Profiled { profile, title, .. } = profiled;
    let kernels = profile.kernels();
    let result = match kernels.first() {
        Some(longest) => format!(
            "{} of the {} that kernels take together is in `{}`.",
            share(longest.share * 100.0),
            ms(kernels.iter().map(|kernel| kernel.ms).sum()),
            longest.kernel
        ),
        None => "Nothing ran.".to_string(),
    };
    let lead = "What ran when. An op is one kernel with its buffers; a time-step op is dispatched once a step.";
    let sections = vec![
        tiles(take_home(profile, &kernels)),
        section("timeline", "Along time", lead, &timeline(profile).markup()),
        section("method", "How it was measured", "", &method(profiled)),
    ];
    let page = page::Page {
        command: "time --profile",
        title: format!("{title}: where the time goes"),
        result: vec![result],
        picture: by_kernel(profile, &kernels),
        sections,
        origin: &profiled.origin,
        facts: profiled.facts.clone(),
    };
    page.render()
}

fn ms(value: f64) -> String {
    with_unit(value, "ms")
}

fn take_home(profile: &Profile, kernels: &[KernelTime]) -> [(String, String, String); 2] {
    let dispatches: usize = kernels.iter().map(|kernel| kernel.dispatches).sum();
    let elapsed = ("Whole run".to_owned(), ms(profile.elapsed_ms()), "first start to last end".to_owned());
    let calls = match profile.clock {
        Clock::Gpu => ("Dispatches".to_owned(), count(dispatches), format!("in {} ops", count(profile.spans.len()))),
        Clock::Host => ("Calls".to_owned(), count(dispatches), "of the CPU executor".to_owned()),
    };
    [elapsed, calls]
}

/// All ops of a kernel together, the longest first.
fn by_kernel(profile: &Profile, kernels: &[KernelTime]) -> Markup {
    let bar = |kernel: &KernelTime| Bar {
        role: Role::Lstm,
        name: kernel.kernel.to_owned(),
        parts: vec![kernel.ms],
        whisker: None,
        value: ms(kernel.ms),
        cells: vec![share(kernel.share * 100.0), count(kernel.ops), count(kernel.dispatches)],
    };
    let groups = vec![(String::new(), kernels.iter().map(bar).collect())];
    let columns = vec!["time", "share", "ops", calls(profile)];
    Bars { title: "Time by kernel".to_string(), parts: Vec::new(), columns, groups, aside: "" }.markup()
}

/// What the executor counts.
fn calls(profile: &Profile) -> &'static str {
    match profile.clock {
        Clock::Gpu => "dispatches",
        Clock::Host => "calls",
    }
}

fn timeline(profile: &Profile) -> Figure {
    // Lanes in the order of first use, so that time runs down and to the right.
    let mut lanes: Vec<Lane> = Vec::new();
    for span in &profile.spans {
        let place = [span.start_ms, span.start_ms + span.ms];
        match lanes.iter_mut().find(|lane| lane.name == span.kernel) {
            Some(lane) => lane.spans.push(place),
            None => lanes.push(Lane { name: span.kernel.to_owned(), spans: vec![place] }),
        }
    }
    let row = |(index, span): (usize, &wgpu_rnn::Span)| {
        let name = format!("{} {}", count(index + 1), span.kernel);
        vec![name, count(span.dispatches), ms(span.start_ms), ms(span.ms), span.variant.clone()]
    };
    let head = ["op", calls(profile), "start", "time", "composed with"];
    let table = Table::new(head, profile.spans.iter().enumerate().map(row).collect());
    Figure { title: "Kernels along time".to_string(), plots: vec![Plot::Lanes(lanes)], asides: Vec::new(), table }
}

fn method(profiled: &Profiled<'_>) -> Markup {
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
        let words = str::to_string;
        let (device, command) = (words("Example GPU & Co"), words("wgpu-rnn <time>"));
        let origin = Origin { version: words("1"), date: words("2026"), command, device, data: words("noise") };
        let facts = vec![("Strategy", words("stepwise"))];
        let page = render(&Profiled { profile: &profile, title: "LSTM <b>".to_owned(), origin, facts, runs: 5 });
        page.split_once("<body>").unwrap().1.split_once("</footer>").unwrap().0.to_string()
    }

    #[test]
    fn all_is_there_and_nothing_comes_from_elsewhere() {
        let spans = vec![span("transpose", 0.0, 1.0), span("gemm", 1.0, 2.0), span("transpose", 3.5, 1.0)];
        let html = page(Clock::Gpu, spans).replace('\u{202f}', " ");
        for foreign in ["http", "src=", "@import", "url(", "<b>", "& Co"] {
            assert!(!html.contains(foreign), "{foreign}");
        }
        assert!(html.contains("50 % of the 4.00 ms that kernels take together is in <code>"));
        assert!(html.contains("<td>2.00 ms</td><td>50 %</td><td>1</td><td>2</td>"), "{html}");
        assert!(html.contains("<td>2.00 ms</td><td>50 %</td><td>2</td><td>4</td>"));
        assert!(html.contains("<p class=\"value\">4.50 ms</p>"));
        assert!(html.contains("{\"name\":\"transpose\",\"spans\":[[0.0,1.0],[3.5,4.5]]}"), "{html}");
        assert_eq!(html.matches("lstm, LANES 8").count(), 3);
        assert!(html.contains("role=\"img\" aria-label=\"Kernels along time: when transpose, gemm ran\""));
    }

    #[test]
    fn nothing_is_a_page_too() {
        let html = page(Clock::Host, Vec::new());
        assert!(html.contains("Nothing ran.") && html.contains("the host’s clock"));
        assert!(html.contains("no number to draw") && !html.contains("NaN"));
    }
}
