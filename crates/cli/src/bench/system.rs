//! What the system says about this process and this machine.
//!
//! Peak resident memory, load average, the processor's name and the page cache, each `None` or nothing where
//! the system does not tell: all of it is Linux's `/proc`, read as text. A measurement names its conditions
//! with it. Evicting files from the page cache is what a cold start needs; it is advice to the system, and
//! harmless to other programs but for their speed.

use std::fs;
use std::path::Path;

/// The most memory this process has held, mapped files included. Units: bytes.
pub fn peak_resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    kibibytes(&status, "VmHWM:")
}

/// Bytes of a line `NAME 123 kB`.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(number * 1024)
}

/// Processes that wanted to run during the last minute, on average.
pub fn load_average() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

/// The processor's name.
pub fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("model name"))?;
    Some(line.trim_start_matches([' ', '\t', ':']).to_owned())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_unit() {
        let status = "Name:\tx\nVmPeak:\t 10 kB\nVmHWM:\t   2048 kB\n";
        assert_eq!(kibibytes(status, "VmHWM:"), Some(2 << 20));
        assert_eq!(kibibytes(status, "VmRSS:"), None);
        assert_eq!(kibibytes("VmHWM: 12 MB", "VmHWM:"), None);
    }
}
