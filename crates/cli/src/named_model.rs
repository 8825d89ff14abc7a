//! A `--model` value of a command that takes several: a source, with a name for clients or without.

use std::path::Path;

/// `[NAME=]SOURCE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamedModel<'a> {
    /// The name for clients; None is the source's own.
    pub name: Option<&'a str>,
    /// What `--model` means everywhere.
    pub source: &'a str,
}

impl<'a> NamedModel<'a> {
    /// Reads a value. What is there as a file or folder is a source, whatever is in its name.
    pub fn parse(text: &'a str) -> NamedModel<'a> {
        match text.split_once('=').filter(|(name, _)| is_name(name) && !Path::new(text).exists()) {
            Some((name, source)) => NamedModel { name: Some(name), source },
            None => NamedModel { name: None, source: text },
        }
    }
}

/// What can be no beginning of a path.
fn is_name(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '/' | '@');
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_before_its_source() {
        let check = |text, name, source| assert_eq!(NamedModel::parse(text), NamedModel { name, source });
        check("demo", None, "demo");
        check("20b=openai/gpt-oss-20b", Some("20b"), "openai/gpt-oss-20b");
        check("org/name:q8=./weights", Some("org/name:q8"), "./weights");
        check("a=b=c", Some("a"), "b=c");
        check("./a=b", None, "./a=b");
        check("/models/a=b", None, "/models/a=b");
        check("=demo", None, "=demo");
        check("a b=demo", None, "a b=demo");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a=b");
        std::fs::create_dir(&path).unwrap();
        check(path.to_str().unwrap(), None, path.to_str().unwrap());
    }
}
