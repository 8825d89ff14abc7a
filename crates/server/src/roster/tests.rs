//! The rules of the roster, against a clock that a test moves.

use super::*;

const USER: bool = false;
const BATCH: bool = true;

struct Day {
    roster: Roster,
    now: Instant,
}

impl Day {
    /// Models of one byte each.
    fn new(num_models: usize, budget: u64) -> Day {
        let roster = Roster::new(&vec![1; num_models], Some(budget), Some(Duration::from_secs(60)));
        Day { roster, now: Instant::now() }
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    fn ask(&mut self, index: usize, is_background: bool) -> Entered {
        self.roster.enter(index, is_background, Keep::Usual, self.now)
    }

    fn leave(&mut self, index: usize) {
        self.roster.leave(index, self.now);
    }

    fn next(&mut self) -> Step {
        self.roster.next(self.now)
    }

    /// Loads what is to be loaded, which takes so many seconds: how many have leases then.
    #[track_caller]
    fn load(&mut self, index: usize, seconds: u64) -> usize {
        assert_eq!(self.next(), Step::Load(index));
        self.pass(seconds);
        self.roster.loaded(index, self.now, Duration::from_secs(seconds)).len()
    }

    #[track_caller]
    fn unload(&mut self, index: usize) {
        assert_eq!(self.next(), Step::Unload(index));
        self.roster.unloaded(index);
    }

    #[track_caller]
    fn waits(&mut self) {
        assert!(matches!(self.next(), Step::Wait(_)));
    }
}

/// The choice went back and forth between two busy models, and neither was ever through.
#[test]
fn a_busy_model_that_was_chosen_to_leave_runs_dry() {
    let mut day = Day::new(3, 2);
    for index in [0, 1] {
        day.ask(index, USER);
        day.ask(index, USER);
        assert_eq!(day.load(index, 1), 2);
    }
    day.pass(1);
    day.ask(2, USER);
    assert!(matches!(day.ask(0, USER), Entered::Waits(_)));
    day.pass(1);
    day.leave(0);
    assert!(day.roster.granted(day.now).is_empty());
    assert_eq!(day.ask(1, USER), Entered::Leased);
    day.leave(0);
    day.unload(0);
}

#[test]
fn the_least_recently_used_leaves_when_room_is_needed() {
    let mut day = Day::new(3, 2);
    for index in [0, 1] {
        assert!(matches!(day.ask(index, USER), Entered::Waits(_)));
        assert_eq!(day.load(index, 1), 1);
        day.leave(index);
    }
    day.pass(1);
    assert_eq!(day.ask(0, USER), Entered::Leased);
    day.leave(0);
    assert!(matches!(day.ask(2, USER), Entered::Waits(_)));
    day.unload(1);
    assert_eq!(day.load(2, 1), 1);
    assert_eq!(day.roster.state(0, day.now), ModelState::Loaded);
    assert_eq!(day.roster.state(1, day.now), ModelState::Unloaded);
}

/// With a request for each of two models always at hand, each gets its turn, and nobody leaves under a lease.
#[test]
fn two_models_in_the_room_of_one_take_turns() {
    let mut day = Day::new(2, 1);
    day.ask(0, USER);
    day.ask(0, USER);
    assert_eq!(day.load(0, 5), 2);
    day.ask(1, USER);
    // It has been there for less than its loading took, so it goes on taking requests.
    day.waits();
    assert_eq!(day.ask(0, USER), Entered::Leased);
    day.pass(5);
    assert!(matches!(day.ask(0, USER), Entered::Waits(_)), "others wait for its room");
    day.waits();
    for _ in 0..2 {
        day.leave(0);
        day.waits();
    }
    day.leave(0);
    day.unload(0);
    assert_eq!(day.load(1, 5), 1);
    // The one that was loaded stays for whom it was loaded, although the other is wanted again.
    day.pass(5);
    day.waits();
    day.leave(1);
    day.unload(1);
    assert_eq!(day.load(0, 5), 1);
}

#[test]
fn who_waits_for_a_model_that_need_not_leave_goes_on() {
    let mut day = Day::new(2, 1);
    day.ask(0, USER);
    day.load(0, 0);
    let Entered::Waits(other) = day.ask(1, USER) else { panic!("no room") };
    let Entered::Waits(own) = day.ask(0, USER) else { panic!("it leaves") };
    assert!(day.roster.granted(day.now).is_empty());
    day.roster.give_up(other);
    assert_eq!(day.roster.granted(day.now), [(0, own)]);
    day.leave(0);
    day.waits();
    day.leave(0);
    day.pass(60);
    day.unload(0);
}

#[test]
fn work_in_the_background_waits_for_an_idle_model() {
    let mut day = Day::new(3, 1);
    day.ask(0, USER);
    day.load(0, 0);
    day.ask(1, BATCH);
    assert_eq!(day.ask(0, USER), Entered::Leased);
    day.pass(30);
    day.waits();
    day.ask(2, USER);
    day.leave(0);
    day.leave(0);
    day.unload(0);
    // It came later and goes first.
    assert_eq!(day.load(2, 0), 1);
    day.leave(2);
    day.unload(2);
    assert_eq!(day.load(1, 0), 1);
}

#[test]
fn a_model_stays_as_long_as_its_last_user_says() {
    let check = |keep: Keep, seconds: Option<u64>| {
        let mut day = Day::new(1, 1);
        day.roster.enter(0, USER, keep, day.now);
        day.load(0, 0);
        day.leave(0);
        let end = seconds.map(|seconds| day.now + Duration::from_secs(seconds));
        if seconds == Some(0) {
            return day.unload(0);
        }
        assert_eq!(day.next(), Step::Wait(end), "{keep:?}");
        day.pass(seconds.unwrap_or(1_000_000));
        match seconds {
            Some(_) => day.unload(0),
            None => day.waits(),
        }
    };
    check(Keep::Usual, Some(60));
    check(Keep::For(Duration::from_secs(5)), Some(5));
    check(Keep::For(Duration::ZERO), Some(0));
    check(Keep::For(Duration::MAX), None);
    check(Keep::Always, None);
}

#[test]
fn a_model_that_cannot_be_loaded_is_tried_again_later() {
    let mut day = Day::new(2, 2);
    let Entered::Waits(ticket) = day.ask(0, USER) else { panic!("it is not there") };
    assert_eq!(day.next(), Step::Load(0));
    assert_eq!(day.roster.failed(0, day.now), [ticket]);
    assert_eq!(day.roster.state(0, day.now), ModelState::Failed);
    assert_eq!(day.ask(0, USER), Entered::Failed(LOAD_RETRY));
    day.waits();
    day.now += LOAD_RETRY;
    assert!(matches!(day.ask(0, USER), Entered::Waits(_)));
    assert_eq!(day.load(0, 0), 1);
}

#[test]
fn so_many_wait_and_no_more() {
    let mut day = Day::new(2, 2);
    let waits = |_| matches!(day.ask(0, USER), Entered::Waits(_));
    assert!((0..LOAD_WAITING_MAX).all(waits));
    assert_eq!(day.ask(1, USER), Entered::Full(LOAD_WAITING_MAX));
    assert_eq!(day.load(0, 0), LOAD_WAITING_MAX);
}

/// Random days: the budget holds, a model that somebody has a lease for stays, and everybody who waits is
/// served in the end.
#[test]
fn the_rules_hold_on_random_days() {
    for seed in 0..200_u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut draw = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let bytes: Vec<u64> = (0..1 + draw(4)).map(|_| 1 + draw(3)).collect();
        let budget = bytes.iter().max().copied().unwrap_or(1) + draw(3);
        let mut roster = Roster::new(&bytes, Some(budget), Some(Duration::from_secs(30)));
        let mut now = Instant::now();
        let mut leases = vec![0_usize; bytes.len()];
        let mut open: std::collections::HashMap<Ticket, usize> = std::collections::HashMap::new();
        for round in 0..3_000 {
            now += Duration::from_secs(draw(4));
            // More come than are served; after a while nobody does any more, and what runs ends.
            if round < 400 {
                let index = draw(bytes.len() as u64) as usize;
                match roster.enter(index, draw(4) == 0, Keep::Usual, now) {
                    Entered::Leased => leases[index] += 1,
                    Entered::Waits(ticket) => assert_eq!(open.insert(ticket, index), None),
                    Entered::Failed(_) | Entered::Full(_) => {}
                }
                if draw(8) == 0
                    && let Some(&ticket) = open.keys().min()
                {
                    open.remove(&ticket);
                    roster.give_up(ticket);
                }
            }
            for (index, count) in leases.iter_mut().enumerate() {
                if *count > 0 && draw(2) == 0 {
                    *count -= 1;
                    roster.leave(index, now);
                }
            }
            let tickets: Vec<(usize, Ticket)> = match roster.next(now) {
                Step::Load(index) if draw(10) == 0 => {
                    for ticket in roster.failed(index, now) {
                        open.remove(&ticket);
                    }
                    Vec::new()
                }
                Step::Load(index) => {
                    let tickets = roster.loaded(index, now, Duration::from_secs(draw(5)));
                    tickets.into_iter().map(|ticket| (index, ticket)).collect()
                }
                Step::Unload(index) => {
                    assert_eq!(leases[index], 0, "seed {seed}: a model left under a lease");
                    roster.unloaded(index);
                    Vec::new()
                }
                Step::Wait(_) => Vec::new(),
            };
            for (index, ticket) in tickets.into_iter().chain(roster.granted(now)) {
                assert_eq!(open.remove(&ticket), Some(index), "seed {seed}");
                leases[index] += 1;
            }
            assert!(roster.used() <= budget, "seed {seed}");
        }
        assert!(open.is_empty(), "seed {seed}: {open:?} wait for ever");
    }
}
