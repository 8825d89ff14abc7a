//! One place of a file that changes, and the search for it.
//!
//! A hunk is looked for behind the one before it: first as it is, then without blanks at the ends of lines,
//! then without blanks around them; each step down makes the match fuzzier. Its headers are looked for
//! first, and a header that is not there is passed over, as the reference does. Kept lines stay as the file
//! has them.
//!
//! Every line keeps its own ending, and an added one takes that of the line in whose place it comes. A file
//! that ended in a newline still does, and a byte order mark stays.

/// A place of a file that changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hunk {
    /// Where it begins in the patch, counted from one.
    pub line: usize,
    /// Lines of the file behind which it is, each behind the one before.
    pub headers: Vec<String>,
    /// The lines that are there before: kept and removed.
    pub old: Vec<String>,
    /// What changes among them, in order.
    pub chunks: Vec<Chunk>,
    /// Whether it is the last of the file.
    pub is_last: bool,
}

/// Lines that make way for others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chunk {
    /// The first that makes way, counted in `old`.
    pub at: usize,
    /// How many do.
    pub num_removed: usize,
    /// What comes in their place.
    pub added: Vec<String>,
}

/// What hunks made of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Updated {
    pub text: String,
    /// How far the matches were from exact: 1 for blanks at the ends of lines, 100 for blanks around them,
    /// 10,000 for a last hunk that is not at the end, summed over the hunks.
    pub fuzz: u32,
}

/// Why hunks do not fit.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Misfit {
    /// The hunk of this index is nowhere behind so many lines.
    NoPlace {
        hunk: usize,
        after: usize,
    },
    TooVague,
}

/// How many lines may be compared for one file: a moment.
const COMPARISONS_MAX: usize = 50_000_000;

const FUZZ_ENDS: u32 = 1;
const FUZZ_AROUND: u32 = 100;
const FUZZ_NOT_LAST: u32 = 10_000;

/// The text after its hunks.
pub(super) fn update(text: &str, hunks: &[Hunk]) -> Result<Updated, Misfit> {
    let body = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let mut search = Search { lines: lines_of(body), fuzz: 0, comparisons_left: COMPARISONS_MAX };
    let mut written: Vec<Line> = Vec::new();
    let (mut copied, mut index) = (0, 0);
    for (number, hunk) in hunks.iter().enumerate() {
        index = search.behind_headers(&hunk.headers, index)?;
        let place = search.place(hunk, index)?.ok_or(Misfit::NoPlace { hunk: number, after: index })?;
        for chunk in &hunk.chunks {
            let at = place + chunk.at;
            written.extend_from_slice(&search.lines[copied..at]);
            let has_return = has_return(&search.lines, at);
            written.extend(chunk.added.iter().map(|text| Line { text, has_return }));
            copied = at + chunk.num_removed;
        }
        index = place + hunk.old.len();
    }
    written.extend_from_slice(&search.lines[copied..]);
    let ends_line = body.ends_with('\n');
    if ends_line && written.last().is_some_and(|line| !line.text.is_empty()) {
        written.push(Line { text: "", has_return: false });
    }
    let mut new = text[..text.len() - body.len()].to_owned();
    for (index, line) in written.iter().enumerate() {
        new.push_str(line.text);
        if index + 1 < written.len() {
            new.push_str(if line.has_return { "\r\n" } else { "\n" });
        }
    }
    Ok(Updated { text: new, fuzz: search.fuzz })
}

const BYTE_ORDER_MARK: char = '\u{feff}';

#[derive(Debug, Clone, Copy)]
struct Line<'a> {
    /// Without its ending.
    text: &'a str,
    /// Whether it ends as on Windows. Of the last line, what one behind it would need.
    has_return: bool,
}

/// Lines as they stand between newlines: behind the last newline there is an empty one.
fn lines_of(body: &str) -> Vec<Line<'_>> {
    let mut lines: Vec<Line> = Vec::new();
    let mut parts = body.split('\n').peekable();
    while let Some(part) = parts.next() {
        let is_ended = parts.peek().is_some();
        let (text, has_return) = match part.strip_suffix('\r').filter(|_| is_ended) {
            Some(text) => (text, true),
            None => (part, !is_ended && lines.last().is_some_and(|line| line.has_return)),
        };
        lines.push(Line { text, has_return });
    }
    lines
}

/// The ending of what is written in the place of this line.
fn has_return(lines: &[Line], at: usize) -> bool {
    lines.get(at).or(lines.last()).is_some_and(|line| line.has_return)
}

struct Search<'a> {
    lines: Vec<Line<'a>>,
    fuzz: u32,
    comparisons_left: usize,
}

impl Search<'_> {
    /// The line behind the headers that are found.
    fn behind_headers(&mut self, headers: &[String], mut index: usize) -> Result<usize, Misfit> {
        for header in headers.iter().filter(|header| !header.trim().is_empty()) {
            for (cost, same) in [(0, is_same as Same), (FUZZ_ENDS, is_same_trimmed)] {
                // What stands before already holds.
                if self.find(|line| same(line, header), 0, index)?.is_some() {
                    continue;
                }
                if let Some(found) = self.find(|line| same(line, header), index, self.lines.len())? {
                    self.fuzz += cost;
                    index = found + 1;
                    break;
                }
            }
        }
        Ok(index)
    }

    fn find(
        &mut self,
        is_it: impl Fn(&str) -> bool,
        from: usize,
        to: usize,
    ) -> Result<Option<usize>, Misfit> {
        self.spend(to - from)?;
        Ok((from..to).find(|&index| is_it(self.lines[index].text)))
    }

    /// Where the hunk's lines are, not before `index`.
    fn place(&mut self, hunk: &Hunk, index: usize) -> Result<Option<usize>, Misfit> {
        let old = &hunk.old;
        let num_lines = self.lines.len();
        if hunk.is_last {
            // Behind the last newline nothing stands: what is added at the end comes before it.
            let ends_line = num_lines > 1 && self.lines[num_lines - 1].text.is_empty();
            let ends = [num_lines, num_lines - usize::from(ends_line)];
            let ends = if old.is_empty() { [ends[1], ends[0]] } else { ends };
            for end in ends {
                let start = end.checked_sub(old.len()).filter(|&start| start >= index);
                if let Some(start) = start
                    && let Some(place) = self.first_match(old, start, start + 1)?
                {
                    return Ok(Some(place));
                }
            }
        }
        let place = self.first_match(old, index, num_lines)?;
        if hunk.is_last && place.is_some() {
            self.fuzz += FUZZ_NOT_LAST;
        }
        Ok(place)
    }

    /// The first of these starts where the lines fit, with the least fuzz.
    fn first_match(&mut self, old: &[String], from: usize, to: usize) -> Result<Option<usize>, Misfit> {
        if old.is_empty() {
            return Ok(Some(from));
        }
        let to = to.min((self.lines.len() + 1).saturating_sub(old.len()));
        for (cost, same) in
            [(0, is_same as Same), (FUZZ_ENDS, is_same_before_blanks), (FUZZ_AROUND, is_same_trimmed)]
        {
            for start in from..to {
                let lines = &self.lines[start..start + old.len()];
                let num_same = lines.iter().zip(old).take_while(|(line, old)| same(line.text, old)).count();
                self.spend(num_same + 1)?;
                if num_same == old.len() {
                    self.fuzz += cost;
                    return Ok(Some(start));
                }
            }
        }
        Ok(None)
    }

    fn spend(&mut self, comparisons: usize) -> Result<(), Misfit> {
        self.comparisons_left = self.comparisons_left.checked_sub(comparisons).ok_or(Misfit::TooVague)?;
        Ok(())
    }
}

type Same = fn(&str, &str) -> bool;

fn is_same(line: &str, other: &str) -> bool {
    line == other
}

fn is_same_before_blanks(line: &str, other: &str) -> bool {
    line.trim_end() == other.trim_end()
}

fn is_same_trimmed(line: &str, other: &str) -> bool {
    line.trim() == other.trim()
}
