//! Whether a turn is harmony from end to end, with nothing to repair and nothing that its reader cannot use.

use std::sync::Arc;

use gptoss_harmony::{Control, Message, Role, StreamParser, Vocab};
use serde_json::{Map, Value};

/// The recipients that a model may call.
const FUNCTIONS: &str = "functions.";

/// What is wrong with a turn, the tokens behind a prompt that ends with `<|start|>assistant`; `None` for
/// reasoning and preambles, if there are any, then an answer or a call of a function that the prompt
/// declares, with an object as its arguments, and the token that ends it.
pub fn flaw(vocab: &Arc<Vocab>, prompt: &[u32], turn: &[u32]) -> Option<String> {
    let [answers, calls] = [Control::Return, Control::Call].map(|control| vocab.control(control));
    let end = turn.last().copied().filter(|end| [answers, calls].contains(end));
    let Some(end) = end else { return Some("it does not end".to_owned()) };
    let mut parser = StreamParser::completion(Arc::clone(vocab));
    for token in turn {
        parser.push(*token);
    }
    let (_, parsed) = parser.finish();
    if let Some(warning) = parsed.warnings.first() {
        return Some(warning.repair.to_string());
    }
    let Some((last, before)) = parsed.messages.split_last() else { return Some("it is empty".to_owned()) };
    if parsed.messages.iter().any(|message| message.author.role != Role::Assistant) {
        return Some("somebody else speaks in it".to_owned());
    }
    before.iter().find_map(flaw_before_the_end).or_else(|| match &last.recipient {
        None if channel(last) != "final" => Some(format!("{} ends it", named(last))),
        None if end != answers => Some("an answer ends with <|call|>".to_owned()),
        None => None,
        Some(_) if end != calls => Some("a call ends with <|return|>".to_owned()),
        Some(recipient) => flaw_of_call(last, recipient, &text(vocab, prompt)),
    })
}

fn flaw_before_the_end(message: &Message) -> Option<String> {
    match &message.recipient {
        Some(_) => Some("a call that goes on".to_owned()),
        None if matches!(channel(message), "analysis" | "commentary") => None,
        None => Some(format!("{} that goes on", named(message))),
    }
}

fn flaw_of_call(message: &Message, recipient: &str, prompt: &str) -> Option<String> {
    // As `harmony` renders a function.
    let is_declared = |name: &&str| prompt.contains(&format!("\ntype {name} = ("));
    if recipient.strip_prefix(FUNCTIONS).filter(is_declared).is_none() {
        return Some("a call of a function that there is not".to_owned());
    }
    if !matches!(channel(message), "analysis" | "commentary") {
        return Some(format!("a call in {}", named(message)));
    }
    let arguments = serde_json::from_str::<Map<String, Value>>(&message.text());
    arguments.is_err().then(|| "a call whose arguments are not a JSON object".to_owned())
}

fn channel(message: &Message) -> &str {
    message.channel.as_deref().unwrap_or_default()
}

/// Names of channels that a model makes up are not repeated: there is no end of them.
fn named(message: &Message) -> &'static str {
    match channel(message) {
        "analysis" => "a message on analysis",
        "commentary" => "a message on commentary",
        "final" => "a message on final",
        "" => "a message without a channel",
        _ => "a message on a channel that there is not",
    }
}

fn text(vocab: &Vocab, tokens: &[u32]) -> String {
    String::from_utf8_lossy(&vocab.decode(tokens).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Control tokens by their names, all else as text.
    fn encoded(vocab: &Vocab, text: &str) -> Vec<u32> {
        let mut tokens = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let found = |control: &Control| rest.starts_with(control.literal());
            if let Some(control) = Control::ALL.into_iter().find(found) {
                tokens.push(vocab.control(control));
                rest = &rest[control.literal().len()..];
            } else {
                let next = rest[1..].find("<|").map_or(rest.len(), |place| place + 1);
                tokens.extend(vocab.encode_ids(&rest[..next]));
                rest = &rest[next..];
            }
        }
        tokens
    }

    #[test]
    fn turns_are_judged_by_the_letter() {
        let vocab = Vocab::o200k_harmony();
        let prompt = "<|start|>developer<|message|># Tools\n\n## functions\n\nnamespace functions {\n\n// Adds.\n\
                      type add = (_: {\na: number,\n}) => any;\n\n} // namespace functions<|end|><|start|>assistant";
        let prompt = encoded(&vocab, prompt);
        let check = |turn: &str, expected: Option<&str>| {
            let found = flaw(&vocab, &prompt, &encoded(&vocab, turn));
            match (found, expected) {
                (None, None) => {}
                (Some(found), Some(expected)) => assert!(found.contains(expected), "{turn}: {found}"),
                (found, _) => panic!("{turn}: {found:?}"),
            }
        };
        let thinks = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant";
        check("<|channel|>final<|message|>4<|return|>", None);
        check(&format!("{thinks}<|channel|>final<|message|>4<|return|>"), None);
        check(
            &format!(
                "{thinks}<|channel|>commentary<|message|>I add.<|end|><|start|>assistant<|channel|>final<|message|>4<|return|>"
            ),
            None,
        );
        let call = "<|channel|>commentary to=functions.add <|constrain|>json<|message|>";
        check(&format!("{thinks}{call}{{\"a\": 1}}<|call|>"), None);
        check(" to=functions.add<|channel|>commentary<|message|>{}<|call|>", None);
        check("", Some("does not end"));
        check("<|channel|>final<|message|>4", Some("does not end"));
        check("<|channel|>final<|message|>4<|end|>", Some("does not end"));
        check("<|return|>", Some("an end where a header should be"));
        check("4<|return|>", Some("header without <|message|>"));
        check("<|channel|>final<|message|>4<|call|>", Some("an answer ends with <|call|>"));
        check("<|channel|>analysis<|message|>Hm.<|return|>", Some("a message on analysis ends it"));
        check("<|message|>4<|return|>", Some("without a channel ends it"));
        check("<|channel|>finale<|message|>4<|return|>", Some("a channel that there is not"));
        check(
            "<|channel|>final<|message|>4<|end|><|start|>assistant<|channel|>final<|message|>5<|return|>",
            Some("goes on"),
        );
        check(
            "<|channel|>final<|message|>4<|end|><|start|>user<|message|>5<|return|>",
            Some("somebody else"),
        );
        check(
            "<|channel|>analysis<|message|>Hm.<|channel|>final<|message|>5<|return|>",
            Some("without <|end|>"),
        );
        check(&format!("{call}{{\"a\": 1}}<|return|>"), Some("a call ends with <|return|>"));
        check(&format!("{call}{{\"a\": <|call|>"), Some("not a JSON object"));
        check(&format!("{call}[1]<|call|>"), Some("not a JSON object"));
        check(
            "<|channel|>commentary to=functions.sub<|message|>{}<|call|>",
            Some("function that there is not"),
        );
        check("<|channel|>final to=functions.add<|message|>{}<|call|>", Some("a call in a message on final"));
    }
}
