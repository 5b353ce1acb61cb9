//! Opening a report in a browser, as a reader would, without a network.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{finish, json, path};

/// What is asked of an opened page: its charts and tables as they are laid out, and what would not be seen without.
const QUESTIONS: &str = r#"<script>
const seen = [...document.querySelectorAll('svg.chart')].map(svg => {
  const box = svg.getBoundingClientRect();
  // Its own, or one behind all charts of its section.
  const figure = svg.closest('figure:has(table)') || svg.closest('section');
  return {
    label: svg.getAttribute('aria-label'), role: svg.getAttribute('role'), width: box.width, height: box.height,
    marks: [...svg.querySelectorAll('polyline, rect, circle, path')].filter(mark => {
      const style = getComputedStyle(mark);
      return style.fill !== 'none' || style.stroke !== 'none';
    }).length,
    table: figure ? figure.querySelectorAll('table td').length : 0,
  };
});
const outside = [...document.querySelectorAll('[src], [href]')].map(e => e.getAttribute('src') || e.getAttribute('href'));
const answer = document.createElement('pre');
answer.id = 'answer';
answer.textContent = JSON.stringify({
  charts: seen, title: document.title, outside,
  overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  ink: getComputedStyle(document.body).color, page: getComputedStyle(document.body).backgroundColor,
});
document.body.append(answer);
</script>"#;

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
    command.arg(if look == Look::Phone { "--window-size=500,900" } else { "--window-size=1200,900" });
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
    std::fs::write(&copy, html.replace("</body>", &format!("{QUESTIONS}</body>"))).unwrap();
    let mut command = headless(look, folder.path());
    command.arg("--dump-dom").arg(format!("file://{}", path(&copy)));
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

/// Every chart of a page can be seen, heard and read as numbers, on wide pages, on phones and in the dark, and it needs
/// nothing from elsewhere.
pub fn check(page: &Path, charts: usize) {
    let mut inks = Vec::new();
    for look in [Look::Wide, Look::Phone, Look::Dark] {
        let seen = open(page, look);
        let found = seen["charts"].as_array().expect("charts");
        assert_eq!(found.len(), charts, "{look:?}: {seen}");
        for chart in found {
            let number = |name: &str| chart[name].as_f64().unwrap_or(0.0);
            assert!(number("width") > 200.0 && number("height") > 60.0, "{look:?}: {chart}");
            assert!(number("marks") > 1.0 && number("table") > 1.0, "{look:?}: {chart}");
            assert_eq!(chart["role"], "img");
            assert!(chart["label"].as_str().is_some_and(|label| label.len() > 8), "{look:?}: {chart}");
        }
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
