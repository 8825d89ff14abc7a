//! Where may a request go, and what comes back from there?
//!
//! Enter at [`Plan::read`], which makes a plan of an operator's file; at [`decide()`], the pure function that
//! says where a request goes and why; and at [`Gateway::answer`], which sends it there. A request keeps the
//! bytes that it came as, but for the fields that are this server's own; where an upstream speaks another API
//! than the client, the chat is put into the other's words, both ways, and the machines of `api` write the
//! answer.
//!
//! It does not know clients, their keys or the engine: labels, the engine's state and the key that signs
//! thinking are given to it.

mod answered;
mod decide;
mod detect;
mod dialect;
mod exchange;
mod facts;
mod file;
mod filtered;
mod gateway;
mod health;
mod label;
pub mod limits;
mod moderated;
mod observer;
mod outgoing;
mod piece;
mod plan;
mod problem;
mod pump;
mod raw_object;
mod relay;
mod reply;
mod rule;
mod said;
mod secret;
mod sse;
mod tally;
mod translate;
mod turn_reader;
mod upstream;
mod usage;
mod writer;

pub use answered::{all_texts, answer_texts};
pub use decide::{Decision, Leg, LocalState, States, UpstreamState, Verdict, decide, title};
pub use detect::FindsPersonalData;
pub use dialect::Dialect;
pub use facts::Facts;
pub use filtered::filtered;
pub use gateway::{Admit, Gateway, Incoming, LABEL_HEADER, Outcome, Route, Stay, header_label};
pub use label::{LABELS, Label};
pub use moderated::{Tail, moderated, tells};
pub use plan::{LOCAL, Plan, ReadFile, Sources};
pub use problem::Problem;
pub use raw_object::RawObject;
pub use relay::{Cut, Ended, OnEnd};
pub use reply::{Reply, ReplyBody};
pub use rule::{Place, Rule, Strategy, Target};
pub use said::{AskedTexts, asked_texts};
pub use secret::Secret;
pub use tally::{Figures, TIME_BUCKETS, TryEnd};
pub use turn_reader::{TurnPart, TurnReader};
pub use upstream::{HostedTools, Kind, Price, Upstream};
pub use writer::Told;
