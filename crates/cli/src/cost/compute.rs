//! The arithmetic: numbers in, costs of a month out.
//!
//! Machines are whole ones: as many as the busiest hour needs, and the spare ones. A machine of one's own
//! costs what it loses in worth and what it draws; power is drawn all month, because a served model stays
//! loaded.

/// Hours of a month.
pub const MONTH_HOURS: f64 = 730.0;
/// Seconds of an hour.
const HOUR_SECONDS: f64 = 3600.0;
/// Tokens that prices are of.
pub const MILLION: f64 = 1e6;
/// What each number is changed by to see what it matters.
pub const CHANGE: f64 = 0.3;
/// Multiples of the requests of a month between which costs are looked for to be the same.
const VOLUMES: (f64, f64) = (1e-3, 1e3);
/// How finely: the cost of machines rises in steps.
const VOLUME_STEPS: usize = 6000;

/// What is used in a month.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// Requests.
    pub requests: f64,
    /// Tokens of a request's prompt, in the mean.
    pub input_tokens: f64,
    /// Of these, those that were read before, from 0 to 1.
    pub cached_share: f64,
    /// Tokens of an answer with its reasoning, in the mean.
    pub output_tokens: f64,
    /// The busiest hour beside the mean of all hours.
    pub peak_to_mean: f64,
}

/// A machine, and what comes with it. Units: money.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Machine {
    /// Tokens of answers in a second at the latency that is wanted.
    pub output_tokens_per_second: f64,
    /// An hour of it: what it is hired for, or what it loses in worth.
    pub hourly: f64,
    /// An hour of its power.
    pub power_hourly: f64,
    /// Machines beyond those that are needed.
    pub spare: f64,
    /// All that does not depend on the number of machines, a month: staff, hosting.
    pub fixed_monthly: f64,
}

/// What an API asks for. Units: money for a million tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct Price {
    /// The model and where it is.
    pub name: String,
    /// Tokens of prompts.
    pub input: f64,
    /// Tokens of prompts that were read before.
    pub cached_input: f64,
    /// Tokens of answers, with their reasoning.
    pub output: f64,
    /// What a request in a batch costs beside another.
    pub batch_factor: Option<f64>,
}

/// What an API's answers are like beside one's own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Manner {
    /// Tokens of an answer beside those of one's own model.
    pub output_factor: f64,
    /// Requests that are made twice, from 0 to 1.
    pub retry_share: f64,
    /// Requests that can wait for a batch, from 0 to 1.
    pub batch_share: f64,
}

/// All that is computed with.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// What the money is.
    pub currency: String,
    /// What is used.
    pub usage: Usage,
    /// On what.
    pub machine: Machine,
    /// Beside what.
    pub prices: Vec<Price>,
    /// How that is used.
    pub manner: Manner,
}

/// What one's own machines cost in a month.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OwnCost {
    /// Machines, spare ones among them.
    pub machines: f64,
    /// Money.
    pub monthly: f64,
    /// For a million tokens, read or written.
    pub per_million: f64,
    /// Of what the machines could write in a month, from 0 to 1.
    pub utilization: f64,
}

/// What an API costs in a month, and when one's own machines cost the same.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiCost {
    /// Money.
    pub monthly: f64,
    /// For a million tokens, read or written by one's own model.
    pub per_million: f64,
    /// Requests of a month from which on one's own machines cost no more; None: never.
    pub break_even_requests: Option<f64>,
    /// The part of one machine's time that has to be used for it to cost no more than the API, without what
    /// is fixed; above 1 it never does.
    pub break_even_utilization: f64,
}

/// Both.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    /// One's own.
    pub own: OwnCost,
    /// Each price in order.
    pub apis: Vec<ApiCost>,
}

impl Compared {
    /// The cheapest price's place.
    pub fn cheapest(&self) -> Option<usize> {
        let by_cost = |a: &usize, b: &usize| self.apis[*a].monthly.total_cmp(&self.apis[*b].monthly);
        (0..self.apis.len()).min_by(by_cost)
    }
}

impl Usage {
    /// Tokens of a month, read and written.
    fn tokens(&self) -> f64 {
        self.requests * (self.input_tokens + self.output_tokens)
    }

    fn times(&self, factor: f64) -> Usage {
        Usage { requests: self.requests * factor, ..*self }
    }
}

/// Compares machines of one's own with every price.
pub fn compare(case: &Case) -> Compared {
    let own = own_cost(&case.usage, &case.machine);
    let api = |price: &Price| {
        let monthly = api_monthly(&case.usage, price, &case.manner);
        let per_million = monthly / case.usage.tokens() * MILLION;
        let machine = &case.machine;
        let hourly_tokens = machine.output_tokens_per_second
            * HOUR_SECONDS
            * (1.0 + case.usage.input_tokens / case.usage.output_tokens);
        let at_full = (machine.hourly + machine.power_hourly) / hourly_tokens * MILLION;
        ApiCost {
            monthly,
            per_million,
            break_even_requests: break_even(case, price),
            break_even_utilization: at_full / per_million,
        }
    };
    Compared { own, apis: case.prices.iter().map(api).collect() }
}

/// What one's own machines cost for that.
pub fn own_cost(usage: &Usage, machine: &Machine) -> OwnCost {
    let mean = usage.requests * usage.output_tokens / (MONTH_HOURS * HOUR_SECONDS);
    let full = mean * usage.peak_to_mean / machine.output_tokens_per_second;
    // What is full to the last digit needs no further machine.
    let needed = (full * (1.0 - f64::EPSILON * 8.0)).ceil().max(1.0);
    let machines = needed + machine.spare;
    let monthly = machines * (machine.hourly + machine.power_hourly) * MONTH_HOURS + machine.fixed_monthly;
    OwnCost {
        machines,
        monthly,
        per_million: monthly / usage.tokens() * MILLION,
        utilization: mean / (machines * machine.output_tokens_per_second),
    }
}

/// What an API costs for that.
pub fn api_monthly(usage: &Usage, price: &Price, manner: &Manner) -> f64 {
    let fresh = usage.input_tokens * (1.0 - usage.cached_share) * price.input;
    let cached = usage.input_tokens * usage.cached_share * price.cached_input;
    let output = usage.output_tokens * manner.output_factor * price.output;
    let batched = price.batch_factor.map_or(1.0, |factor| 1.0 + manner.batch_share * (factor - 1.0));
    usage.requests * (fresh + cached + output) / MILLION * batched * (1.0 + manner.retry_share)
}

/// Requests of a month from which on one's own machines never cost more within what is looked at.
fn break_even(case: &Case, price: &Price) -> Option<f64> {
    let is_dearer = |factor: f64| {
        let usage = case.usage.times(factor);
        own_cost(&usage, &case.machine).monthly > api_monthly(&usage, price, &case.manner)
    };
    let (low, high) = VOLUMES;
    let at = |step: usize| low * (high / low).powf(step as f64 / VOLUME_STEPS as f64);
    let last_dearer = (0..=VOLUME_STEPS).rev().find(|step| is_dearer(at(*step)));
    match last_dearer {
        Some(VOLUME_STEPS) => None,
        Some(step) => Some(case.usage.requests * at(step + 1)),
        None => Some(case.usage.requests * low),
    }
}

/// A number of the case that is changed to see what it matters.
#[derive(Debug, Clone, PartialEq)]
pub struct Swing {
    /// Which.
    pub name: &'static str,
    /// What one's own machines cost more than the API in a month when it is lower, and when it is higher.
    pub differences: [f64; 2],
}

/// What each number matters, beside one price; what matters most first.
pub fn swings(case: &Case, price: usize) -> Vec<Swing> {
    type Change = fn(&mut Case, usize, f64);
    let changes: [(&'static str, Change); 9] = [
        ("requests", |case, _, by| case.usage.requests *= by),
        ("tokens of a prompt", |case, _, by| case.usage.input_tokens *= by),
        ("tokens of an answer", |case, _, by| case.usage.output_tokens *= by),
        ("share read before", |case, _, by| {
            case.usage.cached_share = (case.usage.cached_share * by).min(1.0)
        }),
        ("busiest hour", |case, _, by| case.usage.peak_to_mean = (case.usage.peak_to_mean * by).max(1.0)),
        ("tokens per second", |case, _, by| case.machine.output_tokens_per_second *= by),
        ("a machine's hour", |case, _, by| {
            case.machine.hourly *= by;
            case.machine.power_hourly *= by;
        }),
        ("staff and hosting", |case, _, by| case.machine.fixed_monthly *= by),
        ("the API's prices", |case, price, by| {
            let price = &mut case.prices[price];
            price.input *= by;
            price.cached_input *= by;
            price.output *= by;
        }),
    ];
    let difference = |change: Change, by: f64| {
        let mut changed = case.clone();
        change(&mut changed, price, by);
        own_cost(&changed.usage, &changed.machine).monthly
            - api_monthly(&changed.usage, &changed.prices[price], &changed.manner)
    };
    let mut swings: Vec<Swing> = changes
        .into_iter()
        .map(|(name, change)| Swing {
            name,
            differences: [1.0 - CHANGE, 1.0 + CHANGE].map(|by| difference(change, by)),
        })
        .collect();
    swings.sort_by(|a, b| {
        let width = |swing: &Swing| (swing.differences[1] - swing.differences[0]).abs();
        width(b).total_cmp(&width(a))
    });
    swings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(requests: f64, hourly: f64, fixed_monthly: f64, output_price: f64) -> Case {
        Case {
            currency: "USD".into(),
            usage: Usage {
                requests,
                input_tokens: 1000.0,
                cached_share: 0.5,
                output_tokens: 500.0,
                peak_to_mean: 2.0,
            },
            machine: Machine {
                output_tokens_per_second: 1000.0,
                hourly,
                power_hourly: 0.0,
                spare: 1.0,
                fixed_monthly,
            },
            prices: vec![Price {
                name: "api".into(),
                input: 0.2,
                cached_input: 0.1,
                output: output_price,
                batch_factor: None,
            }],
            manner: Manner { output_factor: 1.0, retry_share: 0.0, batch_share: 0.0 },
        }
    }

    fn close(found: f64, expected: f64) {
        assert!(
            (found - expected).abs() <= 1e-6 * expected.abs().max(1e-9),
            "{found} in place of {expected}"
        );
    }

    /// By hand: 5,256,000 requests of 500 tokens are 2.628e9 tokens in 2,628,000 s: 1000 a second, 2000 in
    /// the busiest hour; two machines and a spare one at 2.00 are 3 x 2 x 730 = 4380, and 620 for staff:
    /// 5000. The API: 500 x 0.2 + 500 x 0.1 + 500 x 2 = 1150 millionths a request, 6044.40. It pays.
    #[test]
    fn a_case_that_pays() {
        let compared = compare(&case(5_256_000.0, 2.0, 620.0, 2.0));
        let own = compared.own;
        close(own.machines, 3.0);
        close(own.monthly, 5000.0);
        close(own.utilization, 1.0 / 3.0);
        close(own.per_million, 5000.0 / (5.256 * 1500.0));
        close(compared.apis[0].monthly, 6044.4);
        // One machine full: 2 for 3.6e6 x 3 = 10.8e6 tokens, 0.185185 a million; the API 1150 / 1500 =
        // 0.766667.
        close(compared.apis[0].break_even_utilization, (2.0 / 10.8) / (1.15 / 1.5));
        // More requests need a third busy machine, 6460 in all: 5,617,391 requests pay for that, and all
        // further machines are paid for when they come.
        let requests = compared.apis[0].break_even_requests.expect("it pays");
        assert!((requests / (6460.0 / 0.00115) - 1.0).abs() < 0.003, "{requests}");
    }

    /// By hand: a tenth of the requests: one machine and a spare one, 2920 and 620: 3540 beside 604.44. More
    /// requests would pay.
    #[test]
    fn a_case_that_does_not_pay() {
        let compared = compare(&case(525_600.0, 2.0, 620.0, 2.0));
        close(compared.own.monthly, 3540.0);
        close(compared.own.utilization, 0.05);
        close(compared.apis[0].monthly, 604.44);
        // Prices of a tenth: 0.5 x 0.2 ... 150 + 500 x 0.2 = 250 millionths; a full machine with none spare
        // costs 0.185185 a million beside 0.166667: never.
        let cheap = compare(&case(525_600.0, 2.0, 620.0, 0.2));
        assert!(cheap.apis[0].break_even_utilization > 1.0);
        assert_eq!(cheap.apis[0].break_even_requests, None);
    }

    /// By hand: one machine at 1.00 and no other cost, no spare one, everything at the same rate; 730 a
    /// month. The API's 1150 millionths: 634,783 requests cost the same, of 5,256,000 that fit: 12.08 % of
    /// its time.
    #[test]
    fn a_case_that_turns_on_utilization() {
        let mut case = case(634_000.0, 1.0, 0.0, 2.0);
        case.usage.peak_to_mean = 1.0;
        case.machine.spare = 0.0;
        let below = compare(&case);
        close(below.own.monthly, 730.0);
        assert!(below.apis[0].monthly < below.own.monthly);
        close(below.apis[0].break_even_utilization, 730.0 / 0.00115 / 5_256_000.0);
        let even = below.apis[0].break_even_requests.expect("it pays");
        assert!((even / (730.0 / 0.00115) - 1.0).abs() < 0.003, "{even}");
        case.usage.requests = 636_000.0;
        let above = compare(&case);
        assert!(above.apis[0].monthly > above.own.monthly);
        close(above.own.utilization, 636_000.0 * 500.0 / (730.0 * 3600.0 * 1000.0));
    }

    #[test]
    fn an_api_is_asked_again_and_in_batches() {
        let mut case = case(1000.0, 1.0, 0.0, 2.0);
        case.manner = Manner { output_factor: 2.0, retry_share: 0.1, batch_share: 0.5 };
        let asked = |case: &Case| api_monthly(&case.usage, &case.prices[0], &case.manner);
        // 150 + 2 x 1000 = 2150 millionths, a tenth of them twice.
        close(asked(&case), 2.15 * 1.1);
        case.prices[0].batch_factor = Some(0.5);
        close(asked(&case), 2.15 * 1.1 * 0.75);
    }

    #[test]
    fn what_matters_most_comes_first() {
        let swings = swings(&case(5_256_000.0, 2.0, 620.0, 2.0), 0);
        let [first, .., last] = &swings[..] else { panic!("there are several") };
        assert_eq!((first.name, last.name), ("the API's prices", "share read before"));
        // Prices 30 % higher: 5000 - 7857.72.
        let prices = swings.iter().find(|swing| swing.name == "the API's prices").unwrap();
        close(prices.differences[1], 5000.0 - 6044.4 * 1.3);
    }
}
