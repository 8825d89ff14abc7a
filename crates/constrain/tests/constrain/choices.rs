//! The turns that each tool choice allows.

use gptoss_constrain::{Body, Builtin, Constraint, Error, Function, Reasoning, Spec, ToolChoice, is_allowed};
use gptoss_harmony::{Control, Vocab};
use serde_json::json;

use crate::draw::{compiled, table};

/// Writes tokens from text in which control tokens are spelled out.
fn tokens(vocab: &Vocab, text: &str) -> Vec<u32> {
    let mut ids = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("<|") {
        ids.extend(vocab.encode_ids(&rest[..at]));
        rest = &rest[at..];
        let control = Control::ALL.into_iter().find(|control| rest.starts_with(control.literal()));
        let control = control.expect("a control token");
        ids.push(vocab.control(control));
        rest = &rest[control.literal().len()..];
    }
    ids.extend(vocab.encode_ids(rest));
    ids
}

/// How much of a turn is allowed, in text: all of it, or what came before the first refused token.
fn allowed_part(spec: &Spec, text: &str) -> String {
    let vocab = table().vocab();
    let mut constraint = Constraint::new(&compiled(spec.clone()).expect("a good spec"));
    let all = tokens(vocab, text);
    let taken = all.iter().position(|&token| {
        let in_mask = is_allowed(constraint.allowed().expect("no limit"), token);
        let taken = constraint.commit(token);
        assert_eq!(in_mask, taken.is_ok(), "mask and commit agree on {token} in {text}");
        !in_mask
    });
    String::from_utf8(vocab.decode(&all[..taken.unwrap_or(all.len())]).expect("known ids"))
        .expect("whole tokens")
}

fn spec(tool_choice: ToolChoice) -> Spec {
    let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": false});
    let functions = vec![
        Function { name: "add".into(), arguments: Body::JsonSchema { schema, fidelity: Default::default() } },
        Function { name: "shell".into(), arguments: Body::Free },
    ];
    let builtins = vec![Builtin { recipient: "python".into(), arguments: Body::Free }];
    Spec { functions, builtins, tool_choice, ..Spec::default() }
}

const THOUGHT: &str = "<|channel|>analysis<|message|>hm<|end|><|start|>assistant";
const ANSWER: &str = "<|channel|>final<|message|>ok<|return|>";
const CALLS: [&str; 8] = [
    "<|channel|>commentary to=functions.add <|constrain|>json<|message|>{\"a\":1}<|call|>",
    "<|channel|>commentary to=functions.add<|constrain|>json<|message|>{\"a\":1}<|call|>",
    "<|channel|>commentary to=functions.add json<|message|>{\"a\":1}<|call|>",
    "<|channel|>commentary to=functions.add<|message|>{\"a\":1}<|call|>",
    " to=functions.add<|channel|>commentary <|constrain|>json<|message|>{\"a\":1}<|call|>",
    " to=functions.add<|channel|>commentary json<|message|>{\"a\":1}<|call|>",
    "<|channel|>commentary to=functions.shell<|message|>ls<|call|>",
    "<|channel|>analysis to=python code<|message|>1+1<|call|>",
];

#[test]
fn tool_choices() {
    let check = |spec: &Spec, text: &str, expected: bool| {
        assert_eq!(allowed_part(spec, text) == text, expected, "{:?}: {text}", spec.tool_choice);
    };
    let preamble = "<|channel|>commentary<|message|>wait<|end|><|start|>assistant";
    let auto = spec(ToolChoice::Auto);
    for text in CALLS.iter().chain(&[ANSWER]) {
        check(&auto, text, true);
        check(&auto, &format!("{THOUGHT}{THOUGHT}{preamble}{text}"), true);
        check(&spec(ToolChoice::Required), text, *text != ANSWER);
        check(&spec(ToolChoice::None), text, *text == ANSWER);
        check(&spec(ToolChoice::Named("python".into())), text, text.contains("to=python"));
        let published = *text == CALLS[0];
        check(&spec(ToolChoice::Named("add".into())), &format!("{THOUGHT}{text}"), published);
    }
}

#[test]
fn malformed_turns_are_not_allowed() {
    let auto = spec(ToolChoice::Auto);
    let check = |text: &str, part: &str| assert_eq!(allowed_part(&auto, text), part, "{text}");
    check("hello", "");
    check("<|message|>", "");
    check("<|channel|>final<|message|>ok<|end|>", "<|channel|>final<|message|>ok");
    check("<|channel|>analysis<|message|>ok<|return|>", "<|channel|>analysis<|message|>ok");
    check("<|channel|>finally<|message|>", "<|channel|>final");
    check("<|channel|>commentary to=functions.zz<|message|>", "<|channel|>commentary to=functions");
    check(
        "<|channel|>analysis<|message|>a<|end|><|start|>user<|message|>",
        "<|channel|>analysis<|message|>a<|end|><|start|>",
    );
    check("<|channel|>final<|message|>ok<|return|><|return|>", "<|channel|>final<|message|>ok<|return|>");
    check("<|channel|>final<|message|>a<|channel|>", "<|channel|>final<|message|>a");
    check("<|endoftext|>", "");
}

fn feed(constraint: &mut Constraint, text: &str) {
    tokens(table().vocab(), text).into_iter().for_each(|token| constraint.commit(token).expect(text));
}

#[test]
fn a_named_call_without_reasoning_is_forced_to_its_arguments() {
    let reasoning = Reasoning { budget: Some(0), preambles: false };
    let mut constraint = Constraint::new(
        &compiled(Spec { reasoning, ..spec(ToolChoice::Named("add".into())) }).expect("a good spec"),
    );
    let mut forced = Vec::new();
    while let [token] = constraint.forced(1)[..] {
        forced.push(token);
        constraint.commit(token).expect("the only token");
    }
    constraint.rollback(forced.len()).expect("committed");
    assert_eq!(constraint.forced(usize::MAX), forced, "all at once");
    let text = String::from_utf8(table().vocab().decode(&forced).expect("known ids")).expect("text");
    assert!(
        text.starts_with("<|channel|>commentary to=functions.add <|constrain|>json<|message|>{\""),
        "{text}"
    );
}

#[test]
fn the_budget_closes_reasoning_at_a_border() {
    let vocab = table().vocab();
    let reasoning = Reasoning { budget: Some(4), preambles: true };
    let mut constraint =
        Constraint::new(&compiled(Spec { reasoning, ..spec(ToolChoice::Auto) }).expect("a good spec"));
    feed(&mut constraint, "<|channel|>analysis<|message|>");
    let bytes = |text: &[u8]| -> Vec<u32> {
        let one = |byte: &u8| {
            (0..vocab.len() as u32).find(|&id| vocab.decode(&[id]).is_ok_and(|found| found == [*byte]))
        };
        text.iter().map(|byte| one(byte).expect("every byte is a token")).collect()
    };
    // The fourth token of reasoning begins a character of four bytes.
    let gclef = bytes("𝄞".as_bytes());
    bytes(b"abc")
        .into_iter()
        .chain([gclef[0]])
        .for_each(|token| constraint.commit(token).expect("within budget"));
    for &token in &gclef[1..] {
        let mask = constraint.allowed().expect("no limit").to_vec();
        assert!(is_allowed(&mask, token) && !is_allowed(&mask, vocab.control(Control::End)));
        assert!(!is_allowed(&mask, bytes(b"a")[0]));
        constraint.commit(token).expect("it ends the character");
    }
    assert_eq!(constraint.forced(1), [vocab.control(Control::End)]);
    const NEXT: &str = "<|end|><|start|>assistant<|channel|>";
    feed(&mut constraint, NEXT);
    let mask = constraint.allowed().expect("no limit").to_vec();
    assert!(is_allowed(&mask, vocab.encode_ids("final")[0]));
    constraint.rollback(tokens(vocab, NEXT).len()).expect("there are more");
    assert_eq!(constraint.forced(1), [vocab.control(Control::End)], "the budget is still used up");
    feed(&mut constraint, NEXT);
    let refused =
        tokens(vocab, "analysis<|message|>").into_iter().any(|token| constraint.commit(token).is_err());
    assert!(refused, "no second thoughts");
}

/// Asking for what is forced moves nothing: masks, ends and errors are those of a constraint that is never
/// asked.
#[test]
fn looking_ahead_changes_no_answer() {
    const TURN: &str = "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>commentary to=functions.add \
         <|constrain|>json<|message|>{\"a\":12}<|call|>";
    let vocab = table().vocab();
    let compiled = compiled(spec(ToolChoice::Auto)).expect("a good spec");
    let (mut asked, mut plain) = (Constraint::new(&compiled), Constraint::new(&compiled));
    let all = tokens(vocab, TURN);
    let mut num_forced = 0;
    for (position, &token) in all.iter().enumerate() {
        let ahead = asked.forced(position % 5);
        assert!(all[position..].starts_with(&ahead), "{position}");
        num_forced += usize::from(!ahead.is_empty());
        assert_eq!(asked.allowed(), plain.allowed(), "{position}");
        assert_eq!((asked.is_over(), asked.num_committed()), (false, position));
        assert_eq!(asked.is_in_grammar(), plain.is_in_grammar());
        let wrong = vocab.control(Control::EndOfText);
        assert_eq!(asked.commit(wrong), plain.commit(wrong), "{position}");
        asked.commit(token).expect("allowed");
        plain.commit(token).expect("allowed");
    }
    assert!(asked.is_over() && num_forced > 6, "{num_forced}");
    assert_eq!(asked.forced(9), [0_u32; 0]);
    let start =
        all.iter().position(|&token| token == vocab.control(Control::Start)).expect("a second message");
    asked.rollback(all.len() - start).expect("committed");
    let ahead = asked.forced(9);
    assert!(ahead.len() > 1 && all[start..].starts_with(&ahead), "{ahead:?}");
}

#[test]
fn what_is_taken_back_can_go_another_way() {
    let mut constraint = Constraint::new(&compiled(spec(ToolChoice::Auto)).expect("a good spec"));
    feed(
        &mut constraint,
        "<|channel|>commentary to=functions.add <|constrain|>json<|message|>{\"a\":12}<|call|>",
    );
    assert!(constraint.is_over() && !constraint.is_in_grammar());
    let copy = constraint.clone();
    let num = tokens(table().vocab(), "}<|call|>").len();
    constraint.rollback(num).expect("committed");
    assert!(!constraint.is_over() && constraint.is_in_grammar());
    feed(&mut constraint, "3}<|call|>");
    assert!(constraint.is_over());
    let all = constraint.num_committed();
    constraint.rollback(all).expect("committed");
    feed(&mut constraint, ANSWER);
    assert!(constraint.is_over() && copy.is_over());
    assert_eq!(
        constraint.rollback(all),
        Err(Error::Rollback { asked: all, committed: tokens(table().vocab(), ANSWER).len() })
    );
}

#[test]
fn bad_tools_are_refused() {
    let check = |spec: Spec, part: &str| {
        let message = compiled(spec).expect_err(part).to_string();
        assert!(message.contains(part), "{part:?} in {message}");
    };
    let named = |name: &str| Spec {
        functions: vec![Function { name: name.into(), arguments: Body::Free }],
        ..Spec::default()
    };
    check(named(""), "is empty");
    check(named("a b"), "white space");
    check(named("a\u{a0}b"), "white space");
    check(named(&"x".repeat(129)), "128 bytes");
    let mut twice = spec(ToolChoice::Auto);
    twice.builtins.push(Builtin { recipient: "add".into(), arguments: Body::Free });
    check(twice, "two tools");
    check(spec(ToolChoice::Named("mul".into())), "the tools are: add, shell, python");
    check(Spec { tool_choice: ToolChoice::Required, ..Spec::default() }, "no tools");
    let many = (0..1025).map(|i| Function { name: format!("f{i}"), arguments: Body::Free }).collect();
    check(Spec { functions: many, ..Spec::default() }, "1025 tools");
}
