//! What reading a request takes besides its body.

use crate::generation::visibility::Visibility;
use crate::history::RememberedCall;
use crate::ids::NewId;
use crate::limits::RequestLimits;

/// What every conversion needs besides the request.
#[derive(Clone, Copy)]
pub struct RequestScope<'a> {
    /// The operator's bounds.
    pub limits: &'a RequestLimits,
    /// Whose request it is.
    pub tenant: &'a str,
    /// The most of the reasoning that the key may see.
    pub visibility: Visibility,
    /// Most tokens of reasoning that operator and key allow. Units: tokens.
    pub reasoning_max: Option<u32>,
    /// The date that the model is told; None tells it none.
    pub date: Option<&'a str>,
    /// What led to a call.
    pub recall: &'a dyn Fn(&str) -> Option<RememberedCall>,
    /// Whether nobody waits for the answer.
    pub is_background: bool,
    /// Names the items that come without an id.
    pub new_id: NewId,
}
