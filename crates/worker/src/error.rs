//! Refusals, and the status of gRPC that each is.
//!
//! Routers decide by the status whether they try elsewhere: UNAVAILABLE they do, INVALID_ARGUMENT is the
//! client's to mend, and what would fail elsewhere too must be neither. Source: the table of NVIDIA Dynamo's
//! sidecar 1.6, to which RESOURCE_EXHAUSTED is a fault that is not tried again.

use std::net::SocketAddr;

use gptoss_engine::{Class, Error as EngineError, Failure};
use tonic::Status;

use crate::limits::WORDS_BYTES_MAX;

/// Why something is not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Other machines reach the address and anybody there would be let in.
    #[error(
        "{address} can be reached from other machines, and vLLM's protocol asks nobody for a key; \
         listen on 127.0.0.1, or let in clients by certificate"
    )]
    Exposed {
        /// The address.
        address: SocketAddr,
    },
    /// A field of a request asks for what is not done.
    #[error("{field}: {problem}")]
    Field {
        /// Its path, as in `sampling.top_p`.
        field: &'static str,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// There is no such model or adapter here.
    #[error("{field}: {name:?} is not served here; {known}")]
    Unknown {
        /// The field's path.
        field: &'static str,
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The rules of the output are refused.
    #[error("{field}: {source}")]
    Rules {
        /// The field's path.
        field: &'static str,
        /// Why.
        source: gptoss_constrain::Error,
    },
    /// Too much is being read at once.
    #[error("{num} {what} here already: ask another worker, or later")]
    Busy {
        /// How many may be.
        num: usize,
        /// What is.
        what: &'static str,
    },
    /// The worker takes no requests any more.
    #[error("this worker is stopping: ask another")]
    Stopping,
    /// The engine refuses.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl Error {
    /// A field that cannot be used.
    pub(crate) fn field(field: &'static str, problem: impl Into<String>) -> Error {
        Error::Field { field, problem: problem.into() }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Status {
        let words = match &error {
            Error::Engine(EngineError::Parameter { parameter, found, expected }) => {
                format!("{}: {found}, but it must be {expected}", path_of(parameter))
            }
            Error::Engine(EngineError::TokenOutsideVocabulary { .. } | EngineError::EmptyPrompt) => {
                format!("token_ids: {error}")
            }
            _ => error.to_string(),
        };
        match &error {
            Error::Unknown { .. } => Status::not_found(words),
            Error::Rules { source: gptoss_constrain::Error::Busy { .. }, .. }
            | Error::Busy { .. }
            | Error::Stopping => Status::unavailable(words),
            Error::Engine(EngineError::Failed(failure)) => status_of(failure),
            // An engine that has ended does not come back; another worker's may run.
            Error::Engine(refused) if refused.class() != Class::Caller => Status::unavailable(words),
            Error::Exposed { .. } | Error::Field { .. } | Error::Rules { .. } | Error::Engine(_) => {
                Status::invalid_argument(words)
            }
        }
    }
}

/// How a request ends that was accepted and failed.
pub(crate) fn status_of(failure: &Failure) -> Status {
    let words = failure.to_string();
    match failure {
        // Another machine may do.
        Failure::ShuttingDown | Failure::Stopped | Failure::Device { .. } | Failure::Stalled { .. } => {
            Status::unavailable(words)
        }
        Failure::Constraint { .. } => Status::invalid_argument(words),
        Failure::SlowReader { .. } => Status::resource_exhausted(words),
        // These would come again.
        Failure::NotFinite { .. } | Failure::Panicked { .. } | Failure::Forward { .. } => {
            Status::internal(words)
        }
    }
}

/// A status whose words fit into the head of a response: at most [`WORDS_BYTES_MAX`].
pub(crate) fn cut(status: Status) -> Status {
    let words = status.message();
    match words.len() <= WORDS_BYTES_MAX {
        true => status,
        false => Status::new(status.code(), &words[..words.floor_char_boundary(WORDS_BYTES_MAX)]),
    }
}

/// Where a request names a parameter of the sampler.
fn path_of(parameter: &str) -> &str {
    match parameter {
        "top_p" => "sampling.top_p",
        "top_k" => "sampling.top_k",
        "min_p" => "sampling.min_p",
        "presence_penalty" => "decoding.presence_penalty",
        "frequency_penalty" => "decoding.frequency_penalty",
        "repetition_penalty" => "decoding.repetition_penalty",
        "logit_bias" => "decoding.logit_bias",
        "top_logprobs" => "response.output_candidates.top_n",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_cut_where_a_character_ends() {
        for (words, expect) in [("x".repeat(WORDS_BYTES_MAX), WORDS_BYTES_MAX), ("€".repeat(5000), 2046)] {
            let status = cut(Status::not_found(words.clone()));
            assert_eq!((status.code(), status.message().len()), (tonic::Code::NotFound, expect));
            assert!(words.starts_with(status.message()));
        }
    }
}
