//! The walls of a cell by name.

use serde::{Deserialize, Serialize};

/// One wall. The first three hold a program even if it breaks one of the others; the rest narrow what it can
/// try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wall {
    /// A root of its own: the system's programs to be read, folders in memory to be written.
    Files,
    /// Process ids of its own: nothing outside can be seen or signaled, and all ends with the first process.
    Processes,
    /// A network of its own, in which there is nobody.
    Network,
    /// Shared memory, semaphores and queues of its own.
    Ipc,
    /// A name of the machine of its own.
    HostName,
    /// A view of control groups of its own.
    ControlGroups,
    /// No capability, and no way to one by a file that has it.
    Privileges,
    /// Paths, signals and sockets once more, by Landlock. Kernels without it lack this wall alone.
    Landlock,
    /// The system calls that there are, by seccomp.
    Calls,
    /// Limits of each process, set in the kernel.
    Limits,
    /// Memory and number of all processes together, looked at by the first one.
    Watch,
    /// No descriptor of ours is handed on.
    Descriptors,
    /// No variable of ours is handed on.
    Environment,
    /// No terminal: a session of its own.
    Session,
}

impl Wall {
    /// All walls, in the order in which they are told.
    pub const ALL: [Wall; 14] = [
        Wall::Processes,
        Wall::Files,
        Wall::Network,
        Wall::Ipc,
        Wall::HostName,
        Wall::ControlGroups,
        Wall::Privileges,
        Wall::Landlock,
        Wall::Calls,
        Wall::Limits,
        Wall::Watch,
        Wall::Descriptors,
        Wall::Environment,
        Wall::Session,
    ];

    /// Its name in a word or two.
    pub fn name(self) -> &'static str {
        match self {
            Wall::Files => "files",
            Wall::Processes => "processes",
            Wall::Network => "network",
            Wall::Ipc => "shared memory",
            Wall::HostName => "host name",
            Wall::ControlGroups => "control groups",
            Wall::Privileges => "privileges",
            Wall::Landlock => "Landlock",
            Wall::Calls => "system calls",
            Wall::Limits => "limits",
            Wall::Watch => "watch",
            Wall::Descriptors => "descriptors",
            Wall::Environment => "environment",
            Wall::Session => "session",
        }
    }
}
