//! What did the model think before this call?
//!
//! [`CallCache`] keeps, under the id of a call, the assistant's messages that led to it and the call itself,
//! for a stated time and within a stated size, so that a client that does not send reasoning back still gets
//! it used. Tenants do not see each other's calls. It is state that a request names, by the id, and so part
//! of the request; what has expired is simply not there, and the client's own messages are used with a
//! warning.
//!
//! With each call stands the label under which an upstream has had all that led to it. What was said here has
//! none: it may be of any, and is not put into a request that leaves.
//!
//! It does not know clients, nor whether the reasoning was ever shown to them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use gptoss_api::history::RememberedCall;
use gptoss_gateway::Label;
use gptoss_harmony::Message;

use crate::limits::{CALL_MEMORY_BYTES_MAX, CALLS_KEPT_MAX};

/// The calls of all tenants.
#[derive(Debug)]
pub(crate) struct CallCache {
    age_max: Duration,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    calls: HashMap<(String, String), Call>,
    order: VecDeque<(String, String)>,
    bytes: usize,
}

#[derive(Debug)]
struct Call {
    remembered: RememberedCall,
    left: Option<Label>,
    since: Instant,
    bytes: usize,
}

impl CallCache {
    /// Empty; a call is kept for `age_max`.
    pub(crate) fn new(age_max: Duration) -> CallCache {
        CallCache { age_max, kept: Mutex::new(Kept::default()) }
    }

    /// Keeps what led to a call, and under which label it has left; None where something of it has not.
    pub(crate) fn keep(
        &self,
        (tenant, call_id): (&str, &str),
        messages: Vec<Message>,
        left: Option<Label>,
        now: Instant,
    ) {
        let bytes = messages.iter().map(|message| message.text().len()).sum::<usize>() + call_id.len();
        let key = (tenant.to_owned(), call_id.to_owned());
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.forget(&key);
        kept.bytes += bytes;
        kept.order.push_back(key.clone());
        let remembered = RememberedCall { messages };
        kept.calls.insert(key, Call { remembered, left, since: now, bytes });
        while kept.is_too_much(self.age_max, now) {
            kept.forget_oldest();
        }
    }

    /// What led to a call, if it is still known.
    pub(crate) fn recall(&self, tenant: &str, call_id: &str, now: Instant) -> Option<RememberedCall> {
        Some(self.find(tenant, call_id, now)?.0)
    }

    /// What led to a call whose request has left, and under which label, for a request that leaves too.
    pub(crate) fn recall_left(
        &self,
        tenant: &str,
        call_id: &str,
        now: Instant,
    ) -> Option<(RememberedCall, Label)> {
        let (remembered, left) = self.find(tenant, call_id, now)?;
        Some((remembered, left?))
    }

    fn find(&self, tenant: &str, call_id: &str, now: Instant) -> Option<(RememberedCall, Option<Label>)> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let call = kept.calls.get(&(tenant.to_owned(), call_id.to_owned()))?;
        (now.saturating_duration_since(call.since) <= self.age_max)
            .then(|| (call.remembered.clone(), call.left))
    }
}

impl Kept {
    fn is_too_much(&self, age_max: Duration, now: Instant) -> bool {
        let Some(oldest) = self.order.front().and_then(|key| self.calls.get(key)) else { return false };
        self.order.len() > CALLS_KEPT_MAX
            || self.bytes > CALL_MEMORY_BYTES_MAX
            || now.saturating_duration_since(oldest.since) > age_max
    }

    fn forget_oldest(&mut self) {
        if let Some(call) = self.order.pop_front().and_then(|key| self.calls.remove(&key)) {
            self.bytes -= call.bytes;
        }
    }

    /// Makes room for a call of the same id.
    fn forget(&mut self, key: &(String, String)) {
        if let Some(call) = self.calls.remove(key) {
            self.bytes -= call.bytes;
            self.order.retain(|other| other != key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(text: &str) -> Vec<Message> {
        vec![Message::function_call("f", text)]
    }

    #[test]
    fn a_call_is_known_to_its_tenant_for_its_time() {
        let memory = CallCache::new(Duration::from_secs(10));
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        memory.keep(("a", "call_1"), messages("{}"), None, start);
        assert_eq!(memory.recall("a", "call_1", after(10)).unwrap().messages, messages("{}"));
        assert_eq!(memory.recall("b", "call_1", start), None);
        assert_eq!(memory.recall("a", "call_1", after(11)), None);
        memory.keep(("a", "call_2"), messages("{}"), None, after(11));
        assert_eq!(memory.kept.lock().unwrap().calls.len(), 1);
    }

    #[test]
    fn what_has_not_left_is_not_known_to_who_leaves() {
        let memory = CallCache::new(Duration::from_secs(10));
        let now = Instant::now();
        memory.keep(("a", "here"), messages("{}"), None, now);
        memory.keep(("a", "there"), messages("{}"), Some(Label::Internal), now);
        assert!(memory.recall("a", "here", now).is_some() && memory.recall("a", "there", now).is_some());
        assert_eq!(memory.recall_left("a", "here", now), None);
        assert_eq!(memory.recall_left("a", "there", now).unwrap().1, Label::Internal);
        assert_eq!(memory.recall_left("b", "there", now), None);
    }

    #[test]
    fn the_oldest_make_room() {
        let memory = CallCache::new(Duration::from_secs(10));
        let now = Instant::now();
        let large = "x".repeat(CALL_MEMORY_BYTES_MAX / 2);
        for id in ["1", "2", "3"] {
            memory.keep(("", id), messages(&large), None, now);
        }
        assert!(memory.recall("", "1", now).is_none() && memory.recall("", "3", now).is_some());
        for id in 0..2 * CALLS_KEPT_MAX {
            memory.keep(("", &id.to_string()), messages("{}"), None, now);
        }
        assert_eq!(memory.kept.lock().unwrap().calls.len(), CALLS_KEPT_MAX);
    }
}
