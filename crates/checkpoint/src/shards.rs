//! Which files of a folder hold the weights, and which tensor is in which of them?
//!
//! [`Shards::open`] finds the files (one `model.safetensors`, or those an index names, or, without an index,
//! all `model*.safetensors` of the folder itself), maps them and joins their tables of contents. Subfolders
//! are never searched: the published repositories carry two more full copies in `original/` and `metal/`.
//! File names in an index are a stranger's words, so only plain names are followed; a file that is itself a
//! symlink is fine, because the Hugging Face cache is made of those.
//!
//! This module knows names and bytes, not what the tensors mean.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use crate::bytes::{Bytes, Tensor, open_regular};
use crate::error::Error;
use crate::safetensors::{Entry, SafetensorsFile};

/// The file of an unsharded checkpoint.
pub(crate) const SINGLE_FILE: &str = "model.safetensors";
/// The index of a sharded one.
pub(crate) const INDEX_FILE: &str = "model.safetensors.index.json";
/// Bytes that an index, a config or a tokenizer may have; the published tokenizer has 28 MB.
const JSON_BYTES_MAX: u64 = 256 << 20;

/// All weight files of a checkpoint, with one table of contents.
#[derive(Clone, Debug)]
pub struct Shards {
    files: Vec<SafetensorsFile>,
    /// Tensor name to file index and entry index.
    places: HashMap<String, (usize, usize)>,
}

/// Tensor name to the index of its file and its own there.
///
/// Errors: [`Error::DuplicateTensor`].
pub(crate) fn tensor_places<'a, N: Iterator<Item = &'a str>>(
    files: impl Iterator<Item = (&'a Path, N)>,
) -> Result<HashMap<String, (usize, usize)>, Error> {
    let mut places: HashMap<String, (usize, usize)> = HashMap::new();
    let mut paths: Vec<&Path> = Vec::new();
    for (file, (path, names)) in files.enumerate() {
        paths.push(path);
        for (entry, name) in names.enumerate() {
            if let Some((first, _)) = places.insert(name.to_owned(), (file, entry)) {
                return Err(Error::DuplicateTensor {
                    tensor: name.to_owned(),
                    first: paths[first].to_path_buf(),
                    second: path.to_path_buf(),
                });
            }
        }
    }
    Ok(places)
}

impl Shards {
    /// Finds, maps and checks the weight files of a folder.
    pub fn open(folder: &Path) -> Result<Shards, Error> {
        if folder.join(SINGLE_FILE).exists() {
            return Shards::join(vec![SafetensorsFile::open(&folder.join(SINGLE_FILE))?]);
        }
        let index_path = folder.join(INDEX_FILE);
        if !index_path.exists() {
            let files = unindexed_files(folder)?;
            return Shards::join(
                files.iter().map(|path| SafetensorsFile::open(path)).collect::<Result<_, _>>()?,
            );
        }
        let index = Index::read(&index_path)?;
        let mut files = Vec::new();
        for shard in index.shards(&index_path)? {
            let path = folder.join(&shard);
            if !path.exists() {
                let (folder, index) = (folder.to_path_buf(), INDEX_FILE.to_string());
                return Err(Error::MissingShard { folder, index, shard });
            }
            files.push(SafetensorsFile::open(&path)?);
        }
        let shards = Shards::join(files)?;
        shards.agree_with(&index, &index_path)?;
        Ok(shards)
    }

    /// One file that is part of the program; `name` labels errors.
    pub(crate) fn embedded(name: &str, bytes: &'static [u8]) -> Result<Shards, Error> {
        Shards::join(vec![SafetensorsFile::from_bytes(Bytes::embedded(bytes), Path::new(name))?])
    }

    /// The weight files.
    pub(crate) fn files(&self) -> &[SafetensorsFile] {
        &self.files
    }

    /// The file and the entry of a tensor.
    pub(crate) fn find(&self, name: &str) -> Option<(&SafetensorsFile, &Entry)> {
        self.place(name).map(|(file, entry)| (&self.files[file], entry))
    }

    /// The index of a tensor's file in [`Shards::files`], and its entry.
    pub(crate) fn place(&self, name: &str) -> Option<(usize, &Entry)> {
        let &(file, entry) = self.places.get(name)?;
        Some((file, &self.files[file].header().entries[entry]))
    }

    /// The tensor's bytes.
    pub fn tensor(&self, name: &str) -> Option<Tensor> {
        self.find(name).map(|(file, entry)| file.view(entry))
    }

    /// Every tensor's name and the file that holds it, in the order of the files.
    pub fn names(&self) -> impl Iterator<Item = (&SafetensorsFile, &str)> {
        self.files
            .iter()
            .flat_map(|file| file.header().entries.iter().map(move |entry| (file, entry.name.as_str())))
    }

    fn join(files: Vec<SafetensorsFile>) -> Result<Shards, Error> {
        let places = tensor_places(
            files
                .iter()
                .map(|file| (file.path(), file.header().entries.iter().map(|entry| entry.name.as_str()))),
        )?;
        Ok(Shards { files, places })
    }

    fn agree_with(&self, index: &Index, path: &Path) -> Result<(), Error> {
        for (tensor, shard) in &index.weight_map {
            let holder = self.find(tensor).and_then(|(file, _)| file.path().file_name());
            if holder != Some(shard.as_ref()) {
                let (index, tensor, shard) = (path.to_path_buf(), tensor.clone(), shard.clone());
                return Err(Error::IndexDisagrees { index, tensor, shard });
            }
        }
        Ok(())
    }
}

/// Reads a file whole, within the bound of [`JSON_BYTES_MAX`], whatever size it says it has.
pub(crate) fn read_bounded(path: &Path) -> Result<Vec<u8>, Error> {
    read_at_most(path, JSON_BYTES_MAX)
}

/// The same within another bound.
pub fn read_at_most(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let too_large = |found| Error::FileTooLarge { path: path.to_path_buf(), found, limit };
    let (file, found) = open_regular(path)?;
    if found > limit {
        return Err(too_large(found));
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(Error::io(path, "read the file"))?;
    match bytes.len() as u64 {
        found if found > limit => Err(too_large(found)),
        _ => Ok(bytes),
    }
}

/// `model.safetensors.index.json`; its metadata is not needed.
#[derive(Deserialize)]
struct Index {
    weight_map: HashMap<String, String>,
}

impl Index {
    fn read(path: &Path) -> Result<Index, Error> {
        let bytes = read_bounded(path)?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Error::BadJson { path: path.to_path_buf(), detail: error.to_string() })
    }

    /// The files it names, each once, in order.
    fn shards(&self, path: &Path) -> Result<BTreeSet<String>, Error> {
        let mut shards = BTreeSet::new();
        for (tensor, shard) in &self.weight_map {
            if !is_plain_name(shard) {
                let (index, tensor, shard) = (path.to_path_buf(), tensor.clone(), shard.clone());
                return Err(Error::IndexEscapes { index, tensor, shard });
            }
            shards.insert(shard.clone());
        }
        Ok(shards)
    }
}

/// One normal path component, under the rules of every system: no separators of any kind, no drive, no dots.
fn is_plain_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    let single = matches!((components.next(), components.next()), (Some(Component::Normal(_)), None));
    single && !name.contains(['/', '\\', ':', '\0'])
}

/// The `model*.safetensors` of a folder without an index, sorted.
fn unindexed_files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io(folder, "list the folder"))? {
        let name = entry.map_err(Error::io(folder, "list the folder"))?.file_name();
        let is_model =
            name.to_str().is_some_and(|name| name.starts_with("model") && name.ends_with(".safetensors"));
        if is_model {
            files.push(folder.join(name));
        }
    }
    if files.is_empty() {
        return Err(Error::MissingFile {
            folder: folder.to_path_buf(),
            file: format!("{SINGLE_FILE} or {INDEX_FILE}"),
            remedy: "point at a folder with the weights beside config.json, or download them",
        });
    }
    files.sort();
    Ok(files)
}
