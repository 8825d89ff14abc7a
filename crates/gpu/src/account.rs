//! What a device holds for this program, to the byte.

use std::sync::{Mutex, PoisonError};

/// Where a buffer lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The card's own memory, which the host reaches by copies alone.
    Card,
    /// Memory of the host that the card sees too; written and read in place.
    Host,
}

/// Sums over the buffers of one place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Buffers there are.
    pub num_buffers: u64,
    /// Their sizes ([`buffer_bytes`] of what was asked for).
    pub bytes: u64,
    /// What the driver took for them.
    pub reserved_bytes: u64,
    /// The most that `bytes` has been.
    pub peak_bytes: u64,
}

/// What every buffer's size is rounded up to: kernels read sixteen bytes at a time.
pub const BUFFER_UNIT_BYTES: u64 = 16;

/// The size of a buffer for so many bytes.
pub const fn buffer_bytes(bytes: u64) -> u64 {
    let bytes = if bytes == 0 { 1 } else { bytes };
    bytes.next_multiple_of(BUFFER_UNIT_BYTES)
}

/// The books of one device.
#[derive(Debug, Default)]
pub(crate) struct Account {
    places: Mutex<[Held; 2]>,
}

impl Account {
    pub(crate) fn held(&self, place: Place) -> Held {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)[place as usize]
    }

    pub(crate) fn add(&self, place: Place, bytes: u64, reserved_bytes: u64) {
        let held = &mut self.places.lock().unwrap_or_else(PoisonError::into_inner)[place as usize];
        held.num_buffers += 1;
        held.bytes += bytes;
        held.reserved_bytes += reserved_bytes;
        held.peak_bytes = held.peak_bytes.max(held.bytes);
    }

    pub(crate) fn remove(&self, place: Place, bytes: u64, reserved_bytes: u64) {
        let held = &mut self.places.lock().unwrap_or_else(PoisonError::into_inner)[place as usize];
        held.num_buffers -= 1;
        held.bytes -= bytes;
        held.reserved_bytes -= reserved_bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_go_up_and_down_by_place() {
        let account = Account::default();
        account.add(Place::Card, 64, 256);
        account.add(Place::Host, 16, 16);
        account.add(Place::Card, 32, 256);
        account.remove(Place::Card, 64, 256);
        let held = Held { num_buffers: 1, bytes: 32, reserved_bytes: 256, peak_bytes: 96 };
        assert_eq!(account.held(Place::Card), held);
        assert_eq!(account.held(Place::Host).bytes, 16);
    }

    #[test]
    fn sizes_are_whole_units_and_never_nothing() {
        assert_eq!([0, 1, 16, 17].map(buffer_bytes), [16, 16, 16, 32]);
    }
}
