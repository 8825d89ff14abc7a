//! What is known of openai/gpt-oss-20b: hashes of its small files, and how its greedy answers begin.
//!
//! Source: gracee3/gpt-oss-rs, `crates/gpt-oss-bench/fixtures/cpu_harmony_parity.json` @0113e82: the first
//! eight tokens that openai/gpt-oss @5994767 draws greedily for seven prompts, with the hash of each prompt's
//! token ids, of the model at revision 6cee5e8. llama.cpp draws others for the second prompt.

use gptoss_harmony::{
    Conversation, DeveloperContent, FunctionTool, Message, RenderOptions, SystemContent, Vocab, render,
};
use serde_json::json;

/// SHA-256 of files at revision 6cee5e81ee83917806bbde320786a8fb61efebee.
pub const FILES_20B: &[(&str, &str)] = &[
    ("config.json", "3a2a26ded679375b7928ddeca59764df7cea83220c1961035f6d6e232659e9ce"),
    ("model.safetensors.index.json", "0e085b977c4c9942f85938828e8c989ed7d5cdabf852e4da6a67c116cd502cd1"),
    ("tokenizer.json", "0614fe83cadab421296e664e1f48f4261fa8fef6e03e63bb75c20f38e37d07d3"),
];

/// Tokens that are known of each answer.
pub const KNOWN_TOKENS: usize = 8;

/// A prompt with how its answer begins.
pub struct Answer {
    asked: Asked,
    /// The tokens that the reference draws.
    pub tokens: [u32; KNOWN_TOKENS],
}

enum Asked {
    Greeting,
    Segments(usize),
    AfterToolResult,
}

/// All that are known.
pub const ANSWERS: &[Answer] = &[
    Answer { asked: Asked::Greeting, tokens: [200005, 35644, 200008, 976, 1825, 5003, 25, 392] },
    Answer { asked: Asked::Segments(4), tokens: [200005, 35644, 200008, 976, 1825, 8967, 33749, 220] },
    Answer { asked: Asked::Segments(5), tokens: [200005, 35644, 200008, 976, 1825, 8967, 33749, 220] },
    Answer { asked: Asked::Segments(14), tokens: [200005, 35644, 200008, 976, 1825, 8967, 33749, 220] },
    Answer { asked: Asked::Segments(20), tokens: [200005, 35644, 200008, 976, 1825, 5181, 261, 1562] },
    Answer { asked: Asked::Segments(27), tokens: [200005, 35644, 200008, 976, 1825, 5181, 261, 1562] },
    Answer { asked: Asked::AfterToolResult, tokens: [200005, 35644, 200008, 2167, 1309, 316, 6052, 51088] },
];

impl Answer {
    /// What is asked.
    pub fn name(&self) -> String {
        match self.asked {
            Asked::Greeting => "a greeting".to_owned(),
            Asked::Segments(count) => format!("{count} segments"),
            Asked::AfterToolResult => "a tool's result".to_owned(),
        }
    }

    /// The prompt's tokens.
    pub fn prompt(&self, vocab: &Vocab) -> Vec<u32> {
        let asked = match self.asked {
            Asked::Greeting => vec![Message::user("Reply with exactly one short greeting.")],
            Asked::Segments(count) => vec![Message::user(segments(count))],
            Asked::AfterToolResult => after_tool_result(),
        };
        let system = Message::system(SystemContent::default());
        let conversation = Conversation::from_messages([system].into_iter().chain(asked));
        render(vocab, &conversation, RenderOptions::default()).expect("a conversation of the table")
    }
}

fn segments(count: usize) -> String {
    let segment = |index| format!("Segment {index:02}: alpha beta gamma delta epsilon zeta eta theta. ");
    (0..count).map(segment).collect::<String>() + "Summarize the repeated pattern in one sentence."
}

fn after_tool_result() -> Vec<Message> {
    let tool = "functions.get_weather";
    let city = json!({"type": "string", "description": "City to inspect"});
    let weather = FunctionTool {
        name: "get_weather".to_owned(),
        description: "Return current weather for a city".to_owned(),
        parameters: Some(json!({"type": "object", "properties": {"city": city}, "required": ["city"]})),
    };
    vec![
        Message::developer(DeveloperContent::default().with_function_tools(vec![weather])),
        Message::user("What is the weather in Boston?"),
        Message::assistant("commentary", r#"{"city":"Boston"}"#).with_recipient(tool),
        Message::tool_result(tool, r#"{"city":"Boston","temperature_f":72,"conditions":"sunny"}"#),
        Message::user("Given the tool result, answer the user's weather question briefly."),
    ]
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::pull::checksum::hex;

    /// Of each prompt's token ids, joined by commas.
    const SHA256: [&str; 7] = [
        "ff9e5194630553a210511cf07197796dc07f8756b095b042580282261820cab3",
        "3048eed723a25bd16a4dbfef5c5beba3056e842464b247d0b5eb90b3ffe093fe",
        "6c5f7a90ea1389ebef150b3616a1406087ec2b0b0cac68b423cfbaba0cf064c0",
        "77b9852b3cd9de5f2ad9aed6a586d244b31f0da4f37b5a5aa65533e1c41f062e",
        "3a6273d7af6e437aff7e0f75aeb3105112a52ca51beb269dbf11ca1eba43815a",
        "49af11243d0269009ce2eb6870d4317e39570084224566800824cc82489aa087",
        "b07e49f0a2ca47550bdc74b111ede664075e4daf14819834cdffad7e2aa6fb31",
    ];

    #[test]
    fn prompts_are_those_of_the_source() {
        let vocab = Vocab::o200k_harmony();
        assert_eq!(ANSWERS.len(), SHA256.len());
        for (answer, sha256) in ANSWERS.iter().zip(SHA256) {
            let ids: Vec<String> = answer.prompt(&vocab).iter().map(u32::to_string).collect();
            let hash = hex(&Sha256::digest(ids.join(",")));
            assert_eq!(hash, sha256, "{}: {} tokens", answer.name(), ids.len());
        }
    }
}
