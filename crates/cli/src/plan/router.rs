//! Where a router sends a request.
//!
//! Entry point: [`Router::choose`], among servers that are up. A router knows what it has sent and what has
//! ended; one that knows caches knows them by events, so as they are.

use std::cmp::Reverse;

use rand::Rng;
use rand::rngs::StdRng;

use crate::args::RouterArg;
use crate::load::draw::{self, Purpose};

/// Requests that a server may have more than the one with the fewest, and still be chosen for its cache.
const IMBALANCE_MAX: usize = 8;

/// What a router sees of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Which.
    pub worker: usize,
    /// Requests that were sent to it and have not ended.
    pub load: usize,
}

/// A router's memory.
#[derive(Debug)]
pub struct Router {
    policy: RouterArg,
    next: usize,
    random: StdRng,
}

impl Router {
    /// One that has sent nothing.
    pub fn new(policy: RouterArg, seed: u64) -> Router {
        Router { policy, next: 0, random: draw::random(seed, Purpose::Arrivals, 1, 1) }
    }

    /// The server for a request; None when none is up. `cached` says how much of its prompt a server has.
    pub fn choose(&mut self, up: &[Seen], cached: impl Fn(usize) -> usize) -> Option<usize> {
        let least = up.iter().map(|seen| seen.load).min()?;
        // Of equals the next in turn, so that one that is down leaves its turn to the one after it.
        let start = up.iter().position(|seen| seen.worker >= self.next).unwrap_or(0);
        let mut turn = up[start..].iter().chain(&up[..start]);
        let chosen = match self.policy {
            RouterArg::RoundRobin => turn.next()?,
            RouterArg::Random => &up[self.random.random_range(0..up.len())],
            RouterArg::LeastLoad => turn.min_by_key(|seen| seen.load)?,
            RouterArg::PrefixAware => {
                let near = turn.filter(|seen| seen.load <= least + IMBALANCE_MAX);
                near.min_by_key(|seen| (Reverse(cached(seen.worker)), seen.load))?
            }
        };
        self.next = chosen.worker + 1;
        Some(chosen.worker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_choose() {
        let up = [(0, 3), (1, 1), (3, 1), (4, 20)].map(|(worker, load)| Seen { worker, load });
        let check = |policy, cached: &dyn Fn(usize) -> usize, expect: &[usize]| {
            let mut router = Router::new(policy, 1);
            let chosen: Vec<_> = expect.iter().filter_map(|_| router.choose(&up, cached)).collect();
            assert_eq!(chosen, expect, "{policy:?}");
        };
        check(RouterArg::RoundRobin, &|_| 0, &[0, 1, 3, 4, 0]);
        check(RouterArg::LeastLoad, &|_| 0, &[1, 3, 1]);
        check(RouterArg::PrefixAware, &|_| 0, &[1]);
        check(RouterArg::PrefixAware, &|worker| 10 * worker, &[3]);
        check(RouterArg::PrefixAware, &|worker| usize::from(worker == 0), &[0]);
        let mut random = Router::new(RouterArg::Random, 1);
        let chosen: Vec<_> = (0..200).filter_map(|_| random.choose(&up, |_| 0)).collect();
        assert!(up.iter().all(|seen| chosen.contains(&seen.worker)) && !chosen.contains(&2));
        assert_eq!(random.choose(&[], |_| 0), None);
    }
}
