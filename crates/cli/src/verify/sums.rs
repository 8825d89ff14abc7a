//! `SHA256SUMS`: the hashes that a folder's files should have, as `sha256sum` writes them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// The file's name.
pub const FILE: &str = "SHA256SUMS";
/// Digits of a hash.
pub const DIGITS: usize = 64;

/// The hashes by name that a folder has; `None` where it has no such file.
///
/// Errors: the file cannot be read, or a line is none of a hash and a name.
pub fn in_folder(folder: &Path) -> Result<Option<BTreeMap<String, String>>> {
    let file = folder.join(FILE);
    match fs::read_to_string(&file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
        Ok(text) => parse(&text).with_context(|| file.display().to_string()).map(Some),
    }
}

/// The hashes by name in such a text.
///
/// Errors: a line is none of a hash and a name.
pub fn parse(text: &str) -> Result<BTreeMap<String, String>> {
    let mut sums = BTreeMap::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let parts = line.split_once(' ').map(|(hash, name)| (hash, name.trim_start_matches([' ', '*'])));
        let is_hash = |hash: &str| hash.len() == DIGITS && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        let Some((hash, name)) = parts.filter(|(hash, name)| is_hash(hash) && !name.is_empty()) else {
            bail!(
                "line {}: expected a SHA-256 of {DIGITS} digits and a name, as sha256sum writes them",
                index + 1
            );
        };
        sums.insert(name.trim_start_matches("./").to_owned(), hash.to_ascii_lowercase());
    }
    Ok(sums)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_hashes_and_names() {
        let hash = "AB".repeat(32);
        let read = |text: &str| parse(text).map(|sums| sums.into_iter().collect::<Vec<_>>());
        let lower = hash.to_ascii_lowercase();
        let expect = vec![("a b.json".to_owned(), lower.clone()), ("c".to_owned(), lower)];
        assert_eq!(read(&format!("{hash}  a b.json\n\n{hash} *./c\n")).unwrap(), expect);
        for bad in [format!("{hash}\n"), format!("{hash}  \n"), "abc  name\n".to_owned()] {
            assert!(read(&bad).unwrap_err().to_string().starts_with("line 1"), "{bad}");
        }
    }
}
