//! What is learned of rows of every kind, and which rows are left out.

use std::sync::Arc;

use gptoss_dataset::{Dataset, Example, Kind, Options, Reason, Sample, TooLong};
use gptoss_harmony::Vocab;
use serde_json::{Value, json};

fn vocab() -> Arc<Vocab> {
    Vocab::o200k_harmony()
}

fn read(rows: &[Value], options: &Options) -> Dataset {
    let text: Vec<String> = rows.iter().map(Value::to_string).collect();
    Dataset::read(text.join("\n").as_bytes(), &vocab(), options, None).expect("memory can be read")
}

/// The only example of a row.
fn example(row: Value) -> Example {
    let dataset = read(&[row], &Options::default());
    assert_eq!(dataset.report.left_out, []);
    match dataset.samples.as_slice() {
        [(1, Sample::Text(example))] => example.clone(),
        other => panic!("{other:?}"),
    }
}

/// What is learned, and what is not, in turn.
fn told(example: &Example) -> Vec<String> {
    let spans = example.spans(&vocab());
    spans.into_iter().map(|span| format!("{}{}", if span.is_target { '+' } else { '-' }, span.text)).collect()
}

fn system(effort: &str) -> String {
    format!(
        "-<|start|>system<|message|>You are ChatGPT, a large language model trained by OpenAI.\n\
         Knowledge cutoff: 2024-06\n\nReasoning: {effort}\n\n\
         # Valid channels: analysis, commentary, final. Channel must be included for every message."
    )
}

fn reason(row: Value) -> Reason {
    let mut dataset = read(&[row], &Options::default());
    assert!(dataset.samples.is_empty(), "{:?}", dataset.samples);
    dataset.report.left_out.remove(0).1
}

#[test]
fn each_turn_is_an_example_with_the_prompt_of_its_time() {
    let row = json!({"messages": [
        {"role": "user", "content": "1+1?"},
        {"role": "assistant", "thinking": "Two.", "content": "2"},
        {"role": "user", "content": "2+2?"},
        {"role": "assistant", "thinking": "Four.", "content": "4"},
    ]});
    let dataset = read(&[row], &Options::default());
    let texts: Vec<Vec<String>> =
        dataset.samples.iter().flat_map(|(_, sample)| sample.examples().map(told)).collect();
    let first =
        "<|channel|>analysis<|message|>Two.<|end|><|start|>assistant<|channel|>final<|message|>2<|return|>";
    let second =
        "<|channel|>analysis<|message|>Four.<|end|><|start|>assistant<|channel|>final<|message|>4<|return|>";
    let head = format!("{}<|end|><|start|>user<|message|>1+1?<|end|><|start|>assistant", system("medium"));
    let between = "<|channel|>final<|message|>2<|end|><|start|>user<|message|>2+2?<|end|><|start|>assistant";
    assert_eq!(
        texts,
        [[head.clone(), format!("+{first}")], [format!("{head}{between}"), format!("+{second}")],]
    );
    assert_eq!((dataset.report.rows, dataset.report.without_reasoning), (1, 0));
    assert_eq!(
        dataset.report.targets,
        dataset.samples.iter().flat_map(|(_, s)| s.examples()).map(Example::num_targets).sum::<usize>()
    );
}

#[test]
fn calls_and_answers_of_a_turn_are_learned_and_results_are_not() {
    let tools = json!([{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {"key": {"type": "string"}}}}}]);
    let messages = json!([
        {"role": "user", "content": "Look up a."},
        {"role": "assistant", "reasoning_content": "I look.", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "look", "arguments": "{\"key\":\"a\"}"}}]},
        {"role": "tool", "tool_call_id": "c", "content": "7"},
        {"role": "assistant", "reasoning_content": "Seven.", "content": "It is 7."},
    ]);
    let learned = |row: Value| -> Vec<String> { told(&example(row)).into_iter().skip(1).collect() };
    let expected = [
        "+<|channel|>analysis<|message|>I look.<|end|><|start|>assistant to=functions.look<|channel|>commentary <|constrain|>json<|message|>{\"key\":\"a\"}<|call|>",
        "-<|start|>functions.look to=assistant<|channel|>commentary<|message|>7<|end|><|start|>assistant",
        "+<|channel|>analysis<|message|>Seven.<|end|><|start|>assistant<|channel|>final<|message|>It is 7.<|return|>",
    ];
    assert_eq!(learned(json!({"messages": messages, "tools": tools})), expected);
    assert_eq!(
        learned(json!({"messages": messages, "tools": tools.to_string()})),
        expected,
        "columns of files"
    );
    let unanswered = json!({"messages": messages.as_array().unwrap()[..3], "tools": tools});
    assert_eq!(learned(unanswered), expected[..1], "a call that waits for its result");
    assert!(
        matches!(reason(json!({"messages": messages})), Reason::UndeclaredTool { message: 1, name } if name == "look")
    );
}

#[test]
fn a_turn_of_any_kind_of_row_is_the_same_example() {
    let expected = example(
        json!({"messages": [{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "2"}]}),
    );
    assert!(told(&expected)[0].starts_with(&system("low")), "no reasoning, so low effort");
    for row in [
        json!({"conversations": [{"from": "human", "value": "1+1?"}, {"from": "gpt", "value": "2"}]}),
        json!({"instruction": "1+1?", "input": "", "output": "2"}),
        json!({"prompt": "1+1?", "completion": "2"}),
        json!({"prompt": [{"role": "user", "content": "1+1?"}], "completion": [{"role": "assistant", "content": "2"}]}),
        json!({"tokens": expected.tokens, "weights": expected.weights}),
    ] {
        assert_eq!(example(row.clone()), expected, "{row}");
    }
    let reasoned = |row: Value| told(&example(row)).concat();
    let columns = json!({"developer": "Be brief.", "user": "1+1?", "analysis": "Two.", "final": "2", "reasoning_language": "English"});
    let messages = json!({"messages": [
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": "1+1?", "thinking": null},
        {"role": "assistant", "content": "2", "thinking": "Two."},
    ]});
    assert_eq!(reasoned(columns), reasoned(messages));
}

#[test]
fn plain_text_is_learned_but_for_its_first_token() {
    let text = example(json!({"text": "Hello world"}));
    assert_eq!(told(&text), ["-Hello", "+ world<|endoftext|>"]);
}

#[test]
fn pairs_of_every_kind_are_the_same_pair() {
    let user = json!({"role": "user", "content": "1+1?"});
    let (good, bad) =
        (json!({"role": "assistant", "content": "2"}), json!({"role": "assistant", "content": "3"}));
    let pair = |row: Value| read(&[row], &Options::default()).samples.remove(0).1;
    let expected = pair(json!({"prompt": [user], "chosen": [good], "rejected": [bad]}));
    let Sample::Pair { chosen, rejected } = &expected else { panic!("{expected:?}") };
    assert_eq!(
        (&told(chosen)[1..], &told(rejected)[1..]),
        (
            &["+<|channel|>final<|message|>2<|return|>".to_owned()][..],
            &["+<|channel|>final<|message|>3<|return|>".to_owned()][..],
        )
    );
    for row in [
        json!({"prompt": "1+1?", "chosen": "2", "rejected": "3"}),
        json!({"chosen": [user, good], "rejected": [user, bad]}),
        json!({"input": {"messages": [user]}, "preferred_output": [good], "non_preferred_output": [bad]}),
        json!({"messages": [user, good], "rejected_response": "3"}),
    ] {
        assert_eq!(pair(row.clone()), expected, "{row}");
    }
    assert_eq!(reason(json!({"prompt": "1+1?", "chosen": "2", "rejected": "2"})), Reason::SamePair);
    // One that reasons and one that does not answer one prompt all the same.
    let thought = json!([{"role": "assistant", "thinking": "Two.", "content": "2"}]);
    let one = pair(json!({"prompt": "1+1?", "chosen": thought, "rejected": "3"}));
    let Sample::Pair { chosen, rejected } = &one else { panic!("{one:?}") };
    assert_eq!(told(chosen)[0], told(rejected)[0]);
}

#[test]
fn rows_that_would_teach_wrong_are_left_out_with_their_reason() {
    let chat = |messages: Value| json!({"messages": messages, "tools": [{"type": "function", "function": {"name": "f"}}]});
    let user = json!({"role": "user", "content": "?"});
    let call = |arguments: &str| json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}});
    let assistant = |content: &str| json!({"role": "assistant", "content": content});
    let check = |row: Value, expected: Reason| assert_eq!(reason(row.clone()), expected, "{row}");
    check(chat(json!([user])), Reason::NoTurn);
    check(chat(json!([assistant("Hi"), user])), Reason::SpeaksFirst { message: 0 });
    check(chat(json!([user, assistant(" ")])), Reason::EmptyAnswer { message: 1 });
    check(chat(json!([user, assistant("a"), assistant("b")])), Reason::SecondAnswer { message: 2 });
    let several = json!({"role": "assistant", "tool_calls": [call("{}"), call("{}")]});
    check(chat(json!([user, several])), Reason::SeveralCalls { message: 1 });
    let broken = json!({"role": "assistant", "tool_calls": [call("{")]});
    check(chat(json!([user, broken])), Reason::ArgumentsNotJson { message: 1 });
    let literal = Reason::ControlText { message: 1, literal: "<|channel|>" };
    check(chat(json!([user, assistant("<|channel|>final")])), literal);
    check(
        json!({"conversations": [{"from": "who", "value": "?"}]}),
        Reason::Role { message: 0, role: "who".into() },
    );
    check(json!([1]), Reason::NotAnObject);
    assert!(
        matches!(reason(json!({"question": "?"})), Reason::UnknownColumns { found, .. } if found == "question")
    );
    assert!(matches!(reason(json!({"messages": 1})), Reason::Column { .. }));
    assert!(matches!(
        reason(chat(json!([user, {"role": "judge", "content": "x"}, assistant("a")]))),
        Reason::Body { .. }
    ));
    assert!(matches!(reason(json!({"tokens": [1, 999_999_999]})), Reason::Column { .. }));
    check(json!({"tokens": [1, 2], "weights": [1, 0]}), Reason::NoTarget);
    assert!(matches!(reason(json!({"tokens": [1, 2], "weights": "1 0"})), Reason::Column { .. }));
    let input = json!({"instruction": "?", "input": {"a": 1}, "output": "a"});
    assert!(matches!(reason(input), Reason::Column { column, .. } if column == "input"));
    check(json!({"prompt": "?", "completion": "a", "label": false}), Reason::MarkedBad);
}

#[test]
fn what_is_read_twice_is_learned_once_and_never_to_be_tested_with() {
    let row = |answer: &str| json!({"prompt": "?", "completion": answer});
    let train = read(&[row("a"), row("b"), row("a")], &Options::default());
    assert_eq!(train.report.left_out, [(3, Reason::Duplicate { line: 1 })]);
    let text = format!("{}\n\n{}\nnot JSON\n", row("b"), row("c"));
    let valid = Dataset::read(text.as_bytes(), &vocab(), &Options::default(), Some(&train)).unwrap();
    assert_eq!(valid.samples.len(), 1);
    assert_eq!(valid.report.left_out[0], (1, Reason::Overlap { line: 2 }));
    assert!(matches!(valid.report.left_out[1], (4, Reason::NotJson { .. })));
    assert_eq!(valid.report.groups().len(), 2);
    assert_eq!(valid.report.kinds, [(Kind::Completion, 2)].into());
}

#[test]
fn a_long_history_is_cut_by_whole_turns_and_never_a_target() {
    let turn = |word: &str| {
        [json!({"role": "user", "content": word}), json!({"role": "assistant", "content": word.repeat(8)})]
    };
    let mut messages = vec![json!({"role": "system", "content": "Keep."})];
    messages.extend(["one ", "two ", "three "].iter().flat_map(|word| turn(word)));
    let row = json!({"messages": messages});
    let whole = read(std::slice::from_ref(&row), &Options::default());
    let longest = whole.report.longest;
    let options = |tokens_max, too_long| Options { tokens_max, too_long, ..Options::default() };
    let dropped = read(std::slice::from_ref(&row), &options(longest - 1, TooLong::LeaveOut));
    assert_eq!(dropped.report.left_out, [(1, Reason::TooLong { tokens: longest, max: longest - 1 })]);
    let cut = read(std::slice::from_ref(&row), &options(longest - 1, TooLong::CutHistory));
    let last = told(cut.samples[2].1.examples().next().unwrap());
    assert!(last[0].contains("Keep.") && !last[0].contains("one ") && last[0].contains("two "), "{last:?}");
    assert_eq!(last[1], told(whole.samples[2].1.examples().next().unwrap())[1]);
    let short = read(&[row], &options(20, TooLong::CutHistory));
    assert!(matches!(short.report.left_out[..], [(1, Reason::TooLong { .. })]));
}

/// A margin compares two answers to one prompt.
#[test]
fn a_pair_whose_answers_would_get_different_histories_is_left_out() {
    let said = |role: &str, text: &str| json!({"role": role, "content": text});
    let row = json!({
        "prompt": [said("user", &"one ".repeat(40)), said("assistant", "1"), said("user", "two")],
        "chosen": [said("assistant", "2")],
        "rejected": [said("assistant", "It is not three.")],
    });
    let read = |options: &Options| read(std::slice::from_ref(&row), options);
    let whole = read(&Options::default());
    let Sample::Pair { chosen, rejected } = &whole.samples[0].1 else { panic!("{:?}", whole.samples) };
    let cut = |tokens_max| Options { tokens_max, too_long: TooLong::CutHistory, ..Options::default() };
    let apart = read(&cut(rejected.tokens.len() - 1));
    assert_eq!((apart.samples.len(), &apart.report.left_out[..]), (0, &[(1, Reason::CutApart)][..]));
    let both = read(&cut(chosen.tokens.len() - 1));
    assert_eq!((both.samples.len(), both.report.left_out.len()), (1, 0));
}

#[test]
fn weights_of_messages_and_hidden_reasoning_are_kept_to() {
    let row = json!({"messages": [
        {"role": "user", "content": "1"}, {"role": "assistant", "thinking": "x", "content": "a", "weight": 0},
        {"role": "user", "content": "2"}, {"role": "assistant", "thinking": "y", "content": "b", "loss_scale": 0.5},
    ]});
    let only = example(row.clone());
    assert_eq!(only.weights.iter().copied().fold(0.0, f32::max), 0.5);
    let hidden = read(&[row], &Options { mask_reasoning: true, ..Options::default() });
    let spans = told(hidden.samples[0].1.examples().next().unwrap());
    assert_eq!(spans[1..], ["+<|start|>assistant<|channel|>final<|message|>b<|return|>"]);
    assert_eq!(hidden.report.without_reasoning, 0);
}

#[test]
fn reasoning_that_is_asked_for_and_missing_is_counted() {
    let row = |effort: &str| json!({"messages": [{"role": "user", "content": effort}, {"role": "assistant", "content": "a"}], "reasoning_effort": effort});
    let dataset = read(&[row("low"), row("medium"), row("high")], &Options::default());
    assert_eq!(dataset.report.without_reasoning, 2);
}
