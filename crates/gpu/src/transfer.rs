//! Bytes to the card through two buffers of the host in turn, and back through one.
//!
//! While one of the two goes over the bus the other is filled, so the host's reading and the copy overlap.

use crate::Error;
use crate::account::Place;
use crate::device::{Buffer, Device, Slice};
use crate::recording::{Recorded, Recording};

/// Bytes of one of the two buffers that are enough: long copies, short waits.
pub const STAGING_BYTES: u64 = 32 << 20;

/// Uploads to a device.
pub struct Upload {
    device: Device,
    halves: [Half; 2],
    next: usize,
}

struct Half {
    staging: Buffer,
    copy: Option<Recorded>,
}

impl Half {
    fn new(device: &Device, bytes: u64) -> Result<Half, Error> {
        Ok(Half { staging: device.buffer("staging", bytes, Place::Host)?, copy: None })
    }

    /// Waits until the staging buffer can be filled again.
    fn wait(&mut self) -> Result<(), Error> {
        match self.copy.take() {
            Some(mut copy) => copy.join(),
            None => Ok(()),
        }
    }
}

impl Upload {
    /// Two staging buffers of `staging_bytes`.
    ///
    /// Errors: `OutOfMemory`.
    pub fn new(device: &Device, staging_bytes: u64) -> Result<Upload, Error> {
        let halves = [Half::new(device, staging_bytes)?, Half::new(device, staging_bytes)?];
        Ok(Upload { device: device.clone(), halves, next: 0 })
    }

    /// Copies `bytes` to the beginning of `to`; what it holds beyond them stays, but for the last four's
    /// rest, which becomes zero. The bytes may still be on their way.
    ///
    /// Errors: `Lost`, `Hang`.
    /// Panics: when they do not fit in whole words of four, or `to` does not begin at one.
    pub fn write(&mut self, to: &Slice, bytes: &[u8]) -> Result<(), Error> {
        let words_bytes = bytes.len().next_multiple_of(4) as u64;
        assert!(words_bytes <= to.len(), "{} bytes, in words, into {to:?}", bytes.len());
        let chunk_bytes = self.halves[0].staging.bytes() as usize;
        let mut at = to.bytes.start;
        for chunk in bytes.chunks(chunk_bytes) {
            let whole = chunk.len().next_multiple_of(4) as u64;
            self.write_together(&[(to.buffer.slice(at..at + whole), chunk)])?;
            at += chunk.len() as u64;
        }
        Ok(())
    }

    /// Copies bytes to the beginning of each slice, as [`Upload::write`] does, all in one submission.
    ///
    /// Errors: `Lost`, `Hang`.
    /// Panics: as [`Upload::write`]; when all of them, in words, do not fit one staging buffer.
    pub fn write_together(&mut self, parts: &[(Slice, &[u8])]) -> Result<(), Error> {
        let half = &mut self.halves[self.next];
        half.wait()?;
        let (mut recording, mut at) = (Recording::new(&self.device), 0);
        for (to, bytes) in parts {
            let end = at + bytes.len() as u64;
            let whole = end.next_multiple_of(4);
            half.staging.write(at, bytes);
            half.staging.write(end, &[0; 3][..(whole - end) as usize]);
            recording.copy(&to.part(0..whole - at), &half.staging.slice(at..whole));
            at = whole;
        }
        let first = parts.first().map(|(to, _)| to);
        let mut copy = recording.finish(&format!("an upload to {first:?}"))?;
        copy.submit()?;
        half.copy = Some(copy);
        self.next = 1 - self.next;
        Ok(())
    }

    /// Waits for what is on its way.
    ///
    /// Errors: `Lost`, `Hang`.
    pub fn finish(&mut self) -> Result<(), Error> {
        self.halves.iter_mut().try_for_each(Half::wait)
    }
}

/// The bytes of a slice. Slow (a buffer and a wait each time): for tests and for what is read seldom.
///
/// Errors: `OutOfMemory`, `Lost`, `Hang`.
/// Panics: when it does not begin and end at words of four bytes.
pub fn download(device: &Device, from: &Slice) -> Result<Vec<u8>, Error> {
    let staging = device.buffer("staging", from.len().min(STAGING_BYTES), Place::Host)?;
    let mut bytes = vec![0; from.len() as usize];
    let mut at = from.bytes.start;
    for chunk in bytes.chunks_mut(staging.bytes() as usize) {
        let mut recording = Recording::new(device);
        let part = from.buffer.slice(at..at + chunk.len() as u64);
        recording.copy(&staging.slice(0..chunk.len() as u64), &part);
        recording.finish(&format!("a download of {:?}", part.buffer))?.run()?;
        staging.read(0, chunk);
        at += chunk.len() as u64;
    }
    Ok(bytes)
}
