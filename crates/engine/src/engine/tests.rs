//! What a step that breaks does to those who are in it.

use gptoss_checkpoint::{Checkpoint, Preset};
use gptoss_kernels::Pool;
use gptoss_model::Precision;

use super::*;
use crate::constraint::{Constraint, Mask};
use crate::handle::{Ticket, channel};
use crate::request::{Event, Request};

const POISON: u32 = 77;

fn engine() -> Engine {
    let checkpoint = Checkpoint::synthetic(Preset::Tiny, 1, None).expect("makes");
    let model = Model::load(&checkpoint, Precision::Fast, Pool::new(2), &mut |_, _| {}).expect("loads");
    let options = EngineOptions { max_sequences: 8, ..EngineOptions::new(300) };
    let mut engine = Engine::with_options(Arc::new(model), options).expect("fits");
    engine.poison = Some(POISON);
    engine
}

fn request(prompt: Vec<u32>) -> Request {
    let mut request = Request { prompt, max_new_tokens: 12, ..Request::default() };
    // The poison is never chosen.
    request.sampling.logit_bias = vec![(POISON, -100.0)];
    request
}

fn run(engine: &mut Engine, requests: Vec<Request>) -> Vec<Vec<Event>> {
    let (handle, mut inbox) = channel(engine.limits());
    let mut tickets: Vec<Ticket> =
        requests.into_iter().map(|request| handle.submit(request).expect("room")).collect();
    while let Some(accepted) = inbox.try_recv() {
        engine.accept(accepted);
    }
    while engine.step() {}
    engine.check().expect("adds up");
    tickets.iter_mut().map(|ticket| std::iter::from_fn(|| ticket.next_event()).collect()).collect()
}

fn tokens(events: &[Event]) -> Vec<(u32, u64)> {
    let tokens = events.iter().filter_map(|event| match event {
        Event::Token(token) => Some((token.id, token.logprob.to_bits())),
        _ => None,
    });
    tokens.collect()
}

#[test]
fn a_panic_fails_the_request_it_belongs_to_and_no_other() {
    let good = |n: u32| request((0..40 + n).map(|i| (i * 3 + n) % 70).collect());
    let expected: Vec<_> = (0..3).map(|n| tokens(&run(&mut engine(), vec![good(n)])[0])).collect();
    let mut engine = engine();
    let bad = request([&[5; 30][..], &[POISON], &[6; 9]].concat());
    let told = run(&mut engine, vec![good(0), bad, good(1), good(2)]);
    assert!(
        matches!(told[1].last(), Some(Event::Failed(Failure::Panicked { message })) if message.contains("poisoned"))
    );
    for (n, events) in [&told[0], &told[2], &told[3]].into_iter().enumerate() {
        assert_eq!(tokens(events), expected[n]);
        assert!(matches!(events.last(), Some(Event::Finished { reason: FinishReason::Length, .. })));
    }
    assert_eq!((engine.stats().ended_failed, engine.stats().ended_length), (1, 3));
}

/// A constraint that breaks after three tokens, in one of three ways.
struct Breaks {
    way: u32,
    committed: u32,
}

impl Constraint for Breaks {
    fn mask(&mut self) -> Result<Mask<'_>, String> {
        match (self.committed, self.way) {
            (0..3, _) => Ok(Mask::Any),
            (_, 0) => Err("out of fuel".to_owned()),
            (_, 1) => Ok(Mask::Only(&[])),
            _ => panic!("a mistake"),
        }
    }

    fn commit(&mut self, _: u32) -> Result<(), String> {
        self.committed += 1;
        Ok(())
    }

    fn is_over(&self) -> bool {
        false
    }
}

#[test]
fn a_constraint_that_breaks_fails_its_request_alone() {
    let good = || request((0..50).collect());
    let expected = tokens(&run(&mut engine(), vec![good()])[0]);
    let broken = |way| Request { constraint: Some(Box::new(Breaks { way, committed: 0 })), ..good() };
    let told = run(&mut engine(), vec![broken(0), good(), broken(1), broken(2)]);
    assert_eq!(tokens(&told[1]), expected);
    for (events, words) in
        [(&told[0], "out of fuel"), (&told[2], "forbids every token"), (&told[3], "a mistake")]
    {
        assert_eq!(tokens(events), expected[..3]);
        let Some(Event::Failed(failure)) = events.last() else { panic!("it fails") };
        assert!(failure.to_string().contains(words), "{failure}");
    }
}
