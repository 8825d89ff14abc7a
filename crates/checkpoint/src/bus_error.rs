//! What happens when a mapped checkpoint shrinks under the program: a message with the file's name, and exit
//! code 1.
//!
//! Reading a page beyond the end of a mapped file raises SIGBUS, which no Rust code can catch as an error.
//! The handler of [`install_bus_error_handler`] looks the faulting address up in a table of mapped files and,
//! if it is in one, says which and ends the program. Any other bus error goes on to whoever handled it
//! before.
//!
//! A signal handler may only read atomics and call `write` and `_exit`, hence the shape: a fixed table of
//! atomics, written when files are mapped, and paths that are leaked once per map (some hundred bytes) so
//! that the handler can never read freed memory. More than [`SLOTS`] maps still work; the message for the
//! others names no file.

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// Files the handler can name at the same time.
const SLOTS: usize = 512;
/// Marks a slot that is being filled; never the start of a map.
const RESERVED: usize = usize::MAX;

struct Entry {
    /// 0 when free, [`RESERVED`] while being written, else the first address of the map.
    start: AtomicUsize,
    end: AtomicUsize,
    path: AtomicPtr<libc::c_char>,
}

static TABLE: [Entry; SLOTS] = [const {
    Entry { start: AtomicUsize::new(0), end: AtomicUsize::new(0), path: AtomicPtr::new(ptr::null_mut()) }
}; SLOTS];

/// The handler that was there before ours.
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

/// A place in the table.
#[derive(Debug)]
pub(crate) struct Slot(usize);

/// Enters a map; `None` when it is empty, the table is full or the path cannot be a C string.
pub(crate) fn register(map: &[u8], path: &Path) -> Option<Slot> {
    if map.is_empty() {
        return None;
    }
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    let free = |entry: &Entry| {
        entry.start.compare_exchange(0, RESERVED, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    };
    let index = TABLE.iter().position(free)?;
    let entry = &TABLE[index];
    let start = map.as_ptr() as usize;
    entry.path.store(path.into_raw(), Ordering::Relaxed);
    entry.end.store(start + map.len(), Ordering::Relaxed);
    entry.start.store(start, Ordering::Release);
    Some(Slot(index))
}

/// Frees a place; the path stays leaked, because a handler on another thread may be reading it.
pub(crate) fn unregister(slot: Slot) {
    TABLE[slot.0].start.store(0, Ordering::Release);
}

/// Makes a bus error inside a mapped checkpoint end the program with exit code 1 and a message that names the
/// file.
///
/// Call it once, early in `main`. It returns whether the handler is in place; a second call changes nothing.
pub fn install_bus_error_handler() -> bool {
    if PREVIOUS.get().is_some() {
        return true;
    }
    let mut previous = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: `action` is fully initialised (zeroed is a valid sigaction, then the fields that matter are
    // set), `previous` is a valid place for the old one, which is read only when the call says that it was
    // written.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = handle_bus_error;
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigemptyset(&mut action.sa_mask);
        if libc::sigaction(libc::SIGBUS, ptr::null(), previous.as_mut_ptr()) != 0 {
            return false;
        }
        if PREVIOUS.set(previous.assume_init()).is_err() {
            return true;
        }
        libc::sigaction(libc::SIGBUS, &action, ptr::null_mut()) == 0
    }
}

extern "C" fn handle_bus_error(signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid siginfo to a SA_SIGINFO handler, and SIGBUS fills its address.
    let address = unsafe { (*info).si_addr() } as usize;
    for entry in &TABLE {
        let start = entry.start.load(Ordering::Acquire);
        if start == 0 || start == RESERVED || address < start || address >= entry.end.load(Ordering::Relaxed)
        {
            continue;
        }
        say(b"gptoss: error: ");
        let path = entry.path.load(Ordering::Relaxed);
        // SAFETY: paths in the table come from `CString::into_raw` and are never freed; `strlen` and `write`
        // are async-signal-safe.
        unsafe { libc::write(libc::STDERR_FILENO, path.cast(), libc::strlen(path)) };
        say(b": the file shrank or became unreadable while it was in use; restore it (download or copy it again) and \
              start over\n");
        // SAFETY: `_exit` is async-signal-safe and does not return.
        unsafe { libc::_exit(1) };
    }
    // Not ours. A real fault comes again when the faulting instruction runs again, and then meets the
    // previous handler. One that somebody sent with `kill` does not: it gets the default action, which ends
    // the process. SAFETY: all calls are async-signal-safe; `info` is valid as above; a zeroed sigaction is
    // the default action.
    unsafe {
        let previous = PREVIOUS.get().filter(|_| (*info).si_code > 0);
        let default: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, previous.unwrap_or(&default), ptr::null_mut());
        if previous.is_none() {
            libc::raise(signal);
        }
    }
}

fn say(text: &[u8]) {
    // SAFETY: the pointer and the length are those of a live slice; `write` is async-signal-safe.
    unsafe { libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len()) };
}
