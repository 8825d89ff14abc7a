//! What comes back from the folder, and what never does.

use super::*;
use crate::random::uniform;
use crate::request::Tenant;

fn owner(name: &str) -> Owner {
    Owner { kept_for: KeptFor::Tenant(Tenant(name.into())), adapter: None }
}

fn tokens(len: u32) -> Vec<u32> {
    (0..len).map(|i| i * 11 % 97).collect()
}

fn open(folder: &Path, model: &str) -> PrefixDisk {
    PrefixDisk::open(folder, model, 1 << 30).expect("a folder")
}

fn block_payload(number: usize) -> Vec<u8> {
    (0..500_u32).map(|i| (i * 3 + number as u32) as u8).collect()
}

fn tail_payload() -> Vec<u8> {
    (0..333_u32).map(|i| (i * 7) as u8).collect()
}

fn keep(disk: &PrefixDisk, name: &str, tokens: &[u32]) {
    disk.write(&owner(name), tokens, block_payload, tail_payload);
    disk.flush();
}

/// What a prompt finds and reads: its length, or None.
fn found(disk: &PrefixDisk, name: &str, tokens: &[u32]) -> Option<usize> {
    let found = disk.find(&owner(name), tokens, 0)?;
    let bytes = disk.files.read(&found, tokens)?;
    assert_eq!(bytes.tail, tail_payload());
    assert!(bytes.blocks.iter().enumerate().all(|(number, bytes)| *bytes == block_payload(number)));
    assert_eq!(bytes.blocks.len(), found.position / BLOCK_TOKENS);
    Some(found.position)
}

#[test]
fn the_longest_place_comes_back_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = open(folder.path(), "m");
    for len in [100, 256, 300, 350] {
        keep(&disk, "a", &tokens(len));
    }
    let written = disk.stats().files_written;
    keep(&disk, "a", &tokens(350));
    assert_eq!(disk.stats().files_written, written, "what is there is not written again");
    drop(disk);
    let disk = open(folder.path(), "m");
    let check = |len, expect| assert_eq!(found(&disk, "a", &tokens(len)), expect, "{len}");
    check(200, None);
    check(256, None);
    check(257, Some(256));
    check(340, Some(300));
    check(900, Some(350));
    assert_eq!(disk.find(&owner("a"), &tokens(900), 350), None, "no longer than what is known");
    let parted = [&tokens(310)[..], &[1; 90]].concat();
    assert_eq!(found(&disk, "a", &parted), Some(300));
}

#[test]
fn tenants_models_and_folders_stay_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = open(folder.path(), "m");
    keep(&disk, "a", &tokens(300));
    assert_eq!(found(&disk, "b", &tokens(400)), None);
    assert_eq!(found(&disk, "", &tokens(400)), None);
    drop(disk);
    assert_eq!(found(&open(folder.path(), "another"), "a", &tokens(400)), None);
    std::fs::write(folder.path().join(SECRET_FILE), [7; SECRET_BYTES]).expect("writes");
    assert_eq!(found(&open(folder.path(), "m"), "a", &tokens(400)), None, "under another secret");
}

#[test]
fn a_thousand_bit_flips_are_a_thousand_misses() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = open(folder.path(), "m");
    keep(&disk, "a", &tokens(300));
    drop(disk);
    let mut files: Vec<_> = std::fs::read_dir(folder.path())
        .expect("lists")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some())
        .collect();
    files.sort();
    let mut misses = 0;
    for flip in 0..1_000 {
        let pick = |n: u64, end: usize| (uniform(flip, n) * end as f64) as usize;
        let file = &files[pick(0, files.len())];
        let whole = std::fs::read(file).expect("reads");
        let mut damaged = whole.clone();
        let bit = pick(1, whole.len() * 8);
        damaged[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(file, damaged).expect("writes");
        let disk = open(folder.path(), "m");
        misses += usize::from(found(&disk, "a", &tokens(400)).is_none());
        assert_eq!(disk.stats().misses_damaged, 1);
        assert!(!file.exists(), "a damaged file is removed");
        std::fs::write(file, whole).expect("writes");
    }
    assert_eq!(misses, 1_000);
    assert_eq!(found(&open(folder.path(), "m"), "a", &tokens(400)), Some(300), "and whole again it is found");
}

#[test]
fn short_swapped_and_missing_files_are_misses() {
    let check = |spoil: &dyn Fn(&Path, &Path)| {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = open(folder.path(), "m");
        keep(&disk, "a", &tokens(300));
        let links = disk.find(&owner("a"), &tokens(400), 0).expect("found").links;
        let file = |n: usize| folder.path().join(block_name(&links[n]));
        spoil(&file(1), &file(2));
        assert_eq!(found(&disk, "a", &tokens(400)), None);
        assert_eq!(disk.stats().misses_damaged, 1);
    };
    check(&|one, _| std::fs::remove_file(one).expect("removes"));
    check(&|one, two| {
        std::fs::copy(two, one).expect("copies");
    });
    check(&|one, _| std::fs::write(one, []).expect("writes"));
    check(&|one, _| {
        let bytes = std::fs::read(one).expect("reads");
        std::fs::write(one, &bytes[..bytes.len() - 1]).expect("writes");
    });
    check(&|one, _| {
        let bytes = std::fs::read(one).expect("reads");
        std::fs::write(one, [&bytes[..], &[0]].concat()).expect("writes");
    });
}

#[test]
fn the_budget_holds_and_the_oldest_goes() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = PrefixDisk::open(folder.path(), "m", 12_000).expect("a folder");
    let other: Vec<u32> = tokens(300).iter().map(|token| token + 1).collect();
    keep(&disk, "a", &tokens(300));
    keep(&disk, "a", &other);
    assert!(disk.stats().files_evicted > 0);
    let size = |folder: &Path| -> u64 {
        let files = std::fs::read_dir(folder).expect("lists").map(|entry| entry.expect("an entry"));
        files.map(|file| file.metadata().expect("is there").len()).sum()
    };
    assert!(size(folder.path()) <= 12_000 + SECRET_BYTES as u64);
    assert_eq!(found(&disk, "a", &[&other[..], &[5]].concat()), Some(300));
    assert_eq!(found(&disk, "a", &tokens(400)), None);
}

/// A file that was handed in again while it was being written counted twice for ever.
#[test]
fn a_file_that_is_written_twice_counts_once() {
    let mut index = Index { bytes_max: 1 << 20, ..Index::default() };
    let name = place_name(&[7; 32], &[1, 2, 3]);
    index.add(name.clone(), 1_000);
    index.add(name.clone(), 900);
    assert_eq!((index.bytes, index.files.len(), index.places[&[7; 32]].len()), (900, 1, 1));
    index.remove(&name);
    assert_eq!((index.bytes, index.files.len(), index.places.len()), (0, 0, 0));
}

/// Every local user could read what was said.
#[cfg(unix)]
#[test]
fn other_users_can_read_nothing() {
    use std::os::unix::fs::PermissionsExt;
    let above = tempfile::tempdir().expect("a folder");
    let folder = above.path().join("kv/disk");
    drop(open(&folder, "m"));
    let mode = |path: &Path| path.metadata().expect("is there").permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&folder.join(SECRET_FILE))), (0o700, 0o600));
}

/// What was read for a request that had gone stayed in memory until another step, and kept the reader from
/// the next order.
#[test]
fn what_is_forgotten_is_freed() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = open(folder.path(), "m");
    keep(&disk, "a", &tokens(300));
    assert!(disk.fetch(1, &owner("a"), &tokens(400), 0));
    while !disk.reader.has_fetched() {
        std::thread::yield_now();
    }
    disk.forget(1);
    assert!(!disk.reader.has_fetched());
    assert!(disk.fetch(2, &owner("a"), &tokens(400), 0));
    let fetched = disk.fetched(Duration::from_secs(600)).expect("comes");
    assert_eq!((fetched.id, fetched.owner, fetched.tokens), (2, owner("a"), tokens(300)));
    assert!(fetched.bytes.is_some());
}
