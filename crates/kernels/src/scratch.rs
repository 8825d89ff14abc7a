//! Working memory of a task, kept by its thread between calls.
//!
//! Entry point: [`with_scratch`]. Panels and scores are a few hundred KB; asking the system for them in every
//! task would cost page faults that rival the arithmetic. Each thread keeps one buffer per element type and
//! lends it out; a nested loan gets a fresh one. Contents are whatever the last user left.

use std::cell::Cell;
use std::thread::LocalKey;

use crate::lanes::LANES;

/// An element type that threads keep a buffer of.
pub(crate) trait Scratch: Copy + Default + 'static {
    /// Where the thread keeps it.
    fn kept() -> &'static LocalKey<Cell<Vec<Self>>>;
}

thread_local! {
    static F32: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
    /// Apart from `F32`, for a loan that lasts while the borrower's tasks borrow floats on the same thread.
    static EIGHTS: Cell<Vec<[f32; LANES]>> = const { Cell::new(Vec::new()) };
    static BYTES: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static EXPONENTS: Cell<Vec<i8>> = const { Cell::new(Vec::new()) };
}

impl Scratch for f32 {
    fn kept() -> &'static LocalKey<Cell<Vec<f32>>> {
        &F32
    }
}

impl Scratch for [f32; LANES] {
    fn kept() -> &'static LocalKey<Cell<Vec<[f32; LANES]>>> {
        &EIGHTS
    }
}

impl Scratch for i8 {
    fn kept() -> &'static LocalKey<Cell<Vec<i8>>> {
        &EXPONENTS
    }
}

impl Scratch for u8 {
    fn kept() -> &'static LocalKey<Cell<Vec<u8>>> {
        &BYTES
    }
}

/// Bytes that memory brings at once.
pub(crate) const CACHE_LINE: usize = 64;

/// Lends `len` elements of arbitrary content to `use_it`. They begin with a cache line, as far as whole
/// elements lead to one: a register that lies across two costs twice.
pub(crate) fn with_scratch<T: Scratch, R>(len: usize, use_it: impl FnOnce(&mut [T]) -> R) -> R {
    let spare = CACHE_LINE.div_ceil(size_of::<T>());
    let mut buffer = T::kept().take();
    if buffer.len() < len + spare {
        buffer.resize(len + spare, T::default());
    }
    let start = buffer.as_ptr().align_offset(CACHE_LINE).min(spare);
    let result = use_it(&mut buffer[start..][..len]);
    T::kept().set(buffer);
    result
}

#[cfg(test)]
mod tests {
    use super::{CACHE_LINE, Scratch, with_scratch};

    fn assert_aligned<T: Scratch>(len: usize) {
        with_scratch(len, |lent: &mut [T]| {
            assert_eq!(lent.len(), len);
            assert_eq!(lent.as_ptr().addr() % CACHE_LINE, 0, "{len} of {} bytes", size_of::<T>());
        });
    }

    #[test]
    fn loans_begin_with_a_cache_line() {
        for len in [1, 7, 64, 10_000] {
            assert_aligned::<u8>(len);
            assert_aligned::<i8>(len);
            assert_aligned::<f32>(len);
        }
    }

    #[test]
    fn nested_loans_do_not_overlap() {
        with_scratch(4, |outer: &mut [f32]| {
            outer.fill(1.0);
            with_scratch(8, |inner: &mut [f32]| inner.fill(2.0));
            assert_eq!(outer, [1.0; 4]);
        });
    }
}
