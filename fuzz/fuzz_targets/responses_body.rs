//! Any bytes are a request of the Responses API or an error that says why not; what is read makes an object,
//! whose events can be written and read again.
#![no_main]

use gptoss_api::generation::visibility::Visibility;
use gptoss_api::limits::RequestLimits;
use gptoss_api::generation::hosted::ServerTools;
use gptoss_api::responses::events::ResponseMachine;
use gptoss_api::responses::object::{Facts, object};
use gptoss_api::responses::parse::{self, PriorTurns};
use gptoss_api::usage::TokenUsage;
use gptoss_api::wire::response_events::Numbered;
use gptoss_api::wire::responses::ResponsesRequest;
use gptoss_api::{ChoiceEnd, EventOptions, Machine, body};
use gptoss_fuzz::{new_id, scope};
use gptoss_harmony::{Channel, Delta, TurnEnd};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(request) = body::parse::<ResponsesRequest>(bytes) else { return };
    let limits = RequestLimits::default();
    let scope = scope(&limits, Visibility::Raw);
    let Ok(parsed) = parse::parse(&request, PriorTurns::default(), &ServerTools::default(), &scope) else { return };
    assert!(parsed.input_items.iter().all(|item| item.get("id").is_some()));
    let facts = Facts {
        id: "resp_1".to_owned(),
        created_at: 1,
        model: "demo".to_owned(),
        temperature: 1.0,
        top_p: 1.0,
        presence_penalty: 0.0,
        frequency_penalty: 0.0,
    };
    let Ok(object) = object(&request, &parsed, facts) else { return };
    let tools = parsed.generation.tools.clone();
    let name = tools.list.first().map_or("look", |tool| tool.harmony_name.as_str()).to_owned();
    let options =
        EventOptions { tools, visibility: parsed.generation.visibility, tells_logprobs: false, new_id };
    let mut machine = ResponseMachine::new(object, options);
    let mut events = machine.begin();
    let text = "One moment.".to_owned();
    events.extend(machine.push(Delta::Text { channel: Channel::Commentary, text, logprobs: Vec::new() }));
    events.extend(machine.push(Delta::CallStarted { name }));
    let text = "{}".to_owned();
    events.extend(machine.push(Delta::CallArguments { text, logprobs: Vec::new() }));
    let usage = TokenUsage::default();
    events.extend(machine.finish(ChoiceEnd {
        end: TurnEnd::Call,
        usage,
        rest: Vec::new(),
        at: 2,
        stop: None,
    }));
    for event in &events {
        let json = serde_json::to_value(event).expect("plain data");
        let again: Numbered = serde_json::from_value(json.clone()).expect("what we write we read");
        assert_eq!(serde_json::to_value(&again).expect("plain data"), json);
    }
});
