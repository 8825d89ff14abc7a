//! Python's random numbers: the generator of CPython's `random.Random`, seeded with a small integer, as far
//! as recipes of references use it.
//!
//! **Source**: Matsumoto and Nishimura, MT19937 with `init_by_array`; CPython's `random.py` for
//! `_randbelow` and `sample`.

const STATE_WORDS: usize = 624;
const SHIFT_WORDS: usize = 397;

/// `random.Random(seed)`.
pub struct PythonRandom {
    state: [u32; STATE_WORDS],
    next: usize,
}

impl PythonRandom {
    /// Seeded as Python seeds with a non-negative integer below 2^32.
    pub fn new(seed: u32) -> PythonRandom {
        let mut state = [0u32; STATE_WORDS];
        state[0] = 19_650_218;
        for index in 1..STATE_WORDS {
            state[index] = successor(state[index - 1]).wrapping_mul(1_812_433_253).wrapping_add(index as u32);
        }
        // The key has one word, whose index is 0 in every round.
        let mut index = 1;
        for _ in 0..STATE_WORDS {
            state[index] =
                (state[index] ^ successor(state[index - 1]).wrapping_mul(1_664_525)).wrapping_add(seed);
            index = advance(&mut state, index);
        }
        for _ in 1..STATE_WORDS {
            let mixed = state[index] ^ successor(state[index - 1]).wrapping_mul(1_566_083_941);
            state[index] = mixed.wrapping_sub(index as u32);
            index = advance(&mut state, index);
        }
        state[0] = 0x8000_0000;
        PythonRandom { state, next: STATE_WORDS }
    }

    fn word(&mut self) -> u32 {
        if self.next == STATE_WORDS {
            for index in 0..STATE_WORDS {
                let following = self.state[(index + 1) % STATE_WORDS];
                let joined = (self.state[index] & 0x8000_0000) | (following & 0x7fff_ffff);
                let odd = if joined & 1 == 1 { 0x9908_b0df } else { 0 };
                self.state[index] = self.state[(index + SHIFT_WORDS) % STATE_WORDS] ^ (joined >> 1) ^ odd;
            }
            self.next = 0;
        }
        let mut word = self.state[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    /// A number below `bound`, which is at least 1 and below 2^32, as `_randbelow` draws it.
    fn below(&mut self, bound: usize) -> usize {
        let bits = usize::BITS - bound.leading_zeros();
        loop {
            let drawn = (self.word() >> (32 - bits)) as usize;
            if drawn < bound {
                return drawn;
            }
        }
    }

    /// `sample(range(population), count)`: different numbers in the order in which they are drawn. More than
    /// there are gives them all.
    pub fn sample(&mut self, population: usize, count: usize) -> Vec<usize> {
        let count = count.min(population);
        // Python draws from a pool where that is smaller than a set of what was drawn would be.
        let mut set_size = 21;
        if count > 5 {
            set_size += 4usize.pow(((count * 3) as f64).log(4.0).ceil() as u32);
        }
        if population <= set_size {
            let mut pool: Vec<usize> = (0..population).collect();
            return (0..count)
                .map(|drawn| {
                    let place = self.below(population - drawn);
                    let last = population - drawn - 1;
                    let number = pool[place];
                    pool[place] = pool[last];
                    number
                })
                .collect();
        }
        let mut seen = std::collections::HashSet::new();
        let mut drawn = Vec::with_capacity(count);
        while drawn.len() < count {
            let number = self.below(population);
            if seen.insert(number) {
                drawn.push(number);
            }
        }
        drawn
    }
}

fn successor(word: u32) -> u32 {
    word ^ (word >> 30)
}

fn advance(state: &mut [u32; STATE_WORDS], index: usize) -> usize {
    match index + 1 {
        STATE_WORDS => {
            state[0] = state[STATE_WORDS - 1];
            1
        }
        next => next,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `r = random.Random(0); [r.sample(range(4), 4) for _ in range(6)]`, CPython 3.11.
    #[test]
    fn permutations_are_pythons() {
        let mut random = PythonRandom::new(0);
        let drawn: Vec<Vec<usize>> = (0..6).map(|_| random.sample(4, 4)).collect();
        let expected = [[3, 1, 0, 2], [3, 1, 2, 0], [2, 3, 0, 1], [2, 0, 3, 1], [1, 3, 0, 2], [2, 1, 0, 3]];
        assert_eq!(drawn, expected);
    }

    /// `random.Random(0).sample(range(198), 5)` draws with a set, `random.Random(7).sample(range(40), 12)`
    /// from a pool.
    #[test]
    fn samples_are_pythons() {
        assert_eq!(PythonRandom::new(0).sample(198, 5), [98, 194, 107, 10, 66]);
        assert_eq!(PythonRandom::new(7).sample(40, 12), SAMPLE_7_40_12);
        assert_eq!(PythonRandom::new(0).sample(2, 5).len(), 2);
    }

    const SAMPLE_7_40_12: [usize; 12] = [20, 9, 25, 3, 4, 34, 6, 23, 36, 29, 16, 33];
}
