//! May a connection leave this program?
//!
//! One rule for the whole program, which is open until [`close`] and never opens again. Whoever is about to
//! open a connection, to look a name up or to start what will, asks [`check`] with a name for it that a user
//! knows; what only the operator can put right is asked at the start, so that it is refused there.
//!
//! Beneath the rule stands [`wall`]: a filter of system calls, so that a place which forgets to ask, and a
//! program that is started, cannot connect either. It is no part of the rule's answer: a rule says what is
//! wrong, a wall only that something is.

#[cfg(target_os = "linux")]
mod filter;

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether nothing may leave. A static, because it is a property of the process, as its filter is: a value
/// that is handed around could be forgotten where it matters.
static IS_CLOSED: AtomicBool = AtomicBool::new(false);

/// A connection that the rule forbids.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} needs a connection that leaves this program, and --air-gap allows none")]
pub struct Closed {
    /// What would need it, as a user knows it.
    pub what: String,
}

/// The wall cannot be built.
#[derive(Debug, thiserror::Error)]
#[error("--air-gap: the system cannot be made to refuse connections: {0}")]
pub struct NoWall(String);

/// From now on nothing may leave.
pub fn close() {
    IS_CLOSED.store(true, Ordering::Relaxed);
}

/// Whether nothing may leave.
pub fn is_closed() -> bool {
    IS_CLOSED.load(Ordering::Relaxed)
}

/// Errors: nothing may leave, and so `what` is refused.
pub fn check(what: impl Display) -> Result<(), Closed> {
    if is_closed() { Err(Closed { what: what.to_string() }) } else { Ok(()) }
}

/// Has the system refuse connections to this process, all its threads and all programs that it starts, for
/// ever: sockets but those between processes of this machine's kernel (`AF_UNIX` pairs), and every `connect`.
/// Sockets that are there stay, so what is to be listened at is bound before. False where the system has no
/// such filter: it is Linux's.
///
/// Errors: the kernel refuses the filter.
pub fn wall() -> Result<bool, NoWall> {
    #[cfg(target_os = "linux")]
    return filter::apply().map(|()| true).map_err(NoWall);
    #[cfg(not(target_os = "linux"))]
    return Ok(false);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The one test that closes it: the rule is the process's.
    #[test]
    fn it_closes_for_good_and_names_what_it_refuses() {
        assert_eq!((is_closed(), check("pull")), (false, Ok(())));
        close();
        let refused = check(format_args!("--browser {}", "exa")).unwrap_err();
        assert!(
            is_closed() && refused.to_string().starts_with("--browser exa needs a connection"),
            "{refused}"
        );
    }
}
