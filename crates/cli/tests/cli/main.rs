//! The commands as a user meets them: the real binary, driven through arguments, pipes and a pseudo-terminal.
//!
//! One test program for all of them, because linking costs more than running; `pull` has its own, with its
//! stand-in of the hub.

mod bad_input;
mod batch;
mod bench;
mod chat;
mod config;
mod demo;
#[path = "../../../gpu/tests/devices/mod.rs"]
mod devices;
mod doctor;
mod generate;
mod inspect;
mod kv_disk;
mod launch;
mod lines;
mod load;
mod models;
mod program;
mod proof;
mod score;
mod scripted;
mod serve;
mod traces;
