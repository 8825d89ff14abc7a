//! What is known of an opened card, whichever way leads to it: what it says of itself, what it holds, and
//! whether it has been given up.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::Error;
use crate::account::{Account, Place};
use crate::description::DeviceDescription;

/// The books and the fate of a card.
pub(crate) struct Standing {
    pub(crate) description: DeviceDescription,
    pub(crate) account: Account,
    next_buffer: AtomicU64,
    /// Why it was given up, if it was: it hung or was lost, and nothing more is asked of it.
    given_up: OnceLock<Error>,
    /// Whether it may still be using what it was given: it hung, and nothing is freed under it.
    may_run: AtomicBool,
}

impl Standing {
    pub(crate) fn new(description: DeviceDescription) -> Standing {
        Standing {
            description,
            account: Account::default(),
            next_buffer: AtomicU64::new(0),
            given_up: OnceLock::new(),
            may_run: AtomicBool::new(false),
        }
    }

    /// A number that no other buffer of the card has.
    pub(crate) fn next_buffer(&self) -> u64 {
        self.next_buffer.fetch_add(1, Ordering::Relaxed)
    }

    /// There is no room.
    pub(crate) fn is_full(&self, doing: &str) -> Error {
        let held_bytes = self.account.held(Place::Card).bytes;
        Error::OutOfMemory { device: self.description.name.clone(), doing: doing.to_owned(), held_bytes }
    }

    /// The driver gave it up, and so do we.
    pub(crate) fn is_lost(&self, doing: &str) -> Error {
        let error = Error::Lost { device: self.description.name.clone(), doing: doing.to_owned() };
        self.given_up.get_or_init(|| error).clone()
    }

    /// What was running did not end in its time: nothing is asked of the card any more, and nothing freed.
    pub(crate) fn hangs(&self, doing: &str, timeout: Duration) -> Error {
        self.may_run.store(true, Ordering::Relaxed);
        let held_bytes = self.account.held(Place::Card).bytes;
        let (device, doing, seconds) = (self.description.name.clone(), doing.to_owned(), timeout.as_secs());
        self.given_up.get_or_init(|| Error::Hang { device, doing, seconds, held_bytes }).clone()
    }

    /// Refuses what is asked of a card that hung or was lost, with the reason that came first.
    pub(crate) fn ask(&self) -> Result<(), Error> {
        self.given_up.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    /// Whether nothing may be freed, because the card may still be using it.
    pub(crate) fn may_run(&self) -> bool {
        self.may_run.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::description::{DeviceKind, Limits, Version};

    fn standing() -> Standing {
        let limits = Limits {
            storage_range_bytes: 1 << 27,
            allocation_bytes: 1 << 30,
            num_allocations: 4096,
            storage_alignment_bytes: 64,
            shared_bytes: 1 << 15,
            workgroup_invocations: 256,
            storage_buffers: 16,
            num_workgroups: [65_535; 3],
        };
        Standing::new(DeviceDescription {
            index: 0,
            name: "RTX".to_owned(),
            kind: DeviceKind::Discrete,
            memory_bytes: 16 << 30,
            driver: String::new(),
            version: Version::Vulkan([1, 3, 0]),
            limits,
        })
    }

    #[test]
    fn what_became_of_a_card_says_what_was_being_done() {
        let card = standing();
        card.account.add(Place::Card, 5, 5);
        let full = card.is_full("making room for keys").to_string();
        let expected = "RTX has no room left while making room for keys; 5 bytes are held on it";
        assert!(full.starts_with(expected), "{full}");
        assert_eq!(card.ask(), Ok(()));
        let lost = card.is_lost("a step");
        assert!(lost.to_string().starts_with("RTX was lost while a step"), "{lost}");
        // The first reason stays, and a lost card has stopped.
        assert_eq!((card.is_lost("another"), card.ask()), (lost.clone(), Err(lost)));
        assert!(!card.may_run());
    }

    #[test]
    fn under_a_card_that_hangs_nothing_may_be_freed() {
        let card = standing();
        let hang = card.hangs("a step", Duration::from_secs(3));
        assert!(hang.to_string().contains("did not finish a step within 3 s"), "{hang}");
        assert!(card.may_run() && card.ask() == Err(hang));
    }
}
