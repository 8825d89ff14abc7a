//! `apply_patch` as the model knows it: a function of one text.

use gptoss_harmony::FunctionTool;
use serde_json::{Value, json};

use super::error::PatchError;
use super::grammar::Patch;

/// What the model is told of the language, for the developer message.
pub const INSTRUCTIONS: &str = "\
Edit files with `apply_patch`, whose argument is one patch:

*** Begin Patch
*** Add File: path/of/new_file.py
+every line of a new file begins with a plus
*** Update File: path/of/file.py
*** Move to: path/of/its_new_name.py
@@ def the_line_above_the_change():
 a line that stays begins with a space
-a line that goes begins with a minus
+a line that comes begins with a plus
*** Delete File: path/of/old_file.py
*** End Patch

Paths begin at the root of the workspace. `*** Move to:` renames and may be left out. Show about three lines that stay \
above and below each change, exactly as the file has them; where they are not the file's only ones, name the class or \
function behind `@@`. A hunk that ends at the end of the file ends with `*** End of File`. A patch is applied whole or not \
at all, and answered with `Done!` or with what is wrong.";

/// The function, as the model was trained with it.
pub fn patch_function() -> FunctionTool {
    FunctionTool {
        name: "apply_patch".to_owned(),
        description: "Patch a file".to_owned(),
        parameters: Some(json!({
            "type": "string",
            "description": "Formatted patch code",
            "default": "*** Begin Patch\n*** End Patch\n",
        })),
    }
}

/// The patch of a call: its text, a JSON string, or the one member of a JSON object.
///
/// Errors: there is none, or it is not one.
pub fn patch_of_call(arguments: &str) -> Result<Patch, PatchError> {
    if arguments.trim_start().starts_with("***") {
        return Patch::parse(arguments);
    }
    let wrong = || PatchError::Call("write the patch itself, or JSON with it as the one member".to_owned());
    let text = match serde_json::from_str(arguments) {
        Ok(Value::String(text)) => text,
        Ok(Value::Object(members)) if members.len() == 1 => match members.into_iter().next() {
            Some((_, Value::String(text))) => text,
            _ => return Err(wrong()),
        },
        Ok(_) => return Err(wrong()),
        Err(error) => return Err(PatchError::Call(format!("it is neither a patch nor JSON: {error}"))),
    };
    Patch::parse(&text)
}
