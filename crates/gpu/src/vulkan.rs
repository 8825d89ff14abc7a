//! The calls of Vulkan: with `cuda.rs`, which has those of CUDA by the same names, all of this room's
//! `unsafe`.
//!
//! Each type here owns its handles, keeps alive what they need ([`Memory`] its [`Card`], [`Commands`] the
//! memory and pipelines that they name) and gives them back when it goes. A card that is lost or hangs is
//! given up: whatever else is asked of it gets the first reason. A lost one has stopped, so everything of it
//! is given back; what one that hangs may still be using is leaked and never freed under it. What is bound to
//! a kernel is checked above, in `recording.rs`. **Source:** the Vulkan 1.3 specification; "VUID" are its
//! rules.

#![expect(unsafe_code, reason = "every call of Vulkan is unsafe")]

use std::ffi::CStr;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ash::vk;

use crate::Error;
use crate::account::Place;
use crate::command::{self, Groups};
use crate::description::{DeviceDescription, DeviceKind, Limits, Version};
use crate::standing::Standing;

/// The version that is asked for: its packed integer products are a must there.
const VULKAN: u32 = vk::API_VERSION_1_3;
/// Bytes of constants that every device takes with a dispatch.
pub(crate) const CONSTANT_BYTES_MAX: u32 = 128;

/// The system's loader with the drivers that it found.
pub(crate) struct Loader {
    instance: ash::Instance,
    /// The library; must outlive the instance.
    _entry: ash::Entry,
}

impl Loader {
    pub(crate) fn load() -> Result<Arc<Loader>, Error> {
        // SAFETY: the system's loader is trusted to be one, as every program trusts it.
        Loader::of(unsafe { ash::Entry::load() })
    }

    /// As [`Loader::load`], of a file.
    pub(crate) fn load_from(path: &Path) -> Result<Arc<Loader>, Error> {
        // SAFETY: the file is a Vulkan loader, which the hidden `Device::open_through` leaves to its caller.
        Loader::of(unsafe { ash::Entry::load_from(path) })
    }

    fn of(entry: Result<ash::Entry, ash::LoadingError>) -> Result<Arc<Loader>, Error> {
        let entry = entry.map_err(|error| Error::NoLoader { reason: error.to_string() })?;
        let app = vk::ApplicationInfo::default().application_name(c"gptoss").api_version(VULKAN);
        let create = vk::InstanceCreateInfo::default().application_info(&app);
        // SAFETY: the structures are valid and live through the call.
        let instance = unsafe { entry.create_instance(&create, None) };
        let instance = instance.map_err(|code| match code {
            vk::Result::ERROR_INCOMPATIBLE_DRIVER => Error::NoDevice,
            code => Error::NoLoader { reason: code.to_string() },
        })?;
        Ok(Arc::new(Loader { instance, _entry: entry }))
    }

    /// Every device, in the loader's order.
    ///
    /// Errors: `NoDevice` where there is none.
    pub(crate) fn devices(&self) -> Result<Vec<(vk::PhysicalDevice, DeviceDescription)>, Error> {
        // SAFETY: the instance is alive.
        let devices = unsafe { self.instance.enumerate_physical_devices() };
        let devices = devices.map_err(|code| Error::NoLoader { reason: code.to_string() })?;
        if devices.is_empty() {
            return Err(Error::NoDevice);
        }
        Ok(devices.into_iter().enumerate().map(|(index, raw)| (raw, self.describe(index, raw))).collect())
    }

    fn describe(&self, index: usize, raw: vk::PhysicalDevice) -> DeviceDescription {
        let mut driver = vk::PhysicalDeviceDriverProperties::default();
        let mut maintenance = vk::PhysicalDeviceMaintenance3Properties::default();
        let mut all =
            vk::PhysicalDeviceProperties2::default().push_next(&mut maintenance).push_next(&mut driver);
        // SAFETY: the device is the instance's, and the chain is of structures that this query takes.
        let memory = unsafe {
            self.instance.get_physical_device_properties2(raw, &mut all);
            self.instance.get_physical_device_memory_properties(raw)
        };
        let properties = all.properties;
        let heaps = &memory.memory_heaps[..memory.memory_heap_count as usize];
        let own = heaps.iter().filter(|heap| heap.flags.contains(vk::MemoryHeapFlags::DEVICE_LOCAL));
        let version = properties.api_version;
        let limits = properties.limits;
        DeviceDescription {
            index,
            name: text(&properties.device_name),
            kind: kind_of(properties.device_type),
            memory_bytes: own.map(|heap| heap.size).max().unwrap_or(0),
            driver: format!("{} {}", text(&driver.driver_name), text(&driver.driver_info)).trim().to_owned(),
            version: Version::Vulkan([
                vk::api_version_major(version),
                vk::api_version_minor(version),
                vk::api_version_patch(version),
            ]),
            limits: Limits {
                storage_range_bytes: limits.max_storage_buffer_range.into(),
                allocation_bytes: maintenance.max_memory_allocation_size,
                num_allocations: limits.max_memory_allocation_count,
                storage_alignment_bytes: limits.min_storage_buffer_offset_alignment,
                shared_bytes: limits.max_compute_shared_memory_size,
                workgroup_invocations: limits
                    .max_compute_work_group_invocations
                    .min(limits.max_compute_work_group_size[0]),
                storage_buffers: limits
                    .max_per_stage_descriptor_storage_buffers
                    .min(limits.max_descriptor_set_storage_buffers)
                    .min(limits.max_per_stage_resources),
                num_workgroups: limits.max_compute_work_group_count,
            },
        }
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        // SAFETY: every card keeps its loader, so none is left.
        unsafe { self.instance.destroy_instance(None) };
    }
}

/// The text of a fixed field, up to its zero.
fn text(field: &[std::ffi::c_char]) -> String {
    let bytes: Vec<u8> = field.iter().map(|byte| *byte as u8).collect();
    CStr::from_bytes_until_nul(&bytes)
        .map_or_else(|_| String::new(), |text| text.to_string_lossy().into_owned())
}

fn kind_of(kind: vk::PhysicalDeviceType) -> DeviceKind {
    match kind {
        vk::PhysicalDeviceType::DISCRETE_GPU => DeviceKind::Discrete,
        vk::PhysicalDeviceType::INTEGRATED_GPU => DeviceKind::Integrated,
        vk::PhysicalDeviceType::VIRTUAL_GPU => DeviceKind::Virtual,
        vk::PhysicalDeviceType::CPU => DeviceKind::Cpu,
        _ => DeviceKind::Other,
    }
}

/// The family of queues to compute on: one without graphics where there is one, so that a desktop's frames
/// and these kernels do not wait in one queue.
fn compute_family(families: &[vk::QueueFlags]) -> Option<u32> {
    let (compute, graphics) = (vk::QueueFlags::COMPUTE, vk::QueueFlags::GRAPHICS);
    let alone = families.iter().position(|flags| flags.contains(compute) && !flags.contains(graphics));
    let found = alone.or_else(|| families.iter().position(|flags| flags.contains(compute)));
    found.map(|index| index as u32)
}

/// An opened device with one queue.
pub(crate) struct Card {
    raw: ash::Device,
    queue: Mutex<vk::Queue>,
    family: u32,
    memory: vk::PhysicalDeviceMemoryProperties,
    pub(crate) standing: Standing,
    loader: Arc<Loader>,
}

impl Card {
    /// Opens a device; with `checked`, kernels' reads and writes outside of buffers are cut off by the
    /// driver.
    pub(crate) fn open(
        loader: Arc<Loader>,
        physical: vk::PhysicalDevice,
        description: DeviceDescription,
        checked: bool,
    ) -> Result<Arc<Card>, Error> {
        let unfit = |lacks: &str| Error::Unfit { device: description.name.clone(), lacks: lacks.to_owned() };
        if let Some(lack) = description.lack() {
            return Err(unfit(&lack));
        }
        let instance = &loader.instance;
        // SAFETY: the device is the instance's.
        let families = unsafe { instance.get_physical_device_queue_family_properties(physical) };
        let flags: Vec<_> = families.iter().map(|family| family.queue_flags).collect();
        let family = compute_family(&flags).ok_or_else(|| unfit("it has no compute queue"))?;
        let queues =
            [vk::DeviceQueueCreateInfo::default().queue_family_index(family).queue_priorities(&[1.0])];
        let features = vk::PhysicalDeviceFeatures::default().robust_buffer_access(checked);
        let mut newer = vk::PhysicalDeviceVulkan13Features::default().shader_integer_dot_product(true);
        let create = vk::DeviceCreateInfo::default()
            .queue_create_infos(&queues)
            .enabled_features(&features)
            .push_next(&mut newer);
        // SAFETY: the structures are valid and live through the calls; both features are required of Vulkan
        // 1.3.
        let (raw, memory) = unsafe {
            let raw = instance.create_device(physical, &create, None);
            (raw, instance.get_physical_device_memory_properties(physical))
        };
        let raw = raw.map_err(|code| unfit(&format!("opening it failed, {code}")))?;
        // SAFETY: the queue was asked for when the device was made.
        let queue = Mutex::new(unsafe { raw.get_device_queue(family, 0) });
        Ok(Arc::new(Card { raw, queue, family, memory, standing: Standing::new(description), loader }))
    }

    /// What a driver's code means; after a loss nothing more is asked of the card.
    fn failed(&self, doing: &str, code: vk::Result) -> Error {
        match code {
            vk::Result::ERROR_DEVICE_LOST => self.standing.is_lost(doing),
            vk::Result::ERROR_OUT_OF_DEVICE_MEMORY
            | vk::Result::ERROR_OUT_OF_HOST_MEMORY
            | vk::Result::ERROR_TOO_MANY_OBJECTS => self.standing.is_full(doing),
            code => {
                let (device, doing) = (self.standing.description.name.clone(), doing.to_owned());
                Error::Driver { device, doing, code: code.to_string() }
            }
        }
    }

    /// The kind of memory for a place, the best first.
    fn memory_type(&self, place: Place, bits: u32) -> Option<u32> {
        let visible = vk::MemoryPropertyFlags::HOST_VISIBLE | vk::MemoryPropertyFlags::HOST_COHERENT;
        let wishes = match place {
            Place::Card => [vk::MemoryPropertyFlags::DEVICE_LOCAL, vk::MemoryPropertyFlags::empty()],
            Place::Host => [visible | vk::MemoryPropertyFlags::HOST_CACHED, visible],
        };
        let kinds = &self.memory.memory_types[..self.memory.memory_type_count as usize];
        wishes.iter().find_map(|wish| {
            let fits = |i: &u32| bits >> i & 1 == 1 && kinds[*i as usize].property_flags.contains(*wish);
            (0..self.memory.memory_type_count).find(fits)
        })
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        if self.standing.may_run() {
            // It is never destroyed, and so neither may its instance be.
            std::mem::forget(self.loader.clone());
            return;
        }
        // SAFETY: everything made of the device keeps it, so nothing is left.
        unsafe { self.raw.destroy_device(None) };
    }
}

/// A buffer with memory of its own.
pub(crate) struct Memory {
    card: Arc<Card>,
    raw: vk::Buffer,
    memory: vk::DeviceMemory,
    /// A number that no other buffer of the card has.
    pub(crate) id: u64,
    pub(crate) bytes: u64,
    pub(crate) place: Place,
    reserved_bytes: u64,
    /// Where the host sees it. One thread at a time copies; what the card does meanwhile changes which
    /// numbers are copied and no more.
    mapped: Option<Mutex<Mapped>>,
}

struct Mapped(NonNull<u8>);

// SAFETY: mapped memory belongs to no thread.
unsafe impl Send for Mapped {}

impl Memory {
    /// Makes a buffer of `bytes`, more than none.
    pub(crate) fn new(card: &Arc<Card>, doing: &str, bytes: u64, place: Place) -> Result<Memory, Error> {
        card.standing.ask()?;
        let usage = vk::BufferUsageFlags::STORAGE_BUFFER
            | vk::BufferUsageFlags::INDIRECT_BUFFER
            | vk::BufferUsageFlags::TRANSFER_SRC
            | vk::BufferUsageFlags::TRANSFER_DST;
        let create = vk::BufferCreateInfo::default().size(bytes).usage(usage);
        let id = card.standing.next_buffer();
        let mut made = Memory {
            card: card.clone(),
            raw: vk::Buffer::null(),
            memory: vk::DeviceMemory::null(),
            id,
            bytes,
            place,
            reserved_bytes: 0,
            mapped: None,
        };
        // SAFETY: the structure is valid; the buffer is destroyed by `drop`, whatever fails from here on.
        made.raw =
            unsafe { card.raw.create_buffer(&create, None) }.map_err(|code| card.failed(doing, code))?;
        // SAFETY: the buffer has just been made of this device.
        let needs = unsafe { card.raw.get_buffer_memory_requirements(made.raw) };
        let out = vk::Result::ERROR_OUT_OF_DEVICE_MEMORY;
        let kind = card.memory_type(place, needs.memory_type_bits).ok_or_else(|| card.failed(doing, out))?;
        let allocate = vk::MemoryAllocateInfo::default().allocation_size(needs.size).memory_type_index(kind);
        // SAFETY: the structure is valid, and the type is one of the device's that this buffer takes.
        let memory = unsafe { card.raw.allocate_memory(&allocate, None) };
        made.memory = memory.map_err(|code| card.failed(doing, code))?;
        made.reserved_bytes = needs.size;
        card.standing.account.add(place, bytes, needs.size);
        // SAFETY: the memory is new, of the size and type that the buffer needs.
        unsafe { card.raw.bind_buffer_memory(made.raw, made.memory, 0) }
            .map_err(|code| card.failed(doing, code))?;
        if place == Place::Host {
            let (all, flags) = (vk::WHOLE_SIZE, vk::MemoryMapFlags::empty());
            // SAFETY: the type is host-visible, and the memory is mapped once and until it is freed.
            let at = unsafe { card.raw.map_memory(made.memory, 0, all, flags) };
            let at = at.map_err(|code| card.failed(doing, code))?;
            made.mapped = NonNull::new(at.cast()).map(|at| Mutex::new(Mapped(at)));
        }
        Ok(made)
    }

    /// Copies into a buffer of the host.
    ///
    /// Panics: when it is not one, or too short.
    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) {
        let mapped = self.mapped(offset, bytes.len());
        // SAFETY: the range lies in the mapping, which no reference of Rust's points into.
        unsafe {
            mapped.0.as_ptr().add(offset as usize).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len())
        };
    }

    /// Copies out of a buffer of the host.
    ///
    /// Panics: as [`Memory::write`].
    pub(crate) fn read(&self, offset: u64, out: &mut [u8]) {
        let mapped = self.mapped(offset, out.len());
        // SAFETY: as in `write`.
        unsafe { mapped.0.as_ptr().add(offset as usize).copy_to_nonoverlapping(out.as_mut_ptr(), out.len()) };
    }

    fn mapped(&self, offset: u64, len: usize) -> std::sync::MutexGuard<'_, Mapped> {
        let end = offset.checked_add(len as u64);
        assert!(
            end.is_some_and(|end| end <= self.bytes),
            "{len} bytes at {offset} of a buffer of {}",
            self.bytes
        );
        let mapped = self.mapped.as_ref().expect("a buffer of the host");
        mapped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.card.standing.may_run() {
            // Leaked, and counted as held.
            return;
        }
        if self.reserved_bytes > 0 {
            self.card.standing.account.remove(self.place, self.bytes, self.reserved_bytes);
        }
        // SAFETY: commands keep the buffers that they name, so none is running with this one. Null is
        // allowed.
        unsafe {
            self.card.raw.destroy_buffer(self.raw, None);
            self.card.raw.free_memory(self.memory, None);
        }
    }
}

/// A kernel as a driver has compiled it: `num_bindings` storage buffers from binding 0 on, and constants.
pub(crate) struct Pipeline {
    card: Arc<Card>,
    set_layout: vk::DescriptorSetLayout,
    layout: vk::PipelineLayout,
    raw: vk::Pipeline,
}

impl Pipeline {
    /// Compiles a module whose entry point is `main`.
    pub(crate) fn new(
        card: &Arc<Card>,
        name: &str,
        words: &[u32],
        num_bindings: usize,
    ) -> Result<Pipeline, Error> {
        let doing = format!("compiling kernel {name}");
        card.standing.ask()?;
        let failed = |code| card.failed(&doing, code);
        let mut made = Pipeline {
            card: card.clone(),
            set_layout: vk::DescriptorSetLayout::null(),
            layout: vk::PipelineLayout::null(),
            raw: vk::Pipeline::null(),
        };
        let bindings: Vec<_> = (0..num_bindings as u32).map(binding).collect();
        let create = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
        // SAFETY: the structures are valid; what is made is destroyed by `drop`, whatever fails from here on.
        unsafe {
            made.set_layout = card.raw.create_descriptor_set_layout(&create, None).map_err(failed)?;
            let (sets, constants) = ([made.set_layout], [constants()]);
            let create =
                vk::PipelineLayoutCreateInfo::default().set_layouts(&sets).push_constant_ranges(&constants);
            made.layout = card.raw.create_pipeline_layout(&create, None).map_err(failed)?;
        }
        let create = vk::ShaderModuleCreateInfo::default().code(words);
        // SAFETY: the words are a module of this room, validated when it was made, or a test's own, which the
        // hidden `Kernel::new` and `Kernels::with_replaced` leave to their callers; the module lives until
        // the pipeline is there, and the layout has all that it binds.
        unsafe {
            let module = card.raw.create_shader_module(&create, None).map_err(failed)?;
            let compute = vk::ShaderStageFlags::COMPUTE;
            let stage =
                vk::PipelineShaderStageCreateInfo::default().stage(compute).module(module).name(c"main");
            let create = [vk::ComputePipelineCreateInfo::default().stage(stage).layout(made.layout)];
            let pipelines = card.raw.create_compute_pipelines(vk::PipelineCache::null(), &create, None);
            card.raw.destroy_shader_module(module, None);
            made.raw = pipelines.map_err(|(_, code)| failed(code))?[0];
        }
        Ok(made)
    }
}

fn binding(index: u32) -> vk::DescriptorSetLayoutBinding<'static> {
    vk::DescriptorSetLayoutBinding::default()
        .binding(index)
        .descriptor_type(vk::DescriptorType::STORAGE_BUFFER)
        .descriptor_count(1)
        .stage_flags(vk::ShaderStageFlags::COMPUTE)
}

fn constants() -> vk::PushConstantRange {
    vk::PushConstantRange::default().stage_flags(vk::ShaderStageFlags::COMPUTE).size(CONSTANT_BYTES_MAX)
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        if self.card.standing.may_run() {
            return;
        }
        // SAFETY: commands keep their pipelines, so none is running with this one. Null is allowed.
        unsafe {
            self.card.raw.destroy_pipeline(self.raw, None);
            self.card.raw.destroy_pipeline_layout(self.layout, None);
            self.card.raw.destroy_descriptor_set_layout(self.set_layout, None);
        }
    }
}

type Part = command::Part<Arc<Memory>>;
type Command = command::Command<Arc<Memory>, Arc<Pipeline>>;

/// Recorded commands, which can be submitted again and again.
pub(crate) struct Commands {
    card: Arc<Card>,
    what: String,
    /// What the commands name.
    kept: Vec<Command>,
    pool: vk::CommandPool,
    raw: vk::CommandBuffer,
    sets: vk::DescriptorPool,
    fence: vk::Fence,
    is_running: bool,
}

impl Commands {
    /// Records commands; `what` names them in errors.
    ///
    /// Panics: when a buffer or kernel is another card's.
    pub(crate) fn new(card: &Arc<Card>, what: &str, commands: Vec<Command>) -> Result<Commands, Error> {
        assert!(
            commands.iter().all(|command| {
                command.is_all(
                    |memory| Arc::ptr_eq(&memory.card, card),
                    |kernel| Arc::ptr_eq(&kernel.card, card),
                )
            }),
            "{what}: a buffer or kernel of another device than {}",
            card.standing.description.name
        );
        let doing = format!("recording {what}");
        card.standing.ask()?;
        let failed = |code| card.failed(&doing, code);
        let mut made = Commands {
            card: card.clone(),
            what: what.to_owned(),
            kept: commands,
            pool: vk::CommandPool::null(),
            raw: vk::CommandBuffer::null(),
            sets: vk::DescriptorPool::null(),
            fence: vk::Fence::null(),
            is_running: false,
        };
        let (num_sets, num_parts) = made.num_sets_and_parts();
        // SAFETY: the structures are valid; what is made is destroyed by `drop`, whatever fails from here on.
        unsafe {
            made.fence = card.raw.create_fence(&vk::FenceCreateInfo::default(), None).map_err(failed)?;
            let create = vk::CommandPoolCreateInfo::default().queue_family_index(card.family);
            made.pool = card.raw.create_command_pool(&create, None).map_err(failed)?;
            let allocate = vk::CommandBufferAllocateInfo::default()
                .command_pool(made.pool)
                .level(vk::CommandBufferLevel::PRIMARY)
                .command_buffer_count(1);
            made.raw = card.raw.allocate_command_buffers(&allocate).map_err(failed)?[0];
            if num_sets > 0 {
                let storage = vk::DescriptorType::STORAGE_BUFFER;
                let sizes = [vk::DescriptorPoolSize::default().ty(storage).descriptor_count(num_parts)];
                let create = vk::DescriptorPoolCreateInfo::default().max_sets(num_sets).pool_sizes(&sizes);
                made.sets = card.raw.create_descriptor_pool(&create, None).map_err(failed)?;
            }
            card.raw
                .begin_command_buffer(made.raw, &vk::CommandBufferBeginInfo::default())
                .map_err(failed)?;
        }
        // What an earlier submission wrote, and what the host will read.
        made.barrier(vk::PipelineStageFlags::TRANSFER, vk::AccessFlags::empty());
        for command in &made.kept {
            made.record(command).map_err(failed)?;
        }
        made.barrier(vk::PipelineStageFlags::HOST, vk::AccessFlags::HOST_READ);
        // SAFETY: the buffer is being recorded.
        unsafe { card.raw.end_command_buffer(made.raw) }.map_err(failed)?;
        Ok(made)
    }

    /// Dispatches, and the buffers that all of them bind; a pool of descriptors must not be empty.
    fn num_sets_and_parts(&self) -> (u32, u32) {
        let dispatches = self.kept.iter().filter_map(|command| match command {
            Command::Dispatch { parts, .. } => Some(parts.len() as u32),
            Command::Copy { .. } | Command::Barrier => None,
        });
        dispatches.fold((0, 1), |(sets, all), parts| (sets + 1, all + parts))
    }

    fn record(&self, command: &Command) -> Result<(), vk::Result> {
        let raw = &self.card.raw;
        match command {
            Command::Dispatch { pipeline, parts, constants, groups } => {
                let set = self.describe(pipeline, parts)?;
                let (compute, stage) = (vk::PipelineBindPoint::COMPUTE, vk::ShaderStageFlags::COMPUTE);
                // SAFETY: the buffer is being recorded; all that it names is of this device, as `new` has
                // seen, and kept. Constants fit the layout and counts the device's limits, which the caller
                // has checked.
                unsafe {
                    raw.cmd_bind_pipeline(self.raw, compute, pipeline.raw);
                    raw.cmd_bind_descriptor_sets(self.raw, compute, pipeline.layout, 0, &[set], &[]);
                    if !constants.is_empty() {
                        raw.cmd_push_constants(self.raw, pipeline.layout, stage, 0, constants);
                    }
                    match groups {
                        Groups::Fixed([x, y, z]) => raw.cmd_dispatch(self.raw, *x, *y, *z),
                        Groups::Indirect(part, _) => {
                            raw.cmd_dispatch_indirect(self.raw, part.memory.raw, part.offset);
                        }
                    }
                }
            }
            Command::Copy { from, to } => {
                let region =
                    vk::BufferCopy::default().src_offset(from.offset).dst_offset(to.offset).size(to.bytes);
                // SAFETY: as above; both parts lie in their buffers and do not overlap, which the caller has
                // checked.
                unsafe { raw.cmd_copy_buffer(self.raw, from.memory.raw, to.memory.raw, &[region]) };
            }
            Command::Barrier => {
                self.barrier(vk::PipelineStageFlags::TRANSFER, vk::AccessFlags::empty());
            }
        }
        Ok(())
    }

    /// A set of descriptors for the parts.
    fn describe(&self, pipeline: &Pipeline, parts: &[Part]) -> Result<vk::DescriptorSet, vk::Result> {
        let layouts = [pipeline.set_layout];
        let allocate =
            vk::DescriptorSetAllocateInfo::default().descriptor_pool(self.sets).set_layouts(&layouts);
        // SAFETY: the pool was made for as many sets and buffers as there are.
        let set = unsafe { self.card.raw.allocate_descriptor_sets(&allocate) }?[0];
        let part = |part: &Part| {
            let info = vk::DescriptorBufferInfo::default();
            [info.buffer(part.memory.raw).offset(part.offset).range(part.bytes)]
        };
        let parts: Vec<_> = parts.iter().map(part).collect();
        let storage = vk::DescriptorType::STORAGE_BUFFER;
        let write = vk::WriteDescriptorSet::default().dst_set(set).descriptor_type(storage);
        let writes: Vec<_> =
            (0..).zip(&parts).map(|(binding, part)| write.dst_binding(binding).buffer_info(part)).collect();
        // SAFETY: the set is new, so nothing uses it; the buffers are kept.
        unsafe { self.card.raw.update_descriptor_sets(&writes, &[]) };
        Ok(set)
    }

    /// All that came before ends, and its numbers are seen, before what follows and `stage` begin.
    fn barrier(&self, stage: vk::PipelineStageFlags, access: vk::AccessFlags) {
        let wrote = vk::AccessFlags::SHADER_WRITE | vk::AccessFlags::TRANSFER_WRITE;
        let uses = vk::AccessFlags::SHADER_READ
            | vk::AccessFlags::TRANSFER_READ
            | vk::AccessFlags::INDIRECT_COMMAND_READ
            | wrote
            | access;
        let work = vk::PipelineStageFlags::COMPUTE_SHADER | vk::PipelineStageFlags::TRANSFER;
        let after = work | vk::PipelineStageFlags::DRAW_INDIRECT | stage;
        let barriers = [vk::MemoryBarrier::default().src_access_mask(wrote).dst_access_mask(uses)];
        let none = vk::DependencyFlags::empty();
        // SAFETY: the buffer is being recorded.
        unsafe { self.card.raw.cmd_pipeline_barrier(self.raw, work, after, none, &barriers, &[], &[]) };
    }

    /// Starts the commands; the last run must have been waited for.
    pub(crate) fn submit(&mut self) -> Result<(), Error> {
        assert!(!self.is_running, "{} is running", self.what);
        self.card.standing.ask()?;
        let buffers = [self.raw];
        let submits = [vk::SubmitInfo::default().command_buffers(&buffers)];
        let queue = self.card.queue.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the commands are recorded and not running, the fence is not signaled, the queue is locked.
        let outcome = unsafe {
            self.card
                .raw
                .reset_fences(&[self.fence])
                .and_then(|()| self.card.raw.queue_submit(*queue, &submits, self.fence))
        };
        outcome.map_err(|code| self.card.failed(&format!("starting {}", self.what), code))?;
        self.is_running = true;
        Ok(())
    }

    /// Waits for the end of the last run; nothing to do where there is none.
    ///
    /// Errors: `Hang` when it does not come in time, and the card is given up then; `Lost` at once where it
    /// has been.
    pub(crate) fn wait(&mut self, timeout: Duration) -> Result<(), Error> {
        if !self.is_running {
            return Ok(());
        }
        self.card.standing.ask()?;
        match self.wait_for_fence(timeout) {
            Ok(()) => {
                self.is_running = false;
                Ok(())
            }
            Err(vk::Result::TIMEOUT) => Err(self.card.standing.hangs(&self.what, timeout)),
            Err(code) => Err(self.card.failed(&self.what, code)),
        }
    }

    /// How long the card is waited for.
    pub(crate) fn wait_max(&self) -> Duration {
        self.card.standing.description.kind.wait_max()
    }

    fn wait_for_fence(&self, timeout: Duration) -> Result<(), vk::Result> {
        let nanoseconds = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        // SAFETY: the fence is this one's and was given to a submission.
        unsafe { self.card.raw.wait_for_fences(&[self.fence], true, nanoseconds) }
    }
}

impl Drop for Commands {
    fn drop(&mut self) {
        if self.is_running && !self.card.standing.may_run() {
            // Waited for as long as by those who want its numbers. A lost card has stopped: its fences end,
            // with success or with the loss.
            match self.wait_for_fence(self.wait_max()) {
                Ok(()) => {}
                Err(code @ vk::Result::ERROR_DEVICE_LOST) => drop(self.card.failed(&self.what, code)),
                Err(_) => drop(self.card.standing.hangs(&self.what, self.wait_max())),
            }
        }
        if self.card.standing.may_run() {
            // The card may still use what the commands name: never freed.
            std::mem::forget(std::mem::take(&mut self.kept));
            return;
        }
        let raw = &self.card.raw;
        // SAFETY: the commands are not running, or the card is lost. Null is allowed.
        unsafe {
            raw.destroy_command_pool(self.pool, None);
            raw.destroy_descriptor_pool(self.sets, None);
            raw.destroy_fence(self.fence, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_without_graphics_is_taken_first() {
        let (compute, graphics) = (vk::QueueFlags::COMPUTE, vk::QueueFlags::GRAPHICS);
        let transfer = vk::QueueFlags::TRANSFER;
        assert_eq!(compute_family(&[graphics | compute, transfer, compute | transfer]), Some(2));
        assert_eq!(compute_family(&[transfer, graphics | compute]), Some(1));
        assert_eq!(compute_family(&[graphics, transfer]), None);
    }

    #[test]
    fn a_machine_without_a_loader_is_told_what_to_do() {
        let error = Loader::load_from(Path::new("/no/such/libvulkan.so")).err().unwrap();
        assert!(
            matches!(&error, Error::NoLoader { .. }) && error.to_string().contains("use the CPU"),
            "{error}"
        );
    }
}
