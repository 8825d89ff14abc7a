//! A card that has been opened, and buffers on it.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use crate::Error;
use crate::account::{Held, Place, buffer_bytes};
use crate::card::{Card, Memory, Part};
use crate::class::DeviceClass;
use crate::description::{DeviceChoice, DeviceDescription, Limits, Way};
use crate::kernel::Kernel;
use crate::{cuda, cuda_kernels, vulkan};

/// How long tests wait for a card that hangs, where no driver tells that it does.
#[doc(hidden)]
pub const TESTS_WAIT_MAX: Duration = Duration::from_secs(1);

/// An opened device; clones are the same one.
#[derive(Clone)]
pub struct Device {
    pub(crate) card: Card,
    /// What its probes found, once they have run.
    pub(crate) class: Arc<OnceLock<Result<DeviceClass, Error>>>,
    /// What has been compiled for it, by name: a driver takes long over each, and models share them.
    pub(crate) compiled: Arc<Mutex<HashMap<String, Kernel>>>,
}

impl Device {
    /// Every device that is found by a way: by the system's Vulkan loader, or by NVIDIA's driver.
    ///
    /// Errors: `NoLoader`; `NoDevice` where there is none; `NoCuda` and `NoCudaDevice` likewise,
    /// `NoCudaKernels`.
    pub fn list(way: Way) -> Result<Vec<DeviceDescription>, Error> {
        match way {
            Way::Vulkan => {
                Ok(vulkan::Loader::load()?.devices()?.into_iter().map(|(_, device)| device).collect())
            }
            Way::Cuda if cuda_kernels::IMAGES.is_empty() => Err(Error::NoCudaKernels),
            Way::Cuda => cuda::Loader::load()?.devices(),
        }
    }

    /// Opens the device that is asked for.
    ///
    /// Errors: as [`Device::list`]; `NoSuchDevice`; `Unfit`.
    pub fn open(choice: &DeviceChoice) -> Result<Device, Error> {
        Device::open_as(choice, false)
    }

    /// As [`Device::open`], with the driver's checks of what kernels read and write, where it has any:
    /// slower, for tests.
    ///
    /// Errors: as [`Device::open`].
    pub fn open_checked(choice: &DeviceChoice) -> Result<Device, Error> {
        Device::open_as(choice, true)
    }

    /// As [`Device::open`], through a Vulkan loader or NVIDIA's driver in a file: for tests, with one that
    /// fails when it is told to. Such a driver finds kernels by their names alone, and its card is waited for
    /// no longer than [`TESTS_WAIT_MAX`].
    ///
    /// Errors: as [`Device::open`].
    #[doc(hidden)]
    pub fn open_through(library: &Path, choice: &DeviceChoice) -> Result<Device, Error> {
        match choice.way() {
            Way::Vulkan => open_vulkan(vulkan::Loader::load_from(library)?, choice, false),
            Way::Cuda => {
                open_cuda(cuda::Loader::load_from(library)?, choice, (&[b"none"], Some(TESTS_WAIT_MAX)))
            }
        }
    }

    fn open_as(choice: &DeviceChoice, checked: bool) -> Result<Device, Error> {
        match choice.way() {
            Way::Vulkan => open_vulkan(vulkan::Loader::load()?, choice, checked),
            Way::Cuda if cuda_kernels::IMAGES.is_empty() => Err(Error::NoCudaKernels),
            Way::Cuda => open_cuda(cuda::Loader::load()?, choice, (cuda_kernels::IMAGES, None)),
        }
    }

    fn of(card: Card) -> Device {
        Device { card, class: Arc::default(), compiled: Arc::default() }
    }

    /// What the device says of itself.
    pub fn description(&self) -> &DeviceDescription {
        &self.card.standing().description
    }

    /// What this program holds in a place. The sizes of all buffers of a plan, each by [`buffer_bytes`], are
    /// the `bytes` that it will be.
    pub fn held(&self, place: Place) -> Held {
        self.card.standing().account.held(place)
    }

    /// A buffer of at least `bytes`; what it holds is arbitrary. `name` stands in errors.
    ///
    /// Errors: `TooLarge`, when a kernel could not see it whole; `OutOfMemory`.
    pub fn buffer(&self, name: &str, bytes: u64, place: Place) -> Result<Buffer, Error> {
        let bytes = buffer_bytes(bytes);
        let Limits { storage_range_bytes, allocation_bytes, .. } = self.description().limits;
        let max_bytes = storage_range_bytes.min(allocation_bytes);
        if bytes > max_bytes {
            let (device, what) = (self.description().name.clone(), name.to_owned());
            return Err(Error::TooLarge { device, what, bytes, max_bytes });
        }
        let doing = format!("making room for {name} ({bytes} bytes)");
        Ok(Buffer { memory: self.card.memory(&doing, bytes, place)?, name: name.into() })
    }
}

fn open_vulkan(loader: Arc<vulkan::Loader>, choice: &DeviceChoice, checked: bool) -> Result<Device, Error> {
    let (raws, devices): (Vec<_>, Vec<_>) = loader.devices()?.into_iter().unzip();
    let found = chosen(choice, &devices)?;
    let card = vulkan::Card::open(loader, raws[found.index], found.clone(), checked)?;
    Ok(Device::of(Card::Vulkan(card)))
}

fn open_cuda(
    loader: Arc<cuda::Loader>,
    choice: &DeviceChoice,
    (images, wait_max): (&[&[u8]], Option<Duration>),
) -> Result<Device, Error> {
    let devices = loader.devices()?;
    let found = chosen(choice, &devices)?.clone();
    let wait_max = wait_max.unwrap_or_else(|| found.kind.wait_max());
    Ok(Device::of(Card::Cuda(cuda::Card::open(loader, found, (images, wait_max))?)))
}

/// Errors: `NoSuchDevice`.
fn chosen<'a>(
    choice: &DeviceChoice,
    devices: &'a [DeviceDescription],
) -> Result<&'a DeviceDescription, Error> {
    let there = || devices.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let asked = || choice.to_string();
    choice.find(devices).ok_or_else(|| Error::NoSuchDevice { asked: asked(), there: there() })
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.description())
    }
}

/// Bytes on a device; clones are the same bytes, which go when the last clone and recording goes.
#[derive(Clone)]
pub struct Buffer {
    pub(crate) memory: Memory,
    name: Arc<str>,
}

impl Buffer {
    /// Its size: a multiple of 16, at least what was asked for.
    pub fn bytes(&self) -> u64 {
        self.memory.bytes()
    }

    /// Where it lies.
    pub fn place(&self) -> Place {
        self.memory.place()
    }

    /// The whole.
    pub fn all(&self) -> Slice {
        self.slice(0..self.bytes())
    }

    /// Some of its bytes.
    ///
    /// Panics: when they lie outside.
    pub fn slice(&self, bytes: Range<u64>) -> Slice {
        assert!(bytes.start <= bytes.end && bytes.end <= self.bytes(), "{bytes:?} of {self:?}");
        Slice { buffer: self.clone(), bytes }
    }

    /// Copies into a buffer of the host. A kernel that runs meanwhile sees old or new numbers.
    ///
    /// Panics: when the buffer is on the card, or the bytes do not fit.
    pub fn write(&self, offset: u64, bytes: &[u8]) {
        self.memory.write(offset, bytes);
    }

    /// Copies out of a buffer of the host.
    ///
    /// Panics: as [`Buffer::write`].
    pub fn read(&self, offset: u64, out: &mut [u8]) {
        self.memory.read(offset, out);
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.name, self.bytes())
    }
}

/// Some bytes of a buffer.
#[derive(Clone, Debug)]
pub struct Slice {
    pub(crate) buffer: Buffer,
    pub(crate) bytes: Range<u64>,
}

impl Slice {
    /// How many.
    pub fn len(&self) -> u64 {
        self.bytes.end - self.bytes.start
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Some of its bytes, counted from its beginning.
    ///
    /// Panics: when they lie outside.
    pub fn part(&self, bytes: Range<u64>) -> Slice {
        assert!(bytes.start <= bytes.end && bytes.end <= self.len(), "{bytes:?} of {self:?}");
        let first = self.bytes.start;
        Slice { buffer: self.buffer.clone(), bytes: first + bytes.start..first + bytes.end }
    }

    pub(crate) fn bound(&self) -> Part {
        Part { memory: self.buffer.memory.clone(), offset: self.bytes.start, bytes: self.len() }
    }
}

impl From<&Buffer> for Slice {
    fn from(buffer: &Buffer) -> Slice {
        buffer.all()
    }
}

impl From<&Slice> for Slice {
    fn from(slice: &Slice) -> Slice {
        slice.clone()
    }
}
