//! What is found in answers, whole and as streams.

use serde_json::json;

use super::*;

fn whole(dialect: Dialect, body: &Value) -> Vec<(bool, String)> {
    answer_texts(dialect, body.to_string().as_bytes(), false).unwrap()
}

fn stream(dialect: Dialect, events: &[Value]) -> Vec<(bool, String)> {
    let text: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    answer_texts(dialect, format!("{text}data: [DONE]\n\n").as_bytes(), true).unwrap()
}

fn check(found: Vec<(bool, String)>, expect: &[(bool, &str)]) {
    let found: Vec<(bool, &str)> =
        found.iter().map(|(is_reasoning, text)| (*is_reasoning, &**text)).collect();
    assert_eq!(found, expect);
}

/// A chunk of Chat: what each choice says.
fn chunk(choices: &[(u64, Value)]) -> Value {
    let choices = choices.iter().map(|(index, delta)| json!({"index": index, "delta": delta}));
    json!({"choices": choices.collect::<Vec<_>>()})
}

#[test]
fn what_is_answered_is_found_in_every_api() {
    let both = [(true, "t"), (false, "w")];
    let chat = |message: Value| json!({"choices": [{"message": message}]});
    check(whole(Dialect::Chat, &chat(json!({"reasoning": "t", "content": "w"}))), &both);
    let parts = json!([{"type": "thinking", "thinking": [{"type": "text", "text": "t"}]}, {"type": "text", "text": "w"}]);
    check(whole(Dialect::Chat, &chat(json!({"content": parts}))), &both);
    let responses = json!({"instructions": "i", "output_text": "w", "output": [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "s"}], "content": [{"text": "t"}]},
        {"type": "message", "content": [{"type": "output_text", "text": "w"}]}]});
    check(whole(Dialect::Responses, &responses), &[(true, "s\nt"), (false, "w")]);
    let messages = json!({"content": [{"type": "thinking", "thinking": "t", "signature": "z"}, {"type": "text", "text": "w"}]});
    check(whole(Dialect::Messages, &messages), &both);
    check(whole(Dialect::Completions, &json!({"choices": [{"text": "w"}]})), &both[1..]);
    let part = json!({"type": "response.output_text.delta", "delta": "w"});
    check(stream(Dialect::Responses, &[part]), &both[1..]);
}

/// Calls, in each form they have.
#[test]
fn calls_are_found_with_their_names() {
    let chat = |message: Value| whole(Dialect::Chat, &json!({"choices": [{"message": message}]}));
    let calls = json!([{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}},
        {"id": "2", "type": "custom", "custom": {"name": "g", "input": "free"}}]);
    check(chat(json!({"content": null, "tool_calls": calls})), &[(false, "f\n{\"a\":1}\ng\nfree")]);
    check(chat(json!({"function_call": {"name": "f", "arguments": "{}"}})), &[(false, "f\n{}")]);
    let output = json!({"output": [{"type": "function_call", "id": "fc_1", "name": "f", "arguments": "{\"a\":1}"},
        {"type": "custom_tool_call", "call_id": "c", "name": "g", "input": "free"},
        {"type": "code_interpreter_call", "code": "print(1)", "outputs": [{"type": "logs", "logs": "1"}]},
        {"type": "shell_call", "action": {"commands": ["ls", "pwd"]}}]});
    let expect = "f\n{\"a\":1}\ng\nfree\nprint(1)\n1\nls\npwd";
    check(whole(Dialect::Responses, &output), &[(false, expect)]);
    let blocks = json!({"content": [{"type": "tool_use", "id": "t", "name": "f", "input": {"a": "b"}}]});
    check(whole(Dialect::Messages, &blocks), &[(false, "f\n{\"a\":\"b\"}")]);
    let start = json!({"type": "content_block_start", "index": 1,
        "content_block": {"type": "tool_use", "name": "f", "input": {}}});
    let piece = |json: &str| {
        json!({"type": "content_block_delta", "index": 1,
        "delta": {"type": "input_json_delta", "partial_json": json}})
    };
    let events = [start, piece("{\"a\":"), piece("1}")];
    check(stream(Dialect::Messages, &events), &[(false, "f\n{\"a\":1}")]);
    // A letter as a number is that letter to whoever reads the JSON.
    let escaped = json!({"choices": [{"message": {"tool_calls": [{"function": {"arguments": "{\"a\":\"\\u0063anary\"}"}}]}}]});
    let found = whole(Dialect::Chat, &escaped);
    assert!(found[0].1.contains("\"canary\""), "{found:?}");
}

/// Pieces of a stream belong together by where they stand, not by when they come.
#[test]
fn pieces_are_put_together_by_their_place() {
    let say = |text: &str| json!({"content": text});
    let turns =
        [chunk(&[(0, say("ca")), (1, say("x"))]), chunk(&[(1, say("y"))]), chunk(&[(0, say("nary"))])];
    check(stream(Dialect::Chat, &turns), &[(false, "canary"), (false, "xy")]);
    let call =
        |index: u64, text: &str| json!({"tool_calls": [{"index": index, "function": {"arguments": text}}]});
    let turns = ["ca", "nary"].map(|text| chunk(&[(0, call(0, text)), (0, call(1, "-"))]));
    check(stream(Dialect::Chat, &turns), &[(false, "canary\n--")]);
    let old = ["ca", "nary"].map(|text| chunk(&[(0, json!({"function_call": {"arguments": text}}))]));
    check(stream(Dialect::Chat, &old), &[(false, "canary")]);
    let list = ["ca", "nary"].map(|text| chunk(&[(0, json!({"content": [{"type": "text", "text": text}]}))]));
    check(stream(Dialect::Chat, &list), &[(false, "canary")]);
    let texts = [(0, "ca"), (1, "x"), (0, "nary")]
        .map(|(index, text)| json!({"choices": [{"index": index, "text": text}]}));
    check(stream(Dialect::Completions, &texts), &[(false, "canary"), (false, "x")]);
    let delta = |item: u64, text: &str| {
        json!({"type": "response.output_text.delta", "output_index": item,
        "content_index": 0, "delta": text})
    };
    let items = [delta(0, "ca"), delta(1, " x"), delta(0, "nary"), delta(1, "y")];
    check(stream(Dialect::Responses, &items), &[(false, "canary xy")]);
    let block = |index: u64, text: &str| json!({"type": "content_block_delta", "index": index, "delta": {"text": text}});
    check(
        stream(Dialect::Messages, &[block(0, "ca"), block(1, "!"), block(0, "nary")]),
        &[(false, "canary!")],
    );
}

/// Reasoning has several names; what is told under two is judged once.
#[test]
fn reasoning_is_found_under_each_of_its_names() {
    let think = |text: &str| {
        json!({"reasoning": text, "reasoning_content": text,
        "reasoning_details": [{"type": "reasoning.text", "text": text, "index": 0}]})
    };
    let turns = [chunk(&[(0, think("ca"))]), chunk(&[(0, think("nary"))])];
    check(stream(Dialect::Chat, &turns), &[(true, "canary")]);
    let other = chunk(&[(
        0,
        json!({"reasoning": "a", "reasoning_content": "b",
        "reasoning_details": [{"type": "reasoning.summary", "summary": "c"}, {"type": "reasoning.encrypted", "data": "ZZ"}]}),
    )]);
    check(stream(Dialect::Chat, &[other]), &[(true, "a\nb\nc")]);
    let summary = |text: &str| json!({"type": "response.reasoning_summary_text.delta", "summary_index": 0, "delta": text});
    let raw = json!({"type": "response.reasoning_text.delta", "content_index": 0, "delta": "raw"});
    check(stream(Dialect::Responses, &[summary("ca"), raw, summary("nary")]), &[(true, "canary\nraw")]);
}

/// What only the end of an item or of the stream tells.
#[test]
fn what_only_the_end_tells_is_found_and_nothing_is_found_twice() {
    let message = |text: &str| json!({"type": "message", "content": [{"type": "output_text", "text": text}]});
    let call = json!({"type": "function_call", "name": "f", "arguments": "canary"});
    let ends = [
        (
            json!({"type": "response.output_item.done", "output_index": 0, "item": message("canary")}),
            "canary",
        ),
        (
            json!({"type": "response.content_part.done", "part": {"type": "output_text", "text": "canary"}}),
            "canary",
        ),
        (json!({"type": "response.output_text.done", "text": "canary"}), "canary"),
        (json!({"type": "response.refusal.done", "refusal": "canary"}), "canary"),
        (json!({"type": "response.function_call_arguments.done", "arguments": "canary"}), "canary"),
        (json!({"type": "response.custom_tool_call_input.done", "input": "canary"}), "canary"),
        (json!({"type": "response.output_item.done", "item": call}), "f\ncanary"),
        (
            json!({"type": "response.completed", "response": {"instructions": "i", "output": [message("canary")]}}),
            "canary",
        ),
        (json!({"type": "response.incomplete", "response": {"output": [message("canary")]}}), "canary"),
    ];
    for (end, expect) in &ends {
        check(stream(Dialect::Responses, std::slice::from_ref(end)), &[(false, expect)]);
    }
    // The usual stream says everything three times.
    let delta = |text: &str| json!({"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": text});
    let mut usual = vec![
        json!({"type": "response.created", "response": {"output": []}}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": message("")}),
        delta("ca"),
        delta("nary"),
    ];
    usual.extend(ends.iter().take(3).map(|(end, _)| end.clone()));
    usual.push(ends[7].0.clone());
    check(stream(Dialect::Responses, &usual), &[(false, "canary")]);
    // An end that says something else is found beside the pieces, and a beginning before them.
    check(stream(Dialect::Responses, &[delta("good"), ends[0].0.clone()]), &[(false, "good\ncanary")]);
    let added = json!({"type": "response.content_part.added", "output_index": 0, "content_index": 0,
        "part": {"type": "output_text", "text": "ca"}});
    check(stream(Dialect::Responses, &[added, delta("nary")]), &[(false, "canary")]);
    let last = json!({"choices": [{"index": 0, "delta": {}, "message": {"content": "canary"}}]});
    check(
        stream(Dialect::Chat, &[chunk(&[(0, json!({"content": "good"}))]), last]),
        &[(false, "good\ncanary")],
    );
    // A word that is said twice is said twice.
    let parts =
        json!({"output": [{"type": "message", "content": [{"text": "ba"}, {"text": "na"}, {"text": "na"}]}]});
    check(whole(Dialect::Responses, &parts), &[(false, "banana")]);
}

/// What an upstream says in errors, beside its answer and under names that nobody has heard of.
#[test]
fn nothing_is_passed_over_but_what_is_known_to_say_nothing() {
    let error = json!({"error": {"message": "canary", "type": "t", "code": "c"}});
    for (dialect, event, expect) in [
        (Dialect::Chat, error.clone(), "c\ncanary"),
        (Dialect::Messages, json!({"type": "error", "error": {"type": "t", "message": "canary"}}), "canary"),
        (
            Dialect::Responses,
            json!({"type": "response.failed", "response": error, "sequence_number": 1}),
            "c\ncanary",
        ),
        (Dialect::Responses, json!({"type": "error", "message": "canary"}), "canary"),
        (
            Dialect::Chat,
            json!({"choices": [{"index": 0, "delta": {}, "error": {"message": "canary"}}]}),
            "canary",
        ),
        (
            Dialect::Chat,
            json!({"choices": [], "related_questions": ["canary"], "id": "i", "model": "m"}),
            "canary",
        ),
        (
            Dialect::Messages,
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "web_fetch_tool_result",
            "tool_use_id": "x", "content": {"content": {"source": {"type": "text", "media_type": "text/plain", "data": "canary"}}}}}),
            "canary",
        ),
        (
            Dialect::Responses,
            json!({"type": "response.output_item.done", "item": {"type": "image_generation_call",
            "result": "iVBOR", "revised_prompt": "canary"}}),
            "canary",
        ),
        (
            Dialect::Responses,
            json!({"type": "response.completed", "response": {"output_text": "canary"}}),
            "canary",
        ),
    ] {
        let found = stream(dialect, std::slice::from_ref(&event));
        // The order of names in an object is nobody's.
        let mut texts: Vec<&str> = found.iter().flat_map(|(_, text)| text.split('\n')).collect();
        texts.sort_unstable();
        assert_eq!(texts.join("\n"), expect, "{event}");
    }
    // The event's own name counts where its data has none.
    let named = b"event: response.output_text.delta\ndata: {\"delta\":\"canary\"}\n\n";
    assert_eq!(answer_texts(Dialect::Responses, named, true), Ok(vec![(false, "canary".to_owned())]));
    let failed = json!({"error": {"message": "m", "failed_generation": "canary"}}).to_string();
    let found = all_texts(failed.as_bytes());
    assert!(found.contains("canary") && found.contains('m'), "{found}");
    assert_eq!(all_texts(b"canary"), "canary");
}

/// Parts that only the end tells are one text, as whoever reads the response has them; letters written as
/// numbers are letters, also where the JSON is cut.
#[test]
fn parts_of_an_end_are_joined_and_numbers_are_letters() {
    let parts = json!({"type": "message", "content": [{"type": "output_text", "text": "A can"}, {"type": "output_text", "text": "ary"}]});
    let end = json!({"type": "response.completed", "response": {"output": [parts]}});
    check(stream(Dialect::Responses, &[end]), &[(false, "A canary")]);
    let cut = json!({"choices": [{"message": {"content": "{\"a\":\"\\u0063anary"}}]});
    let found = whole(Dialect::Chat, &cut);
    assert!(found[0].1.contains("\"canary"), "{found:?}");
    for (text, expect) in [
        (r"a\/b", Some("a/b")),
        (r"\ud83d\ude00!", Some("\u{1f600}!")),
        (r"\\u0063", Some(r"\\u0063")),
        (r"\u00", Some(r"\u00")),
        ("plain", None),
    ] {
        assert_eq!(unescaped(text).as_deref(), expect, "{text}");
    }
}

#[test]
fn the_end_of_a_stream_is_read_and_what_cannot_be_read_is_told() {
    let open = br#"data: {"choices":[{"delta":{"content":"canary"}}]}"#;
    assert_eq!(answer_texts(Dialect::Chat, open, true), Ok(vec![(false, "canary".to_owned())]));
    for broken in [&b"data: \xff\n\n"[..], b"data: {\n\n"] {
        assert!(answer_texts(Dialect::Chat, &[broken, open].concat(), true).is_err());
    }
    assert!(answer_texts(Dialect::Chat, b"canary", false).is_err());
}
