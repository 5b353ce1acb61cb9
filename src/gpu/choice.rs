//! Which adapters the user means: by the environment that wgpu knows, by number, by name.

use crate::error::{Error, Result};

/// The variable that names the backends to look on, with commas between them.
pub(super) const BACKENDS: &str = "WGPU_BACKEND";
/// The variable that names part of the adapter to take.
pub(super) const ADAPTER: &str = "WGPU_ADAPTER_NAME";

/// What may stand in [`BACKENDS`], as wgpu spells it.
const NAMES: &[(&[&str], wgpu::Backends)] = &[
    (&["vulkan", "vk"], wgpu::Backends::VULKAN),
    (&["dx12", "d3d12"], wgpu::Backends::DX12),
    (&["metal", "mtl"], wgpu::Backends::METAL),
    (&["gl", "gles", "opengl"], wgpu::Backends::GL),
    (&["webgpu"], wgpu::Backends::BROWSER_WEBGPU),
];

/// The backends that [`BACKENDS`] names; all where it is not set or empty.
pub(super) fn backends(value: Option<&str>) -> Result<wgpu::Backends> {
    let Some(value) = value.filter(|value| !value.trim().is_empty()) else { return Ok(wgpu::Backends::all()) };
    let one = |word: &str| {
        let word = word.trim().to_lowercase();
        NAMES.iter().find(|(names, _)| names.contains(&word.as_str())).map(|(_, backend)| *backend)
    };
    let all: Option<Vec<_>> = value.split(',').map(one).collect();
    let names = NAMES.iter().filter_map(|(names, _)| names.first().copied()).collect::<Vec<_>>().join(", ");
    let all = all.ok_or_else(|| {
        let what = format!("the environment variable {BACKENDS}");
        Error::invalid(what, format!("names from {names}, with commas between them"), format!("`{value}`"))
    })?;
    Ok(all.into_iter().fold(wgpu::Backends::empty(), |all, one| all | one))
}

/// What was set and can hide adapters, as a clause that ends a sentence; empty where nothing was.
pub(super) fn hidden_by() -> String {
    let set = |name| value(name).map(|value| format!("{name} is `{value}`"));
    let all: Vec<String> = [BACKENDS, ADAPTER].into_iter().filter_map(set).collect();
    if all.is_empty() { String::new() } else { format!(", where {}", all.join(" and ")) }
}

/// A variable that is set to something.
pub(super) fn value(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()).filter(|value| !value.trim().is_empty())
}

/// Whether [`ADAPTER`], where it has this value, takes an adapter of this name: as wgpu's own helper reads it.
pub(super) fn takes(value: Option<&str>, name: &str) -> bool {
    value.is_none_or(|value| name.to_lowercase().contains(&value.trim().to_lowercase()))
}

/// The place in `labels`, each `NAME (BACKEND)`, of the one that `wanted` means: its number; else the one with this very
/// name; else the only one that has every word of it.
pub(super) fn find(labels: &[String], wanted: &str) -> Result<usize> {
    let refused = |why: String| Err(Error::NoDevice { wanted: format!("adapter `{wanted}`"), why });
    let list = |places: &mut dyn Iterator<Item = usize>| {
        let of = |place: usize| labels.get(place).map(|label| format!("{place}: {label}"));
        places.filter_map(of).collect::<Vec<_>>().join(", ")
    };
    let wanted = wanted.trim();
    if labels.is_empty() {
        return refused(none());
    }
    // A number beyond the list may be a word of a name, such as 4090.
    if let Some(place) = wanted.parse().ok().filter(|&place: &usize| place < labels.len()) {
        return Ok(place);
    }
    let wanted = wanted.to_lowercase();
    let words: Vec<&str> = wanted.split_whitespace().collect();
    let having = |fits: &dyn Fn(&str) -> bool| -> Vec<usize> {
        (0..labels.len()).filter(|&place| fits(&labels[place].to_lowercase())).collect()
    };
    let exact = having(&|label| label == wanted || label.rsplit_once(" (").is_some_and(|(name, _)| name == wanted));
    let matching = match exact[..] {
        [] => having(&|label| !words.is_empty() && words.iter().all(|word| has(label, word))),
        _ => exact,
    };
    match matching[..] {
        [place] => Ok(place),
        [] => refused(format!("the adapters of this machine are {}{}", list(&mut (0..labels.len())), hidden_by())),
        _ => refused(format!(
            "{} adapters have that in their names, {}; take a number, or add a word or the backend",
            matching.len(),
            list(&mut matching.iter().copied())
        )),
    }
}

/// Whether a name has a word, or part of one; of numbers whole ones, so that one beyond the list is no part of a version.
fn has(label: &str, word: &str) -> bool {
    match word.bytes().all(|byte| byte.is_ascii_digit()) {
        true => label.split(|c: char| !c.is_alphanumeric()).any(|part| part == word),
        false => label.contains(word),
    }
}

/// Why there is nothing to choose from.
pub(super) fn none() -> String {
    format!("this machine has no Vulkan, Metal, DX12 or OpenGL adapter{}", hidden_by())
}

#[cfg(test)]
mod tests {
    use super::{backends, find, takes};
    use wgpu::Backends;

    fn labels() -> Vec<String> {
        let names = [
            "NVIDIA GeForce RTX 4090 (Vulkan)",
            "NVIDIA GeForce RTX 4090 (Dx12)",
            "AMD Radeon 780M (Vulkan)",
            "AMD Radeon 780M Pro (Vulkan)",
            "llvmpipe (LLVM 15.0.6, 256 bits) (Vulkan)",
        ];
        names.map(String::from).to_vec()
    }

    #[test]
    fn numbers_names_and_words_find_one_adapter() {
        for (wanted, place) in [
            ("0", 0),
            (" 4 ", 4),
            ("4090 dx12", 1),
            ("Vulkan geforce", 0),
            ("NVIDIA GeForce RTX 4090 (Dx12)", 1),
            // A whole name goes before a part of another one.
            ("amd radeon 780m", 2),
            ("PRO", 3),
            ("llvm", 4),
            ("256", 4),
        ] {
            assert_eq!(find(&labels(), wanted).expect(wanted), place, "{wanted}");
        }
    }

    #[test]
    fn what_finds_none_or_several_says_what_there_is() {
        let refused = |labels: &[String], wanted: &str| find(labels, wanted).expect_err(wanted).to_string();
        assert_eq!(
            refused(&labels(), "4090"),
            "no adapter `4090` was found: 2 adapters have that in their names, 0: NVIDIA GeForce RTX 4090 (Vulkan), \
             1: NVIDIA GeForce RTX 4090 (Dx12); take a number, or add a word or the backend"
        );
        for wanted in ["5", "-1", "arc", "radeon dx12", "", " "] {
            let why = refused(&labels(), wanted);
            assert!(
                why.starts_with(&format!("no adapter `{wanted}` was found: the adapters of this machine are 0: ")),
                "{why}"
            );
            assert!(why.contains("4: llvmpipe (LLVM 15.0.6, 256 bits) (Vulkan)"), "{why}");
        }
        assert!(refused(&[], "0").contains("this machine has no Vulkan, Metal, DX12 or OpenGL adapter"));
    }

    #[test]
    fn backends_are_wgpus_names_or_an_error_with_the_variable() {
        assert_eq!(backends(None).expect("unset"), Backends::all());
        assert_eq!(backends(Some(" ")).expect("empty"), Backends::all());
        assert_eq!(backends(Some("gl")).expect("one"), Backends::GL);
        assert_eq!(backends(Some("VK, dx12")).expect("two"), Backends::VULKAN | Backends::DX12);
        for names in super::NAMES {
            for name in names.0 {
                assert_eq!(backends(Some(name)).expect(name), Backends::from_comma_list(name), "{name}");
            }
        }
        for bad in ["nonsense", "vulkan,nonsense", "vulkan,", "vulkan gl"] {
            let why = backends(Some(bad)).expect_err(bad).to_string();
            let begin = "the environment variable WGPU_BACKEND must be names from vulkan, dx12, metal, gl, webgpu";
            assert!(why.starts_with(begin) && why.ends_with(&format!("got `{bad}`")), "{why}");
        }
    }

    #[test]
    fn the_adapter_variable_is_part_of_a_name_in_any_case() {
        assert!(takes(None, "llvmpipe") && takes(Some("LLVM"), "llvmpipe"));
        assert!(!takes(Some("radeon"), "llvmpipe"));
    }
}
