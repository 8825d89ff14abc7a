//! New memory that all threads write.
//!
//! Entry point: [`in_parallel`], for tensors whose bytes are not those of the file.

use crate::bytes::Bytes;

/// New memory of `num_rows` rows, written in groups of up to `group` rows by all threads: `write(first row,
/// rows)`.
pub(crate) fn in_parallel(
    num_rows: usize,
    row_bytes: usize,
    group: usize,
    write: impl Fn(usize, &mut [u8]) + Sync,
) -> Bytes {
    let num_bytes = num_rows * row_bytes;
    let mut words = vec![0u64; num_bytes.div_ceil(8)];
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
    let share = num_rows.div_ceil(threads).next_multiple_of(group).max(1);
    let out = &mut bytemuck::cast_slice_mut::<u64, u8>(&mut words)[..num_bytes];
    std::thread::scope(|scope| {
        for (thread, out) in out.chunks_mut((share * row_bytes).max(1)).enumerate() {
            let write = &write;
            scope.spawn(move || {
                for (index, out) in out.chunks_mut(group * row_bytes).enumerate() {
                    write(thread * share + index * group, out);
                }
            });
        }
    });
    Bytes::owned(words, num_bytes)
}
