//! How much a cell's program may take of the machine.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cell::program::End;

/// Seconds that a program may run.
pub const TIME_MAX: Duration = Duration::from_secs(120);
/// Memory that a cell's processes may hold together. Units: bytes.
pub const MEMORY_BYTES_MAX: u64 = 2 << 30;
/// Processes and threads that a cell may have at once.
pub const PROCESSES_MAX: u64 = 256;
/// Files that one process may hold open.
pub const OPEN_FILES_MAX: u64 = 256;
/// Size of one file that a program writes. Units: bytes.
pub const FILE_BYTES_MAX: u64 = 256 << 20;
/// Output that is kept of each of the two streams. Units: bytes.
pub const OUTPUT_BYTES_MAX: usize = 64 << 10;
/// What the folders `/mnt/data`, `/tmp` and `/dev/shm` hold together; it is memory. Units: bytes.
pub const DISK_BYTES_MAX: u64 = 512 << 20;
/// Files and folders that those hold together.
pub const FILES_MAX: u64 = 20_000;

/// The limits of a cell. Each is enforced by the kernel or by the cell's first process, never by the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// How long a program may run.
    pub time: Duration,
    /// Memory of all processes together. Units: bytes.
    pub memory_bytes: u64,
    /// Processes and threads at once.
    pub processes: u64,
    /// Open files of one process.
    pub open_files: u64,
    /// Size of one written file. Units: bytes.
    pub file_bytes: u64,
    /// Output kept of each stream. Units: bytes.
    pub output_bytes: usize,
    /// What is written to the cell's own folders. Units: bytes.
    pub disk_bytes: u64,
    /// Files and folders there.
    pub files: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            time: TIME_MAX,
            memory_bytes: MEMORY_BYTES_MAX,
            processes: PROCESSES_MAX,
            open_files: OPEN_FILES_MAX,
            file_bytes: FILE_BYTES_MAX,
            output_bytes: OUTPUT_BYTES_MAX,
            disk_bytes: DISK_BYTES_MAX,
            files: FILES_MAX,
        }
    }
}

impl Limits {
    /// Which limit a program ended by, as a line for whoever reads its output; nothing if by none.
    pub fn exceeded(&self, end: End) -> String {
        match end {
            End::OutOfTime => format!("[killed: it ran longer than {} s]\n", self.time.as_secs_f64()),
            End::OutOfMemory => {
                format!("[killed: its processes held more than {} MiB of memory]\n", self.memory_bytes >> 20)
            }
            End::TooManyProcesses => {
                format!("[killed: it had more than {} processes and threads]\n", self.processes)
            }
            End::Exited(_) | End::Signaled(_) => String::new(),
        }
    }
}
