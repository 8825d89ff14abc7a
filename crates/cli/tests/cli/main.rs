//! The commands as a user meets them: the real binary, driven through arguments, pipes and a pseudo-terminal.
//!
//! One test program for all of them, because linking costs more than running; `pull` has its own, with its
//! stand-in of the hub.

mod adapter;
mod agent;
#[cfg(target_os = "linux")]
mod air_gap;
mod bad_input;
mod batch;
mod bench;
mod card;
#[cfg(target_os = "linux")]
mod cells;
mod chat;
mod config;
mod cost;
mod dataset;
mod demo;
mod deploy;
#[path = "../../../gpu/tests/devices/mod.rs"]
mod devices;
mod doctor;
mod eval;
mod eval_run;
#[path = "../../../gpu/tests/faults/mod.rs"]
mod faults;
mod fine_tuning;
mod generate;
mod govern;
mod inspect;
mod kv_disk;
mod launch;
mod lines;
mod load;
mod mcp;
mod models;
mod plan;
mod program;
mod proof;
mod redact;
mod safety;
mod score;
mod scripted;
mod serve;
mod served_guard;
mod served_rules;
mod served_tools;
mod swe_bench;
mod tenants;
mod traces;
mod train;
mod with_adapter;
