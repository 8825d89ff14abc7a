//! Does the vendor's own crate agree, on conversations that nobody wrote?
//!
//! openai-harmony 0.0.8 is a dev-dependency and nothing else. It reads its vocabulary from the folder that
//! the environment variable TIKTOKEN_ENCODINGS_BASE names, so each test writes our ranks there and runs
//! itself again with the variable set; the vendor checks the sha256 of that file, which makes this the test
//! that our embedded ranks are the published ones.

#![expect(clippy::disallowed_methods, reason = "the test runs itself again with a variable set")]

mod generate;

use std::{fmt::Write as _, path::Path, process::Command, sync::OnceLock};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use gptoss_harmony::{
    Analysis, Conversation, Form, Message, RenderOptions, Role, StreamParser, Token, Vocab, render,
};
use openai_harmony::{HarmonyEncoding, HarmonyEncodingName, chat, load_harmony_encoding};
use proptest::{prelude::*, test_runner::TestRunner};

const FOLDER_VARIABLE: &str = "TIKTOKEN_ENCODINGS_BASE";

fn write_ranks(folder: &Path) {
    let vocab = Vocab::o200k_harmony();
    let mut file = String::new();
    for rank in 0..199_998 {
        let Some(Token::Text(token)) = vocab.token(rank) else { panic!("rank {rank} is text") };
        writeln!(file, "{} {rank}", BASE64_STANDARD.encode(vocab.bytes(token))).unwrap();
    }
    std::fs::write(folder.join("o200k_base.tiktoken"), file).unwrap();
}

/// Runs `body` with the vendor's encoding, in a process of its own that has the variable set.
fn with_vendor(test: &str, body: impl Fn(&HarmonyEncoding)) {
    if std::env::var_os(FOLDER_VARIABLE).is_some() {
        static VENDOR: OnceLock<HarmonyEncoding> = OnceLock::new();
        return body(
            VENDOR.get_or_init(|| load_harmony_encoding(HarmonyEncodingName::HarmonyGptOss).unwrap()),
        );
    }
    let folder = tempfile::tempdir().unwrap();
    write_ranks(folder.path());
    let mut child = Command::new(std::env::current_exe().unwrap());
    let status =
        child.args([test, "--exact", "--nocapture"]).env(FOLDER_VARIABLE, folder.path()).status().unwrap();
    assert!(status.success(), "{test} failed in its own process, see above");
}

fn vendor_conversation(conversation: &Conversation) -> chat::Conversation {
    serde_json::from_value(conversation.to_json()).expect("our JSON form is the vendor's")
}

/// Runs a property; failures panic with the smallest case.
fn check<S: Strategy>(cases: u32, strategy: S, property: impl Fn(S::Value) -> Result<(), TestCaseError>)
where
    S::Value: std::fmt::Debug,
{
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    if let Err(error) = TestRunner::new(config).run(&strategy, property) {
        panic!("{error}");
    }
}

#[test]
fn renders_every_form_alike() {
    with_vendor("renders_every_form_alike", |vendor| {
        let vocab = Vocab::o200k_harmony();
        check(250, generate::conversation(), |conversation| {
            let theirs = vendor_conversation(&conversation);
            for analysis in [Analysis::DropOld, Analysis::KeepAll] {
                // The configuration's type is not exported: its default drops, none keeps.
                let config = match analysis {
                    Analysis::DropOld => Some(&Default::default()),
                    Analysis::KeepAll => None,
                };
                let ours = |form| render(&vocab, &conversation, RenderOptions { form, analysis }).unwrap();
                prop_assert_eq!(
                    ours(Form::Conversation),
                    vendor.render_conversation(&theirs, config).unwrap()
                );
                prop_assert_eq!(
                    ours(Form::Training),
                    vendor.render_conversation_for_training(&theirs, config).unwrap()
                );
                for (role, their_role) in
                    [(Role::Assistant, chat::Role::Assistant), (Role::User, chat::Role::User)]
                {
                    let theirs =
                        vendor.render_conversation_for_completion(&theirs, their_role, config).unwrap();
                    prop_assert_eq!(ours(Form::Completion(role)), theirs);
                }
            }
            Ok(())
        });
    });
}

#[test]
fn renders_schemas_alike() {
    with_vendor("renders_schemas_alike", |vendor| {
        let vocab = Vocab::o200k_harmony();
        check(1500, generate::schema(), |schema| {
            let tool = gptoss_harmony::FunctionTool {
                name: "f".into(),
                description: String::new(),
                parameters: Some(schema),
            };
            let developer = gptoss_harmony::DeveloperContent::default().with_function_tools(vec![tool]);
            let conversation = Conversation::from_messages([Message::developer(developer)]);
            let ours = render(
                &vocab,
                &conversation,
                RenderOptions { form: Form::Conversation, analysis: Analysis::KeepAll },
            )
            .unwrap();
            let theirs = vendor.render_conversation(&vendor_conversation(&conversation), None).unwrap();
            prop_assert_eq!(
                String::from_utf8(vocab.decode(&ours).unwrap()).unwrap(),
                vendor.tokenizer().decode_utf8(theirs).unwrap()
            );
            Ok(())
        });
    });
}

#[test]
fn fails_where_the_vendor_fails() {
    with_vendor("fails_where_the_vendor_fails", |vendor| {
        let vocab = Vocab::o200k_harmony();
        let nameless = Message::new(Role::Tool, "x");
        let misplaced_system = Message { author: Role::User.into(), ..Message::system(Default::default()) };
        let misplaced_developer =
            Message { author: Role::Assistant.into(), ..Message::developer(Default::default()) };
        for message in [nameless, misplaced_system, misplaced_developer] {
            let conversation = Conversation::from_messages([message]);
            assert!(vendor.render_conversation(&vendor_conversation(&conversation), None).is_err());
            let error = render(&vocab, &conversation, RenderOptions::default()).unwrap_err();
            assert!(error.to_string().starts_with("messages[0]: "), "{error}");
        }
    });
}

#[test]
fn parses_well_formed_streams_alike() {
    with_vendor("parses_well_formed_streams_alike", |vendor| {
        let vocab = Vocab::o200k_harmony();
        check(200, prop::collection::vec(generate::plain_message(), 1..6), |messages| {
            let options = RenderOptions { form: Form::Training, analysis: Analysis::KeepAll };
            let tokens = render(&vocab, &Conversation::from_messages(messages), options).unwrap();
            let theirs = vendor.parse_messages_from_completion_tokens(tokens.iter().copied(), None).unwrap();
            let theirs: Vec<Message> = theirs
                .iter()
                .map(|message| Message::from_json(&serde_json::to_value(message).unwrap()).unwrap())
                .collect();
            let mut parser = StreamParser::conversation(vocab.clone());
            tokens.into_iter().for_each(|token| drop(parser.push(token)));
            let (_, parsed) = parser.finish();
            prop_assert_eq!(parsed.messages, theirs);
            prop_assert_eq!(parsed.warnings, []);
            Ok(())
        });
    });
}

#[test]
fn encodes_alike() {
    with_vendor("encodes_alike", |vendor| {
        let vocab = Vocab::o200k_harmony();
        let any_text = prop::collection::vec(any::<char>(), 0..60)
            .prop_map(|characters| characters.into_iter().collect::<String>());
        let split_heavy = "[aAǅʰ你\u{301}1٣ \t\n\r/'sSſlLveEr!🙂\u{3000}\u{85}\u{a0}\u{200b}-]{0,60}";
        let repeated =
            ("[a-zA-Z \n!0-9你🙂\u{301}]", 1usize..700).prop_map(|(text, count)| text.repeat(count));
        check(3000, prop_oneof![generate::text(), any_text, split_heavy, repeated], |text| {
            let ours = vocab.encode_ids(&text);
            prop_assert_eq!(&ours, &vendor.tokenizer().encode_ordinary(&text));
            prop_assert_eq!(vocab.decode(&ours).unwrap(), text.as_bytes());
            Ok(())
        });
    });
}
