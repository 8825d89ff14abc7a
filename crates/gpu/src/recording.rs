//! Dispatches and copies put one behind the other, then run again and again.
//!
//! A [`Recording`] is filled once and becomes a [`Recorded`], whose submission costs the host microseconds
//! however many dispatches it has. So what changes from run to run lies in buffers; the constants of a
//! dispatch are fixed. Barriers come from [`Hazards`], by what each kernel's own declarations say of its
//! buffers.

use std::time::Duration;

use crate::Error;
use crate::card::{Command, Commands, Groups};
use crate::device::{Device, Slice};
use crate::hazards::{Access, Hazards, Use, conflict};
use crate::kernel::Kernel;

/// Bytes that a copy begins at a multiple of, and a range of an indirect dispatch.
const COPY_UNIT_BYTES: u64 = 4;

/// Commands that are being put together.
pub struct Recording {
    device: Device,
    hazards: Hazards,
    commands: Vec<Command>,
}

impl Recording {
    /// Nothing yet.
    pub fn new(device: &Device) -> Recording {
        Recording { device: device.clone(), hazards: Hazards::default(), commands: Vec::new() }
    }

    /// Runs a kernel over `slices`, in the order of its bindings, in `groups` workgroups.
    ///
    /// Panics: when slices, constants or groups are not what the kernel and the device take.
    pub fn dispatch(&mut self, kernel: &Kernel, slices: &[&Slice], constants: &[u32], groups: [u32; 3]) {
        let most = self.device.description().limits.num_workgroups;
        let fits = groups.iter().zip(most).all(|(groups, most)| *groups <= most);
        assert!(fits, "kernel {}: {groups:?} workgroups, at most {most:?}", kernel.name);
        if groups.contains(&0) {
            return;
        }
        self.push_dispatch(kernel, slices, constants, Groups::Fixed(groups), Vec::new());
    }

    /// As [`Recording::dispatch`], in as many workgroups as the three `u32` at the beginning of `groups` say
    /// when it runs, and at most `most`. By CUDA it must be a kernel that takes `groups` behind its buffers.
    ///
    /// Panics: as [`Recording::dispatch`].
    pub fn dispatch_indirect(
        &mut self,
        kernel: &Kernel,
        slices: &[&Slice],
        constants: &[u32],
        (groups, most): (&Slice, [u32; 3]),
    ) {
        assert!(
            groups.len() >= 12 && groups.bytes.start.is_multiple_of(COPY_UNIT_BYTES),
            "groups in {groups:?}"
        );
        let uses = vec![used(groups, Access::Read)];
        self.push_dispatch(kernel, slices, constants, Groups::Indirect(groups.bound(), most), uses);
    }

    fn push_dispatch(
        &mut self,
        kernel: &Kernel,
        slices: &[&Slice],
        constants: &[u32],
        groups: Groups,
        mut uses: Vec<Use>,
    ) {
        let name = &kernel.name;
        assert_eq!(slices.len(), kernel.bindings.len(), "kernel {name}: buffers");
        assert_eq!(
            size_of_val(constants),
            kernel.constant_bytes as usize,
            "kernel {name}: bytes of constants"
        );
        let alignment = self.device.description().limits.storage_alignment_bytes.max(1);
        for (slice, access) in slices.iter().zip(kernel.bindings.iter()) {
            let aligned = slice.bytes.start.is_multiple_of(alignment);
            assert!(aligned && !slice.is_empty(), "kernel {name}: {slice:?}, aligned to {alignment}");
            uses.push(used(slice, *access));
        }
        self.push(
            Command::Dispatch {
                pipeline: kernel.pipeline.clone(),
                parts: slices.iter().map(|slice| slice.bound()).collect(),
                constants: bytemuck::cast_slice(constants).to_vec(),
                groups,
            },
            &uses,
        );
    }

    /// Copies as many bytes as `to` has.
    ///
    /// Panics: when `from` has fewer, the two overlap, or a place is not a multiple of four.
    pub fn copy(&mut self, to: &Slice, from: &Slice) {
        let from = from.buffer.slice(from.bytes.start..from.bytes.start + to.len().min(from.len()));
        assert_eq!(from.len(), to.len(), "copy of {from:?} to {to:?}");
        let places = [from.bytes.start, to.bytes.start, to.len()];
        assert!(
            places.iter().all(|place| place.is_multiple_of(COPY_UNIT_BYTES)),
            "copy of {from:?} to {to:?}"
        );
        let uses = [used(&from, Access::Read), used(to, Access::Write)];
        assert!(!conflict(&uses[0], &uses[1]), "copy of {from:?} to {to:?}");
        if to.is_empty() {
            return;
        }
        self.push(Command::Copy { from: from.bound(), to: to.bound() }, &uses);
    }

    fn push(&mut self, command: Command, uses: &[Use]) {
        if self.hazards.next(uses) {
            self.commands.push(Command::Barrier);
        }
        self.commands.push(command);
    }

    /// Barriers between its commands so far.
    pub fn num_barriers(&self) -> usize {
        self.commands.iter().filter(|command| matches!(command, Command::Barrier)).count()
    }

    /// Hands the commands to the driver; `what` names them in errors.
    ///
    /// Errors: the driver's.
    /// Panics: when a slice or kernel is another device's.
    pub fn finish(self, what: &str) -> Result<Recorded, Error> {
        Ok(Recorded { commands: self.device.card.commands(what, self.commands)? })
    }
}

fn used(slice: &Slice, access: Access) -> Use {
    Use { buffer: slice.buffer.memory.id(), bytes: slice.bytes.clone(), access }
}

/// Commands that the driver has. Runs of one device follow each other in the order of their submissions, and
/// each sees what those before it wrote.
pub struct Recorded {
    commands: Commands,
}

impl Recorded {
    /// Starts them, when their last run has ended.
    ///
    /// Errors: `Lost`, `Hang` of the last run.
    pub fn submit(&mut self) -> Result<(), Error> {
        self.join()?;
        self.commands.submit()
    }

    /// Waits for the end of the last run; buffers of the host then hold what it wrote.
    ///
    /// Errors: `Lost`; `Hang`, after which the device is given up and everything else gets that `Hang` again.
    pub fn wait(&mut self, timeout: Duration) -> Result<(), Error> {
        self.commands.wait(timeout)
    }

    /// As [`Recorded::wait`], for as long as the kind of device is waited for.
    ///
    /// Errors: its own.
    pub fn join(&mut self) -> Result<(), Error> {
        self.wait(self.commands.wait_max())
    }

    /// [`Recorded::submit`] and [`Recorded::join`].
    ///
    /// Errors: theirs.
    pub fn run(&mut self) -> Result<(), Error> {
        self.submit()?;
        self.join()
    }
}
