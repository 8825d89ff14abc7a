//! Who may use what, how much of it is left, and what was decided?
//!
//! [`Rules`] is the operator's file as plain data: keys by their digests, groups, policies and prices.
//! [`Rules::identify`] says whose secret this is, [`Rules::decide`] what the rules say to an [`Ask`], with
//! the rule's name; both are pure. [`Journal`] is the state: rates, parallel places and budgets, reserved
//! before a request and settled after it, and the audit, a chain of SHA-256 in the same SQLite file and the
//! same transactions. [`Audit`] reads that file beside the server, and exports of it.
//!
//! Clocks and random numbers are the caller's: `now` and `fill` are given in. What was said is never here,
//! but where a policy has it kept ([`AuditContent`]): then beside the chain, which has hashes of it.

mod ask;
mod clip;
mod content;
mod decision;
mod digest;
mod error;
mod journal;
mod key;
mod pattern;
mod period;
mod policy;
mod price;
mod rules;
mod scope;
mod secret;
mod sensitivity;

pub use ask::{Ask, Effort, ToolAsk, ToolKind};
pub use content::{AuditContent, ContentRule};
pub use decision::{Decision, Finding, Outcome, Subject, Verdict};
pub use digest::Digest;
pub use error::{JournalError, RulesProblem, Unknown};
pub use journal::audit::Audit;
pub use journal::break_place::{Break, NotVerified};
pub use journal::chain::{Head, NotAHead, Summary, Texts, verify_export};
pub use journal::content::{Content, Said, Spoken, TextHash};
pub use journal::entries::EntryQuery;
pub use journal::entry::{Entry, Event, Record, Used};
pub use journal::erase::{Erasure, erase_content};
pub use journal::usage::{Bucket, Grouping, Usage, UsageQuery, UsageRow, Width};
pub use journal::{Charge, Journal, Left, NotAdmitted, Refusal, RefusalKind, Remaining, Spent, Ticket};
pub use key::{Account, Amount, Budget, Group, Key, KeyState, Limits};
pub use pattern::Patterns;
pub use period::Period;
pub use policy::{Mode, Policy, Reasoning, ToolRule};
pub use price::{Price, Tokens};
pub use rules::Rules;
pub use rules::changes::KeyChange;
pub use rules::edit::{self, NewKey, Rotation};
pub use scope::Scope;
pub use secret::Secret;
pub use sensitivity::Sensitivity;
