//! Rows cut into tasks, and one output buffer that several tasks write, each its own part.
//!
//! Entry points: [`RowTasks`], [`SharedRows`]. Tasks of a [`crate::Pool`] share a closure, so none can hold
//! `&mut` to its part of the output; this wrapper hands out the parts on the task's word that they do not
//! overlap. It exists so that the unchecked step is one line with one rule.

use std::marker::PhantomData;
use std::ops::Range;

/// Rows cut into consecutive tasks, in whole units, with at most one unit of difference between tasks.
#[derive(Clone, Copy)]
pub(crate) struct RowTasks {
    rows: usize,
    unit: usize,
    count: usize,
}

impl RowTasks {
    /// About `count` tasks: no more than there are units, and one if there are rows at all.
    pub(crate) fn new(rows: usize, unit: usize, count: usize) -> RowTasks {
        let units = rows.div_ceil(unit);
        RowTasks { rows, unit, count: count.clamp(units.min(1), units) }
    }

    /// A task for every unit.
    pub(crate) fn units(rows: usize, unit: usize) -> RowTasks {
        RowTasks::new(rows, unit, usize::MAX)
    }

    /// How many tasks there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The rows of a task; none beyond the last.
    pub(crate) fn rows(&self, task: usize) -> Range<usize> {
        let units = self.rows.div_ceil(self.unit);
        let start = |task: usize| (task.min(self.count) * units / self.count * self.unit).min(self.rows);
        start(task)..start(task + 1)
    }
}

/// A mutable slice seen as rows of equal length, to be shared by tasks that keep to disjoint parts.
pub(crate) struct SharedRows<'a, T> {
    start: *mut T,
    len: usize,
    width: usize,
    owner: PhantomData<&'a mut [T]>,
}

// SAFETY: parts are handed out only under the promise of `part` that they are disjoint, which makes sharing
// the wrapper the same as sending each part to its thread.
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

#[cfg(test)]
mod tests {
    use super::RowTasks;

    #[test]
    fn every_row_is_in_one_task_and_tasks_differ_by_a_unit() {
        for (rows, unit, count) in
            [(2880, 16, 16), (2880, 32, 15), (5760, 16, 24), (5, 16, 4), (0, 16, 4), (33, 16, 2)]
        {
            let tasks = RowTasks::new(rows, unit, count);
            let lens: Vec<usize> = (0..tasks.count()).map(|task| tasks.rows(task).len()).collect();
            let units: Vec<usize> = lens.iter().map(|len| len.div_ceil(unit)).collect();
            assert_eq!(lens.iter().sum::<usize>(), rows);
            assert!(units.iter().max() <= units.iter().min().map(|least| least + 1).as_ref(), "{units:?}");
            assert!(tasks.count() == 0 || tasks.rows(tasks.count()).is_empty());
        }
    }
}
