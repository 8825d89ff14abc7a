//! Which bytes will be read soon? Hints that start their way from memory, so that arithmetic does not wait for them.
//!
//! Entry points: [`fetch`] for what is known to be a slice, [`fetch_ahead`] for a place some bytes further on, which may
//! lie past the end of the matrix: a hint is never a read. The processor fetches ahead by itself where memory is read from
//! one end to the other, but the arithmetic of a row leaves it too little room to look far, and a panel of rows is a
//! place of its own that nothing announces.
//!
//! This module does not know formats.

use std::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};

/// Bytes that come at a time.
const LINE: usize = 64;

/// Has `bytes` brought to the core's second cache.
#[inline]
#[target_feature(enable = "sse")]
pub(crate) fn fetch(bytes: &[u8]) {
    for line in bytes.chunks(LINE) {
        _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast());
    }
}

/// Has the lines of what lies `ahead` bytes after `here` brought to the core's first cache.
#[inline]
#[target_feature(enable = "sse")]
pub(crate) fn fetch_ahead<T>(here: &T, ahead: usize) {
    let first = std::ptr::from_ref(here).cast::<i8>().wrapping_add(ahead);
    for line in (0..size_of::<T>()).step_by(LINE) {
        _mm_prefetch::<_MM_HINT_T0>(first.wrapping_add(line));
    }
}
