//! Who asks for a model, as far as that matters for having it.

use std::sync::Arc;

use crate::bill::Bill;
use crate::keys::Caller;
use crate::roster::Keep;

/// Who asks for a model.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker<'a> {
    /// Whose request it is.
    pub(crate) tenant: &'a str,
    /// Whether it may wait for others.
    pub(crate) is_background: bool,
    /// How long the model stays afterwards.
    pub(crate) keep: Keep,
    /// What the request is charged.
    pub(crate) bill: Option<&'a Arc<Bill>>,
    /// Whether nothing of the request may leave this machine.
    pub(crate) stays: bool,
}

impl<'a> Asker<'a> {
    /// A caller's request.
    pub(crate) fn of(caller: &'a Caller, keep: Keep) -> Asker<'a> {
        let Caller { tenant, is_background, bill, .. } = caller;
        Asker { tenant, is_background: *is_background, keep, bill: bill.as_ref(), stays: caller.must_stay() }
    }
}
