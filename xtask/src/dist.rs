//! `cargo xtask dist`: what people install who do not build from source.
//!
//! Builds the stripped program for this machine's target, and for others whose standard library and linker
//! are here, so that one commit gives the same bytes wherever it lies: paths are mapped away, the time is the
//! commit's. `deploy/package/make.py` puts it into an archive, a wheel, packages of npm and Debian, a formula
//! and a bill of materials, with checksums.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// Targets that are released, each with the linker that it needs elsewhere.
const TARGETS: [(&str, &str); 2] = [
    ("x86_64-unknown-linux-gnu", "x86_64-linux-gnu-gcc"),
    ("aarch64-unknown-linux-gnu", "aarch64-linux-gnu-gcc"),
];
/// Where the packages go and where they are built, from the target folder.
const OUT: &str = "dist";
const BUILD: &str = "dist-build";

/// What was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Asked<'a> {
    /// A program that is there, for this machine; otherwise it is built.
    binary: Option<&'a Path>,
    /// Where the packages go.
    out: Option<&'a Path>,
    /// Where the archives will lie, for the formula.
    address: Option<&'a str>,
}

impl<'a> Asked<'a> {
    /// Errors: an argument that is none.
    pub fn parse(arguments: &[&'a str]) -> Result<Asked<'a>> {
        let mut asked = Asked::default();
        for pair in arguments.chunks(2) {
            match *pair {
                ["--binary", path] => asked.binary = Some(Path::new(path)),
                ["--out", path] => asked.out = Some(Path::new(path)),
                ["--address", url] => asked.address = Some(url),
                _ => bail!("dist takes --binary FILE, --out DIR and --address URL, not {}", pair.join(" ")),
            }
        }
        Ok(asked)
    }
}

/// Makes the packages; gives their folder.
///
/// Errors: the build, the packages.
pub fn run(root: &Path, asked: &Asked<'_>) -> Result<PathBuf> {
    let metadata = cargo_metadata::MetadataCommand::new().current_dir(root).no_deps().exec()?;
    let target = metadata.target_directory.as_std_path();
    let package = metadata.packages.iter().find(|package| package.name.as_str() == "gptoss-cli");
    let version = package.context("there is no package gptoss-cli")?.version.to_string();
    let epoch = output(root, "git", &["log", "-1", "--format=%ct"])?;
    let host = output(root, "rustc", &["--print", "host-tuple"])?;
    let build = target.join(BUILD);
    fs::create_dir_all(&build)?;
    let mut programs = Vec::new();
    match asked.binary {
        Some(binary) => programs.push((host.clone(), stripped(binary, &build.join("gptoss"))?)),
        None => {
            programs.push((host.clone(), built(root, &build, &host, &epoch)?));
            for (other, linker) in TARGETS.iter().filter(|(other, _)| *other != host) {
                match missing(root, other, linker) {
                    Some(what) => eprintln!("note: {other} is left out: {what}"),
                    None => programs.push(((*other).to_owned(), built(root, &build, other, &epoch)?)),
                }
            }
        }
    }
    let out = asked.out.map_or_else(|| target.join(OUT), Path::to_owned);
    if out.exists() {
        let is_ours = out.join("SHA256SUMS").is_file() || fs::read_dir(&out)?.next().is_none();
        ensure!(
            is_ours,
            "{} holds something else than an earlier release; give another --out",
            out.display()
        );
        fs::remove_dir_all(&out).with_context(|| format!("cannot empty {}", out.display()))?;
    }
    let mut make = Command::new("python3");
    make.arg(root.join("deploy/package/make.py")).args(["--version", &version, "--epoch", &epoch]);
    make.arg("--out").arg(&out).current_dir(root);
    for (target, program) in &programs {
        make.arg("--program").arg(format!("{target}={}", program.display()));
    }
    if let Some(address) = asked.address {
        make.args(["--address", address]);
    }
    succeed(&mut make).context("the packages were not made")?;
    Ok(out)
}

/// What is not here to build for `target` with.
fn missing(root: &Path, target: &str, linker: &str) -> Option<String> {
    let library = output(root, "rustc", &["--target", target, "--print", "target-libdir"]).ok();
    if !library.is_some_and(|library| Path::new(&library).is_dir()) {
        return Some(format!("its standard library is not installed (rustup target add {target})"));
    }
    let has_linker = Command::new(linker).arg("--version").output().is_ok();
    (!has_linker).then(|| format!("there is no {linker}"))
}

/// Builds the program in a way that does not say where.
fn built(root: &Path, build: &Path, target: &str, epoch: &str) -> Result<PathBuf> {
    let home = env::var("CARGO_HOME").or_else(|_| env::var("HOME").map(|home| format!("{home}/.cargo")))?;
    let root_text = fs::canonicalize(root)?.display().to_string();
    let maps = [(root_text.as_str(), "/gptoss"), (home.as_str(), "/cargo")];
    let rust: Vec<String> =
        maps.iter().map(|(from, to)| format!("--remap-path-prefix={from}={to}")).collect();
    let c: Vec<String> = maps.iter().map(|(from, to)| format!("-ffile-prefix-map={from}={to}")).collect();
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--locked", "--release", "--bin", "gptoss", "--target", target]).current_dir(root);
    cargo.arg("--target-dir").arg(build).env("SOURCE_DATE_EPOCH", epoch).env("CARGO_INCREMENTAL", "0");
    cargo.env("RUSTFLAGS", rust.join(" ")).env("CFLAGS", c.join(" "));
    if let Some((_, linker)) = TARGETS.iter().find(|(other, _)| *other == target) {
        let name = target.to_uppercase().replace('-', "_");
        if Command::new(linker).arg("--version").output().is_ok() {
            cargo.env(format!("CARGO_TARGET_{name}_LINKER"), linker);
        }
    }
    succeed(&mut cargo).context("the program was not built")?;
    Ok(build.join(target).join("release/gptoss"))
}

/// A copy of a program, without symbols where there is a `strip`.
fn stripped(binary: &Path, to: &Path) -> Result<PathBuf> {
    let done = Command::new("strip").arg("--strip-all").arg("-o").arg(to).arg(binary).status();
    if !done.is_ok_and(|status| status.success()) {
        eprintln!("note: there is no strip, so the program is packed as it is");
        fs::copy(binary, to).with_context(|| format!("copying {}", binary.display()))?;
    }
    Ok(to.to_owned())
}

fn succeed(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("starting {program}"))?;
    if !status.success() {
        bail!("{program} ended with {status}");
    }
    Ok(())
}

fn output(root: &Path, program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).current_dir(root).output();
    let output = output.with_context(|| format!("starting {program}"))?;
    if !output.status.success() {
        bail!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read() {
        let asked = Asked::parse(&["--out", "o", "--binary", "b"]).unwrap();
        assert_eq!(asked, Asked { binary: Some("b".as_ref()), out: Some("o".as_ref()), address: None });
        assert!(Asked::parse(&["--out"]).is_err() && Asked::parse(&["--what", "x"]).is_err());
    }
}
