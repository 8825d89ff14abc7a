//! Messages as they cross the wire: those of vLLM's protocol and of gRPC's health check.
//!
//! Written by hand for the fields that are read or written here, by the numbers of `inference.proto` and
//! `control.proto` of vllm-proto 0.6.0 and of `grpc.health.v1`; what is not named is skipped, as protobuf has
//! it. So nothing is generated when this is built, and the tests speak to it through the vendor's own
//! bindings, which a wrong number could not pass.

pub(crate) mod control;
pub(crate) mod health;
pub(crate) mod inference;

/// A message of which only its presence counts.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Opaque {}
