//! A patch of several files as the model writes it, and as the items of the API have it: one file each.

use serde_json::Value;

use crate::wire::tool_items::PatchOperation;

const BEGIN: &str = "*** Begin Patch";
const END: &str = "*** End Patch";
const ADD: &str = "*** Add File: ";
const UPDATE: &str = "*** Update File: ";
const DELETE: &str = "*** Delete File: ";

/// The changes that a patch makes, in order. A text that is no patch is one change of a file without a name,
/// which the client refuses, so that the model hears of it.
pub(super) fn operations(written: &str) -> Vec<PatchOperation> {
    let text = unwrapped(written);
    let mut operations: Vec<PatchOperation> = Vec::new();
    for line in text.trim().lines() {
        let path = |head: &str| line.strip_prefix(head).map(|path| path.trim().to_owned());
        if matches!(line.trim_end(), BEGIN | END) {
            continue;
        }
        if let Some(path) = path(ADD) {
            operations.push(PatchOperation::CreateFile { path, diff: String::new() });
        } else if let Some(path) = path(UPDATE) {
            operations.push(PatchOperation::UpdateFile { path, diff: String::new() });
        } else if let Some(path) = path(DELETE) {
            operations.push(PatchOperation::DeleteFile { path });
        } else {
            match operations.last_mut() {
                Some(PatchOperation::CreateFile { diff, .. } | PatchOperation::UpdateFile { diff, .. }) => {
                    diff.push_str(line);
                    diff.push('\n');
                }
                Some(PatchOperation::DeleteFile { .. }) | None => return vec![unreadable(text)],
            }
        }
    }
    if operations.is_empty() { vec![unreadable(text)] } else { operations }
}

fn unreadable(text: String) -> PatchOperation {
    PatchOperation::UpdateFile { path: String::new(), diff: text }
}

/// The patch, when it is the one member of an object of JSON.
fn unwrapped(written: &str) -> String {
    match serde_json::from_str(written) {
        Ok(Value::String(text)) => text,
        Ok(Value::Object(members)) => match members.into_iter().collect::<Vec<_>>().as_slice() {
            [(_, Value::String(text))] => text.clone(),
            _ => written.to_owned(),
        },
        _ => written.to_owned(),
    }
}

/// The patch that makes these changes.
pub(super) fn patch<'a>(operations: impl IntoIterator<Item = &'a PatchOperation>) -> String {
    let mut text = format!("{BEGIN}\n");
    for operation in operations {
        let (head, path, diff) = match operation {
            PatchOperation::CreateFile { path, diff } => (ADD, path, diff.as_str()),
            PatchOperation::UpdateFile { path, diff } if path.is_empty() => return diff.clone(),
            PatchOperation::UpdateFile { path, diff } => (UPDATE, path, diff.as_str()),
            PatchOperation::DeleteFile { path } => (DELETE, path, ""),
        };
        text.push_str(&format!("{head}{path}\n{diff}"));
        if !text.ends_with('\n') {
            text.push('\n');
        }
    }
    text + END
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: &str = "*** Begin Patch\n*** Add File: a/b.txt\n+one\n+\n*** Update File: c.rs\n@@ fn main()\n- x\n+ y\n\
        *** Delete File: d\n*** End Patch";

    #[test]
    fn a_patch_is_its_files() {
        let all = operations(PATCH);
        let expect = [
            PatchOperation::CreateFile { path: "a/b.txt".into(), diff: "+one\n+\n".into() },
            PatchOperation::UpdateFile { path: "c.rs".into(), diff: "@@ fn main()\n- x\n+ y\n".into() },
            PatchOperation::DeleteFile { path: "d".into() },
        ];
        assert_eq!(all, expect);
        assert_eq!(patch(&all), PATCH);
        let wrapped = serde_json::json!({"input": PATCH}).to_string();
        assert_eq!(operations(&wrapped), expect);
    }

    #[test]
    fn what_is_no_patch_is_kept_as_it_is() {
        for text in
            ["", "rm -rf", "*** Begin Patch\n+x\n*** End Patch", "*** Delete File: d\n+x", "{\"a\":1}"]
        {
            let all = operations(text);
            assert_eq!(all, [unreadable(text.to_owned())], "{text:?}");
            assert_eq!(patch(&all), text);
        }
    }
}
