//! Beginnings of prompts that outlive the process.
//!
//! Entry points: [`PrefixDisk::open`], [`PrefixDisk::fetch`] with [`PrefixDisk::fetched`], and
//! [`PrefixDisk::write`]. A kept place becomes files in one folder: one for each full block before it, shared
//! by all places behind, and one for the place itself with the windowed layers' rows and what the last block
//! holds. Files are read on a thread of their own and written on another, to a name that only a whole file
//! gets. Who waits for a disk that is too slow computes instead ([`crate::limits::FETCH_TIME_MAX`]).
//!
//! A file is named by a chain of SHA-256 over a secret of the folder, what the caller says the model is, the
//! tenant, the adapter and the tokens; so another model, precision, tenant or adapter never names it. What is
//! read is checked all the same: length, a checksum over every byte, and the tokens themselves. Whatever is
//! wrong, the file is removed and the prompt is computed: a miss, never a wrong answer. Beyond the budget,
//! what was read or written longest ago goes first.

mod reader;
mod writer;

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gptoss_model::BLOCK_TOKENS;
use sha2::{Digest, Sha256};

use crate::request::{KeptFor, Owner};
pub(crate) use reader::Fetched;
use reader::{Order, Reader};
use writer::{Job, Writer};

/// First bytes of every file; the last digit is the version.
const MAGIC: &[u8; 8] = b"gptosKV1";
/// The file with the folder's secret.
const SECRET_FILE: &str = "secret";
const SECRET_BYTES: usize = 32;
/// Places before this are not written: computing them is faster than the disk. Units: tokens.
pub const DISK_TOKENS_MIN: usize = 256;

/// The chain after some full blocks.
type Link = [u8; 32];

/// What can be told of the disk. Counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskStats {
    /// Places that were read back.
    pub hits: u64,
    /// Places that could not be read: a file was missing, damaged or another's.
    pub misses_damaged: u64,
    /// Files written.
    pub files_written: u64,
    /// Files that the writer had no time for.
    pub files_skipped: u64,
    /// Files removed to keep the budget.
    pub files_evicted: u64,
}

/// A folder of kept places.
pub struct PrefixDisk {
    root: [u8; 32],
    files: Files,
    reader: Reader,
    writer: Writer,
}

/// The files of a folder, as each of its threads has them.
#[derive(Clone)]
struct Files {
    folder: PathBuf,
    index: Arc<Mutex<Index>>,
}

/// What lies in the folder.
#[derive(Debug, Default)]
pub(crate) struct Index {
    files: HashMap<String, FileEntry>,
    /// By the link before it: tokens in the place's last block, and its file.
    places: HashMap<Link, Vec<(usize, String)>>,
    bytes: u64,
    bytes_max: u64,
    clock: u64,
    stats: DiskStats,
}

#[derive(Debug, Clone, Copy)]
struct FileEntry {
    bytes: u64,
    last_used: u64,
}

/// A place on disk that a prompt begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OnDisk {
    /// Units: tokens.
    pub(crate) position: usize,
    links: Vec<Link>,
    place: String,
}

/// The bytes of a place: its full blocks in order, then the rows of its last block and of its windows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlaceBytes {
    pub(crate) blocks: Vec<Vec<u8>>,
    pub(crate) tail: Vec<u8>,
}

impl PrefixDisk {
    /// Opens a folder, or makes it. `model` says which model and which numbers these are: files of another
    /// are not found.
    ///
    /// Errors: the system's, when the folder cannot be made, listed or written to.
    pub fn open(folder: &Path, model: &str, bytes_max: u64) -> io::Result<PrefixDisk> {
        make_private(folder)?;
        let secret = secret(folder)?;
        let mut hasher = Sha256::new();
        hasher.update(secret);
        hasher.update(MAGIC);
        hasher.update(model.as_bytes());
        let root = hasher.finalize().into();
        let mut index = Index { bytes_max, ..Index::default() };
        let mut found: Vec<_> = fs::read_dir(folder)?
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let meta = entry.metadata().ok()?;
                let kind = Path::new(&name).extension()?.to_str()?;
                matches!(kind, "block" | "place").then_some((meta.modified().ok()?, name, meta.len()))
            })
            .collect();
        found.sort();
        found.into_iter().for_each(|(_, name, bytes)| index.add(name, bytes));
        let index = Arc::new(Mutex::new(index));
        let files = Files { folder: folder.to_owned(), index };
        let writer = Writer::start(files.folder.clone(), Arc::clone(&files.index))?;
        let reader = Reader::start(files.clone())?;
        Ok(PrefixDisk { root, files, reader, writer })
    }

    /// What happened so far.
    pub fn stats(&self) -> DiskStats {
        self.files.lock().stats
    }

    /// Waits until everything that was handed in is written.
    pub fn flush(&self) {
        self.writer.flush();
    }

    /// The longest place on disk that `tokens` begins with, leaves at least one to compute, and is longer
    /// than `more_than`.
    pub(crate) fn find(&self, owner: &Owner, tokens: &[u32], more_than: usize) -> Option<OnDisk> {
        let usable = &tokens[..tokens.len().checked_sub(1)?];
        if usable.len() < DISK_TOKENS_MIN {
            return None;
        }
        let index = self.files.lock();
        let mut links = vec![self.first(owner)];
        for block in usable.chunks_exact(BLOCK_TOKENS) {
            let link = next(links[links.len() - 1], block);
            if !index.files.contains_key(&block_name(&link)) {
                break;
            }
            links.push(link);
        }
        while let Some(link) = links.last() {
            let before = (links.len() - 1) * BLOCK_TOKENS;
            let places = index.places.get(link).into_iter().flatten();
            let fits = places.filter(|(tail, name)| {
                before + tail <= usable.len() && *name == place_name(link, &usable[before..before + tail])
            });
            let longest = fits.max_by_key(|(tail, _)| *tail);
            if let Some((tail, place)) = longest {
                let position = before + tail;
                let (links, place) = (links[1..].to_vec(), place.clone());
                return (position > more_than).then_some(OnDisk { position, links, place });
            }
            links.pop();
        }
        None
    }

    /// Orders the longest place that the prompt of request `id` begins with, if it is longer than
    /// `more_than`. Whether there is one and it will come; never waits.
    pub(crate) fn fetch(&self, id: u64, owner: &Owner, prompt: &[u32], more_than: usize) -> bool {
        let Some(place) = self.find(owner, prompt, more_than) else { return false };
        let tokens = prompt[..place.position].to_vec();
        self.reader.order(Order { id, owner: owner.clone(), place, tokens })
    }

    /// The request is gone, or waits no longer: what was ordered for it is not read, and what was read is
    /// dropped.
    pub(crate) fn forget(&self, id: u64) {
        self.reader.forget(id);
    }

    /// The next place that was read; waits for it up to `patience`.
    pub(crate) fn fetched(&self, patience: Duration) -> Option<Fetched> {
        self.reader.take(patience)
    }

    /// Reads nothing until it is told otherwise.
    #[cfg(test)]
    pub(crate) fn pause_reading(&self, is_paused: bool) {
        self.reader.pause(is_paused);
    }

    /// Hands a place to the writer: `block(n)` gives the bytes of its n-th full block, `tail` those of the
    /// place.
    pub(crate) fn write(
        &self,
        owner: &Owner,
        tokens: &[u32],
        block: impl Fn(usize) -> Vec<u8>,
        tail: impl Fn() -> Vec<u8>,
    ) {
        if tokens.len() < DISK_TOKENS_MIN {
            return;
        }
        let mut link = self.first(owner);
        let blocks = tokens.chunks_exact(BLOCK_TOKENS);
        let rest = blocks.remainder();
        for (number, tokens) in blocks.enumerate() {
            link = next(link, tokens);
            self.hand_in(block_name(&link), tokens, || block(number));
        }
        self.hand_in(place_name(&link, rest), rest, tail);
    }

    fn hand_in(&self, name: String, tokens: &[u32], payload: impl FnOnce() -> Vec<u8>) {
        if self.files.lock().touch(&name) {
            return;
        }
        let job = Job { name, tokens: tokens.to_vec(), payload: Vec::new() };
        if !self.writer.offer(job, payload) {
            self.files.lock().stats.files_skipped += 1;
        }
    }

    fn first(&self, owner: &Owner) -> Link {
        let mut hasher = Sha256::new();
        hasher.update(self.root);
        match &owner.kept_for {
            KeptFor::Tenant(tenant) => hasher.update(tenant.0.as_bytes()),
            // No name begins with these bytes, which are not of UTF-8.
            KeptFor::Salt(salt) => {
                hasher.update([0xff]);
                hasher.update(salt.as_bytes());
            }
            // Neither written nor looked for: numbers begin anew with the program.
            KeptFor::Request(id) => {
                hasher.update([0xfe]);
                hasher.update(id.to_le_bytes());
            }
        }
        let link = hasher.finalize();
        let Some(adapter) = owner.adapter else { return link.into() };
        let mut hasher = Sha256::new();
        hasher.update(link);
        hasher.update(adapter.bytes());
        hasher.finalize().into()
    }
}

impl Files {
    /// Reads a place that was found. None when a file is not what it should be; it is then removed.
    fn read(&self, found: &OnDisk, tokens: &[u32]) -> Option<PlaceBytes> {
        let full = found.links.len() * BLOCK_TOKENS;
        let named = found.links.iter().map(block_name).zip(tokens.chunks(BLOCK_TOKENS));
        let mut blocks = Vec::with_capacity(found.links.len());
        for (name, tokens) in named {
            blocks.push(self.read_file(&name, tokens)?);
        }
        let tail = self.read_file(&found.place, &tokens[full..found.position])?;
        self.lock().stats.hits += 1;
        Some(PlaceBytes { blocks, tail })
    }

    fn read_file(&self, name: &str, tokens: &[u32]) -> Option<Vec<u8>> {
        let bytes = fs::read(self.folder.join(name)).ok();
        let payload = bytes.and_then(|bytes| opened(bytes, tokens));
        let mut index = self.lock();
        if payload.is_none() {
            index.stats.misses_damaged += 1;
            index.remove(name);
            // Gone already or not, nothing more can be done about it.
            let _ = fs::remove_file(self.folder.join(name));
        } else {
            index.touch(name);
        }
        payload
    }

    fn lock(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    fn add(&mut self, name: String, bytes: u64) {
        // A file can be written again while it is being written.
        self.remove(&name);
        if let Some((link, tail)) = place_of(&name) {
            self.places.entry(link).or_default().push((tail, name.clone()));
        }
        self.clock += 1;
        self.bytes += bytes;
        self.files.insert(name, FileEntry { bytes, last_used: self.clock });
    }

    fn remove(&mut self, name: &str) {
        let Some(entry) = self.files.remove(name) else { return };
        self.bytes -= entry.bytes;
        if let Some((link, _)) = place_of(name)
            && let Some(places) = self.places.get_mut(&link)
        {
            places.retain(|(_, other)| other != name);
            if places.is_empty() {
                self.places.remove(&link);
            }
        }
    }

    /// Makes a file young. False when there is none.
    fn touch(&mut self, name: &str) -> bool {
        self.clock += 1;
        let clock = self.clock;
        self.files.get_mut(name).map(|entry| entry.last_used = clock).is_some()
    }

    /// Takes files out, the oldest first, until `bytes` more fit. Their names.
    pub(crate) fn make_room(&mut self, bytes: u64) -> Vec<String> {
        let mut gone = Vec::new();
        while self.bytes + bytes > self.bytes_max {
            let oldest = self.files.iter().min_by_key(|(_, entry)| entry.last_used);
            let Some(name) = oldest.map(|(name, _)| name.clone()) else { break };
            self.remove(&name);
            self.stats.files_evicted += 1;
            gone.push(name);
        }
        gone
    }

    /// Whether a file of so many bytes can be kept at all.
    pub(crate) fn holds(&self, bytes: u64) -> bool {
        bytes <= self.bytes_max
    }

    /// A file was written.
    pub(crate) fn written(&mut self, name: String, bytes: u64) {
        self.stats.files_written += 1;
        self.add(name, bytes);
    }

    pub(crate) fn skipped(&mut self) {
        self.stats.files_skipped += 1;
    }
}

/// Makes the folder, for this user alone: what lies in it is what users said.
fn make_private(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.recursive(true).create(folder)
}

/// The folder's secret, made when there is none.
fn secret(folder: &Path) -> io::Result<[u8; SECRET_BYTES]> {
    let file = folder.join(SECRET_FILE);
    if let Ok(bytes) = fs::read(&file)
        && let Ok(secret) = <[u8; SECRET_BYTES]>::try_from(bytes)
    {
        return Ok(secret);
    }
    use std::hash::{BuildHasher, RandomState};
    let mut secret = [0; SECRET_BYTES];
    for (number, bytes) in secret.chunks_exact_mut(8).enumerate() {
        // Seeded by the system's randomness, each anew.
        bytes.copy_from_slice(&RandomState::new().hash_one(number).to_le_bytes());
    }
    let mut options = fs::OpenOptions::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options.write(true).create(true).truncate(true).open(&file)?.write_all(&secret)?;
    Ok(secret)
}

fn next(link: Link, tokens: &[u32]) -> Link {
    let mut hasher = Sha256::new();
    hasher.update(link);
    tokens.iter().for_each(|token| hasher.update(token.to_le_bytes()));
    hasher.finalize().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn block_name(link: &Link) -> String {
    format!("{}.block", hex(link))
}

/// The link, how many tokens follow it, and a hash of them.
fn place_name(link: &Link, tail: &[u32]) -> String {
    format!("{}-{}-{}.place", hex(link), tail.len(), hex(&next(*link, tail)[..8]))
}

fn place_of(name: &str) -> Option<(Link, usize)> {
    let mut parts = name.strip_suffix(".place")?.split('-');
    let (link, tail) = (parts.next()?, parts.next()?.parse().ok()?);
    let digit = |at: usize| u8::from_str_radix(link.get(at..at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..32).map(|n| digit(2 * n)).collect();
    Some((bytes?.try_into().ok()?, tail)).filter(|_| tail < BLOCK_TOKENS && link.len() == 64)
}

/// A file: magic, number of tokens, tokens, length, checksum of all that, payload.
pub(crate) fn sealed(tokens: &[u32], payload: &[u8]) -> Vec<u8> {
    let mut file = Vec::with_capacity(payload.len() + 4 * tokens.len() + 64);
    file.extend(MAGIC);
    file.extend((tokens.len() as u64).to_le_bytes());
    tokens.iter().for_each(|token| file.extend(token.to_le_bytes()));
    file.extend((payload.len() as u64).to_le_bytes());
    let head = file.len();
    file.extend([0; 8]);
    file.extend(payload);
    let sum = checksum(&file[..head]) ^ checksum(&file[head + 8..]).rotate_left(1);
    file[head..head + 8].copy_from_slice(&sum.to_le_bytes());
    file
}

/// The payload of a file that is whole and has these tokens.
fn opened(mut file: Vec<u8>, tokens: &[u32]) -> Option<Vec<u8>> {
    let mut head = MAGIC.to_vec();
    head.extend((tokens.len() as u64).to_le_bytes());
    tokens.iter().for_each(|token| head.extend(token.to_le_bytes()));
    let rest = file.strip_prefix(&head[..])?;
    let len = u64::from_le_bytes(rest.get(..8)?.try_into().ok()?);
    let sum = u64::from_le_bytes(rest.get(8..16)?.try_into().ok()?);
    let payload = &rest[16..];
    let (start, whole) = (head.len() + 16, payload.len() as u64 == len);
    let is_right = whole && sum == checksum(&file[..head.len() + 8]) ^ checksum(payload).rotate_left(1);
    file.drain(..start);
    is_right.then_some(file)
}

/// A 64-bit sum in which every word changes everything after it, so that no single change stays unseen.
fn checksum(bytes: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let words = bytes.chunks_exact(8);
    let mut last = [0; 8];
    last[..words.remainder().len()].copy_from_slice(words.remainder());
    let words = words.map(|word| u64::from_le_bytes(word.try_into().unwrap_or_default()));
    let mut sum = bytes.len() as u64;
    for word in words.chain([u64::from_le_bytes(last)]) {
        // An odd factor and a rotation lose nothing.
        sum = (sum ^ word).wrapping_mul(FACTOR).rotate_left(29);
    }
    sum
}

#[cfg(test)]
mod tests;
