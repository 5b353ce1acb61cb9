//! Opening a report in a browser, as a reader would, without a network.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{finish, json, path};

/// What is asked of an opened page: its charts and tables as they are laid out, and what would not be seen without.
const QUESTIONS: &str = r#"<script>
// Colours of a drawing beside that of its ground.
const colours = canvas => {
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  const found = new Set();
  for (let at = 0; at < data.length; at += 4) {
    if (data[at + 3] > 128) found.add((data[at] << 16) | (data[at + 1] << 8) | data[at + 2]);
  }
  return found.size;
};
const plots = [...document.querySelectorAll('.plot')].map(plot => {
  const box = plot.getBoundingClientRect();
  const canvas = plot.querySelector('canvas');
  return {
    label: plot.getAttribute('aria-label'), role: plot.getAttribute('role'), width: box.width, height: box.height,
    marks: canvas ? colours(canvas) : 0, table: plot.closest('figure').querySelectorAll('table:not(.u-legend) td').length,
  };
});
const bars = [...document.querySelectorAll('.bars')].map(bars => {
  const box = bars.getBoundingClientRect();
  const drawn = [...bars.querySelectorAll('i')].filter(bar => bar.getBoundingClientRect().width > 0);
  return {
    label: bars.closest('figure').querySelector('figcaption').textContent, width: box.width, height: box.height,
    rows: bars.querySelectorAll('.bar').length, drawn: drawn.length, told: bars.querySelectorAll('tbody td:nth-child(3)').length,
  };
});
const outside = [...document.querySelectorAll('[src], [href]')].map(e => e.getAttribute('src') || e.getAttribute('href'));
const answer = document.createElement('pre');
answer.id = 'answer';
answer.textContent = JSON.stringify({
  charts: plots, bars, title: document.title, outside,
  overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth, errors,
  result: document.querySelector('.result')?.textContent ?? '',
  ink: getComputedStyle(document.body).color, page: getComputedStyle(document.body).backgroundColor,
});
document.body.append(answer);
</script>"#;

/// What goes wrong is kept from the beginning.
const ERRORS: &str =
    "<script>const errors = []; addEventListener('error', event => errors.push(event.message));</script>";

/// How a page is looked at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Look {
    Wide,
    Phone,
    Dark,
}

/// Chromium. Without it the tests fail; they are never skipped.
fn browser() -> PathBuf {
    if let Some(named) = std::env::var_os("WGPU_RNN_BROWSER") {
        return named.into();
    }
    let folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
    let names = ["chromium", "chromium-browser", "google-chrome", "chrome"];
    let mut all = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    all.find(|file| file.is_file()).expect("these tests need Chromium: run `cargo xtask browser`")
}

fn headless(look: Look, folder: &Path) -> Command {
    let mut command = Command::new(browser());
    // A profile of its own, no network, and no sandbox, which containers do not allow.
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]);
    command.args(["--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND"]);
    command.arg(format!("--user-data-dir={}", path(&folder.join("profile"))));
    command.arg(if look == Look::Phone { "--window-size=390,900" } else { "--window-size=1200,900" });
    if look == Look::Dark {
        command.arg("--blink-settings=preferredColorScheme=0");
    }
    command
}

/// Opens a page, and returns what it says of itself.
pub fn open(page: &Path, look: Look) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("page.html");
    let html = std::fs::read_to_string(page).unwrap();
    std::fs::write(
        &copy,
        html.replace("<body>", &format!("<body>{ERRORS}")).replace("</body>", &format!("{QUESTIONS}</body>")),
    )
    .unwrap();
    let mut command = headless(look, folder.path());
    command.args(["--dump-dom", "--virtual-time-budget=3000"]).arg(format!("file://{}", path(&copy)));
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a browser");
    let ran = finish(child);
    let answer = ran.out.split_once("<pre id=\"answer\">").and_then(|(_, rest)| rest.split_once("</pre>"));
    let Some((answer, _)) = answer else { panic!("the page did not answer: {}", ran.err) };
    json(&answer.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
}

/// Takes a picture of a page, and fails unless there is something on it.
pub fn screenshot(page: &Path, look: Look) -> PathBuf {
    let picture = page.with_extension("png");
    let folder = tempfile::tempdir().unwrap();
    let mut command = headless(look, folder.path());
    command.arg(format!("--screenshot={}", path(&picture))).arg(format!("file://{}", path(page)));
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a browser");
    let ran = finish(child);
    let size = std::fs::metadata(&picture).unwrap_or_else(|_| panic!("no picture: {}", ran.err)).len();
    // A page of one colour takes less.
    assert!(size > 20_000, "{size} bytes");
    picture
}

/// Every chart of a page, with a canvas or of bars, can be seen, heard and read as numbers, on wide pages, on phones and in the dark, and it needs
/// nothing from elsewhere.
pub fn check(page: &Path, charts: usize) {
    let mut inks = Vec::new();
    for look in [Look::Wide, Look::Phone, Look::Dark] {
        let seen = open(page, look);
        let found = seen["charts"].as_array().expect("charts");
        let bars = seen["bars"].as_array().expect("bars");
        assert_eq!(found.len() + bars.len(), charts, "{look:?}: {seen}");
        for chart in bars {
            let number = |name: &str| chart[name].as_f64().unwrap_or(0.0);
            // A row has a bar, of one part at least unless it is nothing, and a value.
            assert!(number("width") > 200.0 && number("height") > 18.0 * number("rows"), "{look:?}: {chart}");
            assert!(number("rows") > 0.0 && number("drawn") > 0.0, "{look:?}: {chart}");
            assert_eq!(chart["rows"], chart["told"], "{look:?}: {chart}");
            assert!(chart["label"].as_str().is_some_and(|label| label.len() > 8), "{look:?}: {chart}");
        }
        for chart in found {
            let number = |name: &str| chart[name].as_f64().unwrap_or(0.0);
            assert!(number("width") > 200.0 && number("height") > 60.0, "{look:?}: {chart}");
            assert!(number("marks") > 1.0 && number("table") > 1.0, "{look:?}: {chart}");
            assert_eq!(chart["role"], "img");
            assert!(chart["label"].as_str().is_some_and(|label| label.len() > 8), "{look:?}: {chart}");
        }
        assert_eq!(seen["errors"], Value::Array(Vec::new()), "{look:?}");
        assert!(seen["result"].as_str().is_some_and(|result| result.len() > 20), "{look:?}: {}", seen["result"]);
        let outside = seen["outside"].as_array().expect("links");
        // The files beside it are its own.
        let own = |link: &Value| link.as_str().is_some_and(|link| link.starts_with("data:") || !link.contains("//"));
        assert!(outside.iter().all(own), "{outside:?}");
        assert!(seen["overflow"].as_f64().is_some_and(|beyond| beyond <= 0.0), "{look:?}: {}", seen["overflow"]);
        inks.push((seen["ink"].clone(), seen["page"].clone()));
    }
    assert_eq!(inks[0], inks[1]);
    assert_ne!(inks[0], inks[2], "dark pages look like light ones");
    screenshot(page, Look::Wide);
}
