//! Hints that start bytes on their way from memory, so that arithmetic does not wait for them.
//!
//! [`StreamPrefetch`] goes through memory that is read from one end to the other, [`RowPrefetch`] through
//! some columns of rows, [`fetch_ahead`] asks for a place some bytes further on, which may lie past the end
//! of a matrix: a hint is never a read. The processor fetches ahead by itself where memory is read in order,
//! but the arithmetic of a row leaves it too little room to look far, and a panel of rows is a place of its
//! own that nothing announces.
//!
//! Hints are interleaved with the arithmetic: issued all at once they would exhaust the line-fill buffers and
//! stall.

use std::ops::Range;
use std::slice::Iter;

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};

use crate::scratch::CACHE_LINE;

/// Memory that is read next, in two pieces, cut into parts of equal length.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) struct StreamPrefetch {
    piece: Range<*const u8>,
    next_piece: Range<*const u8>,
    lines_at_once: usize,
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
impl StreamPrefetch {
    /// Both pieces of `memory`, in so many parts at most.
    pub(crate) fn new(memory: [&[u8]; 2], num_parts: usize) -> StreamPrefetch {
        let num_lines: usize = memory.iter().map(|piece| piece.len().div_ceil(CACHE_LINE)).sum();
        let [piece, next_piece] = memory.map(<[u8]>::as_ptr_range);
        StreamPrefetch { piece, next_piece, lines_at_once: num_lines.div_ceil(num_parts.max(1)) }
    }

    /// The next `num_parts` parts, or none if nothing is left. The last may reach past the end, which a hint
    /// is free to do.
    #[inline]
    pub(crate) fn parts(&mut self, num_parts: usize) -> StreamParts {
        if self.piece.start >= self.piece.end {
            std::mem::swap(&mut self.piece, &mut self.next_piece);
        }
        let is_left = self.piece.start < self.piece.end;
        let parts = StreamParts {
            next: self.piece.start,
            lines_at_once: if is_left { self.lines_at_once } else { 0 },
        };
        self.piece.start = self.piece.start.wrapping_add(num_parts * parts.lines_at_once * CACHE_LINE);
        parts
    }
}

/// A run of parts.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) struct StreamParts {
    next: *const u8,
    lines_at_once: usize,
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
impl StreamParts {
    /// Has the next part brought to the core's second cache.
    #[inline(always)]
    pub(crate) fn fetch(&mut self) {
        for _ in 0..self.lines_at_once {
            fetch_line(self.next);
            self.next = self.next.wrapping_add(CACHE_LINE);
        }
    }
}

/// Rows that are read next, some columns of each, asked for in the order in which they lie: lines in steps of
/// a row come at half the speed.
pub(crate) struct RowPrefetch<'a, V> {
    rows: Iter<'a, &'a [V]>,
    columns: Range<usize>,
    /// What is left of a row.
    row: Range<*const u8>,
}

impl<'a, V> RowPrefetch<'a, V> {
    /// Rows that there are none of may be empty.
    #[inline(always)]
    pub(crate) fn new(rows: &'a [&'a [V]], columns: Range<usize>) -> RowPrefetch<'a, V> {
        RowPrefetch { rows: rows.iter(), columns, row: std::ptr::null()..std::ptr::null() }
    }

    /// Has so many lines brought to the core's second cache, if there are as many.
    #[inline(always)]
    pub(crate) fn fetch(&mut self, lines: usize) {
        for _ in 0..lines {
            if self.row.start >= self.row.end {
                let Some(row) = self.rows.next().and_then(|row| row.get(self.columns.clone())) else {
                    return;
                };
                let row = row.as_ptr_range();
                self.row = row.start.cast()..row.end.cast();
            }
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
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

/// Has a line brought to the core's second cache.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn fetch_line(line: *const u8) {
    // SAFETY: a hint; nothing is read, and any address is allowed. Every x86-64 has the instruction.
    unsafe { _mm_prefetch::<_MM_HINT_T1>(line.cast()) };
}

/// As above.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
fn fetch_line(line: *const u8) {
    // SAFETY: a hint; nothing is read, and any address is allowed. Every 64-bit Arm has the instruction.
    unsafe {
        std::arch::asm!("prfm pldl2keep, [{0}]", in(reg) line, options(nostack, preserves_flags, readonly));
    }
}

/// Has the lines of what lies `ahead` bytes after `here` brought to the core's first cache.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "sse")]
pub(crate) fn fetch_ahead<T>(here: &T, ahead: usize) {
    let first = std::ptr::from_ref(here).cast::<i8>().wrapping_add(ahead);
    for line in (0..size_of::<T>()).step_by(CACHE_LINE) {
        _mm_prefetch::<_MM_HINT_T0>(first.wrapping_add(line));
    }
}

/// As above.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
pub(crate) fn fetch_ahead<T>(here: &T, ahead: usize) {
    let first = std::ptr::from_ref(here).cast::<u8>().wrapping_add(ahead);
    for line in (0..size_of::<T>()).step_by(CACHE_LINE) {
        // SAFETY: as for `fetch_line`.
        unsafe {
            std::arch::asm!("prfm pldl1keep, [{0}]", in(reg) first.wrapping_add(line),
                options(nostack, preserves_flags, readonly));
        }
    }
}
