//! The shape of the source: a file imports from floors below its own only, cells are named in their own files only, and
//! no file grows beyond what one reads at a sitting.

use std::path::{Path, PathBuf};

/// A crate: where its modules are, and the modules of each floor. Those of the lowest are one body of facts; elsewhere
/// neighbours don't know each other.
struct Tree {
    folder: &'static str,
    /// The file that only lists modules, and what it exports again.
    root: &'static str,
    floors: [&'static [&'static str]; 7],
}

const TREES: [Tree; 2] = [
    Tree {
        folder: "src",
        root: "lib.rs",
        floors: [
            &["error", "cell", "activation", "recipe", "config"],
            &["gpu", "cpu"],
            &["device", "shader"],
            &["kernel"],
            &["plan"],
            &["nn"],
            &["train", "io", "probe", "account"],
        ],
    },
    Tree {
        folder: "cli/src",
        root: "main.rs",
        floors: [
            &["base", "results"],
            &["data", "net"],
            &["task"],
            &["learn", "measure"],
            &["report"],
            &["doctor", "study", "inside"],
            &["commands"],
        ],
    },
];

/// Lines that a file may have.
const LINES: usize = 450;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files below `folder` with one of `extensions`, as paths from the repository's root.
fn files(folder: &str, extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().and_then(|e| e.to_str()).is_some_and(|e| extensions.contains(&e)) {
                found.push(path.strip_prefix(root()).expect("in the repository").to_path_buf());
            }
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A file's lines without line comments. Good enough for code that is formatted: `//` in a string ends a line early.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).enumerate().map(|(i, line)| (i + 1, line))
}

fn floor_of(tree: &Tree, module: &str) -> Option<usize> {
    tree.floors.iter().position(|modules| modules.contains(&module))
}

/// A file's place in the tree of modules: `src/nn/rnn/mod.rs` is `[nn, rnn]`, `src/error.rs` is `[error]`.
fn module_of(tree: &Tree, path: &Path) -> Vec<String> {
    let inside = path.strip_prefix(tree.folder).expect("in the tree").with_extension("");
    let mut module: Vec<String> = inside.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if module.last().is_some_and(|last| last == "mod") {
        module.pop();
    }
    module
}

/// First names of the paths that begin right after `crate::`, also those in braces: of `{a::b, c::{d, e}}` a and c.
fn heads(text: &str) -> Vec<String> {
    let name = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(inside) = text.strip_prefix('{') else { return vec![name(text)] };
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, c) in inside.char_indices() {
        match c {
            '{' => depth += 1,
            ',' | '}' if depth == 0 => {
                found.push(name(inside[start..at].trim_start()));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

/// Top-level modules that a file refers to, with the line, through `crate::…` or through as many `super::` as lead out
/// of its own top-level module.
fn imports(module: &[String], text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    // What follows an inline module is one level deeper; formatted code ends it with a brace in the first column.
    let mut deeper = 0;
    let lines: Vec<(usize, &str)> = code(text).collect();
    for (index, &(line, code)) in lines.iter().enumerate() {
        if code.starts_with("mod ") && code.trim_end().ends_with('{') {
            deeper = 1;
        } else if code.starts_with('}') {
            deeper = 0;
        }
        // A path in braces may go on over the next lines.
        let following: String = lines[index + 1..].iter().take(20).map(|(_, code)| code.trim()).collect();
        let rest = |at: usize| format!("{}{following}", &code[at..]);
        let mut at = 0;
        while let Some(start) = code[at..].find("super::").map(|found| at + found) {
            let ups = code[start..].split("super::").take_while(|part| part.is_empty()).count();
            at = start + ups * "super::".len();
            if ups >= module.len() + deeper {
                found.extend(heads(&rest(at)).into_iter().map(|name| (line, name)));
            }
        }
        for (start, path) in code.match_indices("crate::") {
            found.extend(heads(&rest(start + path.len())).into_iter().map(|name| (line, name)));
        }
    }
    found
}

/// What the root of a tree exports again, and from which module.
fn exported(tree: &Tree) -> Vec<(String, String)> {
    let text = read(&Path::new(tree.folder).join(tree.root));
    let of_line = |(_, code): (usize, &str)| {
        let (home, items) = code.strip_prefix("pub use ")?.split_once("::")?;
        Some(heads(items).into_iter().map(|item| (home.to_string(), item)).collect::<Vec<_>>())
    };
    code(&text).filter_map(of_line).flatten().collect()
}

/// What is wrong with an import from a module, if anything.
fn violation(tree: &Tree, from: &str, to: &str) -> Option<String> {
    let here = floor_of(tree, from)?;
    match floor_of(tree, to) {
        _ if from == to => None,
        None => Some(format!("`{to}` is not the module that something comes from")),
        Some(there) if there < here || (here == 0 && there == 0) => None,
        Some(there) => Some(format!("`{from}` on floor {here} imports `{to}` on floor {there}")),
    }
}

#[test]
fn a_file_imports_only_from_floors_below() {
    assert!(exported(&TREES[0]).iter().any(|(home, item)| home == "device" && item == "Buffer"));
    let mut wrong = Vec::new();
    for tree in &TREES {
        let exported = exported(tree);
        let mut seen = 0;
        for path in files(tree.folder, &["rs"]).iter().filter(|path| !path.ends_with(tree.root)) {
            let module = module_of(tree, path);
            if floor_of(tree, &module[0]).is_none() {
                wrong.push(format!("{}: `{}` has no floor", path.display(), module[0]));
                continue;
            }
            for (line, name) in imports(&module, &read(path)) {
                let home = exported.iter().find(|(_, item)| *item == name).map_or(&name, |(home, _)| home);
                if let Some(why) = violation(tree, &module[0], home) {
                    wrong.push(format!("{}:{line}: {why}", path.display()));
                }
                seen += 1;
            }
        }
        assert!(seen > 100, "only {seen} imports were found in {}", tree.folder);
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// What two commands share lies on a floor below them.
#[test]
fn a_command_knows_no_other() {
    let all = files("cli/src/commands", &["rs"]);
    assert!(all.len() > 10, "only {} commands", all.len());
    for path in all.iter().filter(|path| !path.ends_with("mod.rs")) {
        let module = module_of(&TREES[1], path);
        for (line, name) in imports(&module[1..], &read(path)) {
            let other = all.iter().any(|path| path.file_stem().is_some_and(|stem| *stem == *name));
            // `crate::measure` and the like are modules of the same name elsewhere.
            assert!(!other || floor_of(&TREES[1], &name).is_some(), "{}:{line}: knows `{name}`", path.display());
        }
    }
}

#[test]
fn the_reader_of_imports_finds_them() {
    let text = "\
use crate::{error::{Error, Result}, cell::Cell, train};
use super::*; // use crate::comment;
use super::super::nn::Parameters;
fn f() -> $crate::device::Device { crate::plan::overlap(a, b) }
use crate::{
    kernel::{gemm, op},
    shader,
};
mod tests {
    use super::super::super::io;
    use super::super::own;
}
use super::super::last;
";
    let tree = &TREES[0];
    let module = ["nn", "rnn"].map(String::from);
    let found = imports(&module, text);
    let found: Vec<(usize, &str)> = found.iter().map(|(line, name)| (*line, name.as_str())).collect();
    let wanted = [(1, "error"), (1, "cell"), (1, "train"), (3, "nn"), (4, "device"), (4, "plan"), (5, "kernel")];
    assert_eq!(found[..7], wanted);
    assert_eq!(found[7..], [(5, "shader"), (10, "io"), (13, "last")]);
    assert_eq!(module_of(tree, Path::new("src/nn/rnn/mod.rs")), module);
    assert_eq!(violation(tree, "plan", "kernel"), None);
    assert_eq!(violation(tree, "plan", "plan"), None);
    assert_eq!(violation(tree, "cell", "error"), None);
    for (from, to) in [("kernel", "plan"), ("io", "train"), ("train", "io"), ("gpu", "cpu"), ("device", "shader")] {
        assert!(violation(tree, from, to).is_some_and(|why| why.contains(from) && why.contains(to)), "{from} → {to}");
    }
    assert!(violation(tree, "nn", "Device").is_some_and(|why| why.contains("`Device`")));
}

/// A cell is its table row, its shader and its CPU file.
#[test]
fn skeletons_name_no_cell() {
    let names = ["lstm", "gru", "rnn_tanh", "rnn_relu", "rnntanh", "rnnrelu", "elman"];
    let mut wrong = Vec::new();
    let mut seen = 0;
    for folder in ["src/kernel", "src/plan", "shaders/recurrent", "shaders/gemm"] {
        for path in files(folder, &["rs", "wgsl"]) {
            seen += 1;
            let text = read(&path);
            for (line, code) in code(&text) {
                let code = code.to_lowercase();
                if let Some(name) = names.iter().find(|name| code.contains(*name)) {
                    wrong.push(format!("{}:{line}: names {name}", path.display()));
                }
            }
        }
    }
    assert!(seen > 20, "only {seen} files");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn no_file_is_too_long() {
    let folders = ["src", "shaders", "tests", "cli", "portability", "xtask", "examples", "benches"];
    let all: Vec<PathBuf> = folders.iter().flat_map(|folder| files(folder, &["rs", "wgsl"])).collect();
    assert!(all.len() > 80, "only {} files", all.len());
    let long = all.iter().map(|path| (path, read(path).lines().count())).filter(|(_, lines)| *lines > LINES);
    let long: Vec<String> = long.map(|(path, lines)| format!("{} has {lines} lines", path.display())).collect();
    assert!(long.is_empty(), "at most {LINES}:\n{}", long.join("\n"));
}

/// Every file says in its first line what it is.
#[test]
fn every_file_says_what_it_is() {
    for (folder, mark) in [("src", "//! "), ("tests", "//! "), ("shaders", "// ")] {
        for path in files(folder, &["rs", "wgsl"]) {
            assert!(read(&path).starts_with(mark), "{} does not begin with `{mark}`", path.display());
        }
    }
}
