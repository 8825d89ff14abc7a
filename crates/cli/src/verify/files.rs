//! Whether a model's files are what somebody said that they are.
//!
//! The hub's cache names a large file by its SHA-256 and a small one by its git hash, and Ollama's store
//! names files alike; a folder may have `SHA256SUMS`, and one with the configuration of openai/gpt-oss-20b
//! has three files whose hashes are known. Each file is read whole.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest as _, Sha256};

use super::{published, sums};
use crate::demo;
use crate::finding::Finding;
use crate::memory_budget::human;
use crate::model_source::{ModelSource, Opened};
use crate::progress::{Progress, Unit};
use crate::pull::checksum::{Verdict, hex, verify};
use crate::pull::listing::{Digest, RemoteFile};
use crate::pulled;

const ABOUT: &str = "files";
/// Digits of a git hash.
const GIT_DIGITS: usize = 40;
/// The hashes of the demo's files.
const DEMO_SUMS: &str = include_str!("../../../../demo/model/SHA256SUMS");

/// A file with what it should hash to.
struct Promised {
    name: String,
    path: PathBuf,
    digest: Digest,
}

/// A line for what is right, and one for each file that is not.
///
/// Errors: a file cannot be read; `SHA256SUMS` is not what it should be.
pub fn findings(opened: &Opened) -> Result<Vec<Finding>> {
    let (who, promised) = match &opened.source {
        ModelSource::Demo => return demo_findings(),
        ModelSource::Synthetic(..) => {
            return Ok(vec![Finding::ok(ABOUT, "none: the weights are made from the seed")]);
        }
        ModelSource::Repository { .. } => ("the hub", opened.folder().map(cached).transpose()?),
        ModelSource::Folder(folder) => in_folder(folder)?,
        ModelSource::Gguf(file) => (sums::FILE, beside(file)?),
        ModelSource::Ollama { file, .. } => ("Ollama", Some(of_ollama(file))),
    };
    match promised.filter(|promised| !promised.is_empty()) {
        Some(promised) => compared(who, &promised),
        None => Ok(vec![Finding::warn(
            ABOUT,
            "nothing says what they should be",
            format!(
                "fetch the model with `gptoss pull`, whose cache knows, or put a {} beside the files where they are \
                 known to be right",
                sums::FILE
            ),
        )]),
    }
}

/// The files of a snapshot, whose bytes lie under their hashes.
fn cached(folder: &Path) -> Result<Vec<Promised>> {
    let named = pulled::files(folder)?.into_iter().filter_map(|file| {
        let hash = file.blob.file_name()?.to_str()?.to_owned();
        let is_hex = hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        let digest = match hash.len() {
            sums::DIGITS if is_hex => Digest::Sha256(hash),
            GIT_DIGITS if is_hex => Digest::GitBlob(hash),
            _ => return None,
        };
        Some(Promised { name: file.name, path: file.blob, digest })
    });
    Ok(named.collect())
}

/// The files of a folder that its `SHA256SUMS` names, or the known ones of gpt-oss-20b.
fn in_folder(folder: &Path) -> Result<(&'static str, Option<Vec<Promised>>)> {
    if let Some(sums) = sums::in_folder(folder)? {
        return Ok((sums::FILE, Some(of_sums(folder, sums))));
    }
    let known = published::FILES_20B.iter().map(|(name, hash)| ((*name).to_owned(), (*hash).to_owned()));
    let promised = of_sums(folder, known.collect());
    // One that differs in its configuration is another model.
    let is_known = promised
        .iter()
        .find(|file| file.name == "config.json")
        .map_or(Ok(false), |file| Ok::<_, anyhow::Error>(check(file, &mut |_| ())? == Verdict::Right))?;
    Ok((
        "openai/gpt-oss-20b at 6cee5e8, which has hashes of three small files here",
        is_known.then_some(promised),
    ))
}

fn of_sums(folder: &Path, sums: BTreeMap<String, String>) -> Vec<Promised> {
    let promised = |(name, hash): (String, String)| Promised {
        path: folder.join(&name),
        name,
        digest: Digest::Sha256(hash),
    };
    sums.into_iter().map(promised).collect()
}

/// A GGUF file that a `SHA256SUMS` beside it names.
fn beside(file: &Path) -> Result<Option<Vec<Promised>>> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Some(sums) = sums::in_folder(folder)? else { return Ok(None) };
    let name = file.file_name().and_then(|name| name.to_str());
    Ok(Some(of_sums(folder, sums.into_iter().filter(|(of, _)| Some(of.as_str()) == name).collect())))
}

fn of_ollama(file: &Path) -> Vec<Promised> {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let hash = name.strip_prefix("sha256-").unwrap_or_default();
    vec![Promised { name: name.to_owned(), path: file.to_owned(), digest: Digest::Sha256(hash.to_owned()) }]
}

/// Compares all.
fn compared(who: &str, promised: &[Promised]) -> Result<Vec<Finding>> {
    let sizes: Vec<u64> =
        promised.iter().map(|file| std::fs::metadata(&file.path).map_or(0, |meta| meta.len())).collect();
    let total: u64 = sizes.iter().sum();
    let mut progress = Progress::new("reading the files", Unit::Bytes);
    let (mut wrong, mut before) = (Vec::new(), 0);
    for (file, bytes) in promised.iter().zip(&sizes) {
        if !file.path.exists() {
            wrong.push(Finding::fail(
                ABOUT,
                format!("{} is not there, and {who} names it", file.name),
                "fetch the model again",
            ));
            continue;
        }
        let verdict = check(file, &mut |done| progress.set(before + done, total))?;
        before += bytes;
        if verdict != Verdict::Right {
            wrong.push(differs(&file.name, &verdict, file.digest.hex(), who));
        }
    }
    progress.clear();
    if wrong.is_empty() {
        let says = format!("{} of {}, {}, as {who} has them", promised.len(), promised.len(), human(total));
        wrong.push(Finding::ok(ABOUT, says));
    }
    Ok(wrong)
}

fn check(file: &Promised, progress: &mut dyn FnMut(u64)) -> Result<Verdict> {
    let Ok(meta) = std::fs::metadata(&file.path) else { return Ok(Verdict::Length(0)) };
    let remote = RemoteFile { name: file.name.clone(), num_bytes: meta.len(), digest: file.digest.clone() };
    verify(&file.path, &remote, progress)
}

fn differs(name: &str, verdict: &Verdict, expected: &str, who: &str) -> Finding {
    let found = match verdict {
        Verdict::Right => "right".to_owned(),
        Verdict::Length(bytes) => format!("{bytes} bytes long"),
        Verdict::Hash(hash) => hash.clone(),
    };
    Finding::fail(
        ABOUT,
        format!("{name} is {found}; {who} has {expected}"),
        "its bytes are not those that were published: fetch it again, and look at the disk if it happens again",
    )
}

/// The files in the program.
fn demo_findings() -> Result<Vec<Finding>> {
    let sums = sums::parse(DEMO_SUMS).context("the embedded SHA256SUMS")?;
    let (mut wrong, mut bytes) = (Vec::new(), 0);
    for (name, content) in demo::FILES {
        bytes += content.len() as u64;
        let found = hex(&Sha256::digest(content));
        let expected = sums.get(*name).map_or("", String::as_str);
        if found != expected {
            wrong.push(differs(name, &Verdict::Hash(found), expected, "this build's SHA256SUMS"));
        }
    }
    if wrong.is_empty() {
        let says = format!(
            "{} in the program, {}, as demo/model/SHA256SUMS has them",
            demo::FILES.len(),
            human(bytes)
        );
        wrong.push(Finding::ok(ABOUT, says));
    }
    Ok(wrong)
}
