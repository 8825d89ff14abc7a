//! What all processes of a cell take together, as its first process reads it in `/proc`.

use std::fs;
use std::io;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;

use crate::cell::limits::Limits;
use crate::cell::program::End;

/// How long a process may be seen whose first thread has ended and others have not, and how often it is
/// looked at: all threads of one that ends do not end at the same moment.
const ENDING_MAX: Duration = Duration::from_millis(200);
const ENDING_LOOKS: u32 = 10;

/// What a process' line in `stat` tells.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    /// Whether its first thread has ended.
    is_dead: bool,
    num_threads: u64,
    num_pages: u64,
}

/// Whether the processes take more than they may. An error means that they cannot be seen, which ends the
/// cell.
pub fn excess(limits: &Limits) -> io::Result<Option<End>> {
    let page_bytes = rustix::param::page_size() as u64;
    let (mut num_threads, mut num_bytes) = (0, 0);
    let mut processes = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        // The first one is this, and everything else in the folder is not a number.
        let Some(id) = name.to_str().and_then(|name| name.parse::<u32>().ok()).filter(|id| *id != 1) else {
            continue;
        };
        // What cannot be counted may be anything.
        let Ok(seen) = stat(id) else { return Ok(Some(End::OutOfMemory)) };
        // It has ended meanwhile.
        let Some(seen) = seen else { continue };
        // The kernel tells no memory of a process whose first thread has ended.
        if is_hidden(&seen) && stays_hidden(id) {
            return Ok(Some(End::OutOfMemory));
        }
        let (own, tables) = (seen.num_pages * page_bytes, table_bytes(id));
        num_threads += seen.num_threads;
        num_bytes += own + tables;
        processes.push((id, own, tables));
    }
    if num_threads > limits.processes {
        return Ok(Some(End::TooManyProcesses));
    }
    if num_bytes <= limits.memory_bytes {
        return Ok(None);
    }
    // Pages that processes share were counted once for each.
    let bytes: u64 = processes.into_iter().map(|(id, own, tables)| share(id).unwrap_or(own) + tables).sum();
    Ok((bytes > limits.memory_bytes).then_some(End::OutOfMemory))
}

/// What a process takes; nothing of one that has ended.
fn stat(id: u32) -> io::Result<Option<Stat>> {
    match fs::read(format!("/proc/{id}/stat")) {
        Ok(line) => parse(&String::from_utf8_lossy(&line)).map(Some).ok_or(io::ErrorKind::InvalidData.into()),
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::NOENT | Errno::SRCH) => Ok(None),
            _ => Err(error),
        },
    }
}

/// Reads a line in `stat`. The name in it may hold anything, bytes that are not UTF-8 too.
fn parse(stat: &str) -> Option<Stat> {
    let (_, after) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = after.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Stat { is_dead: *fields.first()? == "Z", num_threads: number(17)?, num_pages: number(21)? })
}

fn is_hidden(stat: &Stat) -> bool {
    stat.is_dead && stat.num_threads > 1
}

fn stays_hidden(id: u32) -> bool {
    (0..ENDING_LOOKS).all(|_| {
        thread::sleep(ENDING_MAX / ENDING_LOOKS);
        stat(id).map_or(true, |seen| seen.is_some_and(|seen| is_hidden(&seen)))
    })
}

/// The tables by which a process finds its pages; none where they are not told. Units: bytes.
fn table_bytes(id: u32) -> u64 {
    let text = fs::read(format!("/proc/{id}/status")).unwrap_or_default();
    kilobytes(&String::from_utf8_lossy(&text), "VmPTE:").unwrap_or(0)
}

/// A process' share of the memory that it holds. Units: bytes.
fn share(id: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).ok()?;
    kilobytes(&text, "Pss:")
}

/// What the line of this name tells. Units: bytes.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_hide_what_follows_it() {
        let after = (3..=24).map(|field| field.to_string()).collect::<Vec<_>>().join(" ");
        let check = |name: &str, is_dead: bool, after: &str| {
            let expected = Stat { is_dead, num_threads: 20, num_pages: 24 };
            assert_eq!(parse(&format!("7 ({name}) {after}")), Some(expected), "{name}");
        };
        check("a) R 1 (b\n", false, &after);
        check("\u{fffd}", true, &after.replacen('3', "Z", 1));
        assert_eq!(parse("7 (a) R 1"), None);
    }

    #[test]
    fn the_share_of_a_process_is_read() {
        assert!(share(std::process::id()).unwrap() > 100_000);
        assert!(table_bytes(std::process::id()) > 1000);
        assert_eq!(stat(u32::MAX).unwrap(), None);
    }
}
