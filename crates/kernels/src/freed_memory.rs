//! What becomes of memory that is freed: kept for the next buffer, or given back to the system.
//!
//! A training step asks for buffers of a few MB thousands of times. Given back each time, as the C library
//! does with large ones, every one of them is faulted in page by page and unmapped on all threads: a quarter
//! of a step of a small model.

/// Has the C library keep what is freed, for buffers of up to 32 MiB; or give it back, and what it kept too.
/// Does nothing where the C library is another than glibc.
pub fn keep_freed_memory(is_kept: bool) {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        /// The most that glibc takes from its heap: half of the largest heap. Units: bytes.
        const HEAP_BUFFER_MAX: i32 = 32 << 20;
        // What is free at the heap's end; twice a buffer is what glibc itself arrives at.
        let free_max = if is_kept { i32::MAX } else { 2 * HEAP_BUFFER_MAX };
        // SAFETY: both functions may be called at any time and from any thread; they change no memory in use.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, HEAP_BUFFER_MAX);
            libc::mallopt(libc::M_TRIM_THRESHOLD, free_max);
            if !is_kept {
                libc::malloc_trim(0);
            }
        }
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    let _ = is_kept;
}
