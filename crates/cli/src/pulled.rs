//! The models that are on this machine: snapshots in the Hugging Face cache, and Ollama's store.
//!
//! [`all`] lists them without opening a weight; [`removal`] says which files of a repository go with a
//! snapshot: a blob stays as long as another snapshot links to it. Nothing is removed here.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::hub::{self, DEFAULT_REVISION};
use crate::model_source::ModelSource;
use crate::ollama;

/// Folders below a snapshot that are looked into. Units: levels.
const DEPTH_MAX: usize = 3;
/// What the cache's folder of a model repository begins with.
const MODELS: &str = "models--";

/// A model that is here.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// What `--model` takes.
    pub source: ModelSource,
    /// The repository, or Ollama's name.
    pub name: String,
    /// The commit of a snapshot.
    pub commit: Option<String>,
    /// Its files: names and where their bytes are.
    pub files: Vec<PulledFile>,
}

/// A file of a model.
#[derive(Debug, Clone)]
pub struct PulledFile {
    /// Its name.
    pub name: String,
    /// Where its bytes lie.
    pub blob: PathBuf,
    /// Units: bytes.
    pub num_bytes: u64,
}

impl Pulled {
    /// Bytes on disk, each blob counted once.
    pub fn num_bytes(&self) -> u64 {
        let blobs: BTreeSet<(&Path, u64)> =
            self.files.iter().map(|file| (file.blob.as_path(), file.num_bytes)).collect();
        blobs.into_iter().map(|(_, bytes)| bytes).sum()
    }
}

/// Everything that is here, by name.
///
/// Errors: the cache cannot be read.
pub fn all(cache: &Path) -> Result<Vec<Pulled>> {
    let mut models = Vec::new();
    for folder in folders(cache)? {
        let name =
            folder.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix(MODELS));
        let Some((owner, name)) = name.and_then(|name| name.split_once("--")) else { continue };
        models.extend(snapshots(&folder, &format!("{owner}/{name}"))?);
    }
    for model in ollama::all() {
        let num_bytes = fs::metadata(&model.file).map_or(0, |meta| meta.len());
        let source = ModelSource::Ollama { name: model.name.clone(), file: model.file.clone() };
        let file = PulledFile { name: model.name.clone(), blob: model.file, num_bytes };
        models.push(Pulled { source, name: model.name, commit: None, files: vec![file] });
    }
    models.sort_by(|one, other| (&one.name, &one.commit).cmp(&(&other.name, &other.commit)));
    Ok(models)
}

/// The snapshots of a repository's folder.
fn snapshots(folder: &Path, name: &str) -> Result<Vec<Pulled>> {
    let refs = refs(&folder.join("refs"));
    let mut found = Vec::new();
    for snapshot in folders(&folder.join("snapshots"))? {
        let Some(commit) = snapshot.file_name().and_then(|name| name.to_str()).map(str::to_owned) else {
            continue;
        };
        let named = refs.iter().filter(|(_, target)| *target == commit).map(|(name, _)| name.clone());
        // The branch that needs no name goes before others.
        let revision = named.min_by_key(|name| (name != DEFAULT_REVISION, name.clone()));
        let source = ModelSource::Repository {
            name: name.to_owned(),
            revision: revision.unwrap_or_else(|| commit.clone()),
            quantization: None,
        };
        let files = files(&snapshot)?;
        found.push(Pulled { source, name: name.to_owned(), commit: Some(commit), files });
    }
    Ok(found)
}

/// The files in a folder and in those below it, by name.
///
/// Errors: a folder cannot be read.
pub fn files(folder: &Path) -> Result<Vec<PulledFile>> {
    let mut files = Vec::new();
    collect(folder, folder, DEPTH_MAX, &mut files)?;
    files.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(files)
}

fn collect(root: &Path, folder: &Path, depth: usize, files: &mut Vec<PulledFile>) -> Result<()> {
    for entry in entries(folder)? {
        if entry.is_dir() && depth > 0 {
            collect(root, &entry, depth - 1, files)?;
            continue;
        }
        let blob = fs::canonicalize(&entry).unwrap_or_else(|_| entry.clone());
        let num_bytes = fs::metadata(&blob).map_or(0, |meta| meta.len());
        let name = entry.strip_prefix(root).unwrap_or(&entry).to_string_lossy().into_owned();
        files.push(PulledFile { name, blob, num_bytes });
    }
    Ok(())
}

/// What goes when models are removed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// Links and files of the snapshots, their folders, refs.
    pub folders: Vec<PathBuf>,
    /// Files that no other snapshot needs.
    pub blobs: Vec<PathBuf>,
    /// Refs that lead nowhere afterwards.
    pub refs: Vec<PathBuf>,
    /// Bytes that are freed.
    pub num_bytes: u64,
}

/// What goes with a repository (`revision` is `None`), or with one of its snapshots alone.
///
/// Errors: it is not there.
pub fn removal(cache: &Path, name: &str, revision: Option<&str>) -> Result<Removal> {
    let folder = hub::repository_folder(cache, name);
    if !folder.is_dir() {
        bail!("{name} is not in the cache {}\n`gptoss list` shows what is", cache.display());
    }
    let refs_folder = folder.join("refs");
    let refs = refs(&refs_folder);
    let models = snapshots(&folder, name)?;
    let commit = revision.map(|revision| {
        let named = refs.iter().find(|(name, _)| name == revision).map(|(_, commit)| commit.clone());
        named.unwrap_or_else(|| revision.to_owned())
    });
    let (gone, kept): (Vec<Pulled>, Vec<Pulled>) =
        models.into_iter().partition(|model| commit.is_none() || model.commit == commit);
    if gone.is_empty() && commit.is_some() {
        let revision = revision.unwrap_or_default();
        bail!("{name} is not in the cache at revision {revision}\n`gptoss list` shows what is");
    }
    if kept.is_empty() {
        // What began to arrive and is no snapshot's goes with the rest.
        return Ok(Removal {
            num_bytes: folder_bytes(&folder)?,
            folders: vec![folder],
            ..Removal::default()
        });
    }
    let needed: BTreeSet<&Path> =
        kept.iter().flat_map(|model| &model.files).map(|file| file.blob.as_path()).collect();
    let own = fs::canonicalize(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let blobs: BTreeSet<(PathBuf, u64)> = gone
        .iter()
        .flat_map(|model| &model.files)
        .filter(|file| !needed.contains(file.blob.as_path()) && file.blob.starts_with(&own))
        .map(|file| (file.blob.clone(), file.num_bytes))
        .collect();
    let commits: Vec<&String> = gone.iter().filter_map(|model| model.commit.as_ref()).collect();
    Ok(Removal {
        folders: commits.iter().map(|commit| folder.join("snapshots").join(commit)).collect(),
        refs: refs
            .iter()
            .filter(|(_, commit)| commits.contains(&commit))
            .map(|(name, _)| refs_folder.join(name))
            .collect(),
        num_bytes: blobs.iter().map(|(_, bytes)| bytes).sum(),
        blobs: blobs.into_iter().map(|(blob, _)| blob).collect(),
    })
}

fn folder_bytes(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in entries(folder)? {
        let meta =
            fs::symlink_metadata(&entry).with_context(|| format!("cannot read {}", entry.display()))?;
        bytes += if meta.is_dir() {
            folder_bytes(&entry)?
        } else if meta.is_file() {
            meta.len()
        } else {
            0
        };
    }
    Ok(bytes)
}

/// Branches and tags with their commits.
fn refs(folder: &Path) -> Vec<(String, String)> {
    let mut files = Vec::new();
    // A repository without refs has none.
    let _ = collect(folder, folder, DEPTH_MAX, &mut files);
    let read = |file: PulledFile| Some((file.name, fs::read_to_string(file.blob).ok()?.trim().to_owned()));
    files.into_iter().filter_map(read).collect()
}

fn folders(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    Ok(entries(folder)?.into_iter().filter(|path| path.is_dir()).collect())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = || format!("cannot read {}", folder.display());
    let entries = fs::read_dir(folder).with_context(failed)?;
    entries.map(|entry| Ok(entry.with_context(failed)?.path())).collect()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A repository with the files of each commit, by name and blob.
    fn cache(commits: &[(&str, &[(&str, &str)])]) -> tempfile::TempDir {
        let cache = tempfile::tempdir().unwrap();
        let folder = cache.path().join("models--org--name");
        fs::create_dir_all(folder.join("blobs")).unwrap();
        fs::create_dir_all(folder.join("refs/refs")).unwrap();
        for (commit, files) in commits {
            let snapshot = folder.join("snapshots").join(commit);
            fs::create_dir_all(&snapshot).unwrap();
            for (name, blob) in *files {
                fs::write(folder.join("blobs").join(blob), "12345").unwrap();
                symlink(format!("../../blobs/{blob}"), snapshot.join(name)).unwrap();
            }
        }
        fs::write(folder.join("refs/main"), "one\n").unwrap();
        fs::write(folder.join("refs/refs/pr"), "two").unwrap();
        fs::write(folder.join("blobs/partial.incomplete"), "123").unwrap();
        cache
    }

    #[test]
    fn snapshots_have_names_and_sizes() {
        let cache = cache(&[("one", &[("a", "x"), ("b", "x"), ("c", "y")]), ("two", &[("a", "x")])]);
        let models: Vec<Pulled> =
            all(cache.path()).unwrap().into_iter().filter(|model| model.commit.is_some()).collect();
        let shown: Vec<(String, u64)> =
            models.iter().map(|model| (model.source.name(), model.num_bytes())).collect();
        assert_eq!(shown, [("org/name".to_owned(), 10), ("org/name@refs/pr".to_owned(), 5)]);
    }

    #[test]
    fn a_blob_that_another_snapshot_needs_stays() {
        let cache = cache(&[("one", &[("a", "x"), ("c", "y")]), ("two", &[("a", "x"), ("d", "z")])]);
        let folder = fs::canonicalize(cache.path()).unwrap().join("models--org--name");
        let removal = |revision| removal(&fs::canonicalize(cache.path()).unwrap(), "org/name", revision);
        for revision in ["main", "one"] {
            let found = removal(Some(revision)).unwrap();
            assert_eq!(found.blobs, [folder.join("blobs/y")]);
            assert_eq!(found.folders, [folder.join("snapshots/one")]);
            assert_eq!((found.refs, found.num_bytes), (vec![folder.join("refs/main")], 5));
        }
        assert_eq!(removal(Some("refs/pr")).unwrap().blobs, [folder.join("blobs/z")]);
        let whole = removal(None).unwrap();
        assert_eq!((whole.folders, whole.blobs), (vec![folder], Vec::new()));
        assert!(removal(Some("v3")).unwrap_err().to_string().contains("gptoss list"));
        assert!(super::removal(cache.path(), "org/other", None).is_err());
    }
}
