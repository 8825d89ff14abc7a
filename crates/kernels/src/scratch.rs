//! Working memory of a task, kept by its thread between calls.
//!
//! Entry point: [`with_scratch`]. Panels and scores are a few hundred KB; asking the system for them in every
//! task would cost page faults that rival the arithmetic. Each thread keeps one buffer per element type and lends
//! it out; a nested loan gets a fresh one. Contents are whatever the last user left.
//!
//! This module does not know what is stored.

use std::cell::Cell;
use std::thread::LocalKey;

use crate::lanes::LANES;
use crate::q8::TileBlock;

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
    static TILES: Cell<Vec<TileBlock>> = const { Cell::new(Vec::new()) };
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

impl Scratch for TileBlock {
    fn kept() -> &'static LocalKey<Cell<Vec<TileBlock>>> {
        &TILES
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

/// Lends `len` elements of arbitrary content to `use_it`.
pub(crate) fn with_scratch<T: Scratch, R>(len: usize, use_it: impl FnOnce(&mut [T]) -> R) -> R {
    let mut buffer = T::kept().take();
    if buffer.len() < len {
        buffer.resize(len, T::default());
    }
    let result = use_it(&mut buffer[..len]);
    T::kept().set(buffer);
    result
}

#[cfg(test)]
mod tests {
    use super::with_scratch;

    #[test]
    fn nested_loans_do_not_overlap() {
        with_scratch(4, |outer: &mut [f32]| {
            outer.fill(1.0);
            with_scratch(8, |inner: &mut [f32]| inner.fill(2.0));
            assert_eq!(outer, [1.0; 4]);
        });
    }
}
