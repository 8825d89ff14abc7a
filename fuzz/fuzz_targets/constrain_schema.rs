//! Any schema, regular expression or Lark grammar compiles or is refused; what compiles gives masks until a
//! limit, and never an empty one.
#![no_main]

use std::sync::{Arc, OnceLock};

use gptoss_constrain::{
    Body, Constraint, Error, Fidelity, Limits, Reasoning, Spec, TokenTable, compile, is_allowed,
};
use gptoss_harmony::{MultiDigit, Vocab};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, String, Vec<u8>)| {
    static TABLE: OnceLock<Arc<TokenTable>> = OnceLock::new();
    let table = TABLE.get_or_init(|| {
        let vocab = Arc::new(Vocab::truncated(500, MultiDigit::Keep));
        TokenTable::new(vocab).expect("the first 256 ranks are the bytes")
    });
    let (kind, text, choices) = input;
    let answer = match kind % 4 {
        0 => Body::Regex(text),
        1 => Body::Lark(text),
        kind => {
            let Ok(schema) = serde_json::from_str(&text) else { return };
            let fidelity = if kind == 2 { Fidelity::Strict } else { Fidelity::Loose };
            Body::JsonSchema { schema, fidelity }
        }
    };
    let reasoning = Reasoning { budget: Some(0), preambles: false };
    let spec = Spec { answer, reasoning, ..Spec::default() };
    let compiled = match compile(table, spec, &Limits::default()) {
        Ok(compiled) => compiled,
        Err(Error::Crashed) => panic!("the compiler panicked"),
        Err(_) => return,
    };
    let mut constraint = Constraint::new(&compiled);
    for choice in choices {
        if constraint.is_over() {
            return;
        }
        let Ok(mask) = constraint.allowed() else { return };
        let allowed: Vec<u32> = (0..mask.len() as u32 * 32).filter(|&id| is_allowed(mask, id)).collect();
        assert!(!allowed.is_empty());
        constraint.commit(allowed[choice as usize % allowed.len()]).expect("it was allowed");
    }
});
