//! Documents among packed rows, one after the other, of which some go on from rows of those before them.

use std::ops::Range;

/// Some of the rows of a pack: a document sees its own, and those that it goes on from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// Rows of the pack that stand at its first positions, all of documents before it, and none before the
    /// last one that goes on from nothing.
    pub after: Vec<Range<usize>>,
    /// Its own rows, behind them.
    pub rows: usize,
}

impl Document {
    /// One that goes on from nothing.
    pub fn alone(rows: usize) -> Document {
        Document { after: Vec::new(), rows }
    }

    /// The position of its own first row.
    pub fn first_position(&self) -> usize {
        self.after.iter().map(Range::len).sum()
    }

    /// Positions that it has, those that it goes on from among them.
    pub fn positions(&self) -> usize {
        self.first_position() + self.rows
    }

    /// The rows of its positions, where `first` is its own first row: runs of the pack's rows, each with its
    /// first position.
    pub fn runs(&self, first: usize) -> impl Iterator<Item = (usize, Range<usize>)> + '_ {
        let own = first..first + self.rows;
        let runs = self.after.iter().cloned().chain([own]).filter(|run| !run.is_empty());
        runs.scan(0, |end, run| Some((std::mem::replace(end, *end + run.len()), run)))
    }
}

/// The first row of each document.
pub(super) fn starts(documents: &[Document]) -> Vec<usize> {
    let start = |end: &mut usize, document: &Document| Some(std::mem::replace(end, *end + document.rows));
    documents.iter().scan(0, start).collect()
}

/// Which documents, by their indices, have rows in common: each family begins with one that goes on from
/// nothing.
///
/// Panics: when one goes on from rows that are not of its family and before it.
pub(super) fn families(documents: &[Document], starts: &[usize]) -> Vec<Range<usize>> {
    let mut families: Vec<Range<usize>> = Vec::new();
    for (index, document) in documents.iter().enumerate() {
        match families.last_mut() {
            Some(family) if !document.after.is_empty() => {
                let rows = starts[family.start]..starts[index];
                let are_known =
                    document.after.iter().all(|run| rows.start <= run.start && run.end <= rows.end);
                assert!(are_known, "attention_backward: a document goes on from rows of its family");
                family.end = index + 1;
            }
            _ => {
                assert!(document.after.is_empty(), "attention_backward: the first goes on from nothing");
                families.push(index..index + 1);
            }
        }
    }
    families
}
