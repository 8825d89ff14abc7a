//! The API from outside: real connections to a server whose engine follows a script.
//!
//! `scripted` plays the engine through the same channel as a real one, `http` is the client. The tests need
//! no model, no network beyond this machine and no time to pass; those of `forced` alone run models, the demo
//! and random weights (`real`).

mod abroad_tools;
mod adapters;
mod attacks;
mod batches;
mod chat;
mod completions;
mod containers;
mod context;
mod cors;
mod dialects;
mod errors;
mod files;
mod fine_tuning;
mod forced;
mod gateway;
mod govern;
mod guard;
mod http;
mod loops;
mod lora;
mod messages;
mod models;
mod paths;
mod real;
mod redact;
mod responses;
mod routers;
mod scripted;
mod server;
mod shutdown;
mod socket;
mod state;
mod tenants;
mod tls;
mod tool_host;
mod tools;
mod traces;
mod trainer;
