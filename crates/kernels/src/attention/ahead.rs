//! What memory is asked for while something else is computed.
//!
//! Entry point: [`Ahead`], the rows of a cache that come next. The inner loops ask for them line by line between their products, because all at
//! once is more than a processor keeps underway, so that it would stand still. And in the order in which they lie: lines in
//! steps of a row come at half the speed.
//!
//! It does not know what the rows are.

use std::ops::Range;
use std::slice::Iter;

use crate::scratch::CACHE_LINE;
#[cfg(target_arch = "x86_64")]
use crate::simd::fetch::fetch_line;

/// Rows that are read next, some columns of each.
pub(crate) struct Ahead<'a, V> {
    rows: Iter<'a, &'a [V]>,
    columns: Range<usize>,
    /// What is left of a row.
    row: Range<*const u8>,
}

impl<'a, V> Ahead<'a, V> {
    /// Rows that there are none of may be empty.
    #[inline(always)]
    pub(crate) fn new(rows: &'a [&'a [V]], columns: Range<usize>) -> Ahead<'a, V> {
        Ahead { rows: rows.iter(), columns, row: std::ptr::null()..std::ptr::null() }
    }

    /// Asks for so many lines, if there are as many.
    #[inline(always)]
    pub(crate) fn ask(&mut self, lines: usize) {
        for _ in 0..lines {
            if self.row.start >= self.row.end {
                let Some(row) = self.rows.next().and_then(|row| row.get(self.columns.clone())) else {
                    return;
                };
                let row = row.as_ptr_range();
                self.row = row.start.cast()..row.end.cast();
            }
            #[cfg(target_arch = "x86_64")]
            fetch_line(self.row.start);
            self.row.start = self.row.start.wrapping_add(CACHE_LINE);
        }
    }

    /// Lines of one head's columns in `rows` rows, where D numbers are `d`.
    #[inline(always)]
    pub(crate) fn lines(rows: usize, d: usize) -> usize {
        (rows * d * size_of::<V>()).div_ceil(CACHE_LINE)
    }
}
