//! What lies between a cell's three descriptors and the three streams that a guest has.
//!
//! A machine's Python answers over the socket that is its standard input. A guest cannot write there, so it
//! writes its answer to its standard output, behind the request's marker, and here it is put where it
//! belongs.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;

use serde::Deserialize;

/// The longest request, and the longest reply, without files. Units: bytes.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// As much of a request as has to be known here.
#[derive(Deserialize)]
struct Request {
    marker: String,
    files: Vec<(String, u64)>,
}

/// As much of a reply.
#[derive(Deserialize)]
struct Reply {
    files: Vec<(String, u64)>,
}

/// The ends on both sides.
pub struct Ends {
    /// The host's requests, and where its replies go.
    pub socket: UnixStream,
    /// Where the guest reads.
    pub to_guest: File,
    /// Where the guest prints and answers.
    pub from_guest: File,
    /// Where the host reads what is printed.
    pub printed: File,
}

/// Passes on, on two threads, until the host or the guest is gone.
pub fn pass_on(ends: Ends) -> io::Result<()> {
    let Ends { socket, to_guest, from_guest, printed } = ends;
    let asked = socket.try_clone()?;
    let (sender, markers) = mpsc::channel();
    // Errors are ends: the guest reads no more, or the host does not.
    thread::spawn(move || requests(asked, to_guest, &sender));
    thread::spawn(move || replies(from_guest, printed, socket, &markers));
    Ok(())
}

fn requests(mut from: impl Read, mut to: impl Write, markers: &mpsc::Sender<String>) -> io::Result<()> {
    loop {
        let bytes = message(&mut from)?;
        let Request { marker, files } = serde_json::from_slice(&bytes)?;
        markers.send(marker).map_err(io::Error::other)?;
        send(&mut to, &bytes)?;
        let num_bytes = files.iter().map(|(_, size)| size).sum();
        io::copy(&mut (&mut from).take(num_bytes), &mut to)?;
    }
}

fn replies(
    from: impl Read,
    mut printed: impl Write,
    mut to: impl Write,
    markers: &mpsc::Receiver<String>,
) -> io::Result<()> {
    let mut from = io::BufReader::new(from);
    while let Ok(marker) = markers.recv() {
        copy_to(&mut from, marker.as_bytes(), &mut printed)?;
        let bytes = message(&mut from)?;
        let Reply { files } = serde_json::from_slice(&bytes)?;
        send(&mut to, &bytes)?;
        let num_bytes = files.iter().map(|(_, size)| size).sum();
        io::copy(&mut (&mut from).take(num_bytes), &mut to)?;
    }
    Ok(())
}

/// Copies up to a marker and the marker too.
fn copy_to(from: &mut impl io::BufRead, marker: &[u8], to: &mut impl Write) -> io::Result<()> {
    let mut held: Vec<u8> = Vec::new();
    loop {
        let read = from.fill_buf()?;
        if read.is_empty() {
            to.write_all(&held)?;
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // The marker may have begun in what is held, of which one byte less than all of it is kept.
        let before = held.len();
        held.extend_from_slice(read);
        if let Some(at) = held.windows(marker.len()).position(|window| window == marker) {
            let end = at + marker.len();
            from.consume(end - before);
            return to.write_all(&held[..end]);
        }
        let num_read = read.len();
        from.consume(num_read);
        let whole = held.len().saturating_sub(marker.len() - 1);
        to.write_all(&held[..whole])?;
        held.drain(..whole);
    }
}

fn message(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MESSAGE_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn send(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    to.write_all(&length.to_le_bytes())?;
    to.write_all(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives few bytes at a time.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
            let most = self.1.min(bytes.len());
            self.0.read(&mut bytes[..most])
        }
    }

    fn framed(json: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        send(&mut bytes, json.as_bytes()).unwrap();
        bytes
    }

    #[test]
    fn what_is_printed_and_what_is_answered_part_at_the_marker_however_they_come() {
        let (first, second) = (r#"{"is_error":false,"files":[["a",3]]}"#, r#"{"files":[]}"#);
        let guest = [b"12<m<mark>".to_vec(), framed(first), b"xyz34<mark>".to_vec(), framed(second)].concat();
        for piece in 1..40 {
            let (sender, markers) = mpsc::channel();
            (0..2).for_each(|_| sender.send("<mark>".to_owned()).unwrap());
            drop(sender);
            let (mut printed, mut answered) = (Vec::new(), Vec::new());
            replies(Slow(&guest, piece), &mut printed, &mut answered, &markers).unwrap();
            assert_eq!(printed, b"12<m<mark>34<mark>", "{piece}");
            assert_eq!(answered, [framed(first), b"xyz".to_vec(), framed(second)].concat(), "{piece}");
        }
    }

    #[test]
    fn requests_pass_whole_and_their_markers_are_known() {
        let first = framed(r#"{"code":"1","marker":"m1","files":[["a",2]],"removed":[]}"#);
        let second = framed(r#"{"code":"2","marker":"m2","files":[],"removed":[]}"#);
        let sent = [first, b"xy".to_vec(), second].concat();
        let (sender, markers) = mpsc::channel();
        let mut passed = Vec::new();
        let end = requests(sent.as_slice(), &mut passed, &sender).unwrap_err();
        assert_eq!((end.kind(), &passed), (io::ErrorKind::UnexpectedEof, &sent));
        drop(sender);
        assert_eq!(markers.iter().collect::<Vec<_>>(), ["m1", "m2"]);
        let huge = [255; 8];
        assert!(requests(huge.as_slice(), Vec::new(), &mpsc::channel().0).is_err());
    }
}
