//! What holds for every conversation, every text and every stream of tokens?
//!
//! Rendering and parsing are inverse, the parser is total and its deltas are its messages, text never becomes
//! structure, and a body reads the same however its bytes are cut into tokens.

mod generate;

use std::sync::{Arc, OnceLock};

use gptoss_harmony::{
    Analysis, Content, Control, Conversation, Form, Message, MultiDigit, ParseEvent, Parsed, RenderOptions,
    Role, StreamParser, Token, Vocab, render, render_training,
};
use proptest::prelude::*;

fn small() -> Arc<Vocab> {
    static SMALL: OnceLock<Arc<Vocab>> = OnceLock::new();
    SMALL.get_or_init(|| Arc::new(Vocab::truncated(2048, MultiDigit::Drop))).clone()
}

/// Parses and checks what holds for every stream: events alternate, deltas are not empty and make up the
/// messages.
fn parse(mut parser: StreamParser, tokens: impl IntoIterator<Item = u32>) -> Parsed {
    let mut events = Vec::new();
    tokens.into_iter().for_each(|token| events.extend(parser.push(token)));
    let (last, parsed) = parser.finish();
    events.extend(last);
    let (mut messages, mut warnings, mut open) = (Vec::new(), Vec::new(), None);
    for event in events {
        match event {
            ParseEvent::Started(header) => {
                assert!(open.replace((header, String::new())).is_none(), "a message inside a message")
            }
            ParseEvent::Text(delta) => {
                assert!(!delta.is_empty());
                open.as_mut().expect("text belongs to a message").1.push_str(&delta);
            }
            ParseEvent::Ended(message) => {
                let (header, text) = open.take().expect("an end has a start");
                assert_eq!(
                    (&message.author, &message.channel, &message.recipient),
                    (&header.author, &header.channel, &header.recipient)
                );
                assert_eq!(message.content_type, header.content_type);
                assert_eq!(message.content, [Content::Text(text)]);
                messages.push(message);
            }
            ParseEvent::Warning(warning) => warnings.push(warning),
        }
    }
    assert!(open.is_none(), "finish closes what is open");
    assert_eq!(parsed, Parsed { messages, warnings });
    parsed
}

fn all(form: Form) -> RenderOptions {
    RenderOptions { form, analysis: Analysis::KeepAll }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn parsing_inverts_rendering(messages in prop::collection::vec(generate::message(), 0..6), published in any::<bool>()) {
        let vocab = if published { Vocab::o200k_harmony() } else { small() };
        let conversation = Conversation::from_messages(messages);
        for form in [Form::Conversation, Form::Completion(Role::Assistant), Form::Training] {
            let tokens = render(&vocab, &conversation, all(form)).unwrap();
            let parsed = parse(StreamParser::conversation(vocab.clone()), tokens);
            prop_assert_eq!(&parsed.messages, &conversation.messages);
            prop_assert_eq!(&parsed.warnings, &[]);
        }
    }

    #[test]
    fn a_completion_parses_to_the_messages_after_the_prompt(answer in generate::text(), thought in generate::text()) {
        let vocab = small();
        let conversation = Conversation::from_messages([Message::assistant("analysis", thought), Message::assistant("final", answer)]);
        let tokens = render(&vocab, &conversation, all(Form::Training)).unwrap();
        let role = vocab.encode_ids("assistant").len();
        let parsed = parse(StreamParser::completion(vocab), tokens.into_iter().skip(1 + role));
        prop_assert_eq!(parsed, Parsed { messages: conversation.messages, warnings: vec![] });
    }

    #[test]
    fn the_json_form_is_inverse(conversation in generate::conversation()) {
        let text = serde_json::to_string(&conversation).unwrap();
        prop_assert_eq!(serde_json::from_str::<Conversation>(&text).unwrap(), conversation);
    }

    /// Whatever the texts say, the control tokens are those of the structure.
    #[test]
    fn text_is_never_structure(conversation in generate::conversation()) {
        let vocab = small();
        let tokens = render(&vocab, &conversation, all(Form::Completion(Role::Assistant))).unwrap();
        let found: Vec<Control> = tokens.iter().filter_map(|&id| match vocab.token(id) {
            Some(Token::Control(control)) => Some(control),
            _ => None,
        }).collect();
        let mut expected = Vec::new();
        for message in &conversation.messages {
            expected.push(Control::Start);
            expected.extend(message.channel.as_ref().map(|_| Control::Channel));
            expected.extend(message.content_type.as_ref().filter(|kind| kind.constrained).map(|_| Control::Constrain));
            expected.push(Control::Message);
            let is_call = message.author.role == Role::Assistant && message.recipient.is_some();
            expected.push(if is_call { Control::Call } else { Control::End });
        }
        expected.push(Control::Start);
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn targets_are_what_the_assistant_says(conversation in generate::conversation()) {
        let vocab = small();
        let training = render_training(&vocab, &conversation, Analysis::KeepAll).unwrap();
        prop_assert_eq!(&training.tokens, &render(&vocab, &conversation, all(Form::Training)).unwrap());
        prop_assert_eq!(training.tokens.len(), training.is_target.len());
        let targets: Vec<u32> = training.tokens.iter().zip(&training.is_target).filter(|(_, is_target)| **is_target).map(|(id, _)| *id).collect();
        let mut expected = Vec::new();
        for (i, message) in conversation.messages.iter().enumerate().filter(|(_, message)| message.author.role == Role::Assistant) {
            let alone = Conversation::from_messages([message.clone()]);
            let form = if i + 1 == conversation.messages.len() { Form::Training } else { Form::Conversation };
            expected.extend_from_slice(&render(&vocab, &alone, all(form)).unwrap()[1 + vocab.encode_ids("assistant").len()..]);
        }
        prop_assert_eq!(targets, expected);
    }

    /// A body of any bytes, cut into tokens at any places: the lossy text of the bytes.
    #[test]
    fn any_cut_of_a_body_is_the_same_text(bytes in prop::collection::vec(any::<u8>(), 0..30), text in generate::text(), cuts in prop::collection::vec(1usize..9, 0..60)) {
        let vocab = small();
        let body = [&bytes[..], text.as_bytes()].concat();
        let mut tokens = vec![vocab.control(Control::Channel)];
        tokens.extend(vocab.encode_ids("final"));
        tokens.push(vocab.control(Control::Message));
        let mut rest = body.as_slice();
        for cut in cuts.into_iter().chain(std::iter::repeat(1)) {
            if rest.is_empty() {
                break;
            }
            let (portion, after) = rest.split_at(cut.min(rest.len()));
            rest = after;
            match std::str::from_utf8(portion) {
                Ok(text) => tokens.extend(vocab.encode_ids(text)),
                // The first 256 ranks are the bytes, in an order of their own.
                Err(_) => tokens.extend(portion.iter().map(|byte| byte_token(&vocab, *byte))),
            }
        }
        tokens.push(vocab.control(Control::Return));
        let parsed = parse(StreamParser::completion(vocab), tokens);
        prop_assert_eq!(parsed.messages, [Message::assistant("final", String::from_utf8_lossy(&body))]);
        prop_assert_eq!(parsed.warnings, []);
    }
}

fn byte_token(vocab: &Vocab, byte: u8) -> u32 {
    let is_it =
        |id: &u32| matches!(vocab.token(*id), Some(Token::Text(token)) if vocab.bytes(token) == [byte]);
    (0..256).find(is_it).expect("every byte has a token among the first 256")
}

/// Steps of Marsaglia's xorshift64.
fn next_random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// A million short random streams, heavy in control tokens and header words: no failure, and the invariants
/// of [`parse`] in each.
#[test]
fn a_million_random_streams_parse() {
    let vocab = small();
    let words =
        ["assistant", "user", " to=functions.f", "commentary", "final", "analysis", " json", " ", "to=", "é"];
    let words: Vec<u32> = words.iter().flat_map(|word| vocab.encode_ids(word)).collect();
    let mut state = 0x9e37_79b9_7f4a_7c15;
    for i in 0..1_000_000 {
        let parser = if i % 2 == 0 {
            StreamParser::completion(vocab.clone())
        } else {
            StreamParser::conversation(vocab.clone())
        };
        let len = next_random(&mut state) % 12;
        let tokens: Vec<u32> = (0..len)
            .map(|_| {
                let random = next_random(&mut state);
                let pick = (random >> 8) as usize;
                match random % 8 {
                    0..4 => vocab.control(Control::ALL[pick % 9]),
                    4..6 => words[pick % words.len()],
                    6 => (pick % (vocab.len() + 3)) as u32,
                    _ => pick as u32,
                }
            })
            .collect();
        parse(parser, tokens);
    }
}

#[test]
fn a_header_without_end_is_content() {
    let vocab = small();
    let text = "word ".repeat(2000);
    let parsed = parse(StreamParser::completion(vocab.clone()), vocab.encode_ids(&text));
    assert_eq!(parsed.messages, [Message::assistant("final", text)]);
}
