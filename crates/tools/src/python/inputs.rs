//! What is to lie in `/mnt/data` before code runs.

use hyper::body::Bytes;

/// Files, and how much memory their process may have.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// Each is put there once in the life of a process.
    pub files: Vec<InputFile>,
    /// Names of files that are to go.
    pub removed: Vec<String>,
    /// Most memory of a process that is started from now on; the cell's own limit holds all the same. Units:
    /// bytes.
    pub memory_bytes: Option<u64>,
}

/// A file.
#[derive(Debug, Clone)]
pub struct InputFile {
    /// Which it is, whatever it is called.
    pub id: String,
    /// Its name in the folder; one that leads elsewhere is passed over.
    pub name: String,
    /// What stands in it.
    pub bytes: Bytes,
}

impl Inputs {
    /// The files that a process does not have, by the ids of those that it was given.
    pub(super) fn missing<'a>(&'a self, given: &[String]) -> Vec<&'a InputFile> {
        let is_plain =
            |name: &str| !name.is_empty() && !name.contains(['/', '\\', '\0']) && name != "." && name != "..";
        let new = |file: &&InputFile| is_plain(&file.name) && !given.contains(&file.id);
        self.files.iter().filter(new).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_given_each_file_once_and_none_elsewhere() {
        let file = |id: &str, name: &str| InputFile { id: id.into(), name: name.into(), bytes: Bytes::new() };
        let files = vec![file("1", "a"), file("2", "b"), file("3", "../c"), file("4", ".."), file("5", "")];
        let inputs = Inputs { files, ..Inputs::default() };
        let names: Vec<&str> = inputs.missing(&["1".into()]).iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["b"]);
    }
}
