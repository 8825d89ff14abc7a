//! Which GGUF files of a folder or a repository are one model, and which of several is meant.
//!
//! Works on names alone, so that what is on the hub and what is on the disk are chosen by the same rules. The
//! parts of a split model belong together; a model is chosen by its quantization, the end of its name, as
//! `:Q8_0` after a repository's name says.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use gptoss_checkpoint::gguf_part_name;

/// The files of one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GgufFiles {
    /// The name without the number of the part and `.gguf`, with the folder it lies in.
    pub name: String,
    /// The files with their bytes, the first part first.
    pub files: Vec<(String, u64)>,
}

impl GgufFiles {
    /// Bytes of all files.
    pub fn num_bytes(&self) -> u64 {
        self.files.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Whether the name ends in this quantization, whatever its case, or its folder is called so.
    fn is_quantized(&self, quantization: &str) -> bool {
        let (name, wanted) = (self.name.to_lowercase(), quantization.to_lowercase());
        let in_folder = name.split('/').rev().skip(1).any(|folder| folder == wanted);
        let at_end = name.strip_suffix(&wanted).is_some_and(|rest| rest.ends_with(['-', '_', '.', '/']));
        in_folder || at_end
    }
}

/// The models among files, given with their bytes, in the order of their names.
pub fn models(files: impl IntoIterator<Item = (String, u64)>) -> Vec<GgufFiles> {
    let mut files: Vec<(String, u64)> = files.into_iter().filter(|(name, _)| is_gguf(name)).collect();
    files.sort();
    let mut models: Vec<GgufFiles> = Vec::new();
    for (file, bytes) in files {
        let name = model_name(&file).to_owned();
        match models.last_mut().filter(|model| model.name == name) {
            Some(model) => model.files.push((file, bytes)),
            None => models.push(GgufFiles { name, files: vec![(file, bytes)] }),
        }
    }
    models
}

/// The one model that is meant: the only one, or the one of this quantization.
///
/// Errors: none, or several, with their names; `how` says how one of them is named.
pub fn choose<'a>(models: &'a [GgufFiles], quantization: Option<&str>, how: &str) -> Result<&'a GgufFiles> {
    let fits = |model: &&GgufFiles| quantization.is_none_or(|wanted| model.is_quantized(wanted));
    let found: Vec<&GgufFiles> = models.iter().filter(fits).collect();
    let list = |models: &[&GgufFiles]| -> String {
        let lines = models
            .iter()
            .map(|model| format!("\n  {} ({})", model.name, crate::memory_budget::human(model.num_bytes())));
        lines.collect()
    };
    match (found.as_slice(), quantization) {
        ([one], _) => Ok(one),
        ([], None) => bail!("there is no .gguf file"),
        ([], Some(wanted)) => {
            bail!("no model is called {wanted}:{}\n{how}", list(&models.iter().collect::<Vec<_>>()))
        }
        (several, _) => bail!("there are {} models:{}\n{how}", several.len(), list(several)),
    }
}

/// The GGUF files of a folder and of the folders in it, as paths from there.
///
/// Errors: the folder cannot be read.
pub fn in_folder(folder: &Path) -> Result<Vec<GgufFiles>> {
    let mut files = Vec::new();
    let failed = |path: &Path| format!("cannot read {}", path.display());
    for entry in fs::read_dir(folder).with_context(|| failed(folder))? {
        let path = entry.with_context(|| failed(folder))?.path();
        let inner = if path.is_dir() { fs::read_dir(&path).ok() } else { None };
        let inner = inner.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
        files.extend(std::iter::once(path).chain(inner).filter(|path| path.is_file()));
    }
    let described = files.iter().filter_map(|path| {
        let name = path.strip_prefix(folder).ok()?.to_str()?.to_owned();
        Some((name, fs::metadata(path).map_or(0, |meta| meta.len())))
    });
    Ok(models(described))
}

fn is_gguf(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with(".gguf")
}

/// A file's name without `.gguf` and without the number of a part.
fn model_name(file: &str) -> &str {
    let stem = &file[..file.len() - ".gguf".len()];
    gguf_part_name(stem).map_or(stem, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(names: &[&str]) -> Vec<GgufFiles> {
        models(names.iter().map(|name| ((*name).to_owned(), 1_000)))
    }

    #[test]
    fn parts_belong_together_and_quantizations_are_told_apart() {
        let names = [
            "README.md",
            "gpt-oss-120b-F16.gguf",
            "gpt-oss-120b-Q8_0.gguf",
            "mxfp4/gpt-oss-120b-00002-of-00002.gguf",
            "mxfp4/gpt-oss-120b-00001-of-00002.gguf",
        ];
        let models = found(&names);
        let shown: Vec<(&str, usize)> =
            models.iter().map(|model| (model.name.as_str(), model.files.len())).collect();
        assert_eq!(shown, [("gpt-oss-120b-F16", 1), ("gpt-oss-120b-Q8_0", 1), ("mxfp4/gpt-oss-120b", 2)]);
        let check = |quantization: Option<&str>, expect: &str| {
            let said = match choose(&models, quantization, "write ORG/NAME:QUANT") {
                Ok(model) => model.name.clone(),
                Err(error) => error.to_string(),
            };
            assert!(said.contains(expect), "{quantization:?}: {said}");
        };
        check(Some("f16"), "gpt-oss-120b-F16");
        check(Some("MXFP4"), "mxfp4/gpt-oss-120b");
        check(Some("6"), "no model is called 6");
        check(None, "there are 3 models:\n  gpt-oss-120b-F16 (1.0 kB)");
        check(None, "write ORG/NAME:QUANT");
        assert_eq!(choose(&found(&["a.GGUF"]), None, "").unwrap().name, "a");
        assert!(choose(&[], None, "").is_err());
    }
}
