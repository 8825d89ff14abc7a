//! The files of one GGUF model: one, or the parts of a split one, with one table of contents.
//!
//! Entry points: [`GgufParts::open`] with any of the parts, and [`GgufParts::find`]. llama.cpp's
//! `llama-gguf-split` names parts `NAME-00001-of-00003.gguf` and numbers them in `split.no`; the first has
//! the metadata of the model, the others only those of the split. All must be there and agree.
//!
//! It does not know what the tensors mean.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::file::GgufFile;
use super::header::{GgufTensor, GgufValue};
use super::limits::GGUF_PARTS_MAX;
use crate::error::Error;
use crate::shards::tensor_places;

/// Digits of a part's number in a file's name.
const NUMBER_DIGITS: usize = 5;

/// All files of a model.
#[derive(Clone, Debug)]
pub(crate) struct GgufParts {
    files: Vec<GgufFile>,
    /// Tensor name to file and entry.
    places: HashMap<String, (usize, usize)>,
}

/// A tensor in its file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FoundTensor<'a> {
    /// The index of the file.
    pub(crate) part: usize,
    pub(crate) file: &'a GgufFile,
    pub(crate) entry: &'a GgufTensor,
}

impl GgufParts {
    /// Maps a file, and the others of its split if it is a part.
    ///
    /// Errors: those of [`GgufFile::open`]; [`Error::SplitGguf`] when the name does not say which the others
    /// are, [`Error::MissingFile`], [`Error::BadGguf`] when the parts do not belong together,
    /// [`Error::DuplicateTensor`].
    pub(crate) fn open(path: &Path) -> Result<GgufParts, Error> {
        let file = GgufFile::open(path)?;
        let count = match number(&file, "split.count") {
            Some(count) if count > 1 => count,
            _ => return GgufParts::join(vec![file]),
        };
        if count > GGUF_PARTS_MAX {
            let detail = format!("it says that it has {count} parts, above {GGUF_PARTS_MAX}");
            return Err(Error::BadGguf { path: path.to_path_buf(), detail });
        }
        let paths =
            part_paths(path, count).ok_or_else(|| Error::SplitGguf { path: path.to_path_buf(), count })?;
        let mut files = Vec::with_capacity(paths.len());
        for (index, part) in paths.iter().enumerate() {
            files.push(open_part(part, index as u64, count)?);
        }
        let num_tensors: u64 = files.iter().map(|file| file.tensors().len() as u64).sum();
        if let Some(said) = number(&files[0], "split.tensors.count").filter(|said| *said != num_tensors) {
            let detail = format!("all parts together have {num_tensors} tensors, and {said} are announced");
            return Err(Error::BadGguf { path: paths[0].clone(), detail });
        }
        GgufParts::join(files)
    }

    fn join(files: Vec<GgufFile>) -> Result<GgufParts, Error> {
        let places = tensor_places(
            files.iter().map(|file| (file.path(), file.tensors().iter().map(|tensor| tensor.name.as_str()))),
        )?;
        Ok(GgufParts { files, places })
    }

    /// The files; the first has the metadata of the model.
    pub(crate) fn files(&self) -> &[GgufFile] {
        &self.files
    }

    /// The file with the metadata.
    pub(crate) fn first(&self) -> &GgufFile {
        &self.files[0]
    }

    /// A tensor by its name.
    pub(crate) fn find(&self, name: &str) -> Option<FoundTensor<'_>> {
        let &(part, index) = self.places.get(name)?;
        let file = &self.files[part];
        Some(FoundTensor { part, file, entry: &file.tensors()[index] })
    }

    /// Every tensor, in the order of the files.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = FoundTensor<'_>> {
        self.files.iter().enumerate().flat_map(|(part, file)| {
            file.tensors().iter().map(move |entry| FoundTensor { part, file, entry })
        })
    }
}

fn open_part(path: &Path, index: u64, count: u64) -> Result<GgufFile, Error> {
    if !path.exists() {
        return Err(Error::MissingFile {
            folder: path.parent().unwrap_or(Path::new("")).to_path_buf(),
            file: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            remedy: "the model is split into several files: download the missing ones into the same folder",
        });
    }
    let file = GgufFile::open(path)?;
    let said = (number(&file, "split.no"), number(&file, "split.count"));
    if said != (Some(index), Some(count)) {
        let say = |number: Option<u64>| number.map_or("none".to_owned(), |number| number.to_string());
        let detail = format!(
            "its name makes it part {index} of {count}, counted from 0, and inside stands {} of {}",
            say(said.0),
            say(said.1)
        );
        return Err(Error::BadGguf { path: path.to_path_buf(), detail });
    }
    Ok(file)
}

fn number(file: &GgufFile, key: &str) -> Option<u64> {
    match file.value(key)? {
        GgufValue::Unsigned(number) => Some(*number),
        GgufValue::Signed(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}

/// The model's name and the number of parts, of a part's file name without `.gguf`; `None` for other names.
pub fn gguf_part_name(stem: &str) -> Option<(&str, u64)> {
    let digits = |text: &str| -> Option<u64> {
        let is_number = text.len() == NUMBER_DIGITS && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse().ok()).flatten()
    };
    let (rest, total) = stem.rsplit_once("-of-")?;
    let (name, part) = rest.rsplit_once('-')?;
    digits(part)?;
    Some((name, digits(total)?))
}

/// The paths of all parts, from that of one of them; `None` when it is not named as a part of so many.
fn part_paths(path: &Path, count: u64) -> Option<Vec<PathBuf>> {
    let stem = path.file_name()?.to_str()?.strip_suffix(".gguf")?;
    let (name, _) = gguf_part_name(stem).filter(|(_, total)| *total == count)?;
    let part = |number| path.with_file_name(format!("{name}-{number:05}-of-{count:05}.gguf"));
    Some((1..=count).map(part).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_part_names_the_others() {
        let check = |name: &str, count: u64, expect: &[&str]| {
            let found = part_paths(Path::new(name), count).unwrap_or_default();
            assert_eq!(found, expect.iter().map(PathBuf::from).collect::<Vec<_>>(), "{name}");
        };
        check("d/a-b-00002-of-00002.gguf", 2, &["d/a-b-00001-of-00002.gguf", "d/a-b-00002-of-00002.gguf"]);
        for other in
            ["a.gguf", "a-00001-of-00003.gguf", "a-1-of-2.gguf", "sha256-00", "a-0000x-of-00002.gguf"]
        {
            check(other, 2, &[]);
        }
    }
}
