//! Which models are in memory, who waits for one, and what has to be done next?
//!
//! [`Roster`] is plain data and decides alone; time is given to it, and `model_host` does what it says. Its
//! rules: one model is loaded at a time, the one whose first request has waited longest, and before those
//! that only work in the background wait for. Where the budget has no room for it, models leave: idle ones
//! first, the one that was used longest ago in front, then busy ones, the one whose time is up longest in
//! front. A model that runs turns takes no new ones from then on and leaves after the last, but not before it
//! has been there as long as its loading took, so that at most half of the time goes into loading; for work
//! in the background only idle models leave. A model that nobody has used for its time leaves too.
//!
//! A lease is the right to a model in memory: with one it stays. Whoever waited for a model has a lease as
//! soon as it is loaded, before anybody can make it leave again.

use std::time::{Duration, Instant};

use crate::limits::{LOAD_RETRY, LOAD_WAITING_MAX};

/// Number of a request that waits.
pub(crate) type Ticket = u64;

/// How long a model stays after its last use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Keep {
    /// As the operator says.
    #[default]
    Usual,
    /// So long.
    For(Duration),
    /// Until its room is needed.
    Always,
}

/// How far a model is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ModelState {
    /// Not in memory: its next request loads it.
    Unloaded,
    /// On its way.
    Loading,
    /// In memory.
    Loaded,
    /// It could not be loaded a moment ago.
    Failed,
}

impl ModelState {
    /// Its word in lists of models.
    pub(crate) fn word(self) -> &'static str {
        match self {
            ModelState::Unloaded => "unloaded",
            ModelState::Loading => "loading",
            ModelState::Loaded => "loaded",
            ModelState::Failed => "failed",
        }
    }
}

/// All models and what is known of their place.
#[derive(Debug)]
pub(crate) struct Roster {
    slots: Vec<Slot>,
    /// Of all models in memory; None is no bound. Units: bytes.
    budget: Option<u64>,
    /// How long a model stays after its last use; None is for ever.
    idle: Option<Duration>,
    next_ticket: Ticket,
}

#[derive(Debug)]
struct Slot {
    /// As planned.
    bytes: u64,
    place: Place,
    waiting: Vec<Waiting>,
    keep: Keep,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Unloaded,
    Failed { until: Instant },
    Loading,
    Loaded { num_leases: usize, last_used: Instant, stays_until: Instant },
    Leaving,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    ticket: Ticket,
    is_background: bool,
}

/// What a request for a model gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entered {
    /// A lease.
    Leased,
    /// A place among those that wait.
    Waits(Ticket),
    /// Nothing: it could not be loaded, and is tried again after this time.
    Failed(Duration),
    /// Nothing: so many wait already.
    Full(usize),
}

/// What has to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// This model is to be loaded.
    Load(usize),
    /// This model is to be unloaded.
    Unload(usize),
    /// Nothing, before something changes or this time comes.
    Wait(Option<Instant>),
}

impl Roster {
    /// Of models that take so many bytes each, none of them in memory.
    pub(crate) fn new(bytes: &[u64], budget: Option<u64>, idle: Option<Duration>) -> Roster {
        let slot =
            |&bytes| Slot { bytes, place: Place::Unloaded, waiting: Vec::new(), keep: Keep::default() };
        Roster { slots: bytes.iter().map(slot).collect(), budget, idle, next_ticket: 0 }
    }

    /// A request comes for a model.
    pub(crate) fn enter(&mut self, index: usize, is_background: bool, keep: Keep, now: Instant) -> Entered {
        // Work in the background makes no model leave that somebody asks for just now.
        let is_leaving =
            self.head().is_some_and(|(_, is_background_head)| is_background || !is_background_head)
                && self.leaving(now).contains(&index);
        let num_waiting: usize = self.slots.iter().map(|slot| slot.waiting.len()).sum();
        let slot = &mut self.slots[index];
        match &mut slot.place {
            Place::Failed { until } if *until > now => return Entered::Failed(*until - now),
            Place::Loaded { num_leases, last_used, .. } if !is_leaving => {
                *num_leases += 1;
                *last_used = now;
                slot.keep = keep;
                return Entered::Leased;
            }
            _ if num_waiting >= LOAD_WAITING_MAX => return Entered::Full(num_waiting),
            _ => {}
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        slot.keep = keep;
        slot.waiting.push(Waiting { ticket, is_background });
        Entered::Waits(ticket)
    }

    /// A request waits no more.
    pub(crate) fn give_up(&mut self, ticket: Ticket) {
        for slot in &mut self.slots {
            slot.waiting.retain(|waiting| waiting.ticket != ticket);
        }
    }

    /// A lease has ended.
    pub(crate) fn leave(&mut self, index: usize, now: Instant) {
        if let Place::Loaded { num_leases, last_used, .. } = &mut self.slots[index].place {
            *num_leases = num_leases.saturating_sub(1);
            *last_used = now;
        }
    }

    /// How long a model stays is said without a use of it; one that is not in memory has nothing to keep.
    pub(crate) fn keep(&mut self, index: usize, keep: Keep) {
        self.slots[index].keep = keep;
    }

    /// What has to be done next; what it says is begun.
    pub(crate) fn next(&mut self, now: Instant) -> Step {
        let head = self.head();
        if let Some((index, _)) = head
            && self.fits(index)
        {
            self.slots[index].place = Place::Loading;
            return Step::Load(index);
        }
        let leaving = self.leaving(now);
        let is_over = |index: &usize| leaving.contains(index) || self.is_over(*index, now);
        let idle = (0..self.slots.len()).filter(|&index| self.slots[index].num_leases() == Some(0));
        let over = idle.clone().find(is_over);
        if let Some(index) = over {
            self.slots[index].place = Place::Leaving;
            return Step::Unload(index);
        }
        let unwanted = idle.filter(|&index| self.slots[index].waiting.is_empty());
        let ends = unwanted.filter_map(|index| self.ends_at(index));
        let stays = self.slots.iter().filter_map(|slot| match slot.place {
            Place::Loaded { stays_until, .. } if head.is_some() && stays_until > now => Some(stays_until),
            _ => None,
        });
        Step::Wait(ends.chain(stays).min())
    }

    /// A model is in memory now, and its loading took so long: the tickets that have leases for it.
    pub(crate) fn loaded(&mut self, index: usize, now: Instant, took: Duration) -> Vec<Ticket> {
        let tickets = self.slots[index].take_tickets();
        let stays_until = now.checked_add(took).unwrap_or(now);
        self.slots[index].place = Place::Loaded { num_leases: tickets.len(), last_used: now, stays_until };
        tickets
    }

    /// A model could not be loaded: the tickets that wait in vain.
    pub(crate) fn failed(&mut self, index: usize, now: Instant) -> Vec<Ticket> {
        self.slots[index].place = Place::Failed { until: now + LOAD_RETRY };
        self.slots[index].take_tickets()
    }

    /// A model is out of memory.
    pub(crate) fn unloaded(&mut self, index: usize) {
        self.slots[index].place = Place::Unloaded;
    }

    /// The tickets of models that are in memory and stay: who waited for one to leave and come back has a
    /// lease again when nobody needs its room any more.
    pub(crate) fn granted(&mut self, now: Instant) -> Vec<(usize, Ticket)> {
        let leaving = self.leaving(now);
        let mut granted = Vec::new();
        for (index, slot) in self.slots.iter_mut().enumerate().filter(|(index, _)| !leaving.contains(index)) {
            if slot.num_leases().is_none() {
                continue;
            }
            let tickets = slot.take_tickets();
            if let Place::Loaded { num_leases, .. } = &mut slot.place {
                *num_leases += tickets.len();
            }
            granted.extend(tickets.into_iter().map(|ticket| (index, ticket)));
        }
        granted
    }

    /// How far a model is.
    pub(crate) fn state(&self, index: usize, now: Instant) -> ModelState {
        match self.slots[index].place {
            Place::Failed { until } if until > now => ModelState::Failed,
            Place::Unloaded | Place::Failed { .. } | Place::Leaving => ModelState::Unloaded,
            Place::Loading => ModelState::Loading,
            Place::Loaded { .. } => ModelState::Loaded,
        }
    }

    /// How long a model in memory stays if nobody uses it; None is until its room is needed.
    pub(crate) fn stays_for(&self, index: usize, now: Instant) -> Option<Duration> {
        self.ends_at(index).map(|end| end.saturating_duration_since(now))
    }

    /// How many requests wait for a model to be loaded.
    pub(crate) fn num_waiting(&self, index: usize) -> usize {
        self.slots[index].waiting.len()
    }

    /// The model that is loaded next, and whether only work in the background waits for it.
    fn head(&self) -> Option<(usize, bool)> {
        let wanted = self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let is_here = matches!(slot.place, Place::Loading | Place::Loaded { .. } | Place::Leaving);
            let first = slot.waiting.iter().map(|waiting| (waiting.is_background, waiting.ticket)).min();
            first.filter(|_| !is_here).map(|(is_background, ticket)| (is_background, ticket, index))
        });
        wanted.min().map(|(is_background, _, index)| (index, is_background))
    }

    fn used(&self) -> u64 {
        let takes = |slot: &&Slot| !matches!(slot.place, Place::Unloaded | Place::Failed { .. });
        self.slots.iter().filter(takes).map(|slot| slot.bytes).sum()
    }

    fn fits(&self, index: usize) -> bool {
        self.budget.is_none_or(|budget| self.used().saturating_add(self.slots[index].bytes) <= budget)
    }

    /// The models that take no new requests, because another needs their room.
    fn leaving(&self, now: Instant) -> Vec<usize> {
        let (Some((head, is_background)), Some(budget)) = (self.head(), self.budget) else {
            return Vec::new();
        };
        let going = self.slots.iter().filter(|slot| slot.place == Place::Leaving);
        let going: u64 = going.map(|slot| slot.bytes).sum();
        let mut used = self.used() - going + self.slots[head].bytes;
        let mut candidates: Vec<(bool, Instant, usize)> = Vec::new();
        for (index, slot) in self.slots.iter().enumerate() {
            let Place::Loaded { num_leases, last_used, stays_until } = slot.place else { continue };
            let is_busy = num_leases > 0;
            if !is_busy || (!is_background && stays_until <= now) {
                // What ends meanwhile changes nothing among the busy: the one that was chosen runs dry.
                candidates.push((is_busy, if is_busy { stays_until } else { last_used }, index));
            }
        }
        candidates.sort_unstable();
        let mut leaving = Vec::new();
        for (_, _, index) in candidates {
            if used <= budget {
                break;
            }
            used -= self.slots[index].bytes;
            leaving.push(index);
        }
        // Nobody is kept waiting for room that does not come of it.
        if used <= budget { leaving } else { Vec::new() }
    }

    /// Whether an idle model has been there for its time.
    fn is_over(&self, index: usize, now: Instant) -> bool {
        self.slots[index].waiting.is_empty() && self.ends_at(index).is_some_and(|end| end <= now)
    }

    /// When a model in memory leaves if nobody uses it.
    fn ends_at(&self, index: usize) -> Option<Instant> {
        let slot = &self.slots[index];
        let Place::Loaded { last_used, .. } = slot.place else { return None };
        let time = match slot.keep {
            Keep::Usual => self.idle?,
            Keep::For(time) => time,
            Keep::Always => return None,
        };
        // A time beyond the clock's end is never.
        last_used.checked_add(time)
    }
}

impl Slot {
    /// None when it is not in memory.
    fn num_leases(&self) -> Option<usize> {
        match self.place {
            Place::Loaded { num_leases, .. } => Some(num_leases),
            _ => None,
        }
    }

    fn take_tickets(&mut self) -> Vec<Ticket> {
        std::mem::take(&mut self.waiting).into_iter().map(|waiting| waiting.ticket).collect()
    }
}

#[cfg(test)]
mod tests;
