//! Do we give the tokens that the official implementations gave?
//!
//! `testdata/harmony.jsonl` was rendered by openai-harmony 0.0.8 (Python), `testdata/tokenizer.jsonl` encoded
//! by tiktoken 0.14; see `testdata/README.md`. Tokens are compared by equality: rendering has no tolerance.

use gptoss_harmony::{Analysis, Conversation, RenderOptions, StreamParser, Vocab, render};
use serde_json::Value;

fn lines(file: &str) -> Vec<Value> {
    let path = format!("{}/../../testdata/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn conversations_render_to_the_vendors_tokens() {
    let vocab = Vocab::o200k_harmony();
    let lines = lines("harmony.jsonl");
    assert_eq!(lines.len(), 60);
    for (i, line) in lines.iter().enumerate() {
        let conversation = Conversation::from_json(&line["conversation"]).unwrap();
        assert_eq!(conversation.to_json(), line["conversation"], "line {i}: the JSON form survives");
        let default = render(&vocab, &conversation, RenderOptions::default()).unwrap();
        assert_eq!(default, ids(&line["tokens"]), "line {i}");
        let keep = RenderOptions { analysis: Analysis::KeepAll, ..RenderOptions::default() };
        assert_eq!(
            render(&vocab, &conversation, keep).unwrap(),
            ids(&line["tokens_keep_analysis"]),
            "line {i}, all analysis"
        );
    }
}

#[test]
fn rendered_conversations_parse_back() {
    let vocab = Vocab::o200k_harmony();
    for line in lines("harmony.jsonl") {
        let conversation = Conversation::from_json(&line["conversation"]).unwrap();
        let mut parser = StreamParser::conversation(vocab.clone());
        ids(&line["tokens_keep_analysis"]).into_iter().for_each(|token| drop(parser.push(token)));
        let (_, parsed) = parser.finish();
        assert_eq!(parsed.warnings, []);
        assert_eq!(parsed.messages.len(), conversation.messages.len());
        for (parsed, message) in parsed.messages.iter().zip(&conversation.messages) {
            assert_eq!(parsed.author, message.author);
            assert_eq!((&parsed.channel, &parsed.recipient), (&message.channel, &message.recipient));
            assert_eq!(parsed.content_type, message.content_type);
            if message.content.iter().all(|part| matches!(part, gptoss_harmony::Content::Text(_))) {
                assert_eq!(parsed.content, message.content);
            }
        }
    }
}

#[test]
fn texts_encode_to_tiktokens_tokens() {
    let vocab = Vocab::o200k_harmony();
    let lines = lines("tokenizer.jsonl");
    assert_eq!(lines.len(), 120);
    for (i, line) in lines.iter().enumerate() {
        let text = line["text"].as_str().unwrap();
        let tokens = ids(&line["tokens"]);
        assert_eq!(vocab.encode_ids(text), tokens, "line {i}");
        assert_eq!(vocab.decode(&tokens).unwrap(), text.as_bytes(), "line {i}");
    }
}
