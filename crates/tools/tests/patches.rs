//! Random patches: the same files as the published `apply_patch` makes, and a refusal where it has a hole.
//!
//! `testdata/patches.jsonl` is `reference/make_patches.py`'s; `GPTOSS_PATCHES` names another file of its
//! making, such as one of a thousand patches.

#![expect(clippy::disallowed_methods, reason = "more cases are a file that the environment names")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use gptoss_tools::{PatchError, Workspace, patch_of_call};
use serde::Deserialize;

type Files = BTreeMap<String, String>;

#[derive(Deserialize)]
struct Case {
    files: Files,
    patch: String,
    /// What the reference makes of the files; None where it refuses.
    after: Option<Files>,
    /// Where the reference writes what it should not.
    holes: Vec<String>,
}

#[test]
fn the_files_are_the_references() {
    let file = std::env::var("GPTOSS_PATCHES")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/patches.jsonl").to_owned());
    let (mut applied, mut refused, mut holes) = (0, 0, 0);
    let mut wrong = Vec::new();
    for (number, line) in fs::read_to_string(file).unwrap().lines().enumerate() {
        let case: Case = serde_json::from_str(line).unwrap();
        let difference = match (&case.after, case.holes.is_empty()) {
            (Some(expected), true) => {
                applied += 1;
                // One that names no file changes nothing, and is refused.
                let is_idle = expected == &case.files;
                run(&case, |result, after| (result.is_ok() || is_idle) && is_same(&case, expected, after))
            }
            (after, _) => {
                *(if after.is_some() { &mut holes } else { &mut refused }) += 1;
                // Headers one after another are in the language's description, and refused by the reference.
                let has_headers = case.patch.contains("\n@@ \n")
                    || case
                        .patch
                        .lines()
                        .zip(case.patch.lines().skip(1))
                        .any(|(line, next)| line.starts_with("@@") && next.starts_with("@@"));
                run(&case, |result, after| match after == &case.files {
                    true => result.is_err() || has_headers,
                    false => result.is_ok() && has_headers && case.after.is_none(),
                })
            }
        };
        wrong.extend(difference.map(|difference| format!("case {number}: {difference}")));
    }
    println!(
        "{applied} applied alike, {refused} refused alike, {holes} refused that the reference lets through"
    );
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(applied >= 50 && refused >= 20 && holes >= 10, "the cases are too few to say anything");
}

/// Applies the patch of a case, and says what came out where that is not right.
fn run(case: &Case, is_right: impl Fn(&Result<(), PatchError>, &Files) -> bool) -> Option<String> {
    let outer = tempfile::tempdir().unwrap();
    let work = outer.path().join("work");
    fs::create_dir(&work).unwrap();
    fs::write(outer.path().join("outside.txt"), "x = 1\n").unwrap();
    for (path, text) in &case.files {
        let path = work.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let patch = case.patch.replace("{outer}", outer.path().to_str().unwrap());
    let result = applied_in(&work, &patch);
    let after = files_in(&work);
    assert_eq!(fs::read_to_string(outer.path().join("outside.txt")).unwrap(), "x = 1\n");
    let context = || format!("{result:?}\n{:?}\n{patch}\n{after:?}\n{:?}", case.files, case.after);
    (!is_right(&result, &after)).then(context)
}

fn applied_in(work: &Path, patch: &str) -> Result<(), PatchError> {
    let workspace = Workspace::open(work)?;
    let plan = workspace.plan(&patch_of_call(patch)?)?;
    workspace.apply(&plan)
}

/// The reference writes `\n` alone, and no newline behind the last line of a new file.
fn is_same(case: &Case, expected: &Files, after: &Files) -> bool {
    let added: Vec<&str> =
        case.patch.lines().filter_map(|line| line.strip_prefix("*** Add File: ")).collect();
    let is_same_file = |(path, text): (&String, &String)| {
        let mut wanted = expected[path].replace("\r\n", "\n");
        if added.iter().any(|added| added.trim_start_matches("./") == path) && !text.is_empty() {
            wanted.push('\n');
        }
        let had_returns = case.files.get(path).is_some_and(|before| before.contains("\r\n"));
        let keeps_returns = text.matches('\n').count() == text.matches("\r\n").count();
        text.replace("\r\n", "\n") == wanted && (!had_returns || keeps_returns)
    };
    expected.keys().eq(after.keys()) && after.iter().all(is_same_file)
}

fn files_in(folder: &Path) -> Files {
    let mut files = Files::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            match path.is_dir() {
                true if name == ".gptoss" => {}
                true => folders.push(path),
                false => drop(files.insert(name, fs::read_to_string(path).unwrap())),
            }
        }
    }
    files
}
