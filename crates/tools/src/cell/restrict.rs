//! What a cell's first process takes from itself, and so from every program that it starts.

use std::io;
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, remove_capability_from_bounding_set,
    set_capabilities, set_no_new_privs,
};

use crate::cell::calls;
use crate::cell::limits::Limits;
use crate::cell::program::Bind;
use crate::cell::root::{DEVICES, SCRATCH, SYSTEM};

/// The number of the highest capability that a kernel may have, with room for those to come.
const CAPABILITIES: u32 = 63;
/// Locked pages. Units: bytes.
const LOCKED_BYTES_MAX: u64 = 8 << 20;
/// The first kernel that counts a user's processes within each user namespace: before it, processes outside
/// would count.
const KERNEL_OF_NPROC: (u32, u32) = (5, 14);

/// Sets the limits of a process.
pub fn set_limits(limits: &Limits) -> io::Result<()> {
    let set = |resource, most: u64| {
        // An administrator may allow less; that cannot be raised, and need not be.
        let most = getrlimit(resource).maximum.map_or(most, |allowed| allowed.min(most));
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
    };
    set(Resource::Nofile, limits.open_files)?;
    set(Resource::Fsize, limits.file_bytes)?;
    // Memory that only this process writes to; what is merely reserved does not count.
    set(Resource::Data, limits.memory_bytes)?;
    // One byte: too little for a file, and the number by which a kernel starts no program that collects them.
    set(Resource::Core, 1)?;
    set(Resource::Memlock, LOCKED_BYTES_MAX)?;
    set(Resource::Msgqueue, 0)?;
    set(Resource::Rtprio, 0)?;
    if kernel() >= KERNEL_OF_NPROC {
        set(Resource::Nproc, limits.processes)?;
    }
    Ok(())
}

/// The kernel's version, as far as it can be read.
fn kernel() -> (u32, u32) {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy().into_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Gives up all capabilities and the ways to get one.
pub fn drop_privileges() -> io::Result<()> {
    set_no_new_privs(true)?;
    for number in 0..=CAPABILITIES {
        // Those that the kernel does not know cannot be had either.
        let _ = remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number));
    }
    clear_ambient_capability_set()?;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    Ok(())
}

/// Lets Landlock hold the paths too. False where the kernel has none.
pub fn restrict_paths(binds: &[Bind]) -> Result<bool, String> {
    restrict(binds).map_err(|error| error.to_string())
}

fn restrict(binds: &[Bind]) -> Result<bool, landlock::RulesetError> {
    // What the kernel at hand does not know is left out; the other walls do not need it.
    let abi = ABI::V10;
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))?
        .scope(Scope::from_all(abi))?
        .create()?;
    let all = AccessFs::from_all(abi);
    // Sockets that programs of the machine listen at are no part of a shown folder.
    let files = all & !AccessFs::ResolveUnix;
    let read = AccessFs::from_read(abi);
    let mut allow = |path: &Path, access: BitFlags<AccessFs>| -> Result<(), landlock::RulesetError> {
        let Ok(opened) = PathFd::new(path) else { return Ok(()) };
        let access = if path.is_dir() { access } else { access & AccessFs::from_file(abi) };
        (&mut rules).add_rule(PathBeneath::new(opened, access))?;
        Ok(())
    };
    allow(Path::new("/"), AccessFs::ReadDir.into())?;
    for path in SYSTEM.iter().chain(&["/etc", "/proc"]) {
        allow(Path::new(path), read)?;
    }
    for path in DEVICES {
        allow(Path::new(path), all)?;
    }
    for path in SCRATCH {
        allow(Path::new(path), all)?;
    }
    for bind in binds {
        allow(&bind.inside, if bind.writable { files } else { read })?;
    }
    Ok(rules.restrict_self()?.ruleset != RulesetStatus::NotEnforced)
}

/// Lets seccomp hold the system calls.
pub fn restrict_calls() -> Result<(), String> {
    seccompiler::apply_filter(&calls::filter()?).map_err(|error| error.to_string())
}
