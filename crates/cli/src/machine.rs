//! What this machine and the limits of this process allow: memory, processors, files, disks.
//!
//! Linux's `/proc` and `/sys`, read as text; `None` where a system does not tell. A container's limits are
//! those of its control group, which is found at the mount's root: a container sees its own group there.

use std::fs;
use std::path::Path;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The control group's files, as version 2 has them.
const CGROUP: &str = "/sys/fs/cgroup";

/// Memory and its limits. Units: bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// What is built in.
    pub total: u64,
    /// What could be had now without swapping.
    pub available: u64,
    /// What the control group may take, if it has a limit.
    pub group_max: Option<u64>,
}

impl Memory {
    /// What one program can have at most.
    pub fn most(&self) -> u64 {
        self.group_max.map_or(self.total, |limit| limit.min(self.total))
    }
}

/// The memory of this machine.
pub fn memory() -> Option<Memory> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let group = fs::read_to_string(format!("{CGROUP}/memory.max")).ok();
    memory_of(&text, group.as_deref())
}

fn memory_of(meminfo: &str, group_max: Option<&str>) -> Option<Memory> {
    Some(Memory {
        total: kibibytes(meminfo, "MemTotal:")?,
        available: kibibytes(meminfo, "MemAvailable:")?,
        group_max: group_max.and_then(|text| text.trim().parse().ok()),
    })
}

/// Bytes of a line `NAME 123 kB`.
pub fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(number * 1024)
}

/// Memory that this process has now, mapped files included. Units: bytes.
pub fn resident_bytes() -> Option<u64> {
    kibibytes(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// The most that it has had. Units: bytes.
pub fn peak_bytes() -> Option<u64> {
    kibibytes(&fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// Processors that the control group may use at a time, if it has a limit.
pub fn group_processors() -> Option<f64> {
    processors_of(&fs::read_to_string(format!("{CGROUP}/cpu.max")).ok()?)
}

/// `QUOTA PERIOD`, both in microseconds, or `max PERIOD`.
fn processors_of(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    Some(quota.parse::<f64>().ok()? / period.parse::<f64>().ok()?)
}

/// How many threads compute: as many as are asked for, else all there are.
pub fn threads(asked: Option<u16>) -> usize {
    let all = || std::thread::available_parallelism().map_or(1, |threads| threads.get());
    asked.map_or_else(all, usize::from)
}

/// The processor's name.
pub fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("model name"))?;
    Some(line.trim_start_matches([' ', '\t', ':']).to_owned())
}

/// How large pages are given: `always`, `madvise` or `never`.
pub fn huge_pages() -> Option<String> {
    let text = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").ok()?;
    let chosen = text.split_once('[')?.1.split_once(']')?.0;
    Some(chosen.to_owned())
}

/// Open files that this process may ask for; `None` for no limit.
pub fn open_files() -> Option<u64> {
    getrlimit(Resource::Nofile).maximum
}

/// Asks for so many open files, or for as many as this process may have: how many that are, `None` for no
/// limit.
pub fn raise_open_files(wanted: u64) -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = limit.maximum.map_or(wanted, |maximum| wanted.min(maximum));
        // What is refused is seen in what there is then.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), ..limit });
    }
    getrlimit(Resource::Nofile).current
}

/// Bytes that this user may still write to the disk of a folder.
pub fn free_bytes(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smaller_limit_counts() {
        let meminfo = "MemTotal:       1000 kB\nMemFree: 1 kB\nMemAvailable:    600 kB\n";
        let check = |group: Option<&str>, expect: u64| {
            assert_eq!(memory_of(meminfo, group).unwrap().most(), expect, "{group:?}");
        };
        check(None, 1_024_000);
        check(Some("max\n"), 1_024_000);
        check(Some("512000\n"), 512_000);
        check(Some("999999999\n"), 1_024_000);
        assert_eq!(memory_of("MemTotal: 1 MB", None), None);
    }

    #[test]
    fn sizes_are_read_with_their_unit() {
        let status = "Name:\tx\nVmPeak:\t 10 kB\nVmHWM:\t   2048 kB\n";
        assert_eq!(kibibytes(status, "VmHWM:"), Some(2 << 20));
        assert_eq!(kibibytes(status, "VmRSS:"), None);
        assert_eq!(kibibytes("VmHWM: 12 MB", "VmHWM:"), None);
    }

    #[test]
    fn a_share_of_the_processors_is_a_number() {
        assert_eq!(processors_of("150000 100000\n"), Some(1.5));
        assert_eq!(processors_of("max 100000\n"), None);
    }
}
