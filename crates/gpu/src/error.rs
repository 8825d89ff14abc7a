//! What can go wrong on a card, with what was being done.

use thiserror::Error;

use crate::description::DeviceChoice;

/// Why a device cannot be used, or what happened to its work.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// The system's Vulkan loader is not there.
    #[error("no Vulkan loader on this machine ({reason}): install it (Debian: libvulkan1), or use the CPU")]
    NoLoader {
        /// What the loader's search met.
        reason: String,
    },
    /// The loader found no driver with a device.
    #[error(
        "the Vulkan loader finds no device: install the card's driver; in a container of NVIDIA's, \
         NVIDIA_DRIVER_CAPABILITIES=all brings it in"
    )]
    NoDevice,
    /// NVIDIA's driver is not there, or does not start.
    #[error(
        "no CUDA driver on this machine ({reason}): install NVIDIA's, which brings libcuda, or use another \
         device: --device vulkan, or the CPU"
    )]
    NoCuda {
        /// What was met.
        reason: String,
    },
    /// NVIDIA's driver has no card.
    #[error("NVIDIA's driver finds no card: see what nvidia-smi says, or use another device")]
    NoCudaDevice,
    /// A program without the kernels in CUDA C++.
    #[error(
        "this program was built without kernels for CUDA (cargo xtask cuda, then the feature `cuda`): use \
         --device vulkan, or the CPU"
    )]
    NoCudaKernels,
    /// None of the devices is the one that was asked for.
    #[error("no device `{asked}`; there are: {there}")]
    NoSuchDevice {
        /// The number or the part of a name.
        asked: String,
        /// All devices with their numbers.
        there: String,
    },
    /// A device that the kernels do not run on.
    #[error("{device} cannot run the kernels: {lacks}; choose another device, or the CPU")]
    Unfit {
        /// Its name.
        device: String,
        /// What it lacks.
        lacks: String,
    },
    /// A device whose driver breaks an op.
    #[error(
        "{device} computes {kernel} wrongly with {driver}, so its answers would be wrong; \
         install another version of its driver, choose another device, or the CPU \
         (`gptoss doctor --prove --device {choice}` tries every op)"
    )]
    Wrong {
        /// Its name.
        device: String,
        /// Which it is.
        choice: DeviceChoice,
        /// Its driver.
        driver: String,
        /// The kernel.
        kernel: String,
    },
    /// No room.
    #[error(
        "{device} has no room left while {doing}; {held_bytes} bytes are held on it: close what else uses it, \
         give the model less of it (--gpu-memory), or ask for a shorter context, fewer sequences or int8 keys and \
         values"
    )]
    OutOfMemory {
        /// Its name.
        device: String,
        /// What asked for room.
        doing: String,
        /// What this program holds there.
        held_bytes: u64,
    },
    /// The driver gave the device up: a reset, an unplugged card, a fault of a kernel.
    #[error(
        "{device} was lost while {doing} (a reset, a fault or an unplugged card: the system's log says which); \
         open it again when the driver has reset it, or use the CPU"
    )]
    Lost {
        /// Its name.
        device: String,
        /// What was being done.
        doing: String,
    },
    /// Work that did not end in its time.
    #[error(
        "{device} did not finish {doing} within {seconds} s and was given up; {held_bytes} bytes on it stay taken \
         until this program ends: start it again, with a newer driver if it hangs again, or use the CPU"
    )]
    Hang {
        /// Its name.
        device: String,
        /// What was being done.
        doing: String,
        /// How long was waited.
        seconds: u64,
        /// What this program holds there and cannot give back while the device may be using it.
        held_bytes: u64,
    },
    /// A buffer that a kernel could not see whole.
    #[error("{what} has {bytes} bytes, and a kernel sees at most {max_bytes} of a buffer on {device}")]
    TooLarge {
        /// The device's name.
        device: String,
        /// The buffer's name.
        what: String,
        /// Its size.
        bytes: u64,
        /// The device's limit.
        max_bytes: u64,
    },
    /// A kernel's words are not what this room makes.
    #[error("kernel {kernel}: {reason}")]
    Kernel {
        /// Its name.
        kernel: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Any other answer of the driver.
    #[error("{device}, {doing}: {code}")]
    Driver {
        /// The device's name.
        device: String,
        /// What was being done.
        doing: String,
        /// The driver's code.
        code: String,
    },
}

impl Error {
    /// Whether the device is of no use any more: it was lost or hangs.
    pub fn ends_device(&self) -> bool {
        matches!(self, Error::Lost { .. } | Error::Hang { .. })
    }
}
