//! What does a router see: vLLM's gRPC protocol over the engine, tokens in and tokens out.
//!
//! Enter at [`Worker`]: [`Worker::run`] serves `vllm.Inference`, `vllm.Control` and gRPC's health check on a
//! listener until it is told to stop. A request is read by `parse` as a request of the engine, its stream
//! (`generation`) turns events into answers, and `running` knows all of them, so that they can be aborted and
//! a drain ends what is left with UNAVAILABLE, after which a router goes on elsewhere.
//!
//! What makes that exact: a draw is a function of the seed and of the position in the sequence, so the same
//! tokens go on in the same way on any worker; tokens are told when their text is whole, so that a router
//! that sends back what it was told misses nothing (`speech`); and what counts from the beginning of an
//! answer (penalties, forms, the least number of tokens) counts from where the prompt opens the assistant's
//! turn (`opening`).
//!
//! The room does not know HTTP's APIs, keys, conversations, files or clocks; nobody is asked who he is, so
//! that other machines are let in by certificate alone, and whose share of the machine a request takes is
//! told by its connection (`peer`). Nothing that is said reaches a log.
//!
//! What is not served yet is bounded before it is: connections that begin (`arrival`), requests that are read
//! and forms that are compiled (`reading`), messages that do not come (`message_body`).

mod arrival;
mod caller_deadline;
mod calls;
mod control;
mod error;
mod generation;
mod health;
mod limits;
mod listen;
mod message_body;
mod opening;
mod parse;
mod peer;
mod reading;
mod rules;
mod running;
mod speech;
mod structure;
mod wire;
mod worker;

pub use arrival::{Log, SubjectOf, TlsSource, WorkerTls};
pub use error::Error;
pub use limits::{
    ARRIVAL_TIME_MAX, ARRIVALS_MAX, COMPILING_MAX, CONNECTIONS_MAX, Limits, MESSAGE_TIME_MAX, READING_MAX,
    READING_WAIT_MAX,
};
pub use listen::check_address;
pub use worker::{KvEvents, Worker, WorkerAdapter, WorkerModel};
