//! A batch of events in the bytes that vLLM sends: MessagePack, arrays by position.
//!
//! Entry point: [`payload`]. A batch is `[seconds, [event, ...], nil]`; the medium is `GPU`, which to readers
//! means the tier that the model computes from, whatever that is made of. Whom blocks are kept for is told as
//! vLLM tells a cache salt, among the extra keys of the first block: a router's own salt as it named it, and
//! a tenant of the other APIs, whose name is nobody's business, by a number that is new at each start. So a
//! router never takes blocks that it cannot have for its own. The tenant of all clients without keys has no
//! salt.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io;

use gptoss_engine::{KeptFor, KvEvent};
use gptoss_model::BLOCK_TOKENS;
use gptoss_server::LOCAL;
use rmp::encode::{write_array_len, write_f64, write_nil, write_str, write_uint};

/// The tier that readers count in full.
const MEDIUM: &str = "GPU";

/// The payload of a message; `seconds` since the epoch is when it is told, and names are hidden by `key`.
///
/// Errors: none that writing to memory has.
pub fn payload(events: &[KvEvent], seconds: f64, key: &RandomState) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    write_array_len(&mut out, 3)?;
    write_f64(&mut out, seconds)?;
    write_array_len(&mut out, events.len() as u32)?;
    events.iter().try_for_each(|event| write_event(&mut out, event, key))?;
    // The rank of data parallelism: none.
    write_nil(&mut out)?;
    Ok(out)
}

fn write_event(out: &mut Vec<u8>, event: &KvEvent, key: &RandomState) -> io::Result<()> {
    match event {
        KvEvent::Stored { hashes, parent, tokens, kept_for } => {
            write_array_len(out, 9)?;
            write_str(out, "BlockStored")?;
            write_numbers(out, hashes.iter().copied())?;
            match parent {
                Some(parent) => drop(write_uint(out, *parent)?),
                None => write_nil(out)?,
            }
            write_numbers(out, tokens.iter().copied().map(u64::from))?;
            write_uint(out, BLOCK_TOKENS as u64)?;
            // The number and the name of an adapter.
            write_nil(out)?;
            write_str(out, MEDIUM)?;
            write_nil(out)?;
            let salt = told_as(kept_for, key).filter(|_| parent.is_none());
            write_extra_keys(out, salt.as_deref(), hashes.len())
        }
        KvEvent::Removed { hashes } => {
            write_array_len(out, 3)?;
            write_str(out, "BlockRemoved")?;
            write_numbers(out, hashes.iter().copied())?;
            Ok(write_str(out, MEDIUM)?)
        }
        KvEvent::Cleared => {
            write_array_len(out, 1)?;
            Ok(write_str(out, "AllBlocksCleared")?)
        }
    }
}

/// The salt that blocks are told with.
fn told_as(kept_for: &KeptFor, key: &RandomState) -> Option<String> {
    match kept_for {
        KeptFor::Salt(salt) => Some(salt.to_string()).filter(|salt| !salt.is_empty()),
        KeptFor::Tenant(tenant) if tenant.0.is_empty() || &*tenant.0 == LOCAL => None,
        KeptFor::Tenant(_) | KeptFor::Request(_) => Some(format!("tenant-{:016x}", key.hash_one(kept_for))),
    }
}

fn write_numbers(out: &mut Vec<u8>, numbers: impl ExactSizeIterator<Item = u64>) -> io::Result<()> {
    write_array_len(out, numbers.len() as u32)?;
    for number in numbers {
        write_uint(out, number)?;
    }
    Ok(())
}

/// What a block is known by besides its tokens, for each block: the first alone has a salt.
fn write_extra_keys(out: &mut Vec<u8>, salt: Option<&str>, num_blocks: usize) -> io::Result<()> {
    let Some(salt) = salt else { return write_nil(out) };
    write_array_len(out, num_blocks as u32)?;
    write_array_len(out, 1)?;
    write_str(out, salt)?;
    (1..num_blocks).try_for_each(|_| write_nil(out))
}

#[cfg(test)]
mod tests {
    use gptoss_engine::Tenant;

    use super::*;

    #[test]
    fn events_are_arrays_by_position() {
        let check = |event: KvEvent, expect: &[u8]| {
            let bytes = payload(&[event], 1.5, &RandomState::new()).unwrap();
            let head = [&[0x93, 0xcb], &1.5_f64.to_be_bytes()[..], &[0x91]].concat();
            assert_eq!(bytes, [&head, expect, &[0xc0]].concat());
        };
        check(KvEvent::Cleared, &[&[0x91, 0xb0], &b"AllBlocksCleared"[..]].concat());
        check(
            KvEvent::Removed { hashes: vec![7, 300] },
            &[&[0x93, 0xac], &b"BlockRemoved"[..], &[0x92, 7, 0xcd, 1, 44, 0xa3], b"GPU"].concat(),
        );
        let salt = |salt: &str| KeptFor::Salt(salt.into());
        let stored = |parent, kept_for| KvEvent::Stored {
            hashes: vec![u64::MAX, 5],
            parent,
            tokens: vec![1, 200_000],
            kept_for,
        };
        let hashes = [&[0x92, 0xcf][..], &[0xff; 8], &[5]].concat();
        let tokens = [0x92, 1, 0xce, 0, 3, 0x0d, 0x40, 32, 0xc0, 0xa3];
        let begin = [&[0x99, 0xab][..], b"BlockStored", &hashes].concat();
        let salted = [&begin, &[0xc0][..], &tokens, b"GPU", &[0xc0, 0x92, 0x91, 0xa1, b't', 0xc0]].concat();
        check(stored(None, salt("t")), &salted);
        check(stored(Some(9), salt("t")), &[&begin, &[9][..], &tokens, b"GPU", &[0xc0, 0xc0]].concat());
        let local = KeptFor::Tenant(Tenant(LOCAL.into()));
        for none in [salt(""), KeptFor::Tenant(Tenant::default()), local] {
            check(stored(None, none), &[&begin, &[0xc0][..], &tokens, b"GPU", &[0xc0, 0xc0]].concat());
        }
    }

    /// Names of tenants, and what the program calls those of routers, stood in the events.
    #[test]
    fn names_are_not_told() {
        let (key, other) = (RandomState::new(), RandomState::new());
        let told = |name: &str, key| {
            let event = KvEvent::Stored {
                hashes: vec![1],
                parent: None,
                tokens: vec![7; BLOCK_TOKENS],
                kept_for: KeptFor::Tenant(Tenant(name.into())),
            };
            payload(&[event], 0.0, key).unwrap()
        };
        let first = told("payroll", &key);
        assert!(!first.windows(7).any(|window| window == b"payroll"));
        assert_eq!(first, told("payroll", &key));
        assert_ne!(first, told("sales", &key), "tenants are told apart");
        assert_ne!(first, told("payroll", &other), "nobody can try names");
    }
}
