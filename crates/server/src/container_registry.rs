//! Which containers are there, and what is known of what is in them?
//!
//! [`ContainerRegistry`] knows a container from its making to the end of its wait, in memory, each with the
//! label of what it was given and of what ran there: what comes out of it is of that label at least. One that
//! has ended is told by [`ContainerRegistry::sweep`], so that its process and its files end too, and one of
//! the same name is another. Tenants do not see each other's.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use gptoss_api::limits::CONTAINER_MINUTES;
use gptoss_api::wire::containers::{ContainerExpiry, ContainerObject};
use gptoss_gateway::Label;

use crate::fair_share::make_room;
use crate::limits::{CONTAINER_TURNS_MAX, CONTAINERS_MAX};

/// The containers of all tenants, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct ContainerRegistry {
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    known: VecDeque<Known>,
    ended: Vec<Whose>,
}

/// A container, by its tenant and its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Whose {
    /// The tenant.
    pub(crate) tenant: String,
    /// The id.
    pub(crate) id: String,
}

#[derive(Debug)]
struct Known {
    whose: Whose,
    object: ContainerObject,
    label: Label,
    /// Whether something is in it that nobody has named a label of.
    is_unlabelled: bool,
    /// Calls that run in it: as long it does not end by its wait.
    num_running: usize,
    /// Responses and conversations that go on in it.
    turns: VecDeque<String>,
    /// Paths of files that its owner has deleted, and its process has still.
    removed: Vec<String>,
}

/// What a new container is.
#[derive(Debug, Clone, Default)]
pub(crate) struct NewContainer {
    /// What its owner calls it.
    pub(crate) name: String,
    /// How long it waits for its next use; None is as long as may be. Units: minutes.
    pub(crate) minutes: Option<u64>,
    /// Most memory, in OpenAI's word.
    pub(crate) memory_limit: Option<String>,
}

/// A call that runs in a container, until it is dropped.
pub(crate) struct RunningCall<'a> {
    registry: &'a ContainerRegistry,
    whose: Whose,
    clock: fn() -> u64,
}

impl Drop for RunningCall<'_> {
    fn drop(&mut self) {
        let now = (self.clock)();
        self.registry.with(&self.whose, |known| {
            known.num_running = known.num_running.saturating_sub(1);
            known.object.last_active_at = now;
        });
    }
}

impl ContainerRegistry {
    /// Takes down those whose wait has ended, and gives all that have ended since it was asked last.
    pub(crate) fn sweep(&self, now: u64) -> Vec<Whose> {
        let mut inside = self.lock();
        let Inside { known, ended } = &mut *inside;
        known.retain(|known| {
            let is_there = known.is_fresh(now);
            if !is_there {
                ended.push(known.whose.clone());
            }
            is_there
        });
        std::mem::take(ended)
    }

    /// The tenant's container of that id, which is made when it is not there. What is asked for of memory
    /// holds from its next process on.
    pub(crate) fn ensure(&self, whose: &Whose, new: NewContainer, now: u64) -> ContainerObject {
        let mut inside = self.lock();
        if let Some(known) = inside.known.iter_mut().find(|known| known.whose == *whose) {
            known.object.last_active_at = now;
            if new.memory_limit.is_some() {
                known.object.memory_limit = new.memory_limit;
            }
            return known.object.clone();
        }
        let minutes = new.minutes.unwrap_or(*CONTAINER_MINUTES.end());
        let object = ContainerObject {
            id: whose.id.clone(),
            object: "container".to_owned(),
            created_at: now,
            status: "running".to_owned(),
            expires_after: ContainerExpiry { anchor: "last_active_at".to_owned(), minutes },
            last_active_at: now,
            memory_limit: new.memory_limit,
            name: new.name,
        };
        inside.known.push_back(Known {
            whose: whose.clone(),
            object: object.clone(),
            label: Label::Any,
            is_unlabelled: false,
            num_running: 0,
            turns: VecDeque::new(),
            removed: Vec::new(),
        });
        inside.bound();
        object
    }

    /// The tenant's container of that id, if it is there.
    pub(crate) fn find(&self, whose: &Whose) -> Option<ContainerObject> {
        self.with(whose, |known| known.object.clone())
    }

    /// The tenant's containers, the oldest first.
    pub(crate) fn list(&self, tenant: &str) -> Vec<ContainerObject> {
        let inside = self.lock();
        let own = inside.known.iter().filter(|known| known.whose.tenant == tenant);
        own.map(|known| known.object.clone()).collect()
    }

    /// Ends a container; whether it was there.
    pub(crate) fn delete(&self, whose: &Whose) -> bool {
        let mut inside = self.lock();
        let place = inside.known.iter().position(|known| known.whose == *whose);
        place.and_then(|place| inside.known.remove(place)).is_some_and(|known| {
            inside.ended.push(known.whose);
            true
        })
    }

    /// The tenant's container that a response or a conversation goes on in.
    pub(crate) fn of_turn(&self, tenant: &str, turn: &str) -> Option<String> {
        let inside = self.lock();
        let is_it =
            |known: &&Known| known.whose.tenant == tenant && known.turns.iter().any(|other| other == turn);
        // Of several the one that was made last.
        inside.known.iter().rev().find(is_it).map(|known| known.whose.id.clone())
    }

    /// A response or conversation goes on in a container, and in no other.
    pub(crate) fn remember(&self, whose: &Whose, turn: &str) {
        let mut inside = self.lock();
        for known in inside.known.iter_mut().filter(|known| known.whose.tenant == whose.tenant) {
            known.turns.retain(|other| other != turn);
            if known.whose == *whose {
                known.turns.push_back(turn.to_owned());
                if known.turns.len() > CONTAINER_TURNS_MAX {
                    known.turns.pop_front();
                }
            }
        }
    }

    /// What came into a container raises its label; None is what nobody has named a label of.
    pub(crate) fn raise(&self, whose: &Whose, label: Option<Label>) {
        self.with(whose, |known| {
            known.label = known.label.max(label.unwrap_or_default());
            known.is_unlabelled |= label.is_none();
        });
    }

    /// The label of what comes out of a container, for whoever wants to let it leave: what nobody has named a
    /// label of stays, and so does what is of a container that has ended.
    pub(crate) fn label(&self, whose: &Whose) -> Label {
        let label = |known: &mut Known| if known.is_unlabelled { Label::LocalOnly } else { known.label };
        self.with(whose, label).unwrap_or(Label::LocalOnly)
    }

    /// Whether something in a container was named `local_only`.
    pub(crate) fn stays(&self, whose: &Whose) -> bool {
        self.with(whose, |known| known.label == Label::LocalOnly).unwrap_or(false)
    }

    /// A container is used.
    pub(crate) fn touch(&self, whose: &Whose, now: u64) {
        self.with(whose, |known| known.object.last_active_at = now);
    }

    /// A file that its owner deletes goes from the process too, at its next call.
    pub(crate) fn remove_file(&self, whose: &Whose, path: String) {
        self.with(whose, |known| known.removed.push(path));
    }

    /// A call begins in a container that is there. Gives the files that are to go before it.
    pub(crate) fn begin_call(&self, whose: &Whose, clock: fn() -> u64) -> (RunningCall<'_>, Vec<String>) {
        let now = clock();
        let removed = self.with(whose, |known| {
            known.num_running += 1;
            known.object.last_active_at = now;
            std::mem::take(&mut known.removed)
        });
        (RunningCall { registry: self, whose: whose.clone(), clock }, removed.unwrap_or_default())
    }

    fn with<T>(&self, whose: &Whose, look: impl FnOnce(&mut Known) -> T) -> Option<T> {
        let mut inside = self.lock();
        inside.known.iter_mut().find(|known| known.whose == *whose).map(look)
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    fn bound(&mut self) {
        if self.known.len() <= CONTAINERS_MAX {
            return;
        }
        let before: Vec<Whose> = self.known.iter().map(|known| known.whose.clone()).collect();
        make_room(&mut self.known, (CONTAINERS_MAX, usize::MAX), |known| (known.whose.tenant.as_str(), 1));
        let is_gone = |whose: &Whose| !self.known.iter().any(|known| known.whose == *whose);
        self.ended.extend(before.into_iter().filter(is_gone));
    }
}

impl Known {
    fn is_fresh(&self, now: u64) -> bool {
        let seconds = self.object.expires_after.minutes.saturating_mul(60);
        self.num_running > 0 || now.saturating_sub(self.object.last_active_at) <= seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whose(tenant: &str, id: &str) -> Whose {
        Whose { tenant: tenant.to_owned(), id: id.to_owned() }
    }

    #[test]
    fn a_container_is_its_tenants_for_its_time() {
        let registry = ContainerRegistry::default();
        let (own, minutes) = (whose("t", "c"), Some(1));
        registry.ensure(&own, NewContainer { minutes, ..NewContainer::default() }, 100);
        assert!(registry.find(&own).is_some() && registry.find(&whose("u", "c")).is_none());
        assert_eq!((registry.list("t").len(), registry.list("u").len()), (1, 0));
        assert_eq!(registry.sweep(160), []);
        let (mut running, _) = registry.begin_call(&own, || 160);
        // A call holds it, and its end is a use.
        assert_eq!(registry.sweep(1000), []);
        running.clock = || 1000;
        drop(running);
        assert_eq!(registry.sweep(1060), []);
        assert_eq!(registry.sweep(1061), std::slice::from_ref(&own));
        assert!(registry.find(&own).is_none() && !registry.delete(&own));
        registry.ensure(&own, NewContainer::default(), 2000);
        assert!(registry.delete(&own));
        assert_eq!((registry.sweep(2000), registry.sweep(2000)), (vec![own], Vec::new()));
    }

    #[test]
    fn labels_rise_and_what_nobody_names_stays() {
        let registry = ContainerRegistry::default();
        let own = whose("t", "c");
        assert_eq!(registry.label(&own), Label::LocalOnly);
        registry.ensure(&own, NewContainer::default(), 1);
        for (label, expect, stays) in [
            (Some(Label::Any), Label::Any, false),
            (Some(Label::Confidential), Label::Confidential, false),
            (Some(Label::Internal), Label::Confidential, false),
            (None, Label::LocalOnly, false),
            (Some(Label::LocalOnly), Label::LocalOnly, true),
        ] {
            registry.raise(&own, label);
            assert_eq!((registry.label(&own), registry.stays(&own)), (expect, stays), "{label:?}");
        }
        // One that was made anew knows nothing of the one before.
        registry.delete(&own);
        registry.ensure(&own, NewContainer::default(), 2);
        assert_eq!(registry.label(&own), Label::Any);
    }

    #[test]
    fn turns_go_on_where_the_last_one_was() {
        let registry = ContainerRegistry::default();
        for id in ["c", "d"] {
            registry.ensure(&whose("t", id), NewContainer::default(), 1);
        }
        registry.remember(&whose("t", "c"), "resp_1");
        registry.remember(&whose("t", "c"), "conv_1");
        registry.remember(&whose("t", "d"), "conv_1");
        assert_eq!(registry.of_turn("t", "resp_1").as_deref(), Some("c"));
        assert_eq!(registry.of_turn("t", "conv_1").as_deref(), Some("d"));
        assert_eq!(registry.of_turn("u", "resp_1"), None);
    }

    #[test]
    fn whoever_has_most_gives_way() {
        let registry = ContainerRegistry::default();
        registry.ensure(&whose("u", "c"), NewContainer::default(), 1);
        for number in 0..CONTAINERS_MAX {
            registry.ensure(&whose("t", &number.to_string()), NewContainer::default(), 1);
        }
        assert_eq!(registry.sweep(1), [whose("t", "0")]);
        assert!(registry.find(&whose("u", "c")).is_some());
    }
}
