//! ZMTP 3.0, the protocol of ZeroMQ over TCP, as far as sockets that publish and that answer need it.
//!
//! Entry points: [`handshake`], [`read`] and [`written`]. Mechanism NULL; peers of later minor versions speak
//! this one. What a peer sends is bounded: [`FRAME_BYTES_MAX`] a frame, [`FRAMES_MAX`] a message; more ends
//! the connection.
//!
//! Source: ZeroMQ RFC 23 (ZMTP 3.0) and RFC 37 (ZMTP 3.1).

use std::io::{self, ErrorKind, Read, Write};

/// Longest frame of a peer. Units: bytes. Subscriptions and numbers are short.
pub const FRAME_BYTES_MAX: u64 = 1024;
/// Most frames of a peer's message.
pub const FRAMES_MAX: usize = 8;

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// What a socket of ours is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Sends to all that have subscribed.
    Publisher,
    /// Answers who asks.
    Router,
}

/// What a peer sends after the handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// Frames of a message.
    Message(Vec<Vec<u8>>),
    /// A command: its name and the rest.
    Command(Vec<u8>, Vec<u8>),
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Role::Publisher => "PUB",
            Role::Router => "ROUTER",
        }
    }

    fn takes(self, peer: &[u8]) -> bool {
        match self {
            Role::Publisher => matches!(peer, b"SUB" | b"XSUB"),
            Role::Router => matches!(peer, b"REQ" | b"DEALER" | b"ROUTER"),
        }
    }
}

/// Greets a peer, and learns what socket it is.
///
/// Errors: the peer speaks something else, or is no socket for this role.
pub fn handshake(stream: &mut (impl Read + Write), role: Role) -> io::Result<()> {
    let mut greeting = [0; 64];
    (greeting[0], greeting[9], greeting[10]) = (0xff, 0x7f, 3);
    greeting[12..16].copy_from_slice(b"NULL");
    stream.write_all(&greeting)?;
    let mut theirs = [0; 64];
    stream.read_exact(&mut theirs)?;
    if theirs[0] != 0xff || theirs[9] & 1 == 0 || theirs[10] < 3 || theirs[12..32] != greeting[12..32] {
        return Err(ErrorKind::InvalidData.into());
    }
    let mut ready = b"\x05READY".to_vec();
    for (name, value) in [("Socket-Type", role.name()), ("Identity", "")] {
        ready.push(name.len() as u8);
        ready.extend(name.as_bytes());
        ready.extend((value.len() as u32).to_be_bytes());
        ready.extend(value.as_bytes());
    }
    stream.write_all(&frame(COMMAND, &ready))?;
    match read(stream)? {
        Received::Command(name, rest) if name == b"READY" => match socket_type(&rest) {
            Some(peer) if role.takes(peer) => Ok(()),
            _ => Err(ErrorKind::InvalidData.into()),
        },
        _ => Err(ErrorKind::InvalidData.into()),
    }
}

/// The property Socket-Type of a READY command.
fn socket_type(mut properties: &[u8]) -> Option<&[u8]> {
    loop {
        let (&length, rest) = properties.split_first()?;
        let (name, rest) = rest.split_at_checked(usize::from(length))?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (value, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        if name.eq_ignore_ascii_case(b"Socket-Type") {
            return Some(value);
        }
        properties = rest;
    }
}

/// The next message or command of a peer.
///
/// Errors: the connection's; bytes that are no frame, or too many of them.
pub fn read(stream: &mut impl Read) -> io::Result<Received> {
    let mut frames = Vec::new();
    loop {
        let mut flags = [0];
        stream.read_exact(&mut flags)?;
        let length = match flags[0] & LONG {
            0 => u64::from(u8::from_be_bytes(bytes(stream)?)),
            _ => u64::from_be_bytes(bytes(stream)?),
        };
        if flags[0] & !(MORE | LONG | COMMAND) != 0 || length > FRAME_BYTES_MAX || frames.len() == FRAMES_MAX
        {
            return Err(ErrorKind::InvalidData.into());
        }
        let mut body = vec![0; length as usize];
        stream.read_exact(&mut body)?;
        if flags[0] & COMMAND != 0 {
            let name = body.split_first().and_then(|(&length, rest)| rest.split_at_checked(length.into()));
            let (name, rest) = name.ok_or(ErrorKind::InvalidData)?;
            return Ok(Received::Command(name.to_vec(), rest.to_vec()));
        }
        frames.push(body);
        if flags[0] & MORE == 0 {
            return Ok(Received::Message(frames));
        }
    }
}

fn bytes<const N: usize>(stream: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A message as it is sent.
pub fn written(frames: &[&[u8]]) -> Vec<u8> {
    let last = frames.len().saturating_sub(1);
    let flags = |place: usize| if place < last { MORE } else { 0 };
    frames.iter().enumerate().flat_map(|(place, body)| frame(flags(place), body)).collect()
}

/// The answer to a PING, whose rest holds a time and a context.
pub fn pong(ping: &[u8]) -> Vec<u8> {
    frame(COMMAND, &[&b"\x04PONG"[..], ping.get(2..).unwrap_or_default()].concat())
}

fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(body.len() + 9);
    match u8::try_from(body.len()) {
        Ok(length) => frame.extend([flags, length]),
        Err(_) => {
            frame.push(flags | LONG);
            frame.extend((body.len() as u64).to_be_bytes());
        }
    }
    frame.extend(body);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection of which one half was written before.
    struct Tape {
        theirs: io::Cursor<Vec<u8>>,
        ours: Vec<u8>,
    }

    impl Read for Tape {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.theirs.read(buffer)
        }
    }

    impl Write for Tape {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.ours.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn greeting(minor: u8, mechanism: &[u8]) -> Vec<u8> {
        let mut greeting = vec![0; 64];
        // As libzmq sends it.
        (greeting[0], greeting[8], greeting[9], greeting[10], greeting[11]) = (0xff, 1, 0x7f, 3, minor);
        greeting[12..12 + mechanism.len()].copy_from_slice(mechanism);
        greeting
    }

    #[test]
    fn peers_of_the_right_kind_are_greeted() {
        let check = |role: Role, theirs: Vec<u8>, expect: bool| {
            let mut tape = Tape { theirs: io::Cursor::new(theirs), ours: Vec::new() };
            assert_eq!(handshake(&mut tape, role).is_ok(), expect);
            assert!(!expect || tape.ours.len() > 64 + 20);
        };
        let ready = |socket: &str| {
            let length = (socket.len() as u32).to_be_bytes();
            let body = [b"\x05READY\x08Identity\0\0\0\0\x0bSocket-Type", &length[..], socket.as_bytes()];
            frame(COMMAND, &body.concat())
        };
        let peer = |socket: &str| [greeting(1, b"NULL"), ready(socket)].concat();
        check(Role::Publisher, peer("SUB"), true);
        check(Role::Publisher, peer("DEALER"), false);
        check(Role::Router, peer("DEALER"), true);
        check(Role::Router, peer("REQ"), true);
        check(Role::Router, peer("SUB"), false);
        check(Role::Publisher, [greeting(1, b"CURVE"), ready("SUB")].concat(), false);
        check(Role::Publisher, b"GET / HTTP/1.1\r\n".repeat(9), false);
        check(Role::Publisher, greeting(0, b"NULL"), false);
    }

    #[test]
    fn what_is_written_is_read_and_what_is_too_long_is_not() {
        let check = |bytes: &[u8], expect: Option<Received>| {
            assert_eq!(read(&mut io::Cursor::new(bytes)).ok(), expect);
        };
        let long = vec![7; 300];
        let message = written(&[b"", b"12345678", &long]);
        check(&message, Some(Received::Message(vec![Vec::new(), b"12345678".to_vec(), long.clone()])));
        check(&written(&[b"\x01"]), Some(Received::Message(vec![vec![1]])));
        check(&frame(COMMAND, b"\x04PING\0\x0acontext"), {
            Some(Received::Command(b"PING".to_vec(), b"\0\x0acontext".to_vec()))
        });
        assert_eq!(pong(b"\0\x0acontext"), frame(COMMAND, b"\x04PONGcontext"));
        check(&message[..40], None);
        check(&written(&[&vec![0; 1025]]), None);
        check(&written(&[&[][..]; FRAMES_MAX + 1]), None);
        check(&[0xf8, 0], None);
        check(&frame(COMMAND, b"\x09x"), None);
    }
}
