//! A file that shrinks while it is mapped ends the program with 1 and a message that names the file.
//!
//! The signal kills the process it hits, so each test runs itself again as a child with a variable set, and
//! looks at how the child ended.

#![expect(unsafe_code, reason = "a file is mapped to be shrunk")]
#![expect(clippy::disallowed_methods, reason = "the test runs itself again with a variable set")]

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output};

use gptoss_checkpoint::{SafetensorsFile, install_bus_error_handler};

const CHILD: &str = "GPTOSS_TEST_BUS_ERROR_FILE";

fn run_as_child(test: &str, file: &Path) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD, file)
        .output()
        .unwrap()
}

/// A file whose one tensor spans several pages.
fn write_file(path: &Path) {
    let header = r#"{"a":{"dtype":"U8","shape":[65536],"data_offsets":[0,65536]}}  "#;
    fs::write(path, [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[7; 65536]].concat())
        .unwrap();
}

fn read_after_shrinking(path: &str) -> u8 {
    write_file(Path::new(path));
    let file = SafetensorsFile::open(Path::new(path)).unwrap();
    let tensor = file.tensor("a").unwrap();
    assert_eq!(tensor.bytes[60_000], 7);
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(100).unwrap();
    std::hint::black_box(&tensor.bytes)[60_000]
}

#[test]
fn the_message_names_the_file() {
    if let Ok(path) = std::env::var(CHILD) {
        assert!(install_bus_error_handler());
        assert!(install_bus_error_handler(), "a second call is harmless");
        println!("read {} from a file that is gone", read_after_shrinking(&path));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let output = run_as_child("the_message_names_the_file", &path);
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(message.contains(&format!("{}: the file shrank", path.display())), "{message}");
    assert!(message.contains("restore it"), "{message}");
}

#[test]
fn a_fault_outside_our_maps_goes_to_the_previous_handler() {
    if let Ok(path) = std::env::var(CHILD) {
        install_bus_error_handler();
        write_file(Path::new(&path));
        // SAFETY: the map is read once, after the file shrank, which is the fault this child is made for.
        let map = unsafe { memmap2::Mmap::map(&fs::File::open(&path).unwrap()) }.unwrap();
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(100).unwrap();
        println!("read {}", std::hint::black_box(&map)[60_000]);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("foreign.safetensors");
    let output = run_as_child("a_fault_outside_our_maps_goes_to_the_previous_handler", &path);
    assert_eq!(output.status.signal(), Some(libc::SIGBUS), "{output:?}");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("shrank"));
}

#[test]
fn another_bus_error_still_kills() {
    if std::env::var(CHILD).is_ok() {
        install_bus_error_handler();
        // SAFETY: raising a signal has no precondition; this process is a child made for dying.
        unsafe { libc::raise(libc::SIGBUS) };
        return;
    }
    let output = run_as_child("another_bus_error_still_kills", Path::new("unused"));
    assert_eq!(output.status.signal(), Some(libc::SIGBUS), "{output:?}");
}

#[test]
fn a_closed_file_is_forgotten() {
    if let Ok(path) = std::env::var(CHILD) {
        install_bus_error_handler();
        write_file(Path::new(&path));
        for _ in 0..2000 {
            drop(SafetensorsFile::open(Path::new(&path)).unwrap());
        }
        println!("read {}", read_after_shrinking(&path));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("again.safetensors");
    let output = run_as_child("a_closed_file_is_forgotten", &path);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("again.safetensors"));
}
