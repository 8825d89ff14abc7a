//! `gptoss render`: a conversation to the tokens a gpt-oss reads.
//!
//! Conversations come in openai-harmony's JSON form, so that what the vendor's library or `/save` in a chat
//! wrote can be rendered. The completion form is the default: ready for the model to answer. With `--jsonl`
//! each line `{"conversation": ...}` becomes `{"tokens": [...]}`; in the training form a `loss_mask` of 0 and
//! 1 stands beside the tokens. Without it one conversation becomes a line of ids, which is what `gptoss
//! parse` reads; the text, control tokens by their literal names, is shown beside it on standard error.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use gptoss_harmony::{Analysis, Conversation, Form, RenderOptions, Role, Vocab, render, render_training};
use serde::{Deserialize, Serialize};

use crate::args::{FormArg, RenderArgs};
use crate::input::{self, Source};
use crate::terminal;
use crate::tokenize::{from_line, vocab_of, write_ids};

#[derive(Deserialize)]
struct ConversationLine {
    conversation: Conversation,
}

/// What a conversation has become.
#[derive(Serialize)]
struct Rendered {
    tokens: Vec<u32>,
    /// Training form only: 1 where the model should learn to produce the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    loss_mask: Option<Vec<u8>>,
}

/// Runs the command.
pub fn run(args: &RenderArgs) -> Result<ExitCode> {
    let vocab = vocab_of(&args.vocab)?;
    let source = Source::from_argument(args.file.as_deref());
    if args.vocab.jsonl {
        input::for_each_line(source, |line, output| {
            let ConversationLine { conversation } =
                from_line(line, "{\"conversation\": {\"messages\": [...]}}")?;
            input::write_json_line(output, &rendered(&vocab, &conversation, args)?)
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    let conversation = read_conversation(source)?;
    let rendered = rendered(&vocab, &conversation, args).with_context(|| source.name())?;
    show(&vocab, &rendered)?;
    Ok(ExitCode::SUCCESS)
}

fn rendered(vocab: &Vocab, conversation: &Conversation, args: &RenderArgs) -> Result<Rendered> {
    let analysis = if args.keep_analysis { Analysis::KeepAll } else { Analysis::DropOld };
    let form = match args.form {
        FormArg::Completion => Form::Completion(Role::Assistant),
        FormArg::Conversation => Form::Conversation,
        FormArg::Training => {
            let training = render_training(vocab, conversation, analysis)?;
            let loss_mask = training.is_target.iter().map(|&target| u8::from(target)).collect();
            return Ok(Rendered { tokens: training.tokens, loss_mask: Some(loss_mask) });
        }
    };
    let tokens = render(vocab, conversation, RenderOptions { form, analysis })?;
    Ok(Rendered { tokens, loss_mask: None })
}

/// A conversation, alone or under the key `conversation`.
fn read_conversation(source: Source<'_>) -> Result<Conversation> {
    let document: serde_json::Value = input::read_json(source, "JSON")?;
    let conversation = document.get("conversation").unwrap_or(&document);
    serde_json::from_value(conversation.clone()).map_err(|error| {
        anyhow!("{} is not a conversation: {error}\nexpected {{\"messages\": [...]}}", source.name())
    })
}

fn show(vocab: &Vocab, rendered: &Rendered) -> Result<()> {
    let mut output = io::BufWriter::new(io::stdout().lock());
    write_ids(&mut output, &rendered.tokens)?;
    if let Some(mask) = &rendered.loss_mask {
        write_ids(&mut output, &mask.iter().map(|&bit| u32::from(bit)).collect::<Vec<_>>())?;
    }
    output.flush()?;
    let text = vocab.decode(&rendered.tokens)?;
    Ok(writeln!(io::stderr(), "\n{}", terminal::safe(&String::from_utf8_lossy(&text)))?)
}
