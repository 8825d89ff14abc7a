//! What all processes of a cell take together, as its first process reads it in `/proc`.

use std::fs;
use std::io;

use crate::cell::limits::Limits;
use crate::cell::program::End;

/// Whether the processes take more than they may. An error means that they cannot be seen, which ends the
/// cell.
pub fn excess(limits: &Limits) -> io::Result<Option<End>> {
    let (mut num_threads, mut num_pages) = (0, 0);
    let mut processes = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        // The first one is this, and everything else in the folder is not a number.
        let Some(id) = name.to_str().and_then(|name| name.parse::<u32>().ok()).filter(|id| *id != 1) else {
            continue;
        };
        // It may have ended meanwhile.
        let Some((threads, pages)) =
            fs::read_to_string(format!("/proc/{id}/stat")).ok().as_deref().and_then(parse)
        else {
            continue;
        };
        num_threads += threads;
        num_pages += pages;
        processes.push((id, pages));
    }
    if num_threads > limits.processes {
        return Ok(Some(End::TooManyProcesses));
    }
    let page_bytes = rustix::param::page_size() as u64;
    if num_pages * page_bytes <= limits.memory_bytes {
        return Ok(None);
    }
    // Pages that processes share were counted once for each.
    let bytes: u64 = processes.into_iter().map(|(id, pages)| share(id).unwrap_or(pages * page_bytes)).sum();
    Ok((bytes > limits.memory_bytes).then_some(End::OutOfMemory))
}

/// The threads of a process and its pages in memory, from its line in `stat`. Its name may hold anything.
fn parse(stat: &str) -> Option<(u64, u64)> {
    let (_, after) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = after.split_whitespace().collect();
    Some((fields.get(17)?.parse().ok()?, fields.get(21)?.parse().ok()?))
}

/// A process' share of the memory that it holds. Units: bytes.
fn share(id: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_hide_what_follows_it() {
        let after = (3..=24).map(|field| field.to_string()).collect::<Vec<_>>().join(" ");
        assert_eq!(parse(&format!("7 (a) R 1 (b\n) {after}")), Some((20, 24)));
        assert_eq!(parse("7 (a) R 1"), None);
    }

    #[test]
    fn the_share_of_a_process_is_read() {
        assert!(share(std::process::id()).unwrap() > 100_000);
    }
}
