//! Where in a prompt the assistant's open turn begins.
//!
//! A router that moves a request sends the prompt with what was generated so far behind it and says nothing
//! of it. In harmony it need not: the turn begins after the first `<|start|>assistant` behind the last
//! message of anybody else, and what follows was generated.

use gptoss_harmony::{Control, Token, Vocab};

const ASSISTANT: &[u8] = b"assistant";

/// The number of tokens before what the assistant says in the open turn, if the prompt ends in one.
pub(crate) fn turn_start(vocab: &Vocab, prompt: &[u32]) -> Option<usize> {
    let mut turn = None;
    for (index, &id) in prompt.iter().enumerate() {
        match vocab.token(id) {
            Some(Token::Control(Control::Start)) => {
                turn = match role_at(vocab, prompt, index + 1) {
                    Role::Assistant(after) => turn.or(Some(after)),
                    // What was generated may end anywhere.
                    Role::Begun => turn,
                    Role::Other => None,
                };
            }
            Some(Token::Control(Control::Return | Control::Call | Control::EndOfText)) => turn = None,
            _ => {}
        }
    }
    turn
}

/// Who speaks in a message.
enum Role {
    /// The assistant, whose name ends before this token.
    Assistant(usize),
    /// The prompt ends in what may become the assistant's name.
    Begun,
    Other,
}

/// The role whose name begins at `from`.
fn role_at(vocab: &Vocab, prompt: &[u32], from: usize) -> Role {
    let mut role = Vec::new();
    for (index, &id) in prompt.iter().enumerate().skip(from) {
        let Some(Token::Text(text)) = vocab.token(id) else { return Role::Other };
        role.extend_from_slice(vocab.bytes(text));
        if role == ASSISTANT {
            return Role::Assistant(index + 1);
        }
        if !ASSISTANT.starts_with(&role) {
            return Role::Other;
        }
    }
    Role::Begun
}

/// Places from which another prompt is likely to part from this one: where messages begin, the first two and
/// the last four; of a text without messages, the ends of some of its parts.
pub(crate) fn cache_points(vocab: &Vocab, prompt: &[u32], block_tokens: usize) -> Vec<usize> {
    let start = vocab.control(Control::Start);
    let starts: Vec<usize> = (1..prompt.len()).filter(|&index| prompt[index] == start).collect();
    if starts.is_empty() {
        let block = block_tokens.max(1);
        let parts = [(1, 4), (1, 2), (3, 4), (7, 8)];
        return parts.iter().map(|(part, of)| prompt.len() * part / of / block * block).collect();
    }
    let last = starts.len().saturating_sub(4).max(2);
    starts.iter().take(2).chain(starts.iter().skip(last)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Text with control tokens by their names.
    fn tokens(vocab: &Vocab, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find("<|") {
            let (before, behind) = rest.split_at(at);
            vocab.encode_into(before, &mut ids);
            let control = Control::ALL.into_iter().find(|control| behind.starts_with(control.literal()));
            let control = control.expect("a control token");
            ids.push(vocab.control(control));
            rest = &behind[control.literal().len()..];
        }
        vocab.encode_into(rest, &mut ids);
        ids
    }

    #[test]
    fn a_turn_begins_behind_the_last_message_of_another() {
        let vocab = Vocab::o200k_harmony();
        let check = |before: &str, said: &str| {
            let prompt = [tokens(&vocab, before), tokens(&vocab, said)].concat();
            assert_eq!(
                turn_start(&vocab, &prompt),
                Some(prompt.len() - tokens(&vocab, said).len()),
                "{said}"
            );
        };
        let asked = "<|start|>user<|message|>Hi<|end|><|start|>assistant";
        check(asked, "");
        check(asked, "<|channel|>analysis<|message|>Hm");
        check(asked, "<|channel|>analysis<|message|>Hm<|end|><|start|>");
        check(asked, "<|channel|>analysis<|message|>Hm<|end|><|start|>assist");
        check(asked, "<|channel|>analysis<|message|>Hm<|end|><|start|>assistant<|channel|>final<|message|>A");
        let history = "<|start|>user<|message|>1<|end|><|start|>assistant<|channel|>final<|message|>2<|end|>";
        check(&format!("{history}{asked}"), "<|channel|>final");
        let called = "<|start|>assistant to=functions.f<|channel|>commentary json<|message|>{}<|call|>\
                      <|start|>functions.f to=assistant<|channel|>commentary<|message|>1<|end|><|start|>assistant";
        check(&format!("<|start|>user<|message|>Hi<|end|>{called}"), "<|channel|>final<|message|>");
        for none in ["", "Hello", "<|start|>user<|message|>Hi", "<|start|>", "<|start|>assist"] {
            assert_eq!(turn_start(&vocab, &tokens(&vocab, none)), None, "{none}");
        }
        assert_eq!(turn_start(&vocab, &tokens(&vocab, &format!("{asked}<|channel|>final<|return|>"))), None);
    }

    #[test]
    fn prompts_part_where_messages_begin() {
        let vocab = Vocab::o200k_harmony();
        let message = tokens(&vocab, "<|start|>user<|message|>Hi<|end|>");
        let points = |count: usize| cache_points(&vocab, &message.repeat(count), 32);
        let length = message.len();
        assert_eq!(points(2), [length]);
        assert_eq!(points(3), [length, 2 * length]);
        assert_eq!(points(9), [1, 2, 5, 6, 7, 8].map(|index| index * length));
        assert_eq!(cache_points(&vocab, &[1; 256], 32), [64, 128, 192, 224]);
    }
}
