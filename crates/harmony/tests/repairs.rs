//! What does the parser make of streams that models produce and that are not harmony?
//!
//! One case per rule of the table at `StreamParser`, written with the literal names of the control tokens.

use std::sync::Arc;

use gptoss_harmony::{
    Author, ContentType, Control, Message, MultiDigit, Parsed, Repair, Role, StreamParser, Vocab,
};

/// Token ids of a stream in which the nine literal names stand for control tokens.
fn ids(vocab: &Vocab, stream: &str) -> Vec<u32> {
    let mut ids = Vec::new();
    let mut rest = stream;
    while !rest.is_empty() {
        if let Some(control) = Control::ALL.into_iter().find(|control| rest.starts_with(control.literal())) {
            ids.push(vocab.control(control));
            rest = &rest[control.literal().len()..];
        } else {
            let end = rest[1..].find("<|").map_or(rest.len(), |at| at + 1);
            ids.extend(vocab.encode_ids(&rest[..end]));
            rest = &rest[end..];
        }
    }
    ids
}

fn parse(start: fn(Arc<Vocab>) -> StreamParser, functions: &[&str], stream: &str) -> Parsed {
    let vocab = Arc::new(Vocab::truncated(2048, MultiDigit::Drop));
    let mut parser = start(vocab.clone()).with_functions(functions.iter().map(|name| name.to_string()));
    ids(&vocab, stream).into_iter().for_each(|token| drop(parser.push(token)));
    parser.finish().1
}

fn check_as(start: fn(Arc<Vocab>) -> StreamParser, stream: &str, messages: &[Message], repairs: &[Repair]) {
    let parsed = parse(start, &[], stream);
    assert_eq!(parsed.messages, messages, "{stream}");
    let found: Vec<Repair> = parsed.warnings.into_iter().map(|warning| warning.repair).collect();
    assert_eq!(found, repairs, "{stream}");
}

/// After a prompt that ended with `<|start|>assistant`.
fn check(stream: &str, messages: &[Message], repairs: &[Repair]) {
    check_as(StreamParser::completion, stream, messages, repairs);
}

fn last(text: &str) -> Message {
    Message::assistant("final", text)
}

fn json_call() -> Message {
    Message::function_call("f", "{}")
}

#[test]
fn both_orders_and_all_content_types_are_well_formed() {
    check("<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}<|call|>", &[json_call()], &[]);
    check(" to=functions.f<|channel|>commentary <|constrain|>json<|message|>{}<|call|>", &[json_call()], &[]);
    check("<|channel|>commentary to=functions.f<|constrain|>json<|message|>{}<|call|>", &[json_call()], &[]);
    let plain = |name: &str| ContentType { constrained: false, name: name.into() };
    check(
        " to=functions.f<|channel|>commentary json<|message|>{}<|call|>",
        &[json_call().with_content_type(plain("json"))],
        &[],
    );
    let python =
        Message::assistant("analysis", "print(1)").with_recipient("python").with_content_type(plain("code"));
    check("<|channel|>analysis to=python code<|message|>print(1)<|call|>", &[python], &[]);
    check(
        "<|channel|>final <|constrain|>json<|message|>{}<|return|>",
        &[last("{}").with_content_type(ContentType::constrained_json())],
        &[],
    );
    check(
        "<|channel|>final json<|message|>{}<|return|>",
        &[last("{}").with_content_type(plain("json"))],
        &[],
    );
    check(
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Hi.<|return|>",
        &[Message::assistant("analysis", "Hm."), last("Hi.")],
        &[],
    );
    check_as(
        StreamParser::conversation,
        "<|start|>functions.f to=assistant<|channel|>commentary<|message|>3<|end|><|start|>user:ann<|message|>Hi<|end|><|start|>assistant",
        &[
            Message::tool_result("functions.f", "3"),
            Message::new(Author { role: Role::User, name: Some("ann".into()) }, "Hi"),
        ],
        &[],
    );
    check("<|channel|>final<|message|><|return|>", &[last("")], &[]);
    check("<|channel|>final<|message|>Hi<|return|><|endoftext|><|endoftext|>", &[last("Hi")], &[]);
}

#[test]
fn rule_a_a_header_without_message() {
    check("Hello there<|return|>", &[last("Hello there")], &[Repair::MissingMessage]);
    check("<|channel|>final Hello there.<|return|>", &[last("Hello there.")], &[Repair::MissingMessage]);
    check("<|channel|>analysis<|end|>", &[Message::assistant("analysis", "")], &[Repair::MissingMessage]);
    check(
        "<|channel|>commentary to=functions.f {}<|call|>",
        &[Message::assistant("commentary", "{}").with_recipient("functions.f")],
        &[Repair::MissingMessage],
    );
    check(
        "<|channel|>analysis Hm.<|start|>assistant<|channel|>final<|message|>Hi<|return|>",
        &[Message::assistant("analysis", "Hm."), last("Hi")],
        &[Repair::MissingMessage],
    );
    check_as(
        StreamParser::conversation,
        "<|start|>Hello you<|end|>",
        &[last("Hello you")],
        &[Repair::MissingMessage, Repair::MissingRole],
    );
    check("Hello", &[last("Hello")], &[Repair::MissingMessage]);
}

#[test]
fn rule_b_text_between_messages() {
    check(
        "<|channel|>analysis<|message|>Hm.<|end|>So it is.<|end|>",
        &[Message::assistant("analysis", "Hm."), Message::assistant("analysis", "So it is.")],
        &[Repair::StrayText],
    );
    check(
        "<|channel|>final<|message|>Hi<|end|>\n\n<|start|>user<|message|>Yo<|end|>",
        &[last("Hi"), Message::user("Yo")],
        &[Repair::StrayWhiteSpace],
    );
    check_as(
        StreamParser::conversation,
        "Hello<|start|>user<|message|>Yo<|end|>",
        &[last("Hello"), Message::user("Yo")],
        &[Repair::StrayText, Repair::MissingEnd],
    );
}

#[test]
fn rule_c_unknown_words() {
    let typed =
        |name: &str| last("Hi").with_content_type(ContentType { constrained: false, name: name.into() });
    check("<|channel|>final markdown<|message|>Hi<|return|>", &[typed("markdown")], &[]);
    check(
        "<|channel|>final need to say<|message|>Hi<|return|>",
        &[typed("need")],
        &[Repair::ExtraWords { words: "to say".into() }],
    );
    check(
        "<|channel|>commentary to=functions.f json <|constrain|>json<|message|>{}<|call|>",
        &[json_call()],
        &[Repair::ExtraWords { words: "json".into() }],
    );
}

#[test]
fn rule_d_glued_and_repeated() {
    check(
        "<|channel|>commentaryto=functions.f <|constrain|>json<|message|>{}<|call|>",
        &[json_call()],
        &[Repair::GluedRecipient],
    );
    check("to=functions.f<|channel|>commentary <|constrain|>json<|message|>{}<|call|>", &[json_call()], &[]);
    check(
        "<|channel|>analysis<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}<|call|>",
        &[json_call()],
        &[Repair::RepeatedChannel],
    );
    check(
        " to=functions.g<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}<|call|>",
        &[json_call()],
        &[Repair::RepeatedRecipient],
    );
    check(
        "<|channel|>commentary to= functions.f <|constrain|>json<|message|>{}<|call|>",
        &[json_call()],
        &[Repair::EmptyRecipient],
    );
    check("<|channel|><|message|>Hi<|return|>", &[last("Hi")], &[Repair::EmptyChannel]);
    check("<|channel|><|channel|>final<|message|>Hi<|return|>", &[last("Hi")], &[Repair::RepeatedChannel]);
    check_as(
        StreamParser::conversation,
        "<|start|>assistantto=functions.f<|channel|>commentary <|constrain|>json<|message|>{}<|call|>",
        &[json_call()],
        &[Repair::GluedRecipient],
    );
}

#[test]
fn rule_e_starts_and_roles() {
    check(
        "<|start|>assistant<|channel|>final<|message|>Hi<|return|>",
        &[last("Hi")],
        &[Repair::RepeatedStart],
    );
    check("assistant<|channel|>final<|message|>Hi<|return|>", &[last("Hi")], &[Repair::RepeatedRole]);
    check(
        "<|channel|>analysis<|message|>Hm<|end|><|channel|>final<|message|>Hi<|return|>",
        &[Message::assistant("analysis", "Hm"), last("Hi")],
        &[Repair::MissingStart],
    );
    check(
        "<|channel|>analysis<|message|>Hm<|end|><|message|>Hi<|return|>",
        &[Message::assistant("analysis", "Hm"), Message::assistant("analysis", "Hi")],
        &[Repair::MissingStart],
    );
    check_as(
        StreamParser::conversation,
        "<|start|><|channel|>final<|message|>Hi<|end|>",
        &[last("Hi")],
        &[Repair::MissingRole],
    );
    check_as(
        StreamParser::conversation,
        "<|start|><|start|>user<|message|>Hi<|end|>",
        &[Message::user("Hi")],
        &[Repair::RepeatedStart],
    );
    check_as(
        StreamParser::conversation,
        "<|channel|>final<|message|>Hi<|end|>",
        &[last("Hi")],
        &[Repair::MissingStart],
    );
}

#[test]
fn rule_f_ends() {
    check("<|channel|>final<|message|>Hi<|endoftext|>", &[last("Hi")], &[Repair::EndOfText]);
    check("<|channel|>final<|endoftext|>", &[last("")], &[Repair::MissingMessage]);
    for end in ["<|end|>", "<|return|>", "<|call|>", "<|endoftext|>"] {
        check(end, &[], &[Repair::EmptyHeader]);
    }
    // The stream goes on after it.
    check(
        "<|end|><|start|>assistant<|channel|>final<|message|>Hi<|return|>",
        &[last("Hi")],
        &[Repair::EmptyHeader],
    );
    check("<|channel|>fin", &[], &[Repair::UnfinishedHeader]);
    check("", &[], &[]);
    check("<|channel|>final<|message|>Hi", &[last("Hi")], &[Repair::UnfinishedMessage]);
    check(
        "<|channel|>analysis<|message|>Hm<|start|>assistant<|channel|>final<|message|>Hi<|return|>",
        &[Message::assistant("analysis", "Hm"), last("Hi")],
        &[Repair::MissingEnd],
    );
    check(
        "<|channel|>analysis<|message|>Hm<|channel|>final<|message|>Hi<|return|>",
        &[Message::assistant("analysis", "Hm"), last("Hi")],
        &[Repair::MissingEnd, Repair::MissingStart],
    );
    check("<|channel|>final<|message|>Hi<|return|><|return|>", &[last("Hi")], &[Repair::StrayEnd]);
    check(
        "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}<|call|><|end|>",
        &[json_call()],
        &[Repair::StrayEnd],
    );
}

#[test]
fn rule_g_recipients() {
    let call = |recipient: &str| Message::assistant("commentary", "{}").with_recipient(recipient);
    let stream = |recipient: &str| format!("<|channel|>commentary to={recipient}<|message|>{{}}<|call|>");
    let alias = |spelled: &str| Repair::RecipientAlias { spelled: spelled.into() };
    check(
        &stream("functions.browser.search"),
        &[call("browser.search")],
        &[alias("functions.browser.search")],
    );
    check(&stream("functions.python"), &[call("functions.python")], &[]);
    check(&stream("f"), &[call("f")], &[]);
    let known = |spelled: &str, corrected: &str| {
        let parsed = parse(StreamParser::completion, &["f", "browser.open"], &stream(spelled));
        assert_eq!(parsed.messages, [call(corrected)]);
        assert_eq!(parsed.warnings.len(), usize::from(spelled != corrected), "{spelled}");
    };
    known("f", "functions.f");
    known("g", "g");
    known("functions.f", "functions.f");
    known("functions.python", "python");
    known("functions.browser.open", "functions.browser.open");
    known("python", "python");
}

#[test]
fn rule_h_never_fails() {
    let dropped = |control| Repair::UnexpectedControl { control };
    check(
        "<|channel|>final<|message|>Hi<|message|> you<|return|>",
        &[last("Hi you")],
        &[dropped(Control::Message)],
    );
    check(
        "<|channel|>final<|message|>Hi<|constrain|>json<|return|>",
        &[last("Hijson")],
        &[dropped(Control::Constrain)],
    );
    check(
        "<|channel|>final<|message|>Hi<|startoftext|><|return|>",
        &[last("Hi")],
        &[dropped(Control::StartOfText)],
    );
    check_as(
        StreamParser::conversation,
        "<|startoftext|><|start|>user<|message|>Hi<|end|>",
        &[Message::user("Hi")],
        &[],
    );
    let vocab = Arc::new(Vocab::truncated(2048, MultiDigit::Drop));
    let mut parser = StreamParser::completion(vocab.clone());
    for token in ids(&vocab, "<|channel|>final<|message|>H")
        .into_iter()
        .chain([u32::MAX])
        .chain(ids(&vocab, "i<|return|>"))
    {
        parser.push(token);
    }
    let (_, parsed) = parser.finish();
    assert_eq!(parsed.messages, [last("Hi")]);
    assert_eq!(parsed.warnings[0].repair, Repair::UnknownToken { id: u32::MAX });
    assert_eq!(parsed.warnings[0].to_string(), "token 5: token 4294967295 has no text: dropped");
}

#[test]
fn a_stream_that_was_cut_says_nothing_by_half_a_header() {
    let analysis = Message::assistant("analysis", "Yes.");
    let vocab = Arc::new(Vocab::truncated(2048, MultiDigit::Drop));
    for header in
        ["<|start|>assist", "<|start|>assistant<|channel|>comm", "<|start|>assistant<|channel|>commentary t"]
    {
        let mut parser = StreamParser::completion(Arc::clone(&vocab));
        let stream = format!("<|channel|>analysis<|message|>Yes.<|end|>{header}");
        ids(&vocab, &stream).into_iter().for_each(|token| drop(parser.push(token)));
        let (_, parsed) = parser.cut();
        assert_eq!(parsed.messages, std::slice::from_ref(&analysis), "{header}");
        let repairs: Vec<Repair> = parsed.warnings.into_iter().map(|warning| warning.repair).collect();
        assert_eq!(repairs, [Repair::UnfinishedHeader], "{header}");
    }
    let parser = StreamParser::completion(Arc::clone(&vocab));
    assert_eq!(parser.cut().1.warnings, []);
}
