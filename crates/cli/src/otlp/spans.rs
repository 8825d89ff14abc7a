//! A request as spans, in the words of OpenTelemetry's conventions.
//!
//! The request is a server's span, named by its method and route, with what the conventions of HTTP and of
//! generative AI ask for; below it stand the queue, the prefill and the decoding of each choice. It belongs
//! to the trace that the client's `traceparent` names; one that says that it is not sampled has no spans. No
//! attribute holds a word of a prompt or of an answer, and the model is called by its served name, whatever
//! the client called it.

use std::collections::HashMap;

use gptoss_server::{ChoiceWork, RequestTrace, TraceParent, Work, WorkKind};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags};
use opentelemetry::{InstrumentationScope, KeyValue, StringValue, Value};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SpanData, SpanEvents, SpanLinks};

/// What a provider of models is called in the conventions.
const PROVIDER: &str = "gptoss";

/// Makes spans with ids of their own.
#[derive(Debug)]
pub struct SpanWriter {
    ids: RandomIdGenerator,
    propagator: TraceContextPropagator,
    scope: InstrumentationScope,
}

impl Default for SpanWriter {
    fn default() -> SpanWriter {
        SpanWriter {
            ids: RandomIdGenerator::default(),
            propagator: TraceContextPropagator::new(),
            scope: InstrumentationScope::builder("gptoss").with_version(env!("CARGO_PKG_VERSION")).build(),
        }
    }
}

impl SpanWriter {
    /// The spans of a request, its own first; none when its client samples it not.
    pub fn spans(&self, trace: &RequestTrace) -> Vec<SpanData> {
        let parent = self.parent(&trace.parent);
        if parent.is_valid() && !parent.is_sampled() {
            return Vec::new();
        }
        let trace_id = if parent.is_valid() { parent.trace_id() } else { self.ids.new_trace_id() };
        let context = |id: SpanId| {
            SpanContext::new(trace_id, id, TraceFlags::SAMPLED, false, parent.trace_state().clone())
        };
        let whole = SpanData {
            span_context: context(self.ids.new_span_id()),
            parent_span_id: parent.span_id(),
            parent_span_is_remote: parent.is_valid(),
            span_kind: SpanKind::Server,
            name: format!("{} {}", trace.method, trace.route).into(),
            start_time: trace.began,
            end_time: trace.began + trace.duration,
            attributes: attributes(trace),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: if trace.status >= 500 { Status::error("") } else { Status::Unset },
            instrumentation_scope: self.scope.clone(),
        };
        let choices = trace.work.iter().flat_map(|work| &work.choices).enumerate();
        let phases: Vec<SpanData> = choices
            .flat_map(|(index, choice)| self.phases(trace, index, choice, &whole))
            .map(|phase| SpanData { span_context: context(self.ids.new_span_id()), ..phase })
            .collect();
        [whole].into_iter().chain(phases).collect()
    }

    /// The phases of a choice, one after another.
    fn phases(
        &self,
        trace: &RequestTrace,
        index: usize,
        choice: &ChoiceWork,
        whole: &SpanData,
    ) -> Vec<SpanData> {
        let mut at = trace.began + choice.begun.saturating_duration_since(trace.begun);
        let times = choice.times;
        let phase = |(name, time): (&'static str, _)| {
            let start_time = at;
            at += time;
            SpanData {
                span_context: SpanContext::NONE,
                parent_span_id: whole.span_context.span_id(),
                parent_span_is_remote: false,
                span_kind: SpanKind::Internal,
                name: name.into(),
                start_time,
                end_time: at,
                attributes: vec![KeyValue::new("gptoss.choice.index", index as i64)],
                dropped_attributes_count: 0,
                events: SpanEvents::default(),
                links: SpanLinks::default(),
                status: Status::Unset,
                instrumentation_scope: self.scope.clone(),
            }
        };
        [("queue", times.queued), ("prefill", times.prefill), ("decode", times.decode)].map(phase).into()
    }

    /// What the client's headers say, or an invalid context.
    fn parent(&self, given: &TraceParent) -> SpanContext {
        let header = |name: &str, value: &Option<String>| Some((name.to_owned(), value.clone()?));
        let headers: HashMap<String, String> =
            [header("traceparent", &given.parent), header("tracestate", &given.state)]
                .into_iter()
                .flatten()
                .collect();
        let none = opentelemetry::Context::new();
        self.propagator.extract_with_context(&none, &headers).span().span_context().clone()
    }
}

/// What is known of a request.
fn attributes(trace: &RequestTrace) -> Vec<KeyValue> {
    let mut list = vec![
        KeyValue::new("http.request.method", trace.method),
        KeyValue::new("http.route", trace.route.clone()),
        KeyValue::new("http.response.status_code", i64::from(trace.status)),
        KeyValue::new("url.scheme", "http"),
        KeyValue::new("gptoss.request_id", trace.id.clone()),
    ];
    if let Some(tenant) = &trace.tenant {
        list.push(KeyValue::new("gptoss.tenant", tenant.clone()));
    }
    if trace.is_client_gone {
        list.push(KeyValue::new("error.type", "client_gone"));
    } else if trace.status >= 500 {
        list.push(KeyValue::new("error.type", trace.status.to_string()));
    }
    if let Some(work) = &trace.work {
        list.extend(of_work(work));
    }
    list
}

/// What the model did.
fn of_work(work: &Work) -> Vec<KeyValue> {
    let operation = match work.choices.first().map(|choice| choice.kind) {
        Some(WorkKind::Text) => "text_completion",
        Some(WorkKind::Chat) | None => "chat",
    };
    let count =
        |name: &'static str, tokens: u64| KeyValue::new(name, i64::try_from(tokens).unwrap_or(i64::MAX));
    let reasons: Vec<StringValue> =
        work.choices.iter().map(|choice| StringValue::from(choice.end.finish_reason())).collect();
    vec![
        KeyValue::new("gen_ai.operation.name", operation),
        KeyValue::new("gen_ai.provider.name", PROVIDER),
        KeyValue::new("gen_ai.request.model", work.model.to_string()),
        KeyValue::new("gen_ai.response.model", work.model.to_string()),
        KeyValue::new("gen_ai.response.finish_reasons", Value::Array(reasons.into())),
        count("gen_ai.usage.input_tokens", work.tokens.prompt),
        count("gen_ai.usage.cache_read.input_tokens", work.tokens.cached),
        count("gen_ai.usage.output_tokens", work.tokens.completion),
        count("gen_ai.usage.reasoning.output_tokens", work.tokens.reasoning),
    ]
}

#[cfg(test)]
pub mod tests {
    use std::time::{Duration, Instant, SystemTime};

    use gptoss_server::{PhaseTimes, TokenUsage};
    use gptoss_turn::TurnEnd;

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    /// A request with two choices.
    pub fn trace(status: u16) -> RequestTrace {
        let begun = Instant::now();
        let millis = Duration::from_millis;
        let times = PhaseTimes { queued: millis(5), prefill: millis(10), decode: millis(20) };
        let choice = |end| ChoiceWork { kind: WorkKind::Chat, begun: begun + millis(1), times, end };
        RequestTrace {
            parent: TraceParent::default(),
            method: "POST",
            route: "/v1/chat/completions".to_owned(),
            status,
            id: "req_1".to_owned(),
            tenant: None,
            began: SystemTime::UNIX_EPOCH + millis(1000),
            begun,
            duration: millis(50),
            is_client_gone: false,
            work: Some(Work {
                model: "demo".into(),
                tokens: TokenUsage { prompt: 7, completion: 3, ..TokenUsage::default() },
                choices: vec![choice(TurnEnd::Answer), choice(TurnEnd::Length)],
            }),
        }
    }

    fn attribute(span: &SpanData, name: &str) -> Option<String> {
        let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == name)?;
        Some(found.value.to_string())
    }

    #[test]
    fn a_request_has_its_phases_below_it() {
        let spans = SpanWriter::default().spans(&trace(200));
        let names: Vec<&str> = spans.iter().map(|span| &*span.name).collect();
        let phases = ["queue", "prefill", "decode"];
        assert_eq!(names, [&["POST /v1/chat/completions"][..], &phases, &phases].concat());
        let (whole, phases) = spans.split_first().unwrap();
        assert_eq!((whole.parent_span_id, &whole.status), (SpanId::INVALID, &Status::Unset));
        for (at, phase) in phases.iter().enumerate() {
            assert_eq!(phase.span_context.trace_id(), whole.span_context.trace_id());
            assert_eq!(phase.parent_span_id, whole.span_context.span_id());
            assert_eq!(attribute(phase, "gptoss.choice.index").unwrap(), (at / 3).to_string());
            assert!(phase.start_time >= whole.start_time && phase.end_time <= whole.end_time);
            let before = if at % 3 == 0 {
                whole.start_time + Duration::from_millis(1)
            } else {
                phases[at - 1].end_time
            };
            assert_eq!(phase.start_time, before);
        }
        let mut ids: Vec<SpanId> = spans.iter().map(|span| span.span_context.span_id()).collect();
        ids.sort_by_key(|id| id.to_bytes());
        ids.dedup();
        assert!(ids.len() == 7 && !ids.contains(&SpanId::INVALID));
        let reasons = attribute(whole, "gen_ai.response.finish_reasons").unwrap();
        assert_eq!(reasons, r#"["stop","length"]"#);
        assert_eq!(attribute(whole, "gen_ai.usage.output_tokens").unwrap(), "3");
        assert_eq!(attribute(whole, "gen_ai.response.model").unwrap(), "demo");
    }

    #[test]
    fn the_clients_trace_goes_on() {
        let state = Some("vendor=1".to_owned());
        let parent = TraceParent { parent: Some(PARENT.to_owned()), state };
        for span in SpanWriter::default().spans(&RequestTrace { parent, ..trace(200) }) {
            assert_eq!(span.span_context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
            assert_eq!(span.span_context.trace_state().header(), "vendor=1");
            let is_remote = span.span_kind == SpanKind::Server;
            assert_eq!(span.parent_span_is_remote, is_remote);
            assert_eq!(span.parent_span_id.to_string() == "00f067aa0ba902b7", is_remote);
        }
    }

    #[test]
    fn what_is_not_sampled_has_no_spans_and_what_is_no_parent_is_none() {
        let count = |parent: &str| {
            let parent = TraceParent { parent: Some(parent.to_owned()), state: None };
            SpanWriter::default().spans(&RequestTrace { parent, ..trace(200) }).len()
        };
        assert_eq!(count(&PARENT.replace("-01", "-00")), 0);
        for wrong in ["", "00", "hello", "00-00000000000000000000000000000000-00f067aa0ba902b7-00"] {
            assert_eq!(count(wrong), 7, "{wrong}");
        }
    }

    #[test]
    fn failures_are_errors_and_refusals_are_not() {
        let check = |status, is_gone, expect: Option<&str>| {
            let traced = RequestTrace { is_client_gone: is_gone, work: None, ..trace(status) };
            let spans = SpanWriter::default().spans(&traced);
            assert_eq!((spans.len(), attribute(&spans[0], "error.type").as_deref()), (1, expect));
            assert_eq!(spans[0].status != Status::Unset, status >= 500);
            assert_eq!(attribute(&spans[0], "gen_ai.request.model"), None);
        };
        check(200, false, None);
        check(404, false, None);
        check(499, true, Some("client_gone"));
        check(503, false, Some("503"));
    }
}
