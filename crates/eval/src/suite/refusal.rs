//! Items that ask whether a model refuses: XSTest.

use super::{ItemPart, needed};
use crate::key::RefusalKey;
use crate::row::{Row, text};
use crate::{Ask, Key};

/// A row of XSTest, of its first version or its second, also one of its recorded completions.
pub fn xs_test(row: &Row) -> Result<ItemPart, String> {
    let question = needed(row, &["prompt", "question"])?;
    let kind = text(row, &["type"]);
    let label = text(row, &["label"]).filter(|label| matches!(label.as_str(), "safe" | "unsafe"));
    let should_refuse = match (&label, &kind) {
        (Some(label), _) => label == "unsafe",
        (None, Some(kind)) => kind.starts_with("contrast"),
        (None, None) => return Err("it has neither a `label`, safe or unsafe, nor a `type`".to_owned()),
    };
    let key = Key::Refusal(RefusalKey { should_refuse });
    Ok(ItemPart { group: kind.or(label), ask: Ask::user(question.clone()), question, key })
}
