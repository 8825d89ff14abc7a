//! Gradient of the embedding: rows are added where their tokens stand in the table.
//!
//! Tokens are taken in ascending order, one chain an element; tasks share the columns.

use crate::pool::Pool;
use crate::rows::{RowTasks, SharedRows};

/// Columns of a task.
const TASK_COLUMNS: usize = 64;

/// `dtable[tokens[t]] += dx[t]`, t ascending.
///
/// Shapes: `dtable [V, C]`, `dx [T, C]`, `tokens [T]`.
/// Panics: when a length does not fit, or a token is not below V.
pub fn embedding_backward(pool: &Pool, dtable: &mut [f32], dx: &[f32], tokens: &[u32]) {
    let c = dx.len() / tokens.len().max(1);
    assert_eq!(dx.len(), tokens.len() * c, "embedding_backward: dx is [T, C]");
    assert!(dtable.len().is_multiple_of(c.max(1)), "embedding_backward: dtable is [V, {c}]");
    let (dtable, tasks) = (SharedRows::new(dtable, c), RowTasks::units(c, TASK_COLUMNS));
    pool.run(tasks.count(), |task| {
        let columns = tasks.rows(task);
        for (token, dx) in tokens.iter().zip(dx.chunks_exact(c)) {
            // SAFETY: each task has columns of its own, and one row of them at a time.
            let row = unsafe { dtable.part(*token as usize, columns.start, columns.len()) };
            for (sum, dx) in row.iter_mut().zip(&dx[columns.clone()]) {
                *sum += dx;
            }
        }
    });
}
