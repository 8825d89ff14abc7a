//! A file of rows, read and looked through.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufRead};

use gptoss_harmony::{Control, Vocab};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::example::{Example, Sample};
use crate::kind::Kind;
use crate::options::Options;
use crate::reason::Reason;
use crate::row;

/// Longest row. Units: bytes.
pub const ROW_BYTES_MAX: usize = 16 << 20;

/// The samples of a file.
#[derive(Debug, Default)]
pub struct Dataset {
    /// Each with its line, from 1. Those of one row are neighbors and share their history.
    pub samples: Vec<(usize, Sample)>,
    /// What was seen on the way.
    pub report: Report,
    /// The first line that gave each sample, by the checksum of its tokens and weights.
    lines: HashMap<[u8; 32], usize>,
}

/// What was seen in a file.
#[derive(Debug, Default)]
pub struct Report {
    /// Rows, those left out among them.
    pub rows: usize,
    /// Rows of each kind that was found.
    pub kinds: BTreeMap<Kind, usize>,
    /// Rows that nothing is learned of, with their lines.
    pub left_out: Vec<(usize, Reason)>,
    /// Tokens of all samples.
    pub tokens: usize,
    /// Those that are learned.
    pub targets: usize,
    /// Tokens of the longest text.
    pub longest: usize,
    /// Turns whose prompt asks for reasoning of medium or high effort, and that have none: a model that
    /// learns them puts answers where its reasoning belongs.
    pub without_reasoning: usize,
}

impl Dataset {
    /// Reads rows, one JSON object a line; empty lines are passed over. Rows that are `train`'s too are left
    /// out.
    ///
    /// Errors: reading.
    pub fn read(
        mut rows: impl BufRead,
        vocab: &Vocab,
        options: &Options,
        train: Option<&Dataset>,
    ) -> io::Result<Dataset> {
        let mut dataset = Dataset::default();
        let mut bytes = Vec::new();
        let mut line = 0;
        loop {
            bytes.clear();
            line += 1;
            let room = ROW_BYTES_MAX as u64 + 1;
            if io::Read::take(&mut rows, room).read_until(b'\n', &mut bytes)? == 0 {
                return Ok(dataset);
            }
            if bytes.trim_ascii().is_empty() {
                continue;
            }
            dataset.report.rows += 1;
            let is_cut = bytes.len() > ROW_BYTES_MAX && bytes.last() != Some(&b'\n');
            let outcome = if is_cut {
                skip_line(&mut rows)?;
                Err(Reason::TooManyBytes { max: ROW_BYTES_MAX })
            } else {
                dataset.take(&bytes, line, vocab, options, train)
            };
            if let Err(reason) = outcome {
                dataset.report.left_out.push((line, reason));
            }
        }
    }

    fn take(
        &mut self,
        bytes: &[u8],
        line: usize,
        vocab: &Vocab,
        options: &Options,
        train: Option<&Dataset>,
    ) -> Result<(), Reason> {
        let row: Value = serde_json::from_slice(bytes)
            .map_err(|problem| Reason::NotJson { problem: problem.to_string() })?;
        let row = row.as_object().ok_or(Reason::NotAnObject)?;
        let kind = Kind::of(row).ok_or_else(|| Reason::UnknownColumns {
            found: row.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
            known: Kind::all_columns(),
        })?;
        *self.report.kinds.entry(kind).or_default() += 1;
        let samples = row::samples(kind, row, vocab, options)?;
        let sums: Vec<[u8; 32]> = samples.iter().map(checksum).collect();
        if let Some(&line) = sums.iter().find_map(|sum| train?.lines.get(sum)) {
            return Err(Reason::Overlap { line });
        }
        // A row of which a part is new says something new.
        if let Some(&line) = self.lines.get(&sums[0])
            && sums.iter().all(|sum| self.lines.contains_key(sum))
        {
            return Err(Reason::Duplicate { line });
        }
        for (sum, sample) in sums.into_iter().zip(samples) {
            self.lines.entry(sum).or_insert(line);
            for example in sample.examples() {
                self.report.tokens += example.tokens.len();
                self.report.targets += example.num_targets();
                self.report.longest = self.report.longest.max(example.tokens.len());
            }
            // Of a pair the chosen answer alone becomes likelier.
            let learned = sample.examples().take(1);
            self.report.without_reasoning +=
                learned.filter(|example| lacks_reasoning(example, vocab, options)).count();
            self.samples.push((line, sample));
        }
        Ok(())
    }
}

impl Report {
    /// How many rows were left out for which reason, with the first of their lines.
    pub fn groups(&self) -> BTreeMap<&'static str, (usize, usize)> {
        let mut groups = BTreeMap::new();
        for (line, reason) in &self.left_out {
            groups.entry(reason.group()).or_insert((0, *line)).0 += 1;
        }
        groups
    }
}

fn checksum(sample: &Sample) -> [u8; 32] {
    let mut sum = Sha256::new();
    for example in sample.examples() {
        sum.update((example.tokens.len() as u64).to_le_bytes());
        example.tokens.iter().for_each(|token| sum.update(token.to_le_bytes()));
        example.weights.iter().for_each(|weight| sum.update(weight.to_le_bytes()));
    }
    sum.finalize().into()
}

/// Whether a text asks for much reasoning and its targets, or what is hidden of them, have none.
fn lacks_reasoning(example: &Example, vocab: &Vocab, options: &Options) -> bool {
    let spans = example.spans(vocab);
    let asks = |text: &str| text.contains("Reasoning: medium") || text.contains("Reasoning: high");
    let is_chat = example.tokens.first() == Some(&vocab.control(Control::Start));
    is_chat
        && spans.first().is_some_and(|span| asks(span.text.split("<|end|>").next().unwrap_or_default()))
        && spans.iter().all(|span| {
            !(span.is_target || options.mask_reasoning) || !span.text.contains("<|channel|>analysis")
        })
}

fn skip_line(rows: &mut impl BufRead) -> io::Result<()> {
    loop {
        let seen = rows.fill_buf()?;
        let end = seen.iter().position(|&byte| byte == b'\n');
        let count = end.map_or(seen.len(), |at| at + 1);
        rows.consume(count);
        if end.is_some() || count == 0 {
            return Ok(());
        }
    }
}
