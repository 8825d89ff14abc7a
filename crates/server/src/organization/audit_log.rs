//! A link of the audit's chain in the words of OpenAI's audit log.

use gptoss_api::ApiError;
use gptoss_api::wire::organization::audit_logs::{AuditActor, AuditKey, AuditLog, AuditProject};
use gptoss_govern::{Event, Record};
use serde_json::{Map, json};

use super::asked::Asked;
use super::{millis, seconds};

/// What stands before a link's number in its id.
const ID: &str = "audit_log-";

/// Which links are asked for.
pub(super) struct Bounds {
    pub(super) events: Vec<Event>,
    pub(super) from_ms: Option<i64>,
    pub(super) until_ms: Option<i64>,
    pub(super) after: Option<i64>,
    pub(super) before: Option<i64>,
}

impl Bounds {
    /// Errors: an id or a time that is none.
    pub(super) fn of(asked: &Asked) -> Result<Bounds, ApiError> {
        let place = |name: &'static str| match asked.one(name) {
            None => Ok(None),
            Some(id) => match id.strip_prefix(ID).and_then(|number| number.parse().ok()) {
                Some(number) => Ok(Some(number)),
                None => Err(ApiError::invalid(name, format!("{name} is not the id of an audit log"))),
            },
        };
        let from = match asked.number("effective_at[gte]")? {
            Some(from) => Some(from),
            None => asked.number("effective_at[gt]")?.map(|after| after.saturating_add(1)),
        };
        let until = match asked.number("effective_at[lt]")? {
            Some(until) => Some(until),
            None => asked.number("effective_at[lte]")?.map(|last| last.saturating_add(1)),
        };
        let named = |name: &str| {
            // A name of OpenAI's that never happens here is no fault, and finds nothing.
            Event::from_name(name)
        };
        let names: Vec<&str> = asked.list("event_types").collect();
        let events: Vec<Event> = names.iter().filter_map(|name| named(name)).collect();
        if events.is_empty() && !names.is_empty() {
            // No link has this place.
            return Ok(Bounds { events, from_ms: Some(i64::MAX), until_ms: None, after: None, before: None });
        }
        Ok(Bounds {
            events,
            from_ms: from.map(millis),
            until_ms: until.map(millis),
            after: place("after")?,
            before: place("before")?,
        })
    }
}

/// A link.
pub(super) fn told(record: Record) -> AuditLog {
    let kind = record.event.name().to_owned();
    let is_key = !record.actor.is_empty();
    let key = is_key.then(|| AuditKey { id: record.actor.clone(), kind: "service_account" });
    let actor = AuditActor { kind: if is_key { "api_key" } else { "session" }, api_key: key };
    let project = (!record.tenant.is_empty())
        .then(|| AuditProject { id: record.tenant.clone(), name: record.tenant.clone() });
    let about = match record.event {
        Event::KeyCreated | Event::KeyUpdated | Event::KeyDeleted => {
            json!({"id": record.actor, "data": {"name": record.tenant}, "rules": record.policy_version})
        }
        _ => json!({
            "model": record.model, "adapter": record.adapter, "rules": record.policy_version,
            "decision": record.decision, "reason": record.reason, "route": record.route,
            "input_tokens": record.input, "input_cached_tokens": record.cached,
            "output_tokens": record.output, "judged_input_tokens": record.judged_input,
            "judged_output_tokens": record.judged_output, "content": record.content, "charged_tokens": record.charged_tokens,
            "charged_micro_usd": record.charged_micro_usd, "status": record.status,
            "request_id": record.request_id,
        }),
    };
    let hash: String = record.hash.iter().map(|byte| format!("{byte:02x}")).collect();
    AuditLog {
        id: format!("{ID}{}", record.seq),
        effective_at: seconds(record.at_ms),
        actor,
        project,
        x_chain: hash,
        details: Map::from_iter([(kind.clone(), about)]),
        kind,
    }
}
