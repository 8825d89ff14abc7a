//! What became of each key from one file of rules to the next.

use std::collections::HashMap;

use crate::key::Key;

/// What became of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyChange {
    /// It is new.
    Created,
    /// It may do other things than before.
    Updated,
    /// It is gone, or was revoked.
    Deleted,
}

/// In the order of the new file, then those that are gone.
pub(super) fn changes<'a>(before: &'a [Key], now: &'a [Key]) -> Vec<(KeyChange, &'a Key)> {
    let mut old: HashMap<&str, &Key> = before.iter().map(|key| (key.id.as_str(), key)).collect();
    let mut all = Vec::new();
    for key in now {
        let change = match old.remove(key.id.as_str()) {
            None if key.revoked_at.is_some() => continue,
            None => KeyChange::Created,
            Some(old) if old.revoked_at.is_none() && key.revoked_at.is_some() => KeyChange::Deleted,
            Some(old) if told(old) != told(key) => KeyChange::Updated,
            Some(_) => continue,
        };
        all.push((change, key));
    }
    let is_gone = |key: &&Key| old.contains_key(key.id.as_str()) && key.revoked_at.is_none();
    all.extend(before.iter().filter(is_gone).map(|key| (KeyChange::Deleted, key)));
    all
}

/// All that a key may do, in one form.
fn told(key: &Key) -> String {
    format!("{key:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::rules::Rules;

    #[test]
    fn keys_come_change_and_go() {
        let key = |id: &str, more: &str| {
            let hash = Digest::of(id).to_hex();
            format!("[[keys]]\nname = \"n\"\nid = \"{id}\"\nhash = \"sha256:{hash}\"\n{more}\n")
        };
        let revoked = "revoked_at = 2026-01-01T00:00:00Z";
        let text =
            [key("same", ""), key("changes", ""), key("goes", ""), key("ends", ""), key("gone", revoked)];
        let before = Rules::parse(&text.concat()).unwrap();
        let text = [key("same", ""), key("changes", "rpm_limit = 1"), key("ends", revoked), key("new", "")];
        let now = Rules::parse(&text.concat()).unwrap();
        let changes: Vec<_> =
            now.changes(&before).into_iter().map(|(change, key)| (change, key.id.as_str())).collect();
        assert_eq!(
            changes,
            [
                (KeyChange::Updated, "changes"),
                (KeyChange::Deleted, "ends"),
                (KeyChange::Created, "new"),
                (KeyChange::Deleted, "goes")
            ]
        );
        assert!(now.changes(&now).is_empty());
    }
}
