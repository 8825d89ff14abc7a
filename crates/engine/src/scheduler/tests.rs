//! Single decisions of the scheduler: what it does not do when it would help nobody, and who gets a slot.

use super::*;
use crate::request::KeptFor;

fn scheduler(blocks: usize, rings: usize, snapshots: usize) -> Scheduler {
    Scheduler::new(Capacity {
        blocks,
        rings,
        snapshots,
        chunk_tokens: 64,
        step_tokens: 256,
        prefill_beside_decode: 64,
    })
}

fn owner(name: &str) -> Owner {
    Owner { kept_for: KeptFor::Tenant(Tenant(name.into())), adapter: None }
}

fn tokens(from: u32, len: usize) -> Vec<u32> {
    (from..).take(len).collect()
}

fn add(scheduler: &mut Scheduler, id: u64, name: &str, prompt: Vec<u32>, priority: Priority) {
    let tokens_max = prompt.len() + 8;
    scheduler.add(NewSequence {
        id,
        prompt,
        tokens_max,
        cache_points: Vec::new(),
        tenant: Tenant(name.into()),
        owner: owner(name),
        priority,
        is_private: false,
        is_fetching: false,
    });
}

/// A step in which every sequence that may choose chooses token 3; `stops` says whether it is the last.
fn step(scheduler: &mut Scheduler, stops: bool) -> Committed {
    let plan = scheduler.schedule(&mut |_| Vec::new());
    let outcome = |chunk: &Chunk| match chunk.is_chosen {
        true => Outcome::Chosen { tokens: vec![3], is_stop: stops },
        false => Outcome::Computed,
    };
    let outcomes = plan.chunks.iter().map(outcome).collect();
    let committed = scheduler.commit(plan, outcomes);
    scheduler.check().expect("adds up");
    committed
}

/// The ring of the first was saved to the slot and written to the disk as the place of the second, whose own
/// rows were then taken for written already.
#[test]
fn a_slot_that_is_given_away_twice_is_saved_to_once() {
    let mut scheduler = scheduler(20, 2, 1);
    add(&mut scheduler, 0, "a", tokens(100, 40), Priority::Normal);
    add(&mut scheduler, 1, "b", tokens(500, 50), Priority::Normal);
    let second = scheduler.schedule(&mut |_| Vec::new());
    let ring = scheduler.sequence(1).and_then(|sequence| sequence.ring);
    let outcomes = second.chunks.iter().map(|_| Outcome::Chosen { tokens: vec![3], is_stop: true }).collect();
    let saves = scheduler.commit(second, outcomes).saves;
    assert_eq!(saves.len(), 1, "{saves:?}");
    let (kept_for, kept, _) = scheduler.cache.entry(saves[0].snapshot).expect("an entry");
    assert_eq!((kept_for, kept.len()), (&owner("b"), saves[0].position));
    assert_eq!(Some(saves[0].ring), ring);
}

/// Everything that was kept was forgotten before it was seen that the place would not fit even so.
#[test]
fn a_place_that_finds_no_room_empties_nothing() {
    let mut scheduler = scheduler(6, 2, 4);
    add(&mut scheduler, 0, "a", tokens(100, 40), Priority::Normal);
    step(&mut scheduler, true);
    add(&mut scheduler, 1, "a", tokens(500, BLOCK_TOKENS * 3), Priority::Normal);
    step(&mut scheduler, false);
    let kept = scheduler.cache.num_used();
    assert!(kept > 0);
    let evictions = scheduler.cache.stats().evictions;
    assert_eq!(scheduler.adopt(&owner("a"), &tokens(900, BLOCK_TOKENS * 6)), None);
    assert_eq!(scheduler.adopt(&owner("a"), &tokens(900, 3)), None, "too short to be kept");
    assert_eq!((scheduler.cache.num_used(), scheduler.cache.stats().evictions), (kept, evictions));
    assert!(scheduler.adopt(&owner("a"), &tokens(900, BLOCK_TOKENS)).is_some(), "there is room for this");
    scheduler.check().expect("adds up");
}

/// A running sequence lost what it had computed, for one that did not fit into what it gave back.
#[test]
fn nobody_is_preempted_for_one_that_does_not_fit() {
    let check = |name: &str, priority, needs: usize, preemptions| {
        let mut scheduler = scheduler(8, 2, 0);
        add(&mut scheduler, 0, "a", tokens(100, BLOCK_TOKENS * 3), Priority::Normal);
        add(&mut scheduler, 1, "a", tokens(500, BLOCK_TOKENS), Priority::Background);
        (0..6).for_each(|_| {
            step(&mut scheduler, false);
        });
        assert_eq!(scheduler.num_running(), 2);
        add(&mut scheduler, 2, name, tokens(900, BLOCK_TOKENS * needs), priority);
        step(&mut scheduler, false);
        assert_eq!(scheduler.counts().preemptions, preemptions, "{name} {needs}");
    };
    // The share of a second tenant.
    check("b", Priority::Background, 6, 0);
    check("b", Priority::Background, 2, 1);
    // An urgent request takes the place of the one in the background, if that is enough.
    check("a", Priority::Normal, 6, 0);
    check("a", Priority::Normal, 2, 1);
}

/// What is kept for one request helps it through a preemption, and goes with it, however it ends.
#[test]
fn what_is_kept_for_one_request_ends_with_it() {
    for ends_by_itself in [true, false] {
        let mut scheduler = scheduler(100, 2, 4);
        let free = scheduler.pool.num_free();
        let alone = |id: u64| NewSequence {
            id,
            prompt: tokens(0, 70),
            tokens_max: 71,
            cache_points: vec![64],
            tenant: Tenant::default(),
            owner: Owner { kept_for: KeptFor::Request(id), adapter: None },
            priority: Priority::Normal,
            is_private: true,
            is_fetching: false,
        };
        scheduler.add(alone(1));
        scheduler.add(NewSequence { tokens_max: 200, ..alone(2) });
        let found = |scheduler: &Scheduler, id| {
            let owner = Owner { kept_for: KeptFor::Request(id), adapter: None };
            scheduler.cache().peek(&owner, &tokens(0, 70)).is_some()
        };
        step(&mut scheduler, false);
        assert!(found(&scheduler, 1) && found(&scheduler, 2));
        step(&mut scheduler, false);
        assert!(scheduler.sequence(1).is_none() && !found(&scheduler, 1));
        assert!(found(&scheduler, 2), "the other keeps its own");
        assert!(scheduler.sequence(2).is_some());
        match ends_by_itself {
            true => {
                while scheduler.sequence(2).is_some() {
                    step(&mut scheduler, true);
                }
            }
            false => assert!(scheduler.remove(2).is_empty()),
        }
        assert_eq!((scheduler.cache().num_used(), scheduler.pool.num_free()), (0, free));
        scheduler.check().unwrap();
    }
}

/// A client that named a salt of its own with each request had as many shares as requests.
#[test]
fn a_tenant_has_one_share_whatever_its_salts() {
    let mut scheduler = scheduler(100, 2, 4);
    let salted = |id: u64, tenant: &str, salt: &str| NewSequence {
        id,
        prompt: tokens(100 * id as u32, 40),
        tokens_max: 60,
        cache_points: Vec::new(),
        tenant: Tenant(tenant.into()),
        owner: Owner { kept_for: KeptFor::Salt(salt.into()), adapter: None },
        priority: Priority::Normal,
        is_private: false,
        is_fetching: false,
    };
    (0..4).for_each(|id| scheduler.add(salted(id, "many", &id.to_string())));
    step(&mut scheduler, false);
    assert_eq!(scheduler.service.len(), 1);
    // Whoever comes next gets the half of it, and not one of five parts, which would be none.
    scheduler.add(salted(9, "one", ""));
    step(&mut scheduler, false);
    let runs = |id: u64| scheduler.sequence(id).is_some_and(|sequence| sequence.ring.is_some());
    assert!(runs(9) && (0..4).filter(|&id| runs(id)).count() == 1);
}
