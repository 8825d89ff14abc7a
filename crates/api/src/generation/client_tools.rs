//! The built-in tools that the client runs: a shell, and changes of files.
//!
//! They have types of their own in the API and no schema. The model sees each as a function by the name of
//! its type; what it writes there becomes an item with the fields that the client's loop reads.

use serde_json::{Value, json};

use super::fields::text;
use super::tool::{Kind, Tool};

const SHELL: &str =
    "Runs commands in the user's shell, one after another, and returns what each printed and how it ended.";
const LOCAL_SHELL: &str = "Runs a command on the user's machine and returns what it printed. The command is a list of words: the \
    program and its arguments, such as [\"bash\", \"-lc\", \"ls\"].";
const APPLY_PATCH: &str = "Changes files. The input is a patch, not JSON:\n\
    *** Begin Patch\n\
    *** Update File: path\n\
    @@ line of the file before the change, such as the head of a function\n \
    a line that stays\n\
    -a line that goes\n\
    +a line that comes\n\
    *** End Patch\n\
    `*** Add File: path` makes a file of lines that begin with `+`; `*** Delete File: path` deletes one. Paths are relative.";

/// The tool that a value of this type stands for, if the client runs it; a shell that OpenAI would run is
/// not one.
pub(super) fn client_tool(value: &Value) -> Option<Tool> {
    let kind = text(value, "type").unwrap_or_default();
    let environment = value.pointer("/environment/type").and_then(Value::as_str);
    let (tool_kind, description, parameters) = match kind {
        "shell" if environment.is_none_or(|environment| environment == "local") => {
            (Kind::Shell, SHELL, Some(shell()))
        }
        "local_shell" => (Kind::LocalShell, LOCAL_SHELL, Some(local_shell())),
        "apply_patch" => (Kind::ApplyPatch, APPLY_PATCH, None),
        _ => return None,
    };
    Some(Tool {
        harmony_name: kind.to_owned(),
        kind: tool_kind,
        description: description.to_owned(),
        strict: parameters.is_some(),
        parameters,
        grammar: None,
    })
}

fn shell() -> Value {
    json!({
        "type": "object",
        "properties": {
            "commands": {"type": "array", "items": {"type": "string"}},
            "timeout_ms": {"type": "integer", "minimum": 1},
            "max_output_length": {"type": "integer", "minimum": 1},
        },
        "required": ["commands"],
        "additionalProperties": false,
    })
}

fn local_shell() -> Value {
    json!({
        "type": "object",
        "properties": {
            "command": {"type": "array", "items": {"type": "string"}},
            "working_directory": {"type": "string"},
            "timeout_ms": {"type": "integer", "minimum": 1},
        },
        "required": ["command"],
        "additionalProperties": false,
    })
}
