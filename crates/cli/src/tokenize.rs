//! `gptoss tokenize`: text to token ids and back.
//!
//! Text is encoded as text: nothing in it becomes a control token, whatever it spells; decoding does show
//! control tokens by their literal names. Three forms: a text (argument or standard input) to ids separated
//! by spaces, `--decode` for the way back (bytes as they are, which need not be UTF-8), and `--jsonl` for
//! either way line by line.
//!
//! The vocabulary it uses, and how `render` and `parse` choose theirs, is [`vocab_of`].

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use gptoss_harmony::Vocab;
use serde::{Deserialize, Serialize};

use crate::args::{TokenizeArgs, VocabArgs, VocabName};
use crate::failure::usage;
use crate::input::{self, Source};
use crate::model_source::Opened;
use crate::terminal;

#[derive(Deserialize)]
struct TextLine {
    text: String,
}

#[derive(Deserialize)]
struct TokensLine {
    tokens: Vec<u32>,
}

#[derive(Serialize)]
struct Tokens<'a> {
    tokens: &'a [u32],
}

#[derive(Serialize)]
struct Text {
    text: String,
    /// Present, and false, when the tokens are not whole characters and the text shows replacement
    /// characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_utf8: Option<bool>,
}

/// Runs the command.
pub fn run(args: &TokenizeArgs) -> Result<ExitCode> {
    let vocab = vocab_of(&args.vocab)?;
    match (args.vocab.jsonl, &args.text) {
        (true, Some(_)) => {
            return Err(usage("--jsonl reads its lines from standard input; leave the TEXT away"));
        }
        (true, None) if args.decode => decode_lines(&vocab)?,
        (true, None) => encode_lines(&vocab)?,
        (false, text) if args.decode => decode_one(&vocab, text.as_deref())?,
        (false, text) => encode_one(&vocab, text.as_deref())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The vocabulary that was asked for: a built-in one, or that of a model.
pub fn vocab_of(args: &VocabArgs) -> Result<Arc<Vocab>> {
    match args.vocab {
        Some(VocabName::O200kHarmony) => Ok(Vocab::o200k_harmony()),
        None => Opened::from_argument(&args.model)?.vocab(),
    }
}

/// Ids as people read them: separated by spaces.
pub fn write_ids(output: &mut dyn Write, ids: &[u32]) -> io::Result<()> {
    for (index, id) in ids.iter().enumerate() {
        let space = if index == 0 { "" } else { " " };
        write!(output, "{space}{id}")?;
    }
    writeln!(output)
}

fn encode_one(vocab: &Vocab, text: Option<&str>) -> Result<()> {
    let ids = match text {
        Some(text) => vocab.encode_ids(text),
        None => vocab.encode_ids(&Source::Stdin.read_text()?),
    };
    let mut output = io::BufWriter::new(io::stdout().lock());
    write_ids(&mut output, &ids)?;
    Ok(output.flush()?)
}

fn decode_one(vocab: &Vocab, text: Option<&str>) -> Result<()> {
    let (name, text) = match text {
        Some(text) => ("the argument", text.to_owned()),
        None => ("standard input", Source::Stdin.read_text()?),
    };
    let ids = input::parse_token_ids(&text).with_context(|| format!("{name} holds no token ids"))?;
    let bytes = terminal::safe_bytes_for_stdout(vocab.decode(&ids)?);
    let mut output = io::stdout().lock();
    output.write_all(&bytes)?;
    if is_for_people() {
        writeln!(output)?;
    }
    Ok(output.flush()?)
}

/// On a terminal the prompt should begin on a line of its own; a file gets the bytes and nothing else.
fn is_for_people() -> bool {
    io::IsTerminal::is_terminal(&io::stdout())
}

fn encode_lines(vocab: &Vocab) -> Result<()> {
    let mut ids = Vec::new();
    input::for_each_line(Source::Stdin, |line, output| {
        let TextLine { text } = from_line(line, "{\"text\": ...}")?;
        ids.clear();
        vocab.encode_into(&text, &mut ids);
        input::write_json_line(output, &Tokens { tokens: &ids })
    })
}

fn decode_lines(vocab: &Vocab) -> Result<()> {
    input::for_each_line(Source::Stdin, |line, output| {
        let TokensLine { tokens } = from_line(line, "{\"tokens\": [...]}")?;
        let text = match String::from_utf8(vocab.decode(&tokens)?) {
            Ok(text) => Text { text, valid_utf8: None },
            Err(error) => {
                let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                Text { text, valid_utf8: Some(false) }
            }
        };
        input::write_json_line(output, &text)
    })
}

/// One line of input in its JSON form; the error shows the form.
pub fn from_line<T: for<'a> Deserialize<'a>>(line: &str, form: &str) -> Result<T> {
    serde_json::from_str(line).map_err(|error| anyhow!("{error}\nexpected one object like {form} a line"))
}
