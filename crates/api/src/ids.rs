//! Names of new things, which this room is given and does not make up.

/// Makes a name that nobody can guess and nothing else has, from the prefix that tells its kind: `msg_` and
/// digits from `msg`.
pub type NewId = fn(&str) -> String;
