//! Files of every language as text.
//!
//! [`check`] looks at written files of every language: no trailing blanks, no tabs, a newline at the end, no
//! path of somebody's machine, no unfinished thought without an issue. [`check_bytes`] keeps large files out
//! of the history, where they stay for ever. Rust comments come to [`check_unfinished`] by way of the
//! tokeniser instead.

use super::Violation;

/// Bytes of a committed file: the demo model and the goldens fit, weights do not.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Folders that exist on one machine and not on the reader's.
const MACHINE_FOLDERS: &[&str] = &["/root/", "/home/", "/work/", "/tmp/", "/Users/"];
/// Words that mark an unfinished thought.
const UNFINISHED: &[&str] = &["TODO", "FIXME", "XXX"];

/// A file too large to commit.
pub fn check_bytes(path: &str, bytes: u64) -> Option<Violation> {
    let message =
        || format!("{bytes} bytes, at most {FILE_BYTES_MAX}: generate it, or commit a smaller piece");
    (bytes > FILE_BYTES_MAX).then(|| Violation::of(path, "bytes", message()))
}

/// Violations of the text itself.
pub fn check(path: &str, text: &str) -> Vec<Violation> {
    let mut violations = Vec::new();
    let is_rust = path.ends_with(".rs");
    let names_folders = path.ends_with(".md") || path.ends_with(".toml") || path.ends_with(".py");
    for (index, line) in text.split('\n').enumerate() {
        let mut add = |rule, message: String| violations.push(Violation::at(path, index + 1, rule, message));
        if line.ends_with([' ', '\t', '\r']) {
            add("text", "ends in blanks: remove them".to_owned());
        }
        if line.contains('\t') {
            add("text", "holds a tab: use spaces".to_owned());
        }
        if let Some(folder) = machine_folder(line).filter(|_| names_folders) {
            add(
                "text",
                format!("names `{folder}`, a folder of one machine: name it from the repository's root"),
            );
        }
        if let Some((_, comment)) = line.split_once('#').filter(|_| !is_rust && !path.ends_with(".md")) {
            violations.extend(check_unfinished(path, index + 1, comment));
        }
    }
    if !text.is_empty() && (!text.ends_with('\n') || text.ends_with("\n\n")) {
        violations.push(Violation::at(
            path,
            text.lines().count(),
            "text",
            "ends without exactly one newline",
        ));
    }
    violations
}

/// The first folder of a machine that a line names as the head of an absolute path.
fn machine_folder(line: &str) -> Option<&'static str> {
    MACHINE_FOLDERS.iter().copied().find(|folder| {
        line.match_indices(folder).any(|(start, _)| {
            let before = line[..start].chars().next_back();
            before.is_none_or(|before| {
                !before.is_alphanumeric() && !matches!(before, '.' | '_' | '-' | '/' | '}' | '~')
            })
        })
    })
}

/// A line of a comment that marks unfinished work without the number of an issue.
pub fn check_unfinished(path: &str, line: usize, comment: &str) -> Option<Violation> {
    let word = UNFINISHED.iter().find(|word| marks(comment, word))?;
    let message = format!("`{word}` without an issue: write `{word}(#12)`, or finish it");
    Some(Violation::at(path, line, "unfinished", message))
}

/// Whether the comment holds the word, whole, without `(#N)` or `#N` after it.
fn marks(comment: &str, word: &str) -> bool {
    comment.match_indices(word).any(|(start, _)| {
        let before = comment[..start].chars().next_back();
        let after = &comment[start + word.len()..];
        let whole =
            |neighbour: Option<char>| neighbour.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != '`');
        let numbered = after.trim_start_matches([' ', '(', ':']).strip_prefix('#');
        let has_issue = numbered.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        whole(before) && whole(after.chars().next()) && !has_issue
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        check(path, text).into_iter().map(|violation| violation.line).collect()
    }

    #[test]
    fn blanks_tabs_and_endings() {
        assert_eq!(lines("a.md", "fine\n"), [0; 0]);
        assert_eq!(lines("a.md", "blank \nfine\n"), [1]);
        assert_eq!(lines("a.py", "if x:\n\tpass\n"), [2]);
        assert_eq!(lines("a.rs", "return\r\n"), [1]);
        assert_eq!(lines("a.rs", "no newline"), [1]);
        assert_eq!(lines("a.rs", "two newlines\n\n"), [2]);
    }

    #[test]
    fn folders_of_one_machine() {
        for line in ["see /root/x", "`/work/shared`", "path = \"/home/me/x\"", "(/tmp/a)"] {
            assert_eq!(lines("a.md", &format!("{line}\n")), [1], "{line}");
        }
        for line in ["docs/work/x", "~/work/", "./tmp/a", "$HOME/root/", "https://host/home/"] {
            assert_eq!(lines("a.md", &format!("{line}\n")), [0; 0], "{line}");
        }
        assert_eq!(lines("a.rs", "let folder = \"/tmp/x\";\n"), [0; 0]);
    }

    #[test]
    fn unfinished_thoughts_in_scripts() {
        assert_eq!(lines("a.toml", "x = 1 # TODO later\n"), [1]);
        assert_eq!(lines("a.py", "x = 1  # TODO(#3) later\ny = 'TODO'\n"), [0; 0]);
        assert_eq!(lines("a.md", "# No `TODO` without an issue\n"), [0; 0]);
        assert_eq!(check_unfinished("a", 1, "TODOs, XXXL and METODO"), None);
        assert!(check_unfinished("a", 1, "FIXME").is_some() && check_unfinished("a", 1, "TODO #4").is_none());
    }

    #[test]
    fn large_files() {
        assert_eq!(check_bytes("a.bin", FILE_BYTES_MAX), None);
        assert!(check_bytes("a.bin", FILE_BYTES_MAX + 1).unwrap().message.contains("at most 4194304"));
    }
}
