//! Servers over a day of requests: what each request waited for.
//!
//! Entry point: [`run`]. Events in the order of their times, and of equal times in the order in which they
//! were foreseen, so that a day is the same each time. A server is the engine's own scheduler and prefix
//! cache (`gptoss_engine::SimulatedEngine`); a step takes what the table of costs says, and requests that
//! come meanwhile wait for its end, as in the engine. Servers of one machine slow each other down: as soon as
//! one begins or ends to compute, what is left of the others' steps takes longer or shorter. A server that
//! fails loses its cache; what it had not begun to answer is sent elsewhere at once, and what it had begun is
//! cut or goes on elsewhere.

use std::cell::OnceCell;
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};
use std::ops::Range;
use std::time::Duration;

use gptoss_engine::limits::QUEUE_REQUESTS_MAX;
use gptoss_engine::{SimulatedEngine, SimulatedEvent, SimulatedRequest};
use rand::rngs::StdRng;
use rand_distr::{Distribution, Exp};

use super::costs::Costs;
use super::router::{Router, Seen};
use super::traffic::{Ask, NANOS};
use crate::args::{BegunArg, FleetArgs};
use crate::load::draw::{self, Purpose};

/// How long a server that failed is away, unless it is said.
const REPAIR_TIME: Duration = Duration::from_secs(60);

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It has not.
    Open,
    /// With its last token.
    Answered,
    /// Its queue was full.
    Refused,
    /// Its server failed while it was answered.
    Cut,
    /// It is longer than an engine holds.
    TooLong,
}

/// What became of a request. Units: nanoseconds since the first moment of the day.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// When it came.
    pub arrived: u64,
    /// When each token came.
    pub tokens: Vec<u64>,
    /// Tokens of its prompt that were found, the last time it began.
    pub cached_tokens: usize,
    /// How often it was sent to another server.
    pub resent: u32,
}

/// What a day came to.
#[derive(Debug)]
pub struct Day {
    /// Of each request, in their order.
    pub outcomes: Vec<Outcome>,
    /// Seconds that servers computed, all together.
    pub busy_seconds: f64,
    /// From the first moment to the last event. Units: nanoseconds.
    pub duration: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    /// A request comes.
    Arrive(usize),
    /// A request is at a server, if that is still the one it was sent to.
    Reach {
        worker: usize,
        request: usize,
        attempt: u32,
    },
    /// A step ends, if nothing has changed since that was foreseen.
    StepEnd {
        worker: usize,
        number: u64,
    },
    Fail {
        worker: usize,
    },
    Repair {
        worker: usize,
    },
}

/// A step that runs.
struct Running {
    /// When it began, and since when it runs as fast as it does.
    begun: u64,
    since: u64,
    /// What was left then, on a machine that computes nothing else. Units: seconds.
    left: f64,
    /// How many times longer it takes; 0 before that is known.
    slowdown: f64,
    /// Which of all the ends that were foreseen is its own.
    number: u64,
}

struct Worker {
    engine: SimulatedEngine,
    step: Option<Running>,
    is_up: bool,
    /// Requests that were sent to it and have not ended.
    sent: BTreeSet<usize>,
    /// Those that have come, by the engine's id.
    requests: HashMap<u64, usize>,
    failures: Option<(Exp<f64>, StdRng)>,
}

struct Fleet<'a> {
    costs: &'a Costs,
    args: &'a FleetArgs,
    asks: &'a [Ask],
    workers: Vec<Worker>,
    router: Router,
    coming: BinaryHeap<Reverse<(u64, u64, Happening)>>,
    foreseen: u64,
    next_id: u64,
    outcomes: Vec<Outcome>,
    /// Requests for which no server is up.
    stranded: Vec<usize>,
    open: usize,
    busy_seconds: f64,
}

/// Simulates a day on so many servers.
pub fn run(costs: &Costs, args: &FleetArgs, asks: &[Ask], workers: usize, seed: u64) -> Day {
    let outcome = Outcome { end: End::Open, arrived: 0, tokens: Vec::new(), cached_tokens: 0, resent: 0 };
    let mut fleet = Fleet {
        costs,
        args,
        asks,
        workers: (0..workers).map(|number| Worker::new(costs, args, seed, number)).collect(),
        router: Router::new(args.router.unwrap_or_default(), seed),
        coming: BinaryHeap::new(),
        foreseen: 0,
        next_id: 0,
        outcomes: vec![outcome; asks.len()],
        stranded: Vec::new(),
        open: asks.len(),
        busy_seconds: 0.0,
    };
    // A later turn is foreseen when the one before it ends.
    for (request, ask) in asks.iter().enumerate().filter(|(_, ask)| !ask.is_later_turn) {
        fleet.foresee(ask.at, Happening::Arrive(request));
    }
    (0..workers).for_each(|worker| fleet.foresee_failure(0, worker));
    let mut now = 0;
    // Servers go on to fail when everything is answered.
    while fleet.open > 0
        && let Some(Reverse((at, _, happening))) = fleet.coming.pop()
    {
        now = at;
        fleet.happen(at, happening);
    }
    Day { outcomes: fleet.outcomes, busy_seconds: fleet.busy_seconds, duration: now }
}

impl Worker {
    fn new(costs: &Costs, args: &FleetArgs, seed: u64, number: usize) -> Worker {
        let rate = args.mtbf.map(|time| 1.0 / time.as_secs_f64());
        let failures = rate.and_then(|rate| Exp::new(rate).ok());
        Worker {
            engine: SimulatedEngine::new(costs.sizes()),
            step: None,
            is_up: true,
            sent: BTreeSet::new(),
            requests: HashMap::new(),
            failures: failures.map(|gaps| (gaps, draw::random(seed, Purpose::Arrivals, 2, number as u64))),
        }
    }
}

impl Fleet<'_> {
    fn foresee(&mut self, at: u64, happening: Happening) {
        self.foreseen += 1;
        self.coming.push(Reverse((at, self.foreseen, happening)));
    }

    fn foresee_failure(&mut self, now: u64, worker: usize) {
        if let Some((gaps, random)) = &mut self.workers[worker].failures {
            let at = now.saturating_add((gaps.sample(random) * NANOS) as u64);
            self.foresee(at, Happening::Fail { worker });
        }
    }

    fn happen(&mut self, now: u64, happening: Happening) {
        match happening {
            Happening::Arrive(request) => {
                self.outcomes[request].arrived = now;
                self.send(now, request);
            }
            Happening::Reach { worker, request, attempt } => {
                let is_there = self.workers[worker].is_up && self.outcomes[request].resent == attempt;
                if is_there && self.outcomes[request].end == End::Open {
                    self.reach(now, worker, request);
                }
            }
            Happening::StepEnd { worker, number } => {
                let step = &self.workers[worker].step;
                if step.as_ref().is_some_and(|step| step.number == number) {
                    self.settle(now, worker);
                    self.step(now, worker);
                }
            }
            Happening::Fail { worker } => self.fail(now, worker),
            Happening::Repair { worker } => {
                self.workers[worker].is_up = true;
                self.foresee_failure(now, worker);
                let stranded = std::mem::take(&mut self.stranded);
                stranded.into_iter().for_each(|request| self.send(now, request));
            }
        }
    }

    /// Has the router send a request somewhere.
    fn send(&mut self, now: u64, request: usize) {
        let up: Vec<Seen> = (0..self.workers.len())
            .filter(|&worker| self.workers[worker].is_up)
            .map(|worker| Seen { worker, load: self.workers[worker].sent.len() })
            .collect();
        let (ask, answered) = (&self.asks[request], self.outcomes[request].tokens.len());
        // Only a router that knows caches looks at it.
        let prompt = OnceCell::new();
        let cached = |worker: usize| {
            let prompt = prompt.get_or_init(|| whole_prompt(ask, answered));
            self.workers[worker].engine.cached_tokens(prompt)
        };
        let Some(worker) = self.router.choose(&up, cached) else { return self.stranded.push(request) };
        self.workers[worker].sent.insert(request);
        let at = now.saturating_add((self.costs.way(ask.prompt_tokens) * NANOS) as u64);
        let attempt = self.outcomes[request].resent;
        self.foresee(at, Happening::Reach { worker, request, attempt });
    }

    fn reach(&mut self, now: u64, worker: usize, request: usize) {
        let (ask, answered) = (&self.asks[request], self.outcomes[request].tokens.len());
        let prompt = whole_prompt(ask, answered);
        let place = &mut self.workers[worker];
        if place.engine.num_waiting() >= QUEUE_REQUESTS_MAX {
            return self.close(now, request, worker, End::Refused);
        }
        let id = self.next_id;
        self.next_id += 1;
        let output_tokens = ask.output_tokens as usize - answered;
        let taken = place.engine.submit(SimulatedRequest {
            id,
            prompt,
            output_tokens,
            cache_points: ask.cache_points(),
        });
        if !taken {
            return self.close(now, request, worker, End::TooLong);
        }
        place.requests.insert(id, request);
        if !place.engine.is_stepping() {
            self.step(now, worker);
        }
    }

    fn step(&mut self, now: u64, worker: usize) {
        if let Some(step) = self.workers[worker].engine.begin_step() {
            let left = self.costs.step(&step);
            self.workers[worker].step =
                Some(Running { begun: now, since: now, left, slowdown: 0.0, number: 0 });
        }
        self.retime(now, worker);
    }

    /// Foresees anew when the steps on a server's machine end, where that has changed.
    fn retime(&mut self, now: u64, worker: usize) {
        let machine = self.machine(worker);
        let computing = self.workers[machine.clone()].iter().filter(|it| it.step.is_some()).count();
        let slowdowns = &self.costs.slowdowns;
        let slowdown = slowdowns[computing.clamp(1, slowdowns.len()) - 1];
        for worker in machine {
            let Some(step) = &mut self.workers[worker].step else { continue };
            if step.slowdown == slowdown {
                continue;
            }
            if step.slowdown > 0.0 {
                step.left = (step.left - (now - step.since) as f64 / NANOS / step.slowdown).max(0.0);
            }
            (step.since, step.slowdown) = (now, slowdown);
            // The number that `foresee` gives next.
            step.number = self.foreseen + 1;
            // Time goes on also where a step computes nothing.
            let at = now.saturating_add(((step.left * slowdown * NANOS) as u64).max(1));
            let number = step.number;
            self.foresee(at, Happening::StepEnd { worker, number });
        }
    }

    /// The servers of a server's machine.
    fn machine(&self, worker: usize) -> Range<usize> {
        let servers = self.args.per_machine.unwrap_or(1).max(1) as usize;
        let first = worker / servers * servers;
        first..(first + servers).min(self.workers.len())
    }

    /// Ends the step that runs, if one does.
    fn stop(&mut self, now: u64, worker: usize) {
        if let Some(step) = self.workers[worker].step.take() {
            self.busy_seconds += (now - step.begun) as f64 / NANOS;
        }
    }

    fn settle(&mut self, now: u64, worker: usize) {
        self.stop(now, worker);
        for event in self.workers[worker].engine.end_step() {
            let (SimulatedEvent::Begun { id, .. }
            | SimulatedEvent::Token { id }
            | SimulatedEvent::Ended { id }) = event;
            let Some(&request) = self.workers[worker].requests.get(&id) else { continue };
            match event {
                SimulatedEvent::Begun { cached_tokens, .. } => {
                    self.outcomes[request].cached_tokens = cached_tokens;
                }
                SimulatedEvent::Token { .. } => self.outcomes[request].tokens.push(now),
                SimulatedEvent::Ended { .. } => {
                    self.workers[worker].requests.remove(&id);
                    self.close(now, request, worker, End::Answered);
                }
            }
        }
    }

    fn close(&mut self, now: u64, request: usize, worker: usize, end: End) {
        self.outcomes[request].end = end;
        self.workers[worker].sent.remove(&request);
        self.open -= 1;
        if let Some(next) = self.asks.get(request + 1).filter(|ask| ask.is_later_turn) {
            self.foresee(now.saturating_add(next.at), Happening::Arrive(request + 1));
        }
    }

    fn fail(&mut self, now: u64, worker: usize) {
        self.stop(now, worker);
        self.retime(now, worker);
        let place = &mut self.workers[worker];
        place.engine = SimulatedEngine::new(self.costs.sizes());
        place.requests.clear();
        place.is_up = false;
        let here = place.sent.clone();
        for request in here {
            if !self.outcomes[request].tokens.is_empty()
                && self.args.begun.unwrap_or_default() == BegunArg::Cut
            {
                self.close(now, request, worker, End::Cut);
            } else {
                self.workers[worker].sent.remove(&request);
                self.outcomes[request].resent += 1;
                self.send(now, request);
            }
        }
        let at = now.saturating_add(self.args.mttr.unwrap_or(REPAIR_TIME).as_nanos() as u64);
        self.foresee(at, Happening::Repair { worker });
    }
}

/// A prompt, with the tokens that were answered before it was sent on.
fn whole_prompt(ask: &Ask, answered: usize) -> Vec<u32> {
    let mut prompt = ask.prompt();
    prompt.extend((0..answered as u32).map(|token| u32::MAX - token));
    prompt
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::RouterArg;
    use crate::plan::costs::tests::costs;

    fn args(router: RouterArg, mtbf: Option<u64>, begun: BegunArg) -> FleetArgs {
        FleetArgs {
            router: Some(router),
            mtbf: mtbf.map(Duration::from_millis),
            mttr: Some(Duration::from_millis(300)),
            begun: Some(begun),
            ..FleetArgs::default()
        }
    }

    fn asks(count: u64, gap: u64, prefixes: u32) -> Vec<Ask> {
        let ask = |number: u64| Ask {
            at: number * gap,
            prompt_tokens: 101,
            output_tokens: 11,
            prefix: (prefixes > 0).then_some((number as u32 % prefixes.max(1), 80)),
            conversation: number as u32,
            is_later_turn: false,
        };
        (0..count).map(ask).collect()
    }

    fn seconds(outcome: &Outcome, ask: &Ask) -> Vec<f64> {
        outcome.tokens.iter().map(|at| (at - ask.at) as f64 / NANOS).collect()
    }

    #[test]
    fn one_request_takes_its_steps() {
        let asks = asks(1, 0, 0);
        let fleet = args(RouterArg::LeastLoad, None, BegunArg::Cut);
        let slow = Costs { request_seconds: 0.5, token_seconds: 1e-3, ..costs() };
        for (costs, first, gap) in [(costs(), 11.0e-3, 1.0e-3), (slow, 0.512, 2.0e-3)] {
            let day = run(&costs, &fleet, &asks, 1, 0);
            let times = seconds(&day.outcomes[0], &asks[0]);
            assert_eq!((day.outcomes[0].end, times.len()), (End::Answered, 11));
            assert!((times[0] - first).abs() < 1e-8, "{times:?}");
            assert!(times.windows(2).all(|pair| (pair[1] - pair[0] - gap).abs() < 1e-8), "{times:?}");
        }
    }

    #[test]
    fn a_long_prompt_is_longer_on_its_way() {
        let costs = Costs { request_seconds: 0.1, prompt_token_seconds: 1e-3, ..costs() };
        let asks = asks(1, 0, 0);
        let day = run(&costs, &FleetArgs::default(), &asks, 1, 0);
        // A tenth, 101 tokens of a millisecond, and 11 milliseconds of the engine.
        let first = seconds(&day.outcomes[0], &asks[0])[0];
        assert!((first - 0.212).abs() < 1e-8, "{first}");
    }

    /// Steps of 11 and then 1 ms; while both compute they take twice as long.
    #[test]
    fn servers_of_a_machine_slow_each_other_down_while_both_compute() {
        let costs = Costs { slowdowns: vec![1.0, 2.0], ..costs() };
        let firsts = |second_at: u64, per_machine: u32| -> [f64; 2] {
            let mut asks = asks(2, 0, 0);
            asks[1].at = second_at;
            asks.iter_mut().for_each(|ask| ask.output_tokens = 1);
            let fleet = FleetArgs { per_machine: Some(per_machine), ..FleetArgs::default() };
            let day = run(&costs, &fleet, &asks, 2, 0);
            let ends = [0, 1].map(|request| day.outcomes[request].tokens[0] as f64 / 1e6);
            let busy = ends[0] + ends[1] - second_at as f64 / 1e6;
            assert!((day.busy_seconds * 1e3 - busy).abs() < 1e-4, "{} {busy}", day.busy_seconds);
            ends
        };
        let check = |second_at: u64, per_machine: u32, expect: [f64; 2]| {
            let found = firsts(second_at, per_machine);
            assert!(
                found.iter().zip(expect).all(|(found, expect)| (found - expect).abs() < 1e-5),
                "{found:?}"
            );
        };
        check(0, 1, [11.0, 11.0]);
        check(0, 2, [22.0, 22.0]);
        // 5 ms alone, 6 left of which each takes two; then the second has 5 of its 11 left.
        check(5_000_000, 2, [17.0, 22.0]);
        check(11_000_000, 2, [11.0, 22.0]);
    }

    #[test]
    fn a_later_turn_comes_after_the_answer_and_finds_the_prompt() {
        let mut asks = asks(2, 0, 0);
        asks[1] = Ask {
            at: 500_000_000,
            prompt_tokens: 200,
            conversation: 0,
            is_later_turn: true,
            ..asks[1].clone()
        };
        let day = run(&costs(), &FleetArgs::default(), &asks, 1, 0);
        let [first, second] = &day.outcomes[..] else { panic!("two requests") };
        assert_eq!(second.arrived, first.tokens[10] + 500_000_000);
        // All but the prompt's last token, which is always computed.
        assert_eq!((first.cached_tokens, second.cached_tokens), (0, 100));
        // Also when the one before it was not answered.
        asks[0].prompt_tokens = 40_000;
        let day = run(&costs(), &FleetArgs::default(), &asks, 1, 0);
        assert_eq!((day.outcomes[0].end, day.outcomes[1].end), (End::TooLong, End::Answered));
    }

    #[test]
    fn two_servers_halve_the_wait_and_a_day_is_the_same_each_time() {
        let asks = asks(200, 8_000_000, 0);
        for router in [RouterArg::RoundRobin, RouterArg::LeastLoad, RouterArg::PrefixAware, RouterArg::Random]
        {
            let fleet = args(router, None, BegunArg::Cut);
            let slowest = |workers: usize| {
                let day = run(&costs(), &fleet, &asks, workers, 3);
                assert!(day.outcomes.iter().all(|outcome| outcome.end == End::Answered), "{router:?}");
                let firsts = day.outcomes.iter().zip(&asks).map(|(outcome, ask)| seconds(outcome, ask)[0]);
                (firsts.fold(0.0, f64::max), day.duration)
            };
            assert_eq!(slowest(2), slowest(2));
            assert!(slowest(2).0 < slowest(1).0 / 2.0, "{router:?}: {:?} {:?}", slowest(1), slowest(2));
        }
    }

    #[test]
    fn a_router_that_knows_caches_finds_more() {
        let asks = asks(300, 20_000_000, 13);
        let cached = |router| {
            let day = run(&costs(), &args(router, None, BegunArg::Cut), &asks, 4, 1);
            day.outcomes.iter().map(|outcome| outcome.cached_tokens).sum::<usize>()
        };
        assert!(cached(RouterArg::PrefixAware) > cached(RouterArg::Random) * 5 / 4);
    }

    #[test]
    fn failures_cut_or_move_what_had_begun_and_all_end() {
        let asks = asks(400, 9_000_000, 0);
        let ends = |begun| {
            let day = run(&costs(), &args(RouterArg::LeastLoad, Some(700), begun), &asks, 3, 5);
            let count = |end| day.outcomes.iter().filter(|outcome| outcome.end == end).count();
            assert!(day.outcomes.iter().any(|outcome| outcome.resent > 0));
            for outcome in day.outcomes.iter().filter(|outcome| outcome.end == End::Answered) {
                assert_eq!(outcome.tokens.len(), 11);
            }
            (count(End::Answered), count(End::Cut), count(End::Open))
        };
        let (answered, cut, open) = ends(BegunArg::Cut);
        assert!(answered > 300 && cut > 0 && open == 0 && answered + cut == 400, "{answered} {cut} {open}");
        assert_eq!(ends(BegunArg::Migrate), (400, 0, 0));
    }

    #[test]
    fn a_full_queue_refuses_and_what_is_too_long_is_told() {
        let fleet = args(RouterArg::LeastLoad, None, BegunArg::Cut);
        let day = run(&costs(), &fleet, &asks(600, 0, 0), 1, 0);
        let refused = day.outcomes.iter().filter(|outcome| outcome.end == End::Refused).count();
        assert!(refused > 0 && refused < 600, "{refused}");
        let long = [Ask { prompt_tokens: 40_000, ..self::asks(1, 0, 0)[0].clone() }];
        assert_eq!(run(&costs(), &fleet, &long, 1, 0).outcomes[0].end, End::TooLong);
    }
}
