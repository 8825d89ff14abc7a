//! What a request costs, in whole micro-dollars: sums are of integers, so that they are exact.

/// How many tokens a price is for.
const TOKENS_OF_A_PRICE: u128 = 1_000_000;

/// What a model's tokens cost. Units: micro-dollars for a million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    /// Of the prompt.
    pub input: u64,
    /// Of what of the prompt was kept from before.
    pub cached_input: u64,
    /// Of what the model said, reasoning too.
    pub output: u64,
}

/// How many tokens a request has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Of the prompt, with those that were kept.
    pub input: u64,
    /// Those of the prompt that were kept from before.
    pub cached: u64,
    /// That the model said.
    pub output: u64,
}

impl Price {
    /// What these tokens cost: rounded up once, over all of them, so that nothing is free.
    ///
    /// Units: micro-dollars.
    pub fn of(&self, tokens: Tokens) -> u64 {
        let cached = tokens.cached.min(tokens.input);
        let parts =
            [(tokens.input - cached, self.input), (cached, self.cached_input), (tokens.output, self.output)];
        let total: u128 = parts.into_iter().map(|(num, price)| u128::from(num) * u128::from(price)).sum();
        u64::try_from(total.div_ceil(TOKENS_OF_A_PRICE)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_rounded_up_once() {
        let check = |input, cached, output, expect: u64| {
            let price = Price { input: 150_000, cached_input: 75_000, output: 600_000 };
            assert_eq!(price.of(Tokens { input, cached, output }), expect, "{input} {cached} {output}");
        };
        check(0, 0, 0, 0);
        check(1, 0, 0, 1);
        check(1_000_000, 0, 1_000_000, 750_000);
        check(1_000_000, 1_000_000, 0, 75_000);
        check(10, 0, 10, 8);
        check(10, 99, 0, 1);
        check(u64::MAX, 0, u64::MAX, 13_835_058_055_282_163_712);
    }
}
