//! However the model's text is cut, the deltas add up to the same message.

use gptoss_harmony::Call;

use super::*;
use crate::generation::tools::Tools;
use crate::usage::TokenUsage;

/// What a machine is pushed.
enum Said {
    Delta(Delta),
    Summary(String),
}

fn call() -> Call {
    Call { name: "look".into(), recipient: "functions.look".into(), channel: None, arguments: String::new() }
}

fn text(channel: Channel, text: &str) -> Said {
    Said::Delta(Delta::Text { channel, text: text.to_owned(), logprobs: Vec::new() })
}

fn said(visibility: Visibility, said: Vec<Said>, end: TurnEnd) -> Choice {
    let options = EventOptions {
        tools: Tools::default(),
        visibility,
        tells_logprobs: false,
        new_id: |prefix| format!("{prefix}_1"),
    };
    let mut machine = ChatChoice::new(0, options);
    let mut choice = Choice::default();
    let mut chunks = machine.begin();
    for part in said {
        chunks.extend(match part {
            Said::Delta(delta) => machine.push(delta),
            Said::Summary(text) => machine.push_summary(text),
        });
    }
    chunks.extend(machine.finish(ChoiceEnd {
        end,
        usage: TokenUsage::default(),
        rest: Vec::new(),
        at: 2,
        stop: None,
    }));
    chunks.into_iter().for_each(|chunk| fold(&mut choice, chunk));
    choice
}

/// The message as text, without the ids of calls.
fn plain(choice: &Choice) -> String {
    let mut value = serde_json::to_value(choice).unwrap();
    for call in value["message"]["tool_calls"].as_array_mut().into_iter().flatten() {
        call["id"] = "call".into();
    }
    value.to_string()
}

/// Everything a turn can say, each text cut at `at` of its characters.
fn cut(at: usize) -> Vec<Said> {
    let halves = |make: &dyn Fn(&str) -> Said, whole: &str| {
        let border = whole.char_indices().nth(at).map_or(whole.len(), |(index, _)| index);
        [make(&whole[..border]), make(&whole[border..])]
    };
    let mut said = Vec::new();
    said.extend(halves(&|part| text(Channel::Analysis, part), "Look ü up"));
    said.extend(halves(&|part| Said::Summary(part.to_owned()), "It looked"));
    said.extend(halves(&|part| text(Channel::Commentary, part), "One moment"));
    said.push(Said::Delta(Delta::CallStarted { name: "look".into() }));
    said.extend(halves(
        &|part| Said::Delta(Delta::CallArguments { text: part.to_owned(), logprobs: Vec::new() }),
        "{\"key\": \"é\"}",
    ));
    said.push(Said::Delta(Delta::Called(call())));
    said
}

#[test]
fn every_cut_adds_up_to_the_same() {
    for visibility in [Visibility::Raw, Visibility::Summary, Visibility::Hidden] {
        let whole = plain(&said(visibility, cut(0), TurnEnd::Call));
        for at in 0..14 {
            assert_eq!(plain(&said(visibility, cut(at), TurnEnd::Call)), whole, "{visibility:?} cut at {at}");
        }
    }
}

#[test]
fn each_visibility_shows_its_own() {
    let check = |visibility, reasoning: Option<&str>| {
        let message = said(visibility, cut(0), TurnEnd::Call).message;
        assert_eq!(message.reasoning.as_deref(), reasoning);
        assert_eq!(message.reasoning, message.reasoning_content);
        assert!(message.reasoning_details.is_some(), "a summary is marked");
    };
    check(Visibility::Raw, Some("Look ü up"));
    check(Visibility::Summary, Some("It looked"));
    let without: Vec<Said> = cut(0).into_iter().filter(|part| !matches!(part, Said::Summary(_))).collect();
    let hidden = said(Visibility::Hidden, without, TurnEnd::Call).message;
    assert!(hidden.reasoning.is_none() && hidden.reasoning_details.is_none());
}

/// Clients that take the two names for one refused the message.
#[test]
fn the_reasoning_is_sent_under_the_names_that_are_wanted() {
    for (field, names) in [
        (ReasoningField::Both, &["reasoning", "reasoning_content"][..]),
        (ReasoningField::Reasoning, &["reasoning"]),
        (ReasoningField::ReasoningContent, &["reasoning_content"]),
    ] {
        let options = EventOptions {
            tools: Tools::default(),
            visibility: Visibility::Raw,
            tells_logprobs: false,
            new_id: |prefix| format!("{prefix}_1"),
        };
        let mut machine = ChatChoice::new(0, options).with_reasoning_field(field);
        let delta = Delta::Text { channel: Channel::Analysis, text: "Hm".into(), logprobs: Vec::new() };
        let chunk = serde_json::to_value(&machine.push(delta)[0].delta).unwrap();
        let found: Vec<&str> = chunk.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(found, names);
    }
}

#[test]
fn what_is_said_twice_has_a_line_between() {
    let parts = vec![text(Channel::Commentary, "First"), text(Channel::Final, "then")];
    let choice = said(Visibility::Raw, parts, TurnEnd::Answer);
    assert_eq!(choice.message.content.as_deref(), Some("First\n\nthen"));
}

#[test]
fn a_model_that_says_nothing_says_an_empty_text() {
    let choice = said(Visibility::Raw, vec![text(Channel::Analysis, "Hm")], TurnEnd::NoAnswer);
    assert_eq!((choice.message.content.as_deref(), choice.finish_reason), (Some(""), Some("stop")));
    let cut_short = said(Visibility::Raw, vec![text(Channel::Analysis, "Hm")], TurnEnd::Length);
    assert_eq!(cut_short.finish_reason, Some("length"));
}

#[test]
fn choices_count_their_prompt_once() {
    let mut tokens = TokenUsage::default();
    let one = TokenUsage { prompt: 10, cached: 3, completion: 4, reasoning: 1, ..TokenUsage::default() };
    tokens.add_choice(one);
    tokens.add_choice(one);
    let usage = tokens.chat_usage();
    assert_eq!((usage.prompt_tokens, usage.completion_tokens, usage.total_tokens), (10, 8, 18));
}
