//! May this text pass, under this policy, judged by a model?
//!
//! A [`Guard`] is what the operator wrote: policies in words, each judged by a model as gpt-oss-safeguard
//! does it, and filters that need none, in a file of this program's or in one of openai-guardrails.
//! [`judge()`] asks a model that is loaded here, [`Address`] one elsewhere; either way a [`Verdict`] has the
//! probability of the token that decides. [`Release`] holds a stream back until what it says was judged,
//! [`Report`] adds findings up.
//!
//! Nothing here waits but a model's turn: files, clocks and connections are the caller's.

mod address;
mod check;
mod config;
mod elsewhere;
mod error;
mod form;
mod guardrails;
mod judge;
mod judge_usage;
mod keywords;
mod personal;
mod policy;
mod release;
mod report;
mod secrets;
mod urls;
mod verdict;

pub use address::Address;
pub use check::{Check, CheckKind, Fails, Guard, Mode, Stage};
pub use config::{Sources, read};
pub use elsewhere::{judge_answer, judge_body};
pub use error::Error;
pub use form::Form;
pub use judge::{Judging, judge};
pub use judge_usage::JudgeUsage;
pub use keywords::Keywords;
pub use personal::PersonalData;
pub use policy::{Judge, Policy};
pub use release::{Release, Window};
pub use report::{Finding, Report};
pub use secrets::SecretKeys;
pub use urls::UrlFilter;
pub use verdict::Verdict;
