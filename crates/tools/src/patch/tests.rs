//! Patches on real files: what is refused, what is kept, and what a kill leaves.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::hunk::{self, Updated};
use super::*;

/// Files by path, with their modes; folders end in a slash.
type Tree = BTreeMap<String, (Vec<u8>, u32)>;

fn tree(root: &Path) -> Tree {
    fn walk(root: &Path, folder: &Path, tree: &mut Tree) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            let metadata = fs::symlink_metadata(&path).unwrap();
            if name == ".gptoss" {
            } else if metadata.is_dir() {
                tree.insert(format!("{name}/"), (Vec::new(), 0));
                walk(root, &path, tree);
            } else if metadata.is_symlink() {
                tree.insert(name, (fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes(), 0));
            } else {
                let mode = metadata.permissions().mode() & 0o777;
                tree.insert(name, (fs::read(&path).unwrap(), mode));
            }
        }
    }
    let mut tree = Tree::new();
    walk(root, root, &mut tree);
    tree
}

fn workspace(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

fn patch(body: &str) -> String {
    format!("*** Begin Patch\n{body}\n*** End Patch")
}

fn apply(root: &Path, body: &str) -> Result<Plan, PatchError> {
    let workspace = Workspace::open(root)?;
    let plan = workspace.plan(&Patch::parse(&patch(body))?)?;
    workspace.apply(&plan)?;
    Ok(plan)
}

fn updated(text: &str, body: &str) -> Updated {
    let patch = Patch::parse(&patch(&format!("*** Update File: a\n{body}"))).unwrap();
    let FilePatch::Update { hunks, .. } = &patch.files[0] else { panic!("an update") };
    hunk::update(text, hunks).unwrap()
}

#[test]
fn what_is_not_a_patch_is_refused_with_its_line() {
    let check = |text: &str, line: usize, what: &str| match Patch::parse(text) {
        Err(PatchError::Grammar { line: found, what: said }) => {
            assert!(found == line && said.contains(what), "line {found}: {said}");
        }
        other => panic!("{text}: {other:?}"),
    };
    check("", 1, "begins with");
    check("*** Begin Patch", 2, "cut off");
    check("*** Begin Patch\n*** End Patch", 1, "names no file");
    check("*** Begin Patch\n*** End Patch\nbye", 3, "after");
    check(&patch("nothing"), 2, "begins no file");
    check(&patch("*** Rename File: a"), 2, "begins no file");
    check(&patch("*** Add File: a\nx"), 3, "`+`");
    check(&patch("*** Add File: a\n*** Add File: ./a"), 3, "named twice");
    check(&patch("*** Update File: a\n*** Move to: a"), 3, "named twice");
    check(&patch("*** Update File: a"), 2, "no hunk");
    check(&patch("*** Update File: a\n@@\n@@ b"), 3, "no lines");
    check(&patch("*** Update File: a\n@@x\n-b"), 3, "no space");
    check(&patch("*** Update File: a\n-b\nc"), 4, "begins with a space");
    check(&patch("*** Update File: a\n-b\n*** End of File\n-c"), 5, "begins with `@@`");
    for (path, what) in [
        ("/etc/passwd", "absolute"),
        ("a/../../b", "upward"),
        ("..", "upward"),
        ("", "names no file"),
        ("./", "names no file"),
        ("a/", "folder"),
        (".git/hooks/pre-commit", "git's own"),
        ("sub/.git/config", "git's own"),
        (".gptoss/edits/1", "taken back"),
    ] {
        check(&patch(&format!("*** Add File: {path}\n+x")), 2, what);
    }
    let huge = format!("*** Begin Patch\n*** Add File: a\n+{}\n*** End Patch", "x".repeat(1 << 20));
    check(&huge, 1, "at most");
}

#[test]
fn a_call_holds_a_patch_in_three_ways() {
    let text = patch("*** Delete File: a");
    let plain = Patch::parse(&text).unwrap();
    let json = serde_json::to_string(&text).unwrap();
    for arguments in [text.clone(), format!("\n{text}\n"), json.clone(), format!("{{\"input\": {json}}}")] {
        assert_eq!(patch_of_call(&arguments).unwrap(), plain, "{arguments}");
    }
    let windows = text.replace('\n', "\r\n");
    assert_eq!(patch_of_call(&windows).unwrap(), plain);
    for wrong in ["{}", "{\"a\": 1}", "[1]", "rm -rf", "{\"a\": \"x\", \"b\": \"y\"}"] {
        assert!(matches!(patch_of_call(wrong), Err(PatchError::Call(_))), "{wrong}");
    }
}

#[test]
fn hunks_are_found_as_the_reference_finds_them_and_endings_stay() {
    let check = |text: &str, body: &str, expected: &str, fuzz: u32| {
        let Updated { text, fuzz: found } = updated(text, body);
        assert_eq!((text.as_str(), found), (expected, fuzz), "{body}");
    };
    check("a\nb\n", "-a\n+c", "c\nb\n", 0);
    check("a\nb\na\n", "@@ b\n-a\n+c", "a\nb\nc\n", 0);
    check("a \nb\n", " a\n-b\n+c", "a \nc\n", 1);
    check("  a\nb\n", " a\n-b\n+c", "  a\nc\n", 100);
    check("  x\na\nb\na\n", "@@ x\n-a\n+c", "  x\nc\nb\na\n", 1);
    check("a\n", "@@ nowhere\n-a\n+c", "c\n", 0);
    // Several headers narrow a place down.
    let twice = "class A:\n def f\n  x\nclass B:\n def f\n  x\n";
    check(twice, "@@ class B:\n@@  def f\n-  x\n+  y", "class A:\n def f\n  x\nclass B:\n def f\n  y\n", 0);
    // The last hunk is at the end, whether or not it shows what is behind the last newline.
    check("x\nb\nx\n", "-x\n+y\n*** End of File", "x\nb\ny\n", 0);
    check("x\nb\nx\n", "-x\n+y\n\n*** End of File", "x\nb\ny\n", 0);
    check("x\nb\nx", "-x\n+y\n*** End of File", "x\nb\ny", 0);
    check("x\nb\n", "-x\n+y\n*** End of File", "y\nb\n", 10_000);
    check("a\n", "@@\n+b\n*** End of File", "a\nb\n", 0);
    check("a", "@@\n+b\n*** End of File", "a\nb", 0);
    check("", "+a", "a\n", 0);
    // Endings, a mark at the front, and the last newline are the file's own.
    check("a\r\nb\r\n", "-a\n+c\n+d", "c\r\nd\r\nb\r\n", 0);
    check("a\r\nb", " a\n-b\n+c\n+d", "a\r\nc\r\nd", 0);
    check("a\nb\r\n", "-b\n+c", "a\nc\r\n", 0);
    check("\u{feff}a\nb\n", "-a\n+c", "\u{feff}c\nb\n", 0);
    check("a\nb\n", " a\n-b\n-\n+c", "a\nc\n", 0);
    check("a\n", "-a", "", 0);
}

#[test]
fn a_hunk_that_fits_nowhere_says_what_it_looked_for() {
    let root = workspace(&[("a.py", "one\ntwo\n")]);
    let error = apply(root.path(), "*** Update File: a.py\n one\n-three\n+four").unwrap_err().to_string();
    assert!(
        error.contains("a.py") && error.contains("line 3 of the patch") && error.contains("one\nthree"),
        "{error}"
    );
}

#[test]
fn a_hunk_that_fits_nearly_everywhere_ends() {
    let blank = "\n".repeat(40_000);
    let body = format!("*** Update File: a\n{}-x\n+y", " \n".repeat(20_000));
    let root = workspace(&[("a", &blank)]);
    assert!(matches!(apply(root.path(), &body), Err(PatchError::TooVague { .. })));
}

#[test]
fn nothing_is_written_that_the_patch_does_not_name() {
    let check = |body: &str, what: &str| {
        let root = workspace(&[("a", "x\n"), ("b", "y\n"), ("dir/c", "z\n")]);
        symlink("a", root.path().join("link")).unwrap();
        symlink("/", root.path().join("out")).unwrap();
        symlink("dir", root.path().join("same")).unwrap();
        fs::write(root.path().join("binary"), [0xff, 0xfe, b'\n']).unwrap();
        let before = tree(root.path());
        let error = apply(root.path(), body).unwrap_err().to_string();
        assert!(error.contains(what), "{body}: {error}");
        assert_eq!(tree(root.path()), before, "{body}");
    };
    check("*** Add File: a\n+q", "there already");
    check("*** Add File: link\n+q", "there already");
    check("*** Add File: dir\n+q", "there already");
    check("*** Add File: a/b\n+q", "not a folder");
    check("*** Add File: out/tmp/q\n+q", "symbolic link");
    check("*** Add File: same/q\n+q", "symbolic link");
    check("*** Update File: link\n-x\n+q", "symbolic link");
    check("*** Update File: same/c\n-z\n+q", "symbolic link");
    check("*** Delete File: out/etc/hostname", "symbolic link");
    check("*** Update File: a\n*** Move to: b\n-x\n+q", "there already");
    check("*** Update File: a\n*** Move to: out/q\n-x\n+q", "symbolic link");
    check("*** Update File: dir\n-x\n+q", "folder");
    check("*** Delete File: dir", "folder");
    check("*** Delete File: q", "no such file");
    check("*** Update File: binary\n-x\n+q", "UTF-8");
    // All or nothing: the first file of the patch is fine.
    check("*** Update File: a\n-x\n+q\n*** Delete File: q", "no such file");
    check("*** Add File: new/q\n+q\n*** Add File: a/b\n+q", "not a folder");
}

#[test]
fn modes_stay_and_a_patch_can_be_taken_back() {
    let root = workspace(&[("run.sh", "echo 1\n"), ("old", "x\n"), ("gone", "y\n")]);
    let script = root.path().join("run.sh");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let first = tree(root.path());
    let body = "*** Update File: run.sh\n-echo 1\n+echo 2\n*** Update File: old\n*** Move to: deep/er/new\n-x\n+z\n\
                *** Delete File: gone\n*** Add File: deep/added\n+q";
    let plan = apply(root.path(), body).unwrap();
    let kinds: Vec<EditKind> = plan.edits.iter().map(Edit::kind).collect();
    assert_eq!(kinds, [EditKind::Update, EditKind::Add, EditKind::Delete, EditKind::Delete, EditKind::Add]);
    assert_eq!(plan.edits[0].diff(), "--- a/run.sh\n+++ b/run.sh\n@@ -1 +1 @@\n-echo 1\n+echo 2\n");
    let second = tree(root.path());
    assert_eq!(second["run.sh"], (b"echo 2\n".to_vec(), 0o755));
    assert_eq!(second["deep/er/new"].0, b"z\n");
    assert!(!second.contains_key("gone") && !second.contains_key("old"));
    apply(root.path(), "*** Update File: run.sh\n-echo 2\n+echo 3").unwrap();

    let workspace = Workspace::open(root.path()).unwrap();
    let names = |undone: Option<Vec<RelativePath>>| {
        undone.map(|paths| paths.iter().map(|p| p.to_string()).collect::<Vec<_>>())
    };
    assert_eq!(names(workspace.undo().unwrap()), Some(vec!["run.sh".to_owned()]));
    assert_eq!(tree(root.path()), second);
    assert_eq!(names(workspace.undo().unwrap()).map(|names| names.len()), Some(5));
    assert_eq!(tree(root.path()), first);
    assert_eq!(workspace.undo().unwrap(), None);
}

#[test]
fn what_was_changed_since_is_neither_overwritten_nor_taken_back() {
    let root = workspace(&[("a", "x\n"), ("b", "x\n")]);
    let workspace = Workspace::open(root.path()).unwrap();
    let parsed = Patch::parse(&patch("*** Update File: a\n-x\n+y\n*** Update File: b\n-x\n+y")).unwrap();
    let plan = workspace.plan(&parsed).unwrap();
    fs::write(root.path().join("b"), "mine\n").unwrap();
    assert!(workspace.apply(&plan).unwrap_err().to_string().contains("changed since"));
    assert_eq!(fs::read(root.path().join("a")).unwrap(), b"x\n");

    fs::write(root.path().join("b"), "x\n").unwrap();
    workspace.apply(&plan).unwrap();
    fs::write(root.path().join("a"), "mine\n").unwrap();
    let changed = tree(root.path());
    assert!(matches!(workspace.undo(), Err(PatchError::ChangedSince { path }) if path.as_str() == "a"));
    assert_eq!(tree(root.path()), changed);
}

/// A kill between any two changes of the disk: whoever opens the workspace next finds it as before, or, when
/// all had happened, as after. The same of a kill while a patch is taken back.
#[test]
fn a_kill_at_any_step_leaves_all_or_nothing() {
    let body = "*** Update File: a\n-x\n+y\n*** Add File: new/er/c\n+c\n*** Delete File: b\n*** Update File: d\n*** Move to: moved/d\n-x\n+y";
    let parsed = Patch::parse(&patch(body)).unwrap();
    let files = [("a", "x\n"), ("b", "x\n"), ("d", "x\n")];
    let (before, after) = {
        let root = workspace(&files);
        let before = tree(root.path());
        apply(root.path(), body).unwrap();
        (before, tree(root.path()))
    };
    let mut seen = [0; 2];
    for undoes in [false, true] {
        for changes in 0.. {
            let root = workspace(&files);
            if undoes {
                apply(root.path(), body).unwrap();
            }
            let killed = Workspace::open(root.path()).unwrap();
            killed.folder().changes_left.set(changes);
            let result = match undoes {
                true => killed.undo().map(drop),
                false => killed.apply(&killed.plan(&parsed).unwrap()),
            };
            drop(killed);
            Workspace::open(root.path()).unwrap();
            let found = tree(root.path());
            let has_happened = found == if undoes { before.clone() } else { after.clone() };
            let has_not = found == if undoes { after.clone() } else { before.clone() };
            assert!(has_happened || has_not, "after {changes} changes: {found:?}");
            seen[usize::from(has_happened)] += 1;
            if result.is_ok() {
                assert!(has_happened);
                break;
            }
        }
    }
    assert!(seen[0] > 20 && seen[1] >= 2, "{seen:?}");
}

#[test]
fn a_list_of_somebody_elses_making_leads_nowhere_else() {
    let root = workspace(&[("a", "x\n")]);
    apply(root.path(), "*** Update File: a\n-x\n+y").unwrap();
    let record = root.path().join(".gptoss/edits/000001.done/record.json");
    for path in ["../a", "/etc/hostname", ".git/config"] {
        fs::write(
            &record,
            format!(r#"{{"files": [{{"path": "{path}", "before": null, "after": null}}], "folders": []}}"#),
        )
        .unwrap();
        let error = Workspace::open(root.path()).unwrap().undo().unwrap_err();
        assert!(matches!(error, PatchError::File { .. }), "{error}");
    }
    fs::write(&record, "nonsense").unwrap();
    let error = Workspace::open(root.path()).unwrap().undo().unwrap_err().to_string();
    assert!(error.contains("cannot be read"), "{error}");
}

#[test]
fn old_patches_are_forgotten() {
    let root = workspace(&[("a", "0\n")]);
    for number in 0..103 {
        apply(root.path(), &format!("*** Update File: a\n-{number}\n+{}", number + 1)).unwrap();
    }
    let workspace = Workspace::open(root.path()).unwrap();
    let undone = std::iter::from_fn(|| workspace.undo().unwrap()).count();
    assert_eq!(undone, 100);
    assert_eq!(fs::read(root.path().join("a")).unwrap(), b"3\n");
}

#[test]
fn an_update_does_not_make_a_file_too_large() {
    let large = "x".repeat((8 << 20) - 2) + "\n";
    let root = workspace(&[("a", &large), ("b", "y\n")]);
    let error = apply(root.path(), "*** Update File: b\n-y\n+z\n*** Update File: a\n+more").unwrap_err();
    assert!(error.to_string().contains("more than 8388608 bytes"), "{error}");
    assert_eq!(fs::read(root.path().join("b")).unwrap(), b"y\n");
}

#[test]
fn a_lock_that_cannot_be_had_is_told() {
    let root = workspace(&[("lock", "")]);
    let folder = super::folder::Folder::open(root.path()).unwrap();
    let lock = |name: &str| folder.lock_within(&RelativePath::own(name.to_owned()), Default::default());
    let held = lock("lock").unwrap();
    assert!(lock("lock").unwrap_err().to_string().contains("another run holds the folder"));
    drop(held);
    lock("lock").unwrap();
    // A pipe once let it wait for ever.
    assert!(std::process::Command::new("mkfifo").arg(root.path().join("pipe")).status().unwrap().success());
    lock("pipe").unwrap_err();
}
