//! What the audit says of one event: who, when, which model, what was decided and why, and counts. Never what
//! was said; where a policy has that kept, salted hashes of it.

use serde::{Deserialize, Serialize};

use super::charge::{Charge, count};
use super::content::Content;
use crate::clip::{NAME_BYTES_MAX, REASON_BYTES_MAX, clip};

/// An event as its witness tells it. Texts that do not apply are empty, numbers 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What happened.
    pub event: Event,
    /// Whose secret: the public part of a key.
    pub actor: String,
    /// The key's name.
    pub tenant: String,
    /// The key's group.
    pub group: String,
    /// The model's name.
    pub model: String,
    /// The adapter's name.
    pub adapter: String,
    /// Which rules decided: `Rules::version`.
    pub policy_version: String,
    /// What they said: `allowed`, `refused`.
    pub decision: String,
    /// The rule that decided and why; what a shadow policy would have refused.
    pub reason: String,
    /// Where it went: `local`, or an upstream's name.
    pub route: String,
    /// What was used.
    pub used: Used,
    /// The status of the answer.
    pub status: u16,
    /// The id of the request, which its client was told.
    pub request_id: String,
}

/// What a request used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// Tokens of the prompt, with those that were kept.
    pub input: u64,
    /// Tokens of the prompt that were kept from before.
    pub cached: u64,
    /// Tokens that the model said.
    pub output: u64,
    /// Tokens that the guard's judges read for it.
    pub judged_input: u64,
    /// Tokens that they said.
    pub judged_output: u64,
    /// What all of it costs. Units: micro-dollars.
    pub micro_usd: u64,
}

impl Used {
    /// What a request that used it costs: tokens of prompt and answer, those of its judges, and the price.
    pub fn cost(&self) -> Charge {
        let parts = [self.input, self.output, self.judged_input, self.judged_output];
        Charge { tokens: parts.into_iter().fold(0, u64::saturating_add), micro_usd: self.micro_usd }
    }
}

/// What happened. Names are OpenAI's where its audit log has one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Event {
    /// A request was answered, or ended otherwise.
    #[default]
    #[serde(rename = "request")]
    Request,
    /// A rule, a rate or a budget refused it.
    #[serde(rename = "request.refused")]
    RequestRefused,
    /// It was admitted and never ran: its reservation was given back.
    #[serde(rename = "request.refunded")]
    RequestRefunded,
    /// The server was killed under it: its reservation was charged.
    #[serde(rename = "request.lost")]
    RequestLost,
    /// What was said in a request was kept, because a policy asks for it.
    #[serde(rename = "request.content")]
    RequestContent,
    /// A secret was none of the keys, or too old.
    #[serde(rename = "login.failed")]
    LoginFailed,
    /// A key is new in the rules.
    #[serde(rename = "api_key.created")]
    KeyCreated,
    /// A key's secret was replaced, or what it may do changed.
    #[serde(rename = "api_key.updated")]
    KeyUpdated,
    /// A key was revoked, or is no more in the rules.
    #[serde(rename = "api_key.deleted")]
    KeyDeleted,
    /// New rules hold.
    #[serde(rename = "rules.loaded")]
    RulesLoaded,
    /// New rules were wrong, and the old ones stay.
    #[serde(rename = "rules.refused")]
    RulesRefused,
    /// The server began.
    #[serde(rename = "server.started")]
    ServerStarted,
    /// The server ended in order.
    #[serde(rename = "server.stopped")]
    ServerStopped,
    /// The chain was found to end elsewhere than the file beside it says.
    #[serde(rename = "chain.gap")]
    ChainGap,
}

impl Event {
    /// All of them.
    pub const ALL: [Event; 14] = [
        Event::Request,
        Event::RequestRefused,
        Event::RequestRefunded,
        Event::RequestLost,
        Event::RequestContent,
        Event::LoginFailed,
        Event::KeyCreated,
        Event::KeyUpdated,
        Event::KeyDeleted,
        Event::RulesLoaded,
        Event::RulesRefused,
        Event::ServerStarted,
        Event::ServerStopped,
        Event::ChainGap,
    ];

    /// The event of that name.
    pub fn from_name(name: &str) -> Option<Event> {
        Event::ALL.into_iter().find(|event| event.name() == name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Event::Request => "request",
            Event::RequestRefused => "request.refused",
            Event::RequestRefunded => "request.refunded",
            Event::RequestLost => "request.lost",
            Event::RequestContent => "request.content",
            Event::LoginFailed => "login.failed",
            Event::KeyCreated => "api_key.created",
            Event::KeyUpdated => "api_key.updated",
            Event::KeyDeleted => "api_key.deleted",
            Event::RulesLoaded => "rules.loaded",
            Event::RulesRefused => "rules.refused",
            Event::ServerStarted => "server.started",
            Event::ServerStopped => "server.stopped",
            Event::ChainGap => "chain.gap",
        }
    }
}

impl Entry {
    /// An entry that says no more than what happened.
    pub fn new(event: Event) -> Entry {
        Entry {
            event,
            actor: String::new(),
            tenant: String::new(),
            group: String::new(),
            model: String::new(),
            adapter: String::new(),
            policy_version: String::new(),
            decision: String::new(),
            reason: String::new(),
            route: String::new(),
            used: Used::default(),
            status: 0,
            request_id: String::new(),
        }
    }
}

/// An entry as the chain has it. Its JSON, in this order and without spaces, is what is hashed; what came
/// later into the form is left out where it says nothing, so that older entries keep theirs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Its number, from 1 without a gap.
    pub seq: i64,
    /// When it was written. Units: milliseconds since 1970.
    pub at_ms: i64,
    /// When the request was admitted: the moment that decides which budget it is of.
    pub admitted_ms: i64,
    /// What happened.
    pub event: Event,
    /// Whose secret: the public part of a key.
    pub actor: String,
    /// The key's name.
    pub tenant: String,
    /// The key's group.
    pub group: String,
    /// The model's name.
    pub model: String,
    /// The adapter's name.
    pub adapter: String,
    /// Which rules decided.
    pub policy_version: String,
    /// What they said.
    pub decision: String,
    /// Why.
    pub reason: String,
    /// Where it went.
    pub route: String,
    /// Tokens of the prompt.
    pub input: i64,
    /// Tokens of the prompt that were kept.
    pub cached: i64,
    /// Tokens that the model said.
    pub output: i64,
    /// Tokens that its budgets were charged.
    pub charged_tokens: i64,
    /// What its budgets were charged. Units: micro-dollars.
    pub charged_micro_usd: i64,
    /// The ticket that it ended; of no other entry. None: it charges nobody.
    pub ticket: Option<i64>,
    /// The status of the answer.
    pub status: u16,
    /// The id of the request.
    pub request_id: String,
    /// Tokens that the guard's judges read for it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub judged_input: i64,
    /// Tokens that they said.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub judged_output: i64,
    /// What it has of texts that are kept beside the chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// The hash of the entry before, 64 hex digits; zeros before the first.
    pub prev: String,
    /// The SHA-256 of all this.
    #[serde(skip)]
    pub hash: [u8; 32],
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

impl Record {
    /// An entry with its texts cut to what there is room for; it charges nobody, and has no place yet.
    pub(super) fn new(entry: Entry, now_ms: i64) -> Record {
        let name = |text: String| clip(&text, NAME_BYTES_MAX);
        Record {
            seq: 0,
            at_ms: now_ms,
            admitted_ms: now_ms,
            event: entry.event,
            actor: name(entry.actor),
            tenant: name(entry.tenant),
            group: name(entry.group),
            model: name(entry.model),
            adapter: name(entry.adapter),
            policy_version: name(entry.policy_version),
            decision: name(entry.decision),
            reason: clip(&entry.reason, REASON_BYTES_MAX),
            route: name(entry.route),
            input: count(entry.used.input),
            cached: count(entry.used.cached),
            output: count(entry.used.output),
            charged_tokens: 0,
            charged_micro_usd: 0,
            ticket: None,
            status: entry.status,
            request_id: name(entry.request_id),
            judged_input: count(entry.used.judged_input),
            judged_output: count(entry.used.judged_output),
            content: None,
            prev: String::new(),
            hash: [0; 32],
        }
    }

    /// Makes it the end of a ticket, which costs as much.
    pub(super) fn charge(&mut self, ticket: i64, admitted_ms: i64, cost: Charge) {
        self.ticket = Some(ticket);
        self.admitted_ms = admitted_ms;
        self.charged_tokens = count(cost.tokens);
        self.charged_micro_usd = count(cost.micro_usd);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::charge::CHARGE_MAX;

    #[test]
    fn events_have_one_name_in_code_and_in_files() {
        for event in Event::ALL {
            assert_eq!(Event::from_name(event.name()), Some(event));
            assert_eq!(serde_json::to_value(event).unwrap(), event.name());
        }
    }

    #[test]
    fn texts_and_counts_are_bounded() {
        let entry = Entry {
            model: "m".repeat(10_000),
            reason: "r".repeat(10_000),
            used: Used { input: u64::MAX, ..Used::default() },
            ..Entry::new(Event::Request)
        };
        let record = Record::new(entry, 5);
        assert_eq!((record.model.len(), record.reason.len()), (NAME_BYTES_MAX, REASON_BYTES_MAX));
        assert_eq!(record.input.unsigned_abs(), CHARGE_MAX);
    }
}
