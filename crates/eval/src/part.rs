//! What a row gives an item.

use crate::{Ask, Key};

/// What a row gives an item.
pub struct ItemPart {
    /// See [`crate::Item::group`].
    pub group: Option<String>,
    /// See [`crate::Item::question`].
    pub question: String,
    /// See [`crate::Item::ask`].
    pub ask: Ask,
    /// See [`crate::Item::key`].
    pub key: Key,
}
