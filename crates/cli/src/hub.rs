//! The local cache of the Hugging Face hub.
//!
//! The cache is shared with every other tool that follows the hub's layout: `models--ORG--NAME` holds `blobs`
//! (files by hash), `snapshots/COMMIT` (their names, as links to blobs) and `refs` (the commit of each branch
//! or tag). [`cached_snapshot`] finds the folder of a pulled model there without any network, [`released`]
//! knows the names that people have for the published models, and [`Settings`] is what the hub's own
//! environment variables say.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use hf_hub::{Cache, Repo, RepoType};

use crate::failure::usage;
use crate::gguf_files;

/// The branch that a name without a revision means.
pub const DEFAULT_REVISION: &str = "main";
/// Seconds without a byte after which a connection counts as broken, unless `HF_HUB_DOWNLOAD_TIMEOUT` says
/// otherwise.
const SILENCE_SECONDS_MAX: u64 = 30;
/// The released models, as the hub has them below `openai/`, with the size of what `pull` fetches.
const RELEASED: [(&str, &str); 4] = [
    ("gpt-oss-20b", "13.8 GB"),
    ("gpt-oss-120b", "65 GB"),
    ("gpt-oss-safeguard-20b", "13.8 GB"),
    ("gpt-oss-safeguard-120b", "65 GB"),
];
/// Whose they are.
const RELEASED_BY: &str = "openai";
const CONFIG: &str = "config.json";
const INDEX: &str = "model.safetensors.index.json";
const WEIGHTS: &str = "model.safetensors";

/// What the environment says about the hub.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `HF_ENDPOINT`: the hub's address without a slash at its end. `None` is the public hub.
    pub endpoint: Option<String>,
    /// `HF_HUB_CACHE`, or `hub` under `HF_HOME`.
    pub cache: PathBuf,
    /// `HF_TOKEN`, or what the token file holds.
    pub token: Option<String>,
    /// `HF_HUB_OFFLINE`: whether the network is off limits.
    pub offline: bool,
    /// `HF_HUB_DOWNLOAD_TIMEOUT`: how long a connection may be silent.
    pub silence_max: Duration,
}

impl Settings {
    /// Reads the environment.
    ///
    /// Errors: a variable that cannot mean anything, or no home folder to fall back on; with the variable's
    /// name.
    pub fn from_environment() -> Result<Settings> {
        let home = hub_home();
        let cache = match folder("HF_HUB_CACHE").or_else(|| folder("HUGGINGFACE_HUB_CACHE")) {
            Some(cache) => cache,
            None => home
                .clone()
                .context("no home folder: set HF_HOME to the folder of the Hugging Face cache")?
                .join("hub"),
        };
        let endpoint = variable("HF_ENDPOINT").map(|text| text.trim_end_matches('/').to_owned());
        if let Some(endpoint) = endpoint.as_ref().filter(|text| !is_web_address(text)) {
            return Err(usage(format!(
                "HF_ENDPOINT is `{endpoint}`: it must begin with https:// or http://"
            )));
        }
        let seconds = match variable("HF_HUB_DOWNLOAD_TIMEOUT") {
            None => SILENCE_SECONDS_MAX,
            Some(text) => text.parse().ok().filter(|seconds| *seconds > 0).ok_or_else(|| {
                usage(format!(
                    "HF_HUB_DOWNLOAD_TIMEOUT is `{text}`: it must be a whole number of seconds above 0"
                ))
            })?,
        };
        let is_on = |text: String| matches!(text.to_uppercase().as_str(), "1" | "ON" | "YES" | "TRUE");
        Ok(Settings {
            endpoint,
            cache,
            token: token(home.as_deref()),
            offline: variable("HF_HUB_OFFLINE").is_some_and(is_on),
            silence_max: Duration::from_secs(seconds),
        })
    }
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn folder(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// `HF_HOME`, or where the hub's tools keep their things otherwise.
fn hub_home() -> Option<PathBuf> {
    let caches = || folder("XDG_CACHE_HOME").or_else(|| env::home_dir().map(|home| home.join(".cache")));
    folder("HF_HOME").or_else(|| caches().map(|caches| caches.join("huggingface")))
}

fn is_web_address(text: &str) -> bool {
    ["https://", "http://"]
        .iter()
        .any(|scheme| text.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()))
}

fn token(home: Option<&Path>) -> Option<String> {
    let file = folder("HF_TOKEN_PATH").or_else(|| home.map(|home| home.join("token")));
    let from_file = || fs::read_to_string(file?).ok().map(|text| text.trim().to_owned());
    variable("HF_TOKEN").or_else(from_file).filter(|text| !text.is_empty())
}

/// The repository of a released model by one of the names that people have for it: `gpt-oss-20b`,
/// `gpt-oss:20b`, `gpt-oss:latest`.
pub fn released(name: &str) -> Option<String> {
    let name = name.to_ascii_lowercase().replace(':', "-");
    let name = match name.strip_suffix("-latest").unwrap_or(&name) {
        // What Ollama means by it.
        "gpt-oss" => "gpt-oss-20b",
        name => name,
    };
    RELEASED.iter().any(|(known, _)| *known == name).then(|| format!("{RELEASED_BY}/{name}"))
}

/// The repository that a name means, by whichever name people have for it, and which of its GGUF models.
pub fn name_and_quantization(text: &str) -> (String, Option<&str>) {
    match (released(text), text.split_once(':')) {
        (Some(name), _) => (name, None),
        (None, Some((name, quantization))) => (name.to_owned(), Some(quantization)),
        (None, None) => (text.to_owned(), None),
    }
}

/// What a released model takes on disk, by its repository.
pub fn released_size(repository: &str) -> Option<&'static str> {
    let name = repository.strip_prefix(RELEASED_BY)?.strip_prefix('/')?;
    RELEASED.iter().find(|(known, _)| *known == name).map(|(_, size)| *size)
}

/// A model repository's handle, of the hub client's own kind.
pub fn repository(name: &str, revision: &str) -> Repo {
    Repo::with_revision(name.to_owned(), RepoType::Model, revision.to_owned())
}

/// The folder of a repository in a cache.
pub fn repository_folder(cache: &Path, name: &str) -> PathBuf {
    cache.join(repository(name, DEFAULT_REVISION).folder_name())
}

/// The folder that holds the files of `org/name` at a branch, tag or commit; never asks the network.
///
/// Errors: the repository or the revision was not pulled, or not wholly; the message names the command that
/// does.
pub fn cached_snapshot(name: &str, revision: &str) -> Result<PathBuf> {
    snapshot_in(&Settings::from_environment()?.cache, name, revision)
}

/// Whether anything of a repository's revision is in the cache.
///
/// Errors: the environment does not say where the cache is.
pub fn is_pulled(name: &str, revision: &str) -> Result<bool> {
    let cache = Settings::from_environment()?.cache;
    let folder = repository_folder(&cache, name);
    Ok(is_safe_revision(revision) && commit_folder(&cache, &folder, name, revision).is_some())
}

fn snapshot_in(cache: &Path, name: &str, revision: &str) -> Result<PathBuf> {
    let command = match revision {
        DEFAULT_REVISION => format!("gptoss pull {name}"),
        _ => format!("gptoss pull {name} --revision {revision}"),
    };
    let repository_folder = repository_folder(cache, name);
    let found = is_safe_revision(revision)
        .then(|| commit_folder(cache, &repository_folder, name, revision))
        .flatten();
    let Some(snapshot) = found else {
        let what = if repository_folder.is_dir() {
            format!("revision {revision} of {name}")
        } else {
            name.to_owned()
        };
        let size = released_size(name).map_or(String::new(), |size| format!(" ({size})"));
        anyhow::bail!("{what} is not in the cache {}: run `{command}`{size}", cache.display());
    };
    if let Some(missing) = first_missing_file(&snapshot)? {
        anyhow::bail!(
            "{name} is in the cache but not whole: {} is missing; run `{command}` again",
            missing.display()
        );
    }
    Ok(snapshot)
}

/// The snapshot of a branch or tag by its ref, or of a commit by its own name.
fn commit_folder(cache: &Path, repository_folder: &Path, name: &str, revision: &str) -> Option<PathBuf> {
    let named = fs::read_to_string(repository_folder.join("refs").join(revision)).ok();
    let commit = named.map_or_else(|| revision.to_owned(), |text| text.trim().to_owned());
    let cache = Cache::new(cache.to_owned());
    let snapshot = cache.repo(repository(name, revision)).pointer_path(&commit);
    (is_word(&commit) && snapshot.is_dir()).then_some(snapshot)
}

/// Whether a revision can be part of a path and of an address: it may hold slashes, but leads nowhere else.
pub fn is_safe_revision(revision: &str) -> bool {
    revision.split('/').all(is_word)
}

/// Whether a text can be one part of a path and of an address: it leads nowhere else.
pub fn is_word(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('.')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// The first file that the commands would look for and not find. A link whose blob is gone counts as missing.
fn first_missing_file(snapshot: &Path) -> Result<Option<PathBuf>> {
    let has_weights = has_safetensors(snapshot)?;
    // Whether the parts of a split one are all there is seen when it is opened.
    if !has_weights && !gguf_files::in_folder(snapshot)?.is_empty() {
        return Ok(None);
    }
    let config = snapshot.join(CONFIG);
    if !config.exists() {
        return Ok(Some(config));
    }
    let index = snapshot.join(INDEX);
    if !index.exists() {
        return Ok((!has_weights).then(|| snapshot.join(WEIGHTS)));
    }
    let text = fs::read(&index).with_context(|| format!("cannot read {}", index.display()))?;
    let shards = shards(&text).with_context(|| format!("{} is not an index of shards", index.display()))?;
    Ok(shards.into_iter().map(|shard| snapshot.join(shard)).find(|path| !path.exists()))
}

/// Whether a folder has weights in the Hugging Face format, or an index of them.
pub fn has_safetensors(snapshot: &Path) -> Result<bool> {
    let entries = fs::read_dir(snapshot).with_context(|| format!("cannot read {}", snapshot.display()))?;
    let is_weights =
        |path: PathBuf| path.extension().is_some_and(|end| end == "safetensors") && path.exists();
    Ok(snapshot.join(INDEX).exists()
        || entries.filter_map(|entry| entry.ok()).any(|entry| is_weights(entry.path())))
}

/// The files that an index names, each once.
fn shards(index: &[u8]) -> Result<BTreeSet<String>> {
    let index: serde_json::Value = serde_json::from_slice(index)?;
    let map = index.get("weight_map").and_then(|map| map.as_object()).context("it has no weight_map")?;
    Ok(map.values().filter_map(|file| file.as_str()).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    /// A cache that holds one snapshot of `org/name` with these files, and `main` pointing at it.
    fn cache_with(files: &[(&str, &str)]) -> tempfile::TempDir {
        let cache = tempfile::tempdir().unwrap();
        let folder = cache.path().join("models--org--name");
        let snapshot = folder.join("snapshots").join(COMMIT);
        fs::create_dir_all(&snapshot).unwrap();
        fs::create_dir_all(folder.join("refs")).unwrap();
        fs::write(folder.join("refs/main"), format!("{COMMIT}\n")).unwrap();
        files.iter().for_each(|(name, text)| fs::write(snapshot.join(name), text).unwrap());
        cache
    }

    fn refused(cache: &Path, name: &str, revision: &str) -> String {
        snapshot_in(cache, name, revision).unwrap_err().to_string()
    }

    #[test]
    fn a_whole_snapshot_is_found_by_branch_and_by_commit() {
        let cache = cache_with(&[(CONFIG, "{}"), (WEIGHTS, "")]);
        let expect = cache.path().join("models--org--name/snapshots").join(COMMIT);
        assert_eq!(snapshot_in(cache.path(), "org/name", "main").unwrap(), expect);
        assert_eq!(snapshot_in(cache.path(), "org/name", COMMIT).unwrap(), expect);
    }

    #[test]
    fn what_was_not_pulled_names_the_command() {
        let cache = cache_with(&[(CONFIG, "{}"), (WEIGHTS, "")]);
        let message = refused(cache.path(), "org/other", "main");
        assert!(
            message.contains("org/other is not in") && message.ends_with("run `gptoss pull org/other`"),
            "{message}"
        );
        let message = refused(cache.path(), "org/name", "v2");
        assert!(message.ends_with("run `gptoss pull org/name --revision v2`"), "{message}");
    }

    #[test]
    fn a_snapshot_with_holes_names_the_hole() {
        let index = r#"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}"#;
        for (files, missing) in [
            (&[(WEIGHTS, "")][..], "config.json"),
            (&[(CONFIG, "{}")], WEIGHTS),
            (&[(CONFIG, "{}"), (INDEX, index), ("model-1.safetensors", "")], "model-2.safetensors"),
        ] {
            let message = refused(cache_with(files).path(), "org/name", "main");
            assert!(message.contains(missing) && message.contains("gptoss pull org/name"), "{message}");
        }
        let damaged = cache_with(&[(CONFIG, "{}"), (INDEX, "{}")]);
        assert!(refused(damaged.path(), "org/name", "main").contains("not an index of shards"));
    }

    #[test]
    fn a_link_without_its_blob_is_missing() {
        let cache = cache_with(&[(CONFIG, "{}")]);
        let link = cache.path().join("models--org--name/snapshots").join(COMMIT).join(WEIGHTS);
        #[cfg(unix)]
        std::os::unix::fs::symlink("../../blobs/gone", &link).unwrap();
        assert!(refused(cache.path(), "org/name", "main").contains(WEIGHTS));
    }

    #[test]
    fn revisions_and_refs_lead_nowhere_else() {
        let cache = cache_with(&[(CONFIG, "{}"), (WEIGHTS, "")]);
        for revision in ["..", "../..", "/etc", "a//b", ".hidden", "", "a b"] {
            assert!(!is_safe_revision(revision), "{revision}");
            assert!(refused(cache.path(), "org/name", revision).contains("gptoss pull"), "{revision}");
        }
        assert!(is_safe_revision("refs/pr/1") && is_safe_revision("v1.0-rc"));
        fs::write(cache.path().join("models--org--name/refs/main"), "../../..").unwrap();
        assert!(refused(cache.path(), "org/name", "main").contains("gptoss pull"));
    }
}
