//! What the host and a cell's first process say to each other, over a socket of theirs that no program has.
//!
//! The host sends one order, a length and JSON, with the program's standard input as a descriptor; reports
//! come back as lines. The socket is also the cell's life: when the host's end closes, the cell ends.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};

use crate::cell::limits::Limits;
use crate::cell::program::{Bind, End, Program};
use crate::cell::walls::Wall;

/// The longest order. Units: bytes.
const ORDER_BYTES_MAX: usize = 4 << 20;

/// What is to be built, and run in it. Without a program the walls are built and told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    pub program: Option<Program>,
    pub limits: Limits,
    pub binds: Vec<Bind>,
}

/// What a cell tells.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// The walls stand, but for these.
    Standing { missing: Vec<Wall> },
    /// A wall could not be built: what and why.
    Refused { what: String, why: String },
    /// The program could not be started.
    NotStarted { why: String },
    /// How the program ended.
    Ended(End),
}

/// Sends an order, and the program's standard input with it.
pub fn send(control: &mut UnixStream, order: &Order, input: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let bytes = serde_json::to_vec(order)?;
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    let descriptors: Vec<BorrowedFd<'_>> = input.into_iter().collect();
    if !descriptors.is_empty() {
        rights.push(SendAncillaryMessage::ScmRights(&descriptors));
    }
    sendmsg(&*control, &[IoSlice::new(&length)], &mut rights, SendFlags::NOSIGNAL)?;
    control.write_all(&bytes)
}

/// Receives an order.
pub fn receive(control: &mut UnixStream) -> io::Result<(Order, Option<OwnedFd>)> {
    let mut length = [0; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = RecvAncillaryBuffer::new(&mut space);
    let num_read =
        recvmsg(&*control, &mut [IoSliceMut::new(&mut length)], &mut rights, RecvFlags::CMSG_CLOEXEC)?.bytes;
    control.read_exact(&mut length[num_read..])?;
    let input = rights.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    let length = u32::from_le_bytes(length) as usize;
    if length > ORDER_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the order is longer than it may be"));
    }
    let mut bytes = vec![0; length];
    control.read_exact(&mut bytes)?;
    Ok((serde_json::from_slice(&bytes)?, input))
}

/// Tells the host something. A host that has left is no longer told.
pub fn report(control: &mut UnixStream, report: &Report) {
    if let Ok(mut line) = serde_json::to_vec(report) {
        line.push(b'\n');
        let _ = control.write_all(&line);
    }
}
