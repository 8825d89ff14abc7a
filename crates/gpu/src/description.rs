//! What a device says of itself, and which one is meant.

use std::fmt;
use std::time::Duration;

/// Invocations of the largest workgroup of a kernel.
pub(crate) const NEEDED_INVOCATIONS: u32 = 256;
/// Bytes that the workgroups of a kernel share at most.
pub(crate) const NEEDED_SHARED_BYTES: u32 = 31 << 10;
/// Buffers that a kernel binds at most.
pub(crate) const NEEDED_BUFFERS: u32 = 10;

/// The version of the compiler of the kernels in CUDA C++: older drivers do not load what it makes.
const CUDA_NEEDED: [u32; 2] = [13, 0];
/// First numbers of the compute capabilities that kernels in CUDA C++ are compiled for.
const COMPUTE_MAJORS: [u32; 4] = [8, 9, 10, 12];

/// How long a recording may run on a card, unless the caller says otherwise: drivers give a card up after
/// less.
pub const WAIT_MAX: Duration = Duration::from_secs(30);
/// The same of a device in software. It shares the processor with everything else that runs, so that a long
/// recording on a busy machine takes minutes, and nothing in it can hang as a card does.
pub const SOFTWARE_WAIT_MAX: Duration = Duration::from_secs(600);

/// Limits of a device that kernels and buffers keep to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a buffer that a kernel sees.
    pub storage_range_bytes: u64,
    /// Bytes of an allocation.
    pub allocation_bytes: u64,
    /// Allocations at a time.
    pub num_allocations: u32,
    /// What a range of a buffer begins at a multiple of.
    pub storage_alignment_bytes: u64,
    /// Bytes that a workgroup shares.
    pub shared_bytes: u32,
    /// Invocations of a workgroup.
    pub workgroup_invocations: u32,
    /// Buffers that a kernel binds.
    pub storage_buffers: u32,
    /// Workgroups of a dispatch, by dimension.
    pub num_workgroups: [u32; 3],
}

impl Limits {
    /// What kernels need of it and it has not.
    fn lack(&self) -> Option<String> {
        let needs = [
            ("invocations of a workgroup", self.workgroup_invocations, NEEDED_INVOCATIONS),
            ("bytes that a workgroup shares", self.shared_bytes, NEEDED_SHARED_BYTES),
            ("buffers of a kernel", self.storage_buffers, NEEDED_BUFFERS),
        ];
        let (what, has, needed) = needs.into_iter().find(|(_, has, needed)| has < needed)?;
        Some(format!("its limit is {has} {what}, and they need {needed}"))
    }
}

/// The way to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Through the system's Vulkan loader, whoever made the card.
    Vulkan,
    /// Through NVIDIA's driver alone.
    Cuda,
}

/// What of the way a device's driver has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// The version of Vulkan, as `1.3.239`.
    Vulkan([u32; 3]),
    /// Of CUDA.
    Cuda {
        /// The newest version that the driver knows, as `13.0`.
        driver: [u32; 2],
        /// The device's compute capability, as `9.0`.
        compute: [u32; 2],
    },
}

/// What kind of device; of several, the one whose kind stands first here is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeviceKind {
    /// A card with memory of its own.
    Discrete,
    /// One that shares the computer's memory.
    Integrated,
    /// A part of a card, as virtual machines see it.
    Virtual,
    /// A program that does a card's work on the processor.
    Cpu,
    /// Anything else.
    Other,
}

impl DeviceKind {
    /// How long a recording may run on such a device before the device is given up.
    pub fn wait_max(self) -> Duration {
        match self {
            DeviceKind::Cpu => SOFTWARE_WAIT_MAX,
            DeviceKind::Discrete | DeviceKind::Integrated | DeviceKind::Virtual | DeviceKind::Other => {
                WAIT_MAX
            }
        }
    }
}

/// A device as the list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceDescription {
    /// Its number, from 0.
    pub index: usize,
    /// Its name.
    pub name: String,
    /// What kind it is.
    pub kind: DeviceKind,
    /// Bytes of its own memory; of an integrated one, what it may use of the computer's.
    pub memory_bytes: u64,
    /// The driver's name and version.
    pub driver: String,
    /// What of Vulkan or CUDA it has.
    pub version: Version,
    /// Its limits.
    pub limits: Limits,
}

impl DeviceDescription {
    /// What kernels need and the device has not.
    pub fn lack(&self) -> Option<String> {
        match self.version {
            Version::Vulkan([major, minor, _]) if [major, minor] < [1, 3] => Some(format!(
                "its driver has Vulkan {major}.{minor}, and they need 1.3, which a newer one may have"
            )),
            Version::Cuda { driver: [major, minor], .. } if [major, minor] < CUDA_NEEDED => Some(format!(
                "its driver has CUDA {major}.{minor}, and they need {}.{}, which a newer one has",
                CUDA_NEEDED[0], CUDA_NEEDED[1]
            )),
            Version::Cuda { compute: [major, minor], .. } if !COMPUTE_MAJORS.contains(&major) => Some(
                format!("its compute capability is {major}.{minor}, and they are for {COMPUTE_MAJORS:?}"),
            ),
            Version::Vulkan(_) | Version::Cuda { .. } => self.limits.lack(),
        }
    }

    /// The way to it.
    pub fn way(&self) -> Way {
        match self.version {
            Version::Vulkan(_) => Way::Vulkan,
            Version::Cuda { .. } => Way::Cuda,
        }
    }

    /// What asks for it.
    pub fn choice(&self) -> DeviceChoice {
        DeviceChoice::Index(self.way(), self.index)
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DeviceKind::Discrete => "card",
            DeviceKind::Integrated => "integrated",
            DeviceKind::Virtual => "virtual card",
            DeviceKind::Cpu => "software",
            DeviceKind::Other => "other",
        })
    }
}

impl fmt::Display for DeviceDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gb = self.memory_bytes as f64 / 1e9;
        let DeviceDescription { name, kind, driver, version, .. } = self;
        write!(f, "{} {name} ({kind}, {gb:.1} GB, {driver}, {version})", self.choice())
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Way::Vulkan => "vulkan",
            Way::Cuda => "cuda",
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Version::Vulkan([major, minor, patch]) => write!(f, "Vulkan {major}.{minor}.{patch}"),
            Version::Cuda { driver: [major, minor], compute } => {
                write!(f, "CUDA {major}.{minor}, compute {}.{}", compute[0], compute[1])
            }
        }
    }
}

/// Which device is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first card; without one the first integrated one, and so on.
    Any(Way),
    /// By its number.
    Index(Way, usize),
    /// By a part of its name, in any case.
    Name(Way, String),
}

impl DeviceChoice {
    /// Reads `vulkan`, `vulkan:1` or `vulkan:part of a name`, and the same of `cuda`; `None` when it is not
    /// one of them.
    pub fn parse(text: &str) -> Option<DeviceChoice> {
        let (way, rest) = match (text.strip_prefix("vulkan"), text.strip_prefix("cuda")) {
            (Some(rest), _) => (Way::Vulkan, rest),
            (None, rest) => (Way::Cuda, rest?),
        };
        if rest.is_empty() {
            return Some(DeviceChoice::Any(way));
        }
        let rest = rest.strip_prefix(':').filter(|rest| !rest.is_empty())?;
        let name = |_| DeviceChoice::Name(way, rest.to_owned());
        Some(rest.parse().map_or_else(name, |index| DeviceChoice::Index(way, index)))
    }

    /// The way to it.
    pub fn way(&self) -> Way {
        match self {
            DeviceChoice::Any(way) | DeviceChoice::Index(way, _) | DeviceChoice::Name(way, _) => *way,
        }
    }

    /// The one of `devices`, which are found by its way, that is meant.
    pub fn find<'a>(&self, devices: &'a [DeviceDescription]) -> Option<&'a DeviceDescription> {
        match self {
            DeviceChoice::Index(_, index) => devices.iter().find(|device| device.index == *index),
            DeviceChoice::Name(_, part) => {
                let part = part.to_lowercase();
                devices.iter().find(|device| device.name.to_lowercase().contains(&part))
            }
            DeviceChoice::Any(_) => devices.iter().min_by_key(|device| device.kind),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceChoice::Any(way) => write!(f, "{way}"),
            DeviceChoice::Index(way, index) => write!(f, "{way}:{index}"),
            DeviceChoice::Name(way, part) => write!(f, "{way}:{part}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(index: usize, name: &str, kind: DeviceKind) -> DeviceDescription {
        let limits = Limits {
            storage_range_bytes: 1 << 27,
            allocation_bytes: 1 << 30,
            num_allocations: 4096,
            storage_alignment_bytes: 64,
            shared_bytes: 1 << 15,
            workgroup_invocations: 256,
            storage_buffers: 16,
            num_workgroups: [65_535; 3],
        };
        let (driver, version) = ("Mesa 1".to_owned(), Version::Vulkan([1, 3, 239]));
        DeviceDescription {
            index,
            name: name.to_owned(),
            kind,
            memory_bytes: 16 << 30,
            driver,
            version,
            limits,
        }
    }

    #[test]
    fn choices_are_read_and_written_alike() {
        for text in ["vulkan", "vulkan:0", "vulkan:12", "vulkan:RTX 4090", "cuda", "cuda:1", "cuda:H100"] {
            assert_eq!(DeviceChoice::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "cpu", "vulkan:", "vulkan1", "vulkan 1", "cuda:", "cuda1"] {
            assert_eq!(DeviceChoice::parse(text), None, "{text}");
        }
    }

    /// Thirty seconds for all gave lavapipe up in the middle of its work, on a machine that built programs.
    #[test]
    fn a_device_in_software_has_longer_than_a_card() {
        assert!(DeviceKind::Cpu.wait_max() >= 20 * DeviceKind::Discrete.wait_max());
        assert_eq!(DeviceKind::Integrated.wait_max(), WAIT_MAX);
    }

    #[test]
    fn a_limit_below_what_kernels_need_is_told() {
        let limits = device(0, "a card", DeviceKind::Discrete).limits;
        assert_eq!(limits.lack(), None);
        let lack = |limits: Limits| limits.lack().unwrap();
        let few = lack(Limits { workgroup_invocations: 128, ..limits });
        assert_eq!(few, "its limit is 128 invocations of a workgroup, and they need 256");
        let small = lack(Limits { shared_bytes: 16 << 10, ..limits });
        assert_eq!(small, "its limit is 16384 bytes that a workgroup shares, and they need 31744");
        let few = lack(Limits { storage_buffers: 8, ..limits });
        assert_eq!(few, "its limit is 8 buffers of a kernel, and they need 10");
    }

    #[test]
    fn a_driver_or_a_card_that_is_too_old_is_told() {
        let lack = |driver, compute| {
            let version = Version::Cuda { driver, compute };
            DeviceDescription { version, ..device(0, "a card", DeviceKind::Discrete) }.lack()
        };
        assert_eq!((lack([13, 0], [9, 0]), lack([13, 2], [8, 6])), (None, None));
        let old = lack([12, 8], [9, 0]).unwrap();
        assert_eq!(old, "its driver has CUDA 12.8, and they need 13.0, which a newer one has");
        let small = lack([13, 0], [7, 5]).unwrap();
        assert_eq!(small, "its compute capability is 7.5, and they are for [8, 9, 10, 12]");
    }

    #[test]
    fn a_card_comes_first_unless_another_is_named() {
        let devices = [
            device(0, "llvmpipe", DeviceKind::Cpu),
            device(1, "Intel UHD", DeviceKind::Integrated),
            device(2, "NVIDIA RTX 4090", DeviceKind::Discrete),
            device(3, "NVIDIA RTX 3060", DeviceKind::Discrete),
        ];
        let found = |text: &str| DeviceChoice::parse(text).unwrap().find(&devices).map(|device| device.index);
        assert_eq!(found("vulkan"), Some(2));
        assert_eq!(found("vulkan:0"), Some(0));
        assert_eq!(found("vulkan:rtx 30"), Some(3));
        assert_eq!((found("vulkan:4"), found("vulkan:Arc")), (None, None));
        assert_eq!(devices[0].to_string(), "vulkan:0 llvmpipe (software, 17.2 GB, Mesa 1, Vulkan 1.3.239)");
    }
}
