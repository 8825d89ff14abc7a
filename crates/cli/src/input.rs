//! Texts that commands read: files, standard input, lines of JSON.
//!
//! Files and standard input are read as bytes first, so that a text that is not UTF-8 becomes an error with
//! the name of the source and the offset of the first wrong byte instead of a bare "invalid data".
//! [`for_each_line`] is the shape of every `--jsonl` command: one line in, one line out, in order and
//! buffered, and an error that names the line; a line that has been answered stays answered.

use std::fs;
use std::io::{self, BufRead, BufWriter, IsTerminal, Read, Write};
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use serde::de::DeserializeOwned;

/// Longest line that a `--jsonl` command takes, in bytes: a guard against a file without line ends.
const LINE_BYTES_MAX: u64 = 1 << 30;

/// Where a text is read from.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// Standard input.
    Stdin,
    /// A file.
    File(&'a Path),
}

impl<'a> Source<'a> {
    /// `-` and nothing mean standard input.
    pub fn from_argument(file: Option<&'a Path>) -> Self {
        match file {
            None => Source::Stdin,
            Some(path) if path == Path::new("-") => Source::Stdin,
            Some(path) => Source::File(path),
        }
    }

    /// How errors call it.
    pub fn name(&self) -> String {
        match self {
            Source::Stdin => "standard input".to_owned(),
            Source::File(path) => path.display().to_string(),
        }
    }

    /// What can be read line by line.
    pub fn open(&self) -> Result<Box<dyn BufRead>> {
        Ok(match self {
            Source::Stdin => {
                say_that_stdin_is_awaited();
                Box::new(io::BufReader::with_capacity(1 << 16, io::stdin()))
            }
            Source::File(path) => {
                let file = fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
                Box::new(io::BufReader::with_capacity(1 << 16, file))
            }
        })
    }

    /// The whole source as text.
    pub fn read_text(&self) -> Result<String> {
        let mut bytes = Vec::new();
        self.open()?.read_to_end(&mut bytes).with_context(|| format!("cannot read {}", self.name()))?;
        into_text(bytes, &self.name())
    }
}

/// A person who typed `gptoss tokenize` and waits should know that the program waits too.
fn say_that_stdin_is_awaited() {
    if io::stdin().is_terminal() {
        let _ = writeln!(io::stderr(), "(reading standard input; end it with Ctrl-D)");
    }
}

/// Bytes that must be text; the error names the source and the first wrong byte.
pub fn into_text(bytes: Vec<u8>, source: &str) -> Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let byte = error.as_bytes()[at];
        anyhow!("{source} is not UTF-8: byte {byte:#04x} at offset {at}\nconvert it to UTF-8 first")
    })
}

/// A JSON document from a file or standard input; the error names the source, the line and the column.
pub fn read_json<T: DeserializeOwned>(source: Source<'_>, what: &str) -> Result<T> {
    let text = source.read_text()?;
    serde_json::from_str(&text).with_context(|| format!("{} is not {what}", source.name()))
}

/// Answers each non-empty line of standard input or a file with one line on standard output.
///
/// Errors: what `answer` says, with the source and the number of the line in front. Everything answered
/// before has been written then.
pub fn for_each_line(
    source: Source<'_>,
    mut answer: impl FnMut(&str, &mut dyn Write) -> Result<()>,
) -> Result<()> {
    let mut input = source.open()?;
    let mut output = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let place = || format!("{}, line {number}", source.name());
        let read = input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line).with_context(place)?;
        if read == 0 {
            break;
        }
        if read as u64 == LINE_BYTES_MAX {
            output.flush()?;
            return Err(anyhow!("{}: longer than {LINE_BYTES_MAX} bytes", place()));
        }
        let answered = into_text(std::mem::take(&mut line), "the line").and_then(|text| {
            match text.trim_matches(['\n', '\r', ' ', '\t']) {
                "" => Ok(()),
                text => answer(text, &mut output),
            }
        });
        if let Err(error) = answered {
            output.flush()?;
            return Err(error.context(place()));
        }
    }
    output.flush()?;
    Ok(())
}

/// Prints a value as JSON and a line end.
pub fn write_json_line(output: &mut dyn Write, value: &impl serde::Serialize) -> Result<()> {
    serde_json::to_writer(&mut *output, value)?;
    output.write_all(b"\n")?;
    Ok(())
}

/// Token ids as people write them: a JSON array, an object with `tokens` or `input_ids`, or numbers separated
/// by spaces or commas.
pub fn parse_token_ids(text: &str) -> Result<Vec<u32>> {
    let trimmed = text.trim();
    if trimmed.starts_with(['[', '{']) {
        let value: serde_json::Value = serde_json::from_str(trimmed)?;
        let ids = match &value {
            serde_json::Value::Object(object) => object
                .get("input_ids")
                .or_else(|| object.get("tokens"))
                .ok_or_else(|| anyhow!("the object has neither `input_ids` nor `tokens`"))?,
            other => other,
        };
        let ids = ids.as_array().ok_or_else(|| anyhow!("token ids must be an array of numbers"))?;
        return ids.iter().enumerate().map(|(index, id)| token_id(id, index)).collect();
    }
    let words = trimmed.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty());
    words.map(|word| word.parse().map_err(|_| anyhow!("`{word}` is not a token id"))).collect()
}

fn token_id(value: &serde_json::Value, index: usize) -> Result<u32> {
    let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
    id.ok_or_else(|| {
        anyhow!("{value} at index {index} is not a token id: expected a whole number from 0 to 4294967295")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_ids_in_every_spelling() {
        let check = |text: &str, expect: &[u32]| assert_eq!(parse_token_ids(text).unwrap(), expect, "{text}");
        check("[1, 2]", &[1, 2]);
        check(" {\"input_ids\":[3]}\n", &[3]);
        check("{\"tokens\":[]}", &[]);
        check("4 5,6\n7", &[4, 5, 6, 7]);
        for bad in ["[1.5]", "[-1]", "{}", "{\"tokens\":1}", "x", "[[1]]", "[4294967296]", "["] {
            assert!(parse_token_ids(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn wrong_utf8_names_the_byte() {
        let error = into_text(vec![b'a', b'b', 0xff], "notes.txt").unwrap_err().to_string();
        assert!(error.contains("notes.txt") && error.contains("0xff at offset 2"), "{error}");
    }
}
