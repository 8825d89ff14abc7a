//! Adapters of every stack against each other and against PEFT's own.

mod golden;
mod refused;
mod stacks;
mod support;
mod written;
