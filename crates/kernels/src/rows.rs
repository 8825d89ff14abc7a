//! One output buffer that several tasks write, each its own part.
//!
//! Entry point: [`SharedRows`]. Tasks of a [`crate::Pool`] share a closure, so none can hold `&mut` to its part
//! of the output; this wrapper hands out the parts on the task's word that they do not overlap. It exists so
//! that the unchecked step is one line with one rule.
//!
//! This module does not know what is written.

use std::marker::PhantomData;

/// A mutable slice seen as rows of equal length, to be shared by tasks that keep to disjoint parts.
pub(crate) struct SharedRows<'a, T> {
    start: *mut T,
    len: usize,
    width: usize,
    owner: PhantomData<&'a mut [T]>,
}

// SAFETY: parts are handed out only under the promise of `part` that they are disjoint, which makes sharing the
// wrapper the same as sending each part to its thread.
unsafe impl<T: Send> Sync for SharedRows<'_, T> {}

impl<'a, T> SharedRows<'a, T> {
    /// Rows of `width` over the whole slice.
    pub(crate) fn new(slice: &'a mut [T], width: usize) -> Self {
        SharedRows { start: slice.as_mut_ptr(), len: slice.len(), width, owner: PhantomData }
    }

    /// Row `row`, whole.
    ///
    /// # Safety
    /// As [`SharedRows::part`].
    #[expect(
        clippy::mut_from_ref,
        reason = "disjoint parts of one exclusive borrow, by the caller's promise"
    )]
    pub(crate) unsafe fn row(&self, row: usize) -> &mut [T] {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.part(row, 0, self.width) }
    }

    /// `len` elements of row `row` from column `first` on.
    ///
    /// # Safety
    /// No other live part overlaps this one.
    #[expect(
        clippy::mut_from_ref,
        reason = "disjoint parts of one exclusive borrow, by the caller's promise"
    )]
    pub(crate) unsafe fn part(&self, row: usize, first: usize, len: usize) -> &mut [T] {
        assert!(
            first + len <= self.width && (row + 1) * self.width <= self.len,
            "part of a row out of bounds"
        );
        // SAFETY: in bounds as asserted, borrowed exclusively by `new`, disjoint by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(row * self.width + first), len) }
    }
}
