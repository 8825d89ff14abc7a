//! What the system says of this process, under the names that Prometheus' own clients use.
//!
//! Linux tells it in `/proc`; elsewhere only the start is known.

use std::fmt::Write;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

/// Ticks of a second in `/proc`, whatever the machine.
const TICKS: f64 = 100.0;
/// Bytes of what `/proc` calls a kB.
const KIB: f64 = 1024.0;

/// Writes it.
pub(super) fn write(page: &mut String, started: SystemTime) {
    let mut one = |name: &str, kind: &str, help: &str, value: Option<f64>| {
        let Some(value) = value else { return };
        let _ = writeln!(
            page,
            "# HELP process_{name} {help}\n# TYPE process_{name} {kind}\nprocess_{name} {value}"
        );
    };
    let since = started.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs_f64());
    one("start_time_seconds", "gauge", "When the server started, since 1970.", since);
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    one("cpu_seconds_total", "counter", "Time of processors that was spent.", cpu_seconds(&stat));
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bytes = |name: &str| kilobytes(&status, name).map(|kilobytes| kilobytes * KIB);
    one("resident_memory_bytes", "gauge", "Memory that is in use.", bytes("VmRSS:"));
    one("virtual_memory_bytes", "gauge", "Addresses that are in use.", bytes("VmSize:"));
    let files = fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as f64);
    one("open_fds", "gauge", "Files and connections that are open.", files);
}

/// User's and system's time, of the line of `/proc/self/stat`.
fn cpu_seconds(stat: &str) -> Option<f64> {
    // The name of the process, in brackets, may hold anything; the fields behind it count from the third.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).map(|field| field.parse::<f64>().ok());
    Some((times.next()?? + times.next()??) / TICKS)
}

fn kilobytes(status: &str, name: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_system_are_read() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 100 1000 10";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(cpu_seconds(""), None);
        assert_eq!(kilobytes("Name:\tx\nVmRSS:\t  12 kB\n", "VmRSS:"), Some(12.0));
    }
}
