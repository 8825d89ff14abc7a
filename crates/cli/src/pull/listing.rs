//! The files of a repository, with their lengths and hashes.
//!
//! The hub answers one request with the commit that a revision stands for and every file's size and hash:
//! SHA-256 for large files, git's blob hash (SHA-1 over a header and the content) for small ones.
//! [`Listing::parse`] reads that answer and trusts none of it: hashes become file names in the cache, so they
//! must be hashes.
//!
//! [`Listing::wanted`] keeps what the other commands read.

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::gguf_files;

/// Single files that are read when they are there.
const NAMES: &[&str] =
    &["config.json", "generation_config.json", "tokenizer.json", "model.safetensors.index.json"];

/// A hash that a file's content must have, in lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Digest {
    /// SHA-256 of the content: files in the hub's large-file storage.
    Sha256(String),
    /// Git's name for the content: files in the repository itself.
    GitBlob(String),
}

impl Digest {
    /// The digits, which are also the file's name among the blobs.
    pub fn hex(&self) -> &str {
        match self {
            Digest::Sha256(hex) | Digest::GitBlob(hex) => hex,
        }
    }
}

/// A file of the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFile {
    /// Its path in the repository.
    pub name: String,
    /// Its length.
    pub num_bytes: u64,
    /// What its content must hash to.
    pub digest: Digest,
}

/// Which of a repository's GGUF models is wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Selection<'a> {
    /// What its name ends in.
    pub quantization: Option<&'a str>,
    /// What its files' names fit.
    pub include: &'a [String],
}

/// What the hub said of one revision.
#[derive(Debug)]
pub struct Listing {
    /// The commit, forty hexadecimal digits.
    pub commit: String,
    files: Vec<Sibling>,
}

/// The hub's answer, as far as it is read.
#[derive(Deserialize)]
struct Answer {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Debug, Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    #[serde(rename = "blobId")]
    blob_id: Option<String>,
    lfs: Option<LargeFile>,
}

#[derive(Debug, Deserialize)]
struct LargeFile {
    #[serde(alias = "oid")]
    sha256: String,
    size: u64,
}

impl Listing {
    /// Reads the hub's answer.
    ///
    /// Errors: it is not the JSON of a model repository, or its commit is no commit.
    pub fn parse(json: &[u8]) -> Result<Listing> {
        let answer: Answer =
            serde_json::from_slice(json).context("the hub's answer is not a description of a model")?;
        ensure!(is_hex(&answer.sha, 40), "the hub names the commit `{}`, which is not a commit", answer.sha);
        Ok(Listing { commit: answer.sha, files: answer.siblings })
    }

    /// The files that the commands read, small ones first: the safetensors of the Hugging Face layout, or one
    /// model in GGUF when that is asked for or all there is.
    ///
    /// Errors: the repository holds no model that could be read, or several of which none is named; the hub
    /// gave no usable hash for a file.
    pub fn wanted(&self, selection: &Selection<'_>) -> Result<Vec<RemoteFile>> {
        let of = |test: &dyn Fn(&str) -> bool| {
            let files = self.files.iter().filter(|file| test(&file.rfilename));
            files.map(Sibling::remote_file).collect::<Result<Vec<RemoteFile>>>()
        };
        let has_safetensors = self.files.iter().any(|file| is_safetensors(&file.rfilename));
        let ggufs = of(&is_gguf)?;
        let names_one = selection.quantization.is_some() || !selection.include.is_empty();
        let mut files = match !ggufs.is_empty() && (names_one || !has_safetensors) {
            true => gguf_model(ggufs, selection)?,
            false if names_one => bail!("it has no .gguf file, and only of those one is chosen"),
            false => {
                let files = of(&is_wanted)?;
                if !files.iter().any(|file| file.name == "config.json") {
                    bail!(
                        "it has no config.json in its top folder: this is not a model in the Hugging Face layout"
                    );
                }
                if !has_safetensors {
                    bail!("it has no model*.safetensors in its top folder, and no .gguf file");
                }
                files
            }
        };
        files.sort_by(|a, b| (a.num_bytes, &a.name).cmp(&(b.num_bytes, &b.name)));
        Ok(files)
    }
}

/// The files of the GGUF model that is meant, or of those that fit.
fn gguf_model(files: Vec<RemoteFile>, selection: &Selection<'_>) -> Result<Vec<RemoteFile>> {
    let fits = |name: &str| {
        selection.include.is_empty() || selection.include.iter().any(|glob| is_match(glob, name))
    };
    let files: Vec<RemoteFile> = files.into_iter().filter(|file| fits(&file.name)).collect();
    if !selection.include.is_empty() {
        ensure!(!files.is_empty(), "no .gguf file of it fits --include {}", selection.include.join(" "));
        return Ok(files);
    }
    let models = gguf_files::models(files.iter().map(|file| (file.name.clone(), file.num_bytes)));
    let how = "write ORG/NAME:QUANT for one of them, or --include 'GLOB' for several";
    let chosen = gguf_files::choose(&models, selection.quantization, how)?;
    let is_chosen = |file: &RemoteFile| chosen.files.iter().any(|(name, _)| *name == file.name);
    Ok(files.into_iter().filter(is_chosen).collect())
}

/// Whether a name fits a pattern in which `*` is any text and `?` any character.
fn is_match(glob: &str, name: &str) -> bool {
    match (glob.chars().next(), name.chars().next()) {
        (None, found) => found.is_none(),
        (Some('*'), _) => {
            let mut ends = name.char_indices().map(|(at, _)| at).chain([name.len()]);
            ends.any(|at| is_match(&glob[1..], &name[at..]))
        }
        (Some(wanted), Some(found)) if wanted == '?' || wanted == found => {
            is_match(&glob[wanted.len_utf8()..], &name[found.len_utf8()..])
        }
        _ => false,
    }
}

/// Top folder only: `original/` and `metal/` hold the same weights again.
fn is_wanted(name: &str) -> bool {
    is_plain(name) && (NAMES.contains(&name) || is_safetensors(name))
}

fn is_safetensors(name: &str) -> bool {
    is_plain(name) && name.starts_with("model") && name.ends_with(".safetensors")
}

/// In the top folder, or one below it: split models have a folder of their own.
fn is_gguf(name: &str) -> bool {
    let (folder, file) = name.split_once('/').unwrap_or(("-", name));
    is_plain(folder) && is_plain(file) && !folder.starts_with('.') && file.ends_with(".gguf")
}

fn is_plain(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

impl Sibling {
    fn remote_file(&self) -> Result<RemoteFile> {
        let name = &self.rfilename;
        let (num_bytes, digest) = match (&self.lfs, self.size, &self.blob_id) {
            (Some(large), _, _) => (large.size, Digest::Sha256(large.sha256.clone())),
            (None, Some(size), Some(blob)) => (size, Digest::GitBlob(blob.clone())),
            _ => bail!("the hub gives neither size nor hash of {name}: it cannot be verified"),
        };
        let num_digits = if matches!(digest, Digest::Sha256(_)) { 64 } else { 40 };
        ensure!(
            is_hex(digest.hex(), num_digits),
            "the hub gives `{}` as the hash of {name}: it is none",
            digest.hex()
        );
        Ok(RemoteFile { name: name.clone(), num_bytes, digest })
    }
}

fn is_hex(text: &str, num_digits: usize) -> bool {
    text.len() == num_digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn wanted(siblings: Value) -> Result<Vec<RemoteFile>> {
        Listing::parse(&serde_json::to_vec(&json!({"sha": COMMIT, "siblings": siblings}))?)?
            .wanted(&Selection::default())
    }

    fn small(name: &str) -> Value {
        json!({"rfilename": name, "size": 2, "blobId": COMMIT})
    }

    fn large(name: &str) -> Value {
        json!({"rfilename": name, "size": 9, "blobId": COMMIT, "lfs": {"sha256": "a".repeat(64), "size": 9, "pointerSize": 1}})
    }

    #[test]
    fn only_what_is_read_is_wanted() {
        let all = json!([
            large("model-00001-of-00002.safetensors"),
            small("README.md"),
            large("original/model.safetensors"),
            large("metal/model.bin"),
            large("pytorch_model.bin"),
            small("chat_template.jinja"),
            small("config.json"),
            small("original/config.json"),
            small("tokenizer.json"),
            small("model.safetensors.index.json"),
            small("generation_config.json"),
            small("model/../../x.safetensors"),
            large("adapter_model.safetensors"),
        ]);
        let names: Vec<String> = wanted(all).unwrap().into_iter().map(|file| file.name).collect();
        let expect = "config.json generation_config.json model.safetensors.index.json tokenizer.json \
                      model-00001-of-00002.safetensors";
        assert_eq!(names.join(" "), expect);
    }

    #[test]
    fn each_file_has_its_own_kind_of_hash() {
        let files = wanted(json!([small("config.json"), large("model.safetensors")])).unwrap();
        assert_eq!(files[0].digest, Digest::GitBlob(COMMIT.to_owned()));
        assert_eq!(files[1].digest, Digest::Sha256("a".repeat(64)));
        assert_eq!((files[0].num_bytes, files[1].num_bytes), (2, 9));
    }

    #[test]
    fn a_repository_without_a_model_says_what_it_lacks() {
        for (siblings, expect) in [
            (json!([large("model.safetensors")]), "no config.json"),
            (json!([small("config.json"), large("pytorch_model.bin")]), "no model*.safetensors"),
            (json!([{"rfilename": "config.json"}]), "neither size nor hash of config.json"),
            (json!([{"rfilename": "config.json", "size": 1, "blobId": "../../x"}]), "it is none"),
        ] {
            let message = wanted(siblings).unwrap_err().to_string();
            assert!(message.contains(expect), "{message}");
        }
    }

    #[test]
    fn of_gguf_files_one_model_is_wanted() {
        let siblings = json!([
            large("model-F16.gguf"),
            large("split/model-Q8_0-00001-of-00002.gguf"),
            large("split/model-Q8_0-00002-of-00002.gguf"),
            large("deep/er/model-Q4.gguf"),
            large("../x.gguf"),
            small("config.json"),
        ]);
        let listing = serde_json::to_vec(&json!({"sha": COMMIT, "siblings": siblings})).unwrap();
        let listing = Listing::parse(&listing).unwrap();
        let check = |quantization: Option<&str>, include: &[&str], expect: &str| {
            let include: Vec<String> = include.iter().map(|glob| (*glob).to_owned()).collect();
            let said = match listing.wanted(&Selection { quantization, include: &include }) {
                Ok(files) => files.into_iter().map(|file| file.name).collect::<Vec<_>>().join(" "),
                Err(error) => error.to_string(),
            };
            assert!(said.contains(expect), "{quantization:?} {include:?}: {said}");
        };
        check(Some("f16"), &[], "model-F16.gguf");
        let both = "split/model-Q8_0-00001-of-00002.gguf split/model-Q8_0-00002-of-00002.gguf";
        check(Some("Q8_0"), &[], both);
        check(None, &["*Q8_0*"], both);
        check(None, &["model-F1?.gguf"], "model-F16.gguf");
        check(None, &["*Q5*"], "fits --include *Q5*");
        check(None, &[], "there are 2 models");
        check(None, &[], "ORG/NAME:QUANT");
    }

    #[test]
    fn patterns_fit_as_in_a_shell() {
        for (glob, name, expect) in [
            ("*", "", true),
            ("*.gguf", "a.gguf", true),
            ("*.gguf", "a.gguf2", false),
            ("a?c*", "abcd", true),
            ("a?c", "ac", false),
            ("*b*d", "abcd", true),
            ("ü*", "üx", true),
        ] {
            assert_eq!(is_match(glob, name), expect, "{glob} {name}");
        }
    }

    #[test]
    fn an_answer_that_is_no_listing_is_refused() {
        assert!(Listing::parse(b"<html>").is_err());
        assert!(
            Listing::parse(br#"{"sha": "../..", "siblings": []}"#)
                .unwrap_err()
                .to_string()
                .contains("not a commit")
        );
    }
}
