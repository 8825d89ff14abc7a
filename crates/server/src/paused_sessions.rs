//! What did a response's tools keep when it ended at a call of the client's?
//!
//! [`PausedSessions`] keeps a session under the id of that call, for a stated time and within a stated size,
//! so that the response that goes on with the result has the pages and the container of the one before. What
//! is kept stays as it is: whoever goes on gets a fork, so that a request that is sent again finds the same.
//! Tenants do not see each other's, and when all together are too large the oldest of the tenant with the
//! most leaves.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use gptoss_gateway::Label;

use crate::fair_share::make_room;
use crate::limits::{PAUSED_SESSIONS_BYTES_MAX, PAUSED_SESSIONS_MAX};
use crate::tool_host::ToolSession;

/// The sessions of all tenants.
pub(crate) struct PausedSessions {
    age_max: Duration,
    /// The oldest first.
    kept: Mutex<VecDeque<Paused>>,
}

struct Paused {
    tenant: String,
    call_id: String,
    container: String,
    session: Box<dyn ToolSession>,
    /// The label under which an upstream has had what its tools brought; None: it may be of any.
    left: Option<Label>,
    since: Instant,
    bytes: usize,
}

impl PausedSessions {
    /// Empty; a session is kept for `age_max`.
    pub(crate) fn new(age_max: Duration) -> PausedSessions {
        PausedSessions { age_max, kept: Mutex::default() }
    }

    /// Keeps a session, whose code ran in that container, and under which label what it brought has left.
    pub(crate) fn keep(
        &self,
        (tenant, call_id): (&str, &str),
        container: &str,
        (session, left): (Box<dyn ToolSession>, Option<Label>),
        now: Instant,
    ) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|paused| {
            !paused.is_of(tenant, call_id) && now.saturating_duration_since(paused.since) <= self.age_max
        });
        kept.push_back(Paused {
            tenant: tenant.to_owned(),
            call_id: call_id.to_owned(),
            container: container.to_owned(),
            bytes: session.num_bytes(),
            session,
            left,
            since: now,
        });
        let bounds = (PAUSED_SESSIONS_MAX, PAUSED_SESSIONS_BYTES_MAX);
        make_room(&mut kept, bounds, |paused| (paused.tenant.as_str(), paused.bytes));
    }

    /// The container of the session that ended at a call, if it is still known.
    pub(crate) fn container(&self, (tenant, call_id): (&str, &str), now: Instant) -> Option<String> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let paused = kept.iter().find(|paused| paused.is_of(tenant, call_id))?;
        let is_fresh = now.saturating_duration_since(paused.since) <= self.age_max;
        (is_fresh && !paused.container.is_empty()).then(|| paused.container.clone())
    }

    /// A fork of the session that ended at a call, if it is still known, its container (the one that is asked
    /// for, or the same), and its label. `leaves` is the label of a request whose turns an upstream writes:
    /// it gets no session of what has not left.
    pub(crate) fn fork(
        &self,
        (tenant, call_id): (&str, &str),
        container: Option<&str>,
        leaves: Option<Label>,
        now: Instant,
    ) -> Option<(Box<dyn ToolSession>, String, Option<Label>)> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let paused = kept.iter().find(|paused| paused.is_of(tenant, call_id))?;
        if now.saturating_duration_since(paused.since) > self.age_max {
            return None;
        }
        let label = match leaves {
            None => None,
            Some(label) => Some(label.max(paused.left?)),
        };
        let container = container.unwrap_or(&paused.container);
        Some((paused.session.fork(container), container.to_owned(), label))
    }
}

impl Paused {
    fn is_of(&self, tenant: &str, call_id: &str) -> bool {
        self.tenant == tenant && self.call_id == call_id
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::{BoxFuture, FutureExt};
    use gptoss_api::generation::hosted::HostedCall;
    use gptoss_api::responses::events::{CitedPage, ToolOutcome};

    use super::*;
    use crate::tool_host::ContainerInputs;

    /// A session of so many bytes.
    struct Bytes(usize);

    impl ToolSession for Bytes {
        fn furnish(&mut self, _: ContainerInputs) {}

        fn run<'a>(&'a mut self, _: HostedCall<'a>, _: &'a str) -> BoxFuture<'a, ToolOutcome> {
            std::future::ready(ToolOutcome::default()).boxed()
        }

        fn fork(&self, _: &str) -> Box<dyn ToolSession> {
            Box::new(Bytes(self.0))
        }

        fn pages(&self) -> Vec<CitedPage> {
            Vec::new()
        }

        fn num_bytes(&self) -> usize {
            self.0
        }
    }

    #[test]
    fn a_session_is_its_tenants_for_its_time_as_often_as_it_is_asked_for() {
        let sessions = PausedSessions::new(Duration::from_secs(10));
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        sessions.keep(("a", "call_1"), "one", (Box::new(Bytes(1)), None), begin);
        for (key, container, at, expected) in [
            (("a", "call_1"), None, 10, Some("one")),
            (("a", "call_1"), Some("two"), 10, Some("two")),
            (("a", "call_1"), None, 11, None),
            (("a", "call_2"), None, 1, None),
            (("b", "call_1"), None, 1, None),
        ] {
            let found = sessions.fork(key, container, None, after(at)).map(|found| found.1);
            assert_eq!(found.as_deref(), expected, "{key:?} {at}");
        }
        sessions.keep(("a", "call_2"), "one", (Box::new(Bytes(1)), None), after(11));
        assert_eq!(sessions.kept.lock().unwrap().len(), 1);
    }

    #[test]
    fn what_has_not_left_is_not_found_by_who_leaves() {
        let sessions = PausedSessions::new(Duration::from_secs(10));
        let now = Instant::now();
        sessions.keep(("a", "here"), "one", (Box::new(Bytes(1)), None), now);
        sessions.keep(("a", "there"), "one", (Box::new(Bytes(1)), Some(Label::Internal)), now);
        let label = |call, leaves| sessions.fork(("a", call), None, leaves, now).map(|found| found.2);
        assert_eq!(label("here", Some(Label::Confidential)), None);
        assert_eq!((label("here", None), label("there", None)), (Some(None), Some(None)));
        assert_eq!(label("there", Some(Label::Any)), Some(Some(Label::Internal)));
        assert_eq!(label("there", Some(Label::Confidential)), Some(Some(Label::Confidential)));
    }

    #[test]
    fn whoever_has_most_gives_way() {
        let sessions = PausedSessions::new(Duration::from_secs(10));
        let now = Instant::now();
        let half = PAUSED_SESSIONS_BYTES_MAX / 2;
        sessions.keep(("b", "first"), "c", (Box::new(Bytes(1)), None), now);
        for call in ["1", "2", "3"] {
            sessions.keep(("a", call), "c", (Box::new(Bytes(half)), None), now);
        }
        let is_kept = |tenant, call| sessions.fork((tenant, call), None, None, now).is_some();
        assert!(is_kept("b", "first") && is_kept("a", "3") && !is_kept("a", "1"));
        for call in 0..2 * PAUSED_SESSIONS_MAX {
            sessions.keep(("c", call.to_string().as_str()), "c", (Box::new(Bytes(0)), None), now);
        }
        assert!(sessions.fork(("b", "first"), None, None, now).is_some());
        assert_eq!(sessions.kept.lock().unwrap().len(), PAUSED_SESSIONS_MAX);
    }
}
