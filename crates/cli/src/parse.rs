//! `gptoss parse`: tokens to messages, whatever the tokens are.
//!
//! The parser is total: malformed headers are repaired by fixed rules, and every repair is a warning in the
//! output, never an error. Where the tokens begin (a whole conversation, or what a model wrote after
//! `<|start|>assistant`) is seen from the first token unless `--form` says it. With `--jsonl` each line
//! `{"tokens": [...]}` becomes `{"messages": [...], "warnings": [...]}`; without it the messages are shown
//! for reading.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use gptoss_harmony::{Control, Message, Parsed, StreamParser, Vocab};
use serde::{Deserialize, Serialize};

use crate::args::{ParseArgs, ParseFormArg};
use crate::input::{self, Source};
use crate::terminal;
use crate::tokenize::{from_line, vocab_of};

#[derive(Deserialize)]
struct TokensLine {
    tokens: Vec<u32>,
}

#[derive(Serialize)]
struct Messages<'a> {
    messages: &'a [Message],
    warnings: Vec<String>,
}

/// Runs the command.
pub fn run(args: &ParseArgs) -> Result<ExitCode> {
    let vocab = vocab_of(&args.vocab)?;
    let source = Source::from_argument(args.file.as_deref());
    if args.vocab.jsonl {
        input::for_each_line(source, |line, output| {
            let TokensLine { tokens } = from_line(line, "{\"tokens\": [...]}")?;
            let parsed = parse(&vocab, &tokens, args.form);
            let warnings = parsed.warnings.iter().map(ToString::to_string).collect();
            input::write_json_line(output, &Messages { messages: &parsed.messages, warnings })
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    let text = source.read_text()?;
    let tokens =
        input::parse_token_ids(&text).with_context(|| format!("{} holds no token ids", source.name()))?;
    show(&parse(&vocab, &tokens, args.form))?;
    Ok(ExitCode::SUCCESS)
}

fn parse(vocab: &Arc<Vocab>, tokens: &[u32], form: Option<ParseFormArg>) -> Parsed {
    let starts = tokens.first() == Some(&vocab.control(Control::Start));
    let seen = if starts { ParseFormArg::Conversation } else { ParseFormArg::Completion };
    let mut parser = match form.unwrap_or(seen) {
        ParseFormArg::Conversation => StreamParser::conversation(Arc::clone(vocab)),
        ParseFormArg::Completion => StreamParser::completion(Arc::clone(vocab)),
    };
    for &token in tokens {
        parser.push(token);
    }
    parser.finish().1
}

fn show(parsed: &Parsed) -> Result<()> {
    let mut output = io::BufWriter::new(io::stdout().lock());
    let safe = |text: &str| terminal::safe_for_stdout(text);
    for message in &parsed.messages {
        writeln!(output, "[{}]", safe(&heading(message)))?;
        writeln!(output, "{}\n", safe(&message.text()))?;
    }
    for warning in &parsed.warnings {
        writeln!(output, "warning: {}", safe(&warning.to_string()))?;
    }
    Ok(output.flush()?)
}

/// Who speaks, on which channel, to whom, in which form.
fn heading(message: &Message) -> String {
    let mut heading = message.author.role.as_str().to_owned();
    let name = message.author.name.iter().map(|name| format!(" {name}"));
    let channel = message.channel.iter().map(|channel| format!(" on {channel}"));
    let recipient = message.recipient.iter().map(|recipient| format!(" to {recipient}"));
    let content_type = message.content_type.iter().map(|kind| format!(" as {kind}"));
    heading.extend(name.chain(channel).chain(recipient).chain(content_type));
    heading
}
