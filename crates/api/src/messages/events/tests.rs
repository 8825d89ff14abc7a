//! However the model's text is cut, the events are in order and add up to the same message.

use gptoss_harmony::Call;

use super::*;
use crate::messages::signature::KEY_BYTES;

fn signer() -> Signer {
    Signer::new(&[7; KEY_BYTES], "tenant")
}

fn machine(shown: Option<Shown>) -> MessageMachine {
    let heading = MessageHeader { id: "msg_1".into(), model: "m".into() };
    MessageMachine::new(heading, shown, signer(), |prefix| format!("{prefix}_1"), vec!["told before".into()])
}

fn text(channel: Channel, text: &str) -> Delta {
    Delta::Text { channel, text: text.to_owned(), logprobs: Vec::new() }
}

fn end(end: TurnEnd, stop: Option<&str>) -> ChoiceEnd {
    let usage = TokenUsage { prompt: 9, cached: 4, completion: 7, reasoning: 2, ..TokenUsage::default() };
    ChoiceEnd { end, usage, rest: Vec::new(), at: 0, stop: stop.map(str::to_owned) }
}

/// A turn that thinks, speaks, thinks again and calls; each text cut at `at` of its characters.
fn said(at: usize) -> Vec<Delta> {
    let halves = |make: &dyn Fn(&str) -> Delta, whole: &str| {
        let border = whole.char_indices().nth(at).map_or(whole.len(), |(index, _)| index);
        [make(&whole[..border]), make(&whole[border..])]
    };
    let mut said = Vec::new();
    said.extend(halves(&|part| text(Channel::Analysis, part), "Look ü up"));
    said.extend(halves(&|part| text(Channel::Commentary, part), "One moment"));
    said.extend(halves(&|part| text(Channel::Analysis, part), "Now."));
    said.push(Delta::CallStarted { name: "look".into() });
    let arguments = |part: &str| Delta::CallArguments { text: part.to_owned(), logprobs: Vec::new() };
    said.extend(halves(&arguments, "{\"key\": \"é\"}"));
    let (name, recipient) = ("look".into(), "functions.look".into());
    said.push(Delta::Called(Call { name, recipient, channel: None, arguments: String::new() }));
    said
}

fn events(shown: Option<Shown>, said: Vec<Delta>, last: ChoiceEnd) -> Vec<MessageEvent> {
    let mut machine = machine(shown);
    let mut events = machine.begin();
    events.extend(machine.read(TokenUsage { prompt: 9, cached: 4, ..TokenUsage::default() }));
    for delta in said {
        events.extend(machine.push(delta));
    }
    events.extend(machine.finish(last));
    events
}

fn folded(events: Vec<MessageEvent>) -> MessageObject {
    let mut folder = Folder::default();
    events.into_iter().for_each(|event| folder.push(event));
    folder.finish().unwrap()
}

#[test]
fn every_cut_adds_up_to_the_same() {
    let whole = folded(events(Some(Shown::Whole), said(0), end(TurnEnd::Call, None)));
    for at in 0..14 {
        assert_eq!(
            folded(events(Some(Shown::Whole), said(at), end(TurnEnd::Call, None))),
            whole,
            "cut at {at}"
        );
    }
    let signed = |text: &str| OutputBlock::Thinking {
        thinking: text.into(),
        signature: signer().sign(Shown::Whole, text),
    };
    let call =
        OutputBlock::ToolUse { id: "toolu_1".into(), name: "look".into(), input: json!({"key": "é"}) };
    let spoken = OutputBlock::Text { text: "One moment".into() };
    assert_eq!(whole.content, [signed("Look ü up"), spoken, signed("Now."), call]);
    assert_eq!((whole.stop_reason, whole.warnings), (Some("tool_use"), vec!["told before".to_owned()]));
    let usage = whole.usage;
    assert_eq!((usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens), (5, 4, 7));
}

/// Peers began a block for each token, went on with the index of the block before, or left the usage out at
/// the beginning.
#[test]
fn blocks_are_closed_before_the_next_and_counted() {
    for shown in [None, Some(Shown::Nothing), Some(Shown::Whole)] {
        let events = events(shown, said(3), end(TurnEnd::Call, None));
        let MessageEvent::MessageStart { message } = &events[0] else { panic!("{:?}", events[0]) };
        assert_eq!((message.usage.input_tokens, message.usage.cache_read_input_tokens), (5, 4));
        let (mut open, mut next) = (None, 0);
        for event in &events[1..events.len() - 2] {
            match event {
                MessageEvent::ContentBlockStart { index, .. } => {
                    assert_eq!((open.replace(*index), *index), (None, next));
                    next += 1;
                }
                MessageEvent::ContentBlockDelta { index, .. } => assert_eq!(open, Some(*index)),
                MessageEvent::ContentBlockStop { index } => assert_eq!(open.take(), Some(*index)),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(open, None);
        assert!(matches!(events[events.len() - 2], MessageEvent::MessageDelta { .. }));
        assert_eq!(events.last(), Some(&MessageEvent::MessageStop));
    }
}

#[test]
fn only_what_may_be_seen_is_shown() {
    let kinds = |shown| {
        let content = folded(events(shown, said(0), end(TurnEnd::Call, None))).content;
        let kind = |block: &OutputBlock| match block {
            OutputBlock::Text { .. } => "text".to_owned(),
            OutputBlock::ToolUse { .. } => "call".to_owned(),
            OutputBlock::Thinking { thinking, signature } => {
                assert_eq!(signer().check(thinking, signature), shown);
                format!("thinking {thinking:?}")
            }
        };
        content.iter().map(kind).collect::<Vec<_>>()
    };
    assert_eq!(kinds(None), ["text", "call"]);
    assert_eq!(kinds(Some(Shown::Nothing)), ["thinking \"\"", "text", "thinking \"\"", "call"]);
    assert_eq!(kinds(Some(Shown::Summary)), ["text", "call"]);
    let mut machine = machine(Some(Shown::Summary));
    let mut events = machine.push(text(Channel::Analysis, "Secret."));
    events.extend(machine.push_summary("It ".into()));
    events.extend(machine.push_summary("thought.".into()));
    events.extend(machine.push(text(Channel::Final, "85")));
    events.extend(machine.finish(end(TurnEnd::Answer, None)));
    let content = folded(events).content;
    let signature = signer().sign(Shown::Summary, "It thought.");
    let thinking = OutputBlock::Thinking { thinking: "It thought.".into(), signature };
    assert_eq!(content, [thinking, OutputBlock::Text { text: "85".into() }]);
}

#[test]
fn every_end_has_its_reason() {
    let check = |turn: TurnEnd, stop: Option<&str>, expect: &str, warnings: usize| {
        let message = folded(events(None, vec![text(Channel::Final, "a")], end(turn, stop)));
        assert_eq!(message.stop_reason, Some(expect));
        assert_eq!(message.stop_sequence.as_deref(), stop);
        assert_eq!(message.warnings.len(), 1 + warnings);
    };
    check(TurnEnd::Answer, None, "end_turn", 0);
    check(TurnEnd::Answer, Some("STOP"), "stop_sequence", 0);
    check(TurnEnd::NoAnswer, None, "end_turn", 0);
    check(TurnEnd::Length, None, "max_tokens", 0);
    check(TurnEnd::Deadline, None, "max_tokens", 1);
    check(TurnEnd::Context, None, "model_context_window_exceeded", 1);
}

#[test]
fn a_call_that_is_cut_has_no_arguments() {
    let said = vec![
        Delta::CallStarted { name: "look".into() },
        Delta::CallArguments { text: "{\"key\": ".into(), logprobs: Vec::new() },
    ];
    let message = folded(events(None, said, end(TurnEnd::Length, None)));
    assert!(matches!(&message.content[..], [OutputBlock::ToolUse { input, .. }] if *input == json!({})));
}
