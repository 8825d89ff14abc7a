//! A cell: walls around a program that a model wrote or asked for.
//!
//! The program sees the system's own programs, three folders in memory and what it is shown, and neither the
//! network, other processes, our files, variables nor descriptors; it has a bounded share of time, memory,
//! processes and disk, and none of its processes outlives it. A wall that cannot be built refuses the cell,
//! [`Wall::Landlock`] alone excepted. It is Linux's; on other systems every cell is refused.

mod error;
mod keep;
mod limits;
mod program;
mod walls;

#[cfg(target_os = "linux")]
mod bubblewrap;
#[cfg(target_os = "linux")]
mod calls;
#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(target_os = "linux")]
mod first;
#[cfg(target_os = "linux")]
mod host;
#[cfg(target_os = "linux")]
mod launch;
#[cfg(target_os = "linux")]
mod order;
#[cfg(target_os = "linux")]
mod raw;
#[cfg(target_os = "linux")]
mod remedy;
#[cfg(target_os = "linux")]
mod restrict;
#[cfg(target_os = "linux")]
mod root;
#[cfg(target_os = "linux")]
mod watch;

#[cfg(not(target_os = "linux"))]
pub use elsewhere::{Cell, Launcher, Running, launch};
pub use error::CellError;
#[cfg(target_os = "linux")]
pub use host::{Cell, Launcher, Running};
pub(crate) use keep::Keep;
#[cfg(target_os = "linux")]
pub use launch::{launch, launch_without};
pub use limits::Limits;
pub use program::{Bind, End, Output, Program, Ran};
pub use walls::Wall;
