//! A card by either of the two ways to one: twins of the same names in `vulkan.rs` and `cuda.rs`, behind
//! closed enums. Nothing above knows which it is but by what a device says of itself.

use std::sync::Arc;
use std::time::Duration;

use crate::Error;
use crate::account::Place;
use crate::command;
use crate::standing::Standing;
use crate::{cuda, vulkan};

pub(crate) type Command = command::Command<Memory, Pipeline>;
pub(crate) type Groups = command::Groups<Memory>;
pub(crate) type Part = command::Part<Memory>;

/// An opened card; clones are the same one.
#[derive(Clone)]
pub(crate) enum Card {
    Vulkan(Arc<vulkan::Card>),
    Cuda(Arc<cuda::Card>),
}

/// Memory of a card or of the host that it sees; clones are the same.
#[derive(Clone)]
pub(crate) enum Memory {
    Vulkan(Arc<vulkan::Memory>),
    Cuda(Arc<cuda::Memory>),
}

/// A kernel that a card can run; clones are the same.
#[derive(Clone)]
pub(crate) enum Pipeline {
    Vulkan(Arc<vulkan::Pipeline>),
    Cuda(Arc<cuda::Pipeline>),
}

/// Recorded commands.
pub(crate) enum Commands {
    Vulkan(vulkan::Commands),
    Cuda(cuda::Commands),
}

impl Card {
    pub(crate) fn standing(&self) -> &Standing {
        match self {
            Card::Vulkan(card) => &card.standing,
            Card::Cuda(card) => &card.standing,
        }
    }

    /// Makes a buffer of `bytes`, more than none.
    pub(crate) fn memory(&self, doing: &str, bytes: u64, place: Place) -> Result<Memory, Error> {
        Ok(match self {
            Card::Vulkan(card) => Memory::Vulkan(Arc::new(vulkan::Memory::new(card, doing, bytes, place)?)),
            Card::Cuda(card) => Memory::Cuda(Arc::new(cuda::Memory::new(card, doing, bytes, place)?)),
        })
    }

    /// Compiles a module of SPIR-V, or finds the kernel of its name that takes its place.
    pub(crate) fn pipeline(&self, name: &str, words: &[u32], num_bindings: usize) -> Result<Pipeline, Error> {
        Ok(match self {
            Card::Vulkan(card) => {
                Pipeline::Vulkan(Arc::new(vulkan::Pipeline::new(card, name, words, num_bindings)?))
            }
            Card::Cuda(card) => Pipeline::Cuda(Arc::new(cuda::Pipeline::new(card, name)?)),
        })
    }

    /// Hands commands to the driver; `what` names them in errors.
    ///
    /// Panics: when a buffer or kernel is another card's.
    pub(crate) fn commands(&self, what: &str, commands: Vec<Command>) -> Result<Commands, Error> {
        let name = &self.standing().description.name;
        match self {
            Card::Vulkan(card) => {
                let own = own(what, name, commands, Memory::vulkan, Pipeline::vulkan);
                Ok(Commands::Vulkan(vulkan::Commands::new(card, what, own)?))
            }
            Card::Cuda(card) => {
                let own = own(what, name, commands, Memory::cuda, Pipeline::cuda);
                Ok(Commands::Cuda(cuda::Commands::new(card, what, own)?))
            }
        }
    }
}

/// Commands of one way to a card.
///
/// Panics: when what they name is of the other.
fn own<M, P>(
    what: &str,
    name: &str,
    commands: Vec<Command>,
    memory: fn(Memory) -> Option<M>,
    kernel: fn(Pipeline) -> Option<P>,
) -> Vec<command::Command<M, P>> {
    let own = |command: Command| command.of(memory, kernel);
    let own = commands.into_iter().map(own).collect::<Option<_>>();
    own.unwrap_or_else(|| panic!("{what}: a buffer or kernel of another device than {name}"))
}

impl Memory {
    /// A number that no other buffer of the card has.
    pub(crate) fn id(&self) -> u64 {
        match self {
            Memory::Vulkan(memory) => memory.id,
            Memory::Cuda(memory) => memory.id,
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Memory::Vulkan(memory) => memory.bytes,
            Memory::Cuda(memory) => memory.bytes,
        }
    }

    pub(crate) fn place(&self) -> Place {
        match self {
            Memory::Vulkan(memory) => memory.place,
            Memory::Cuda(memory) => memory.place,
        }
    }

    /// Copies into a buffer of the host.
    ///
    /// Panics: when it is not one, or too short.
    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) {
        match self {
            Memory::Vulkan(memory) => memory.write(offset, bytes),
            Memory::Cuda(memory) => memory.write(offset, bytes),
        }
    }

    /// Copies out of a buffer of the host.
    ///
    /// Panics: as [`Memory::write`].
    pub(crate) fn read(&self, offset: u64, out: &mut [u8]) {
        match self {
            Memory::Vulkan(memory) => memory.read(offset, out),
            Memory::Cuda(memory) => memory.read(offset, out),
        }
    }

    fn vulkan(self) -> Option<Arc<vulkan::Memory>> {
        if let Memory::Vulkan(memory) = self { Some(memory) } else { None }
    }

    fn cuda(self) -> Option<Arc<cuda::Memory>> {
        if let Memory::Cuda(memory) = self { Some(memory) } else { None }
    }
}

impl Pipeline {
    fn vulkan(self) -> Option<Arc<vulkan::Pipeline>> {
        if let Pipeline::Vulkan(pipeline) = self { Some(pipeline) } else { None }
    }

    fn cuda(self) -> Option<Arc<cuda::Pipeline>> {
        if let Pipeline::Cuda(pipeline) = self { Some(pipeline) } else { None }
    }
}

impl Commands {
    /// Starts the commands; the last run must have been waited for.
    pub(crate) fn submit(&mut self) -> Result<(), Error> {
        match self {
            Commands::Vulkan(commands) => commands.submit(),
            Commands::Cuda(commands) => commands.submit(),
        }
    }

    /// Waits for the end of the last run; nothing to do where there is none.
    ///
    /// Errors: `Hang` when it does not come in time, and the card is given up then; `Lost` at once where it
    /// has been.
    pub(crate) fn wait(&mut self, timeout: Duration) -> Result<(), Error> {
        match self {
            Commands::Vulkan(commands) => commands.wait(timeout),
            Commands::Cuda(commands) => commands.wait(timeout),
        }
    }

    /// How long the card is waited for.
    pub(crate) fn wait_max(&self) -> Duration {
        match self {
            Commands::Vulkan(commands) => commands.wait_max(),
            Commands::Cuda(commands) => commands.wait_max(),
        }
    }
}
