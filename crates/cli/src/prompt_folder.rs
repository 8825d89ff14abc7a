//! The folder of `--prompts`: templates that requests may name.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use gptoss_server::Prompts;

/// Reads all templates of a folder, once: what changes later is not seen. Names that begin with a dot, and
/// folders, are passed over.
pub fn read(folder: &Path) -> Result<Prompts> {
    let cannot = || format!("cannot read the prompts in {}", folder.display());
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).with_context(cannot)? {
        let entry = entry.with_context(cannot)?;
        if !entry.file_name().to_string_lossy().starts_with('.') && entry.path().is_file() {
            paths.push(entry.path());
        }
    }
    paths.sort();
    let mut prompts = Prompts::default();
    for path in paths {
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        prompts.add(&name, &text).with_context(cannot)?;
    }
    Ok(prompts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_of_a_folder_are_read() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("greet.md"), "Greet {{name}}.").unwrap();
        fs::write(folder.path().join("greet@2.md"), "Wave.").unwrap();
        fs::write(folder.path().join(".hidden"), "{{").unwrap();
        fs::create_dir(folder.path().join("more")).unwrap();
        assert_eq!(read(folder.path()).unwrap().len(), 1);
        fs::write(folder.path().join("broken.md"), "a\n{{").unwrap();
        let message = format!("{:#}", read(folder.path()).unwrap_err());
        assert!(message.contains("broken.md: line 2"), "{message}");
        assert!(read(&folder.path().join("none")).is_err());
    }
}
