//! What the system says about this machine, and what it forgets.
//!
//! The load average is Linux's `/proc`, read as text; a measurement names its conditions with it. Evicting
//! files from the page cache is what a cold start needs; it is advice to the system, and harmless to other
//! programs but for their speed.

use std::fs;
use std::path::Path;

/// Processes that wanted to run during the last minute, on average.
pub fn load_average() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

/// Asks the system to forget the pages of a file that nobody maps.
///
/// Errors: the file cannot be opened, or the system refuses.
#[cfg(target_os = "linux")]
pub fn evict(file: &Path) -> std::io::Result<()> {
    use rustix::fs::{Advice, fadvise};
    let file = fs::File::open(file)?;
    // Only clean pages can go.
    file.sync_all()?;
    Ok(fadvise(&file, 0, None, Advice::DontNeed)?)
}

/// Asks the system to forget the pages of a file that nobody maps: not possible here.
///
/// Errors: always.
#[cfg(not(target_os = "linux"))]
pub fn evict(_: &Path) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}
