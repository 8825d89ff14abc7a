//! Which bytes will be read soon? Hints that start their way from memory, so that arithmetic does not wait for them.
//!
//! Entry points: [`Upcoming`] for what is known to be a slice, [`fetch_ahead`] for a place some bytes further on, which may
//! lie past the end of the matrix: a hint is never a read. The processor fetches ahead by itself where memory is read from
//! one end to the other, but the arithmetic of a row leaves it too little room to look far, and a panel of rows is a
//! place of its own that nothing announces.
//!
//! This module does not know formats.

use std::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};
use std::ops::Range;

use crate::scratch::CACHE_LINE;

/// Memory that is read next, asked for bit by bit while something else is computed: all at once is more than a processor
/// keeps underway, so that it would stand still.
pub(crate) struct Upcoming {
    piece: Range<*const u8>,
    next_piece: Range<*const u8>,
    lines_at_once: usize,
}

impl Upcoming {
    /// Both pieces of `memory`, in so many parts at most.
    pub(crate) fn new(memory: [&[u8]; 2], num_parts: usize) -> Upcoming {
        let num_lines: usize = memory.iter().map(|piece| piece.len().div_ceil(CACHE_LINE)).sum();
        let [piece, next_piece] = memory.map(<[u8]>::as_ptr_range);
        Upcoming { piece, next_piece, lines_at_once: num_lines.div_ceil(num_parts.max(1)) }
    }

    /// The next `num_parts` parts, or none if nothing is left. The last may reach past the end, which a hint is free to do.
    #[inline]
    pub(crate) fn parts(&mut self, num_parts: usize) -> UpcomingParts {
        if self.piece.start >= self.piece.end {
            std::mem::swap(&mut self.piece, &mut self.next_piece);
        }
        let is_left = self.piece.start < self.piece.end;
        let parts = UpcomingParts {
            next: self.piece.start,
            lines_at_once: if is_left { self.lines_at_once } else { 0 },
        };
        self.piece.start = self.piece.start.wrapping_add(num_parts * parts.lines_at_once * CACHE_LINE);
        parts
    }
}

/// A run of parts.
pub(crate) struct UpcomingParts {
    next: *const u8,
    lines_at_once: usize,
}

impl UpcomingParts {
    /// Has the next part brought to the core's second cache.
    #[inline(always)]
    pub(crate) fn fetch(&mut self) {
        for _ in 0..self.lines_at_once {
            fetch_line(self.next);
            self.next = self.next.wrapping_add(CACHE_LINE);
        }
    }
}

/// Has a line brought to the core's second cache.
#[inline(always)]
pub(crate) fn fetch_line(line: *const u8) {
    // SAFETY: a hint; nothing is read, and any address is allowed. Every x86-64 has the instruction.
    unsafe { _mm_prefetch::<_MM_HINT_T1>(line.cast()) };
}

/// Has the lines of what lies `ahead` bytes after `here` brought to the core's first cache.
#[inline]
#[target_feature(enable = "sse")]
pub(crate) fn fetch_ahead<T>(here: &T, ahead: usize) {
    let first = std::ptr::from_ref(here).cast::<i8>().wrapping_add(ahead);
    for line in (0..size_of::<T>()).step_by(CACHE_LINE) {
        _mm_prefetch::<_MM_HINT_T0>(first.wrapping_add(line));
    }
}
