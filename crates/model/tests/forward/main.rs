//! Tests of whole forward passes.
//!
//! `adapters` are beside the weights, `golden` compares with the official implementation, `reference` with a
//! second one in plain loops, `equality` one way of computing with another (bit for bit), `layouts` and
//! `gguf` one file format with another, `refused` what bad input is answered with, `segments` many sequences
//! in a step with each alone, `streamed` experts that come from disk, `tunes` the files that tuning writes,
//! `card` a device in software, `cuda` one by CUDA, `hosted` one that holds only some experts and `failing`
//! one that is lost, full or hangs. `written` writes random checkpoints of any shape.

mod adapters;
mod card;
mod cuda;
#[path = "../../../gpu/tests/devices/mod.rs"]
mod devices;
mod equality;
mod failing;
#[path = "../../../gpu/tests/fake_cuda/mod.rs"]
mod fake_cuda;
#[path = "../../../gpu/tests/faults/mod.rs"]
mod faults;
mod gguf;
mod golden;
mod hosted;
mod layouts;
mod reference;
mod refused;
mod segments;
mod streamed;
mod tunes;
mod written;
#[path = "../../../checkpoint/tests/gguf/written.rs"]
#[expect(dead_code, reason = "the other room's tests write more")]
mod written_gguf;
