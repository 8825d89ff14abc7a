//! The calls of NVIDIA's driver: the twin of `vulkan.rs`, with types of the same names.
//!
//! The driver is loaded when it is asked for, and of it the functions that stand in [`Driver`]. What
//! `vulkan.rs` says of handles, of cards that are lost and of those that hang holds here too. Commands are
//! captured into a graph, one behind the other, and a run is one launch of it; so barriers are there without
//! being written. The driver has no wait that ends by itself: the end of a run is looked for again and again.
//! **Source:** the CUDA driver API, 12.0.

#![expect(unsafe_code, reason = "every call of the driver is unsafe")]

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::path::Path;
use std::ptr::{NonNull, null, null_mut};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use libloading::Library;

use crate::Error;
use crate::account::Place;
use crate::command::{self, Groups};
use crate::description::{DeviceDescription, DeviceKind, Limits, Version};
use crate::digest::{DIGEST_START, digest_bytes};
use crate::standing::Standing;

/// What the driver's library is called, after the system.
const LIBRARY: &str = if cfg!(windows) { "nvcuda.dll" } else { "libcuda.so.1" };

/// What every function of the driver gives; zero is success.
type Code = c_int;
const SUCCESS: Code = 0;
const OUT_OF_MEMORY: Code = 2;
const NO_DEVICE: Code = 100;
const NOT_FOUND: Code = 500;
const NOT_READY: Code = 600;
/// Codes after which a context is of no use: memory with errors, a lost link, an address or an instruction
/// that is not one, a launch that was cut off, and what is not known.
const LOST: [Code; 14] = [4, 214, 220, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 999];

const STREAM_NON_BLOCKING: c_uint = 1;
const CAPTURE_RELAXED: c_int = 2;
const EVENT_DISABLE_TIMING: c_uint = 2;
/// Memory of the host that every context sees, at the host's address.
const HOST_PORTABLE_AND_MAPPED: c_uint = 1 | 2;
/// Of a function: the most threads of a block, which its source names.
const FUNCTION_THREADS_MAX: c_int = 0;

/// What is asked of a device by number.
mod attribute {
    pub(super) const BLOCK_THREADS: i32 = 1;
    pub(super) const GRID: [i32; 3] = [5, 6, 7];
    pub(super) const SHARED_BYTES: i32 = 8;
    pub(super) const IS_INTEGRATED: i32 = 18;
    pub(super) const HAS_UNIFIED_ADDRESSES: i32 = 41;
    pub(super) const COMPUTE: [i32; 2] = [75, 76];
}

/// Bytes of a buffer: some kernels count its words by 32 bits.
const BUFFER_BYTES_MAX: u64 = 1 << 34;
/// What slices begin at a multiple of: kernels load 16 bytes at a time.
const ALIGNMENT_BYTES: u64 = 16;
/// Buffers of a kernel.
const BUFFERS_MAX: u32 = 32;
/// How long a run's end is looked for without a pause: a token takes less.
const SPIN: Duration = Duration::from_millis(5);
/// Between two looks after that.
const PAUSE: Duration = Duration::from_micros(100);

/// A context, a stream, a module or another of the driver's things.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
struct Handle(*mut c_void);

// SAFETY: the driver's handles belong to no thread.
unsafe impl Send for Handle {}
// SAFETY: as above; what must not be done at once is locked.
unsafe impl Sync for Handle {}

/// Where a card sees memory.
type Address = u64;

/// The functions of the driver that are called: fields, names in the library, and what they take.
macro_rules! driver {
    ($($field:ident $name:literal ($($argument:ty),*);)*) => {
        struct Driver {
            $($field: unsafe extern "system" fn($($argument),*) -> Code,)*
            _library: Library,
        }

        impl Driver {
            /// # Safety
            ///
            /// The library is NVIDIA's driver, or a program that stands for it.
            unsafe fn of(library: Library) -> Result<Driver, libloading::Error> {
                type Found<F> = Result<F, libloading::Error>;
                $(
                    let $field: Found<unsafe extern "system" fn($($argument),*) -> Code> =
                        // SAFETY: the function has this signature in the driver; it is called while the
                        // library is there.
                        unsafe { library.get($name) }.map(|found| *found);
                )*
                Ok(Driver { $($field: $field?,)* _library: library })
            }
        }
    };
}

driver! {
    init b"cuInit" (c_uint);
    version b"cuDriverGetVersion" (*mut c_int);
    error_name b"cuGetErrorName" (Code, *mut *const c_char);
    device_count b"cuDeviceGetCount" (*mut c_int);
    device_get b"cuDeviceGet" (*mut c_int, c_int);
    device_name b"cuDeviceGetName" (*mut c_char, c_int, c_int);
    device_bytes b"cuDeviceTotalMem_v2" (*mut usize, c_int);
    device_attribute b"cuDeviceGetAttribute" (*mut c_int, c_int, c_int);
    context_create b"cuCtxCreate_v2" (*mut Handle, c_uint, c_int);
    context_set b"cuCtxSetCurrent" (Handle);
    context_destroy b"cuCtxDestroy_v2" (Handle);
    module_load b"cuModuleLoadData" (*mut Handle, *const c_void);
    module_function b"cuModuleGetFunction" (*mut Handle, Handle, *const c_char);
    function_attribute b"cuFuncGetAttribute" (*mut c_int, c_int, Handle);
    memory_alloc b"cuMemAlloc_v2" (*mut Address, usize);
    memory_free b"cuMemFree_v2" (Address);
    host_alloc b"cuMemHostAlloc" (*mut *mut c_void, usize, c_uint);
    host_free b"cuMemFreeHost" (*mut c_void);
    copy b"cuMemcpyAsync" (Address, Address, usize, Handle);
    stream_create b"cuStreamCreate" (*mut Handle, c_uint);
    capture_begin b"cuStreamBeginCapture_v2" (Handle, c_int);
    capture_end b"cuStreamEndCapture" (Handle, *mut Handle);
    launch b"cuLaunchKernel" (
        Handle, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, Handle, *mut *mut c_void, *mut *mut c_void
    );
    graph_instantiate b"cuGraphInstantiateWithFlags" (*mut Handle, Handle, u64);
    graph_launch b"cuGraphLaunch" (Handle, Handle);
    graph_destroy b"cuGraphDestroy" (Handle);
    runnable_destroy b"cuGraphExecDestroy" (Handle);
    event_create b"cuEventCreate" (*mut Handle, c_uint);
    event_record b"cuEventRecord" (Handle, Handle);
    event_query b"cuEventQuery" (Handle);
    event_destroy b"cuEventDestroy_v2" (Handle);
}

/// A code that is not success.
fn checked(code: Code) -> Result<(), Code> {
    if code == SUCCESS { Ok(()) } else { Err(code) }
}

/// The driver, started.
pub(crate) struct Loader {
    driver: Driver,
}

impl Loader {
    pub(crate) fn load() -> Result<Arc<Loader>, Error> {
        Loader::load_from(Path::new(LIBRARY))
    }

    /// As [`Loader::load`], of a file.
    ///
    /// Errors: `NoCuda`, `NoCudaDevice`.
    pub(crate) fn load_from(path: &Path) -> Result<Arc<Loader>, Error> {
        // SAFETY: what goes by the driver's name is trusted to be it, as every program trusts it; another
        // file is left to the caller of the hidden `Device::open_through`.
        let driver = unsafe { Library::new(path).and_then(|library| Driver::of(library)) };
        let loader = Loader { driver: driver.map_err(|error| Error::NoCuda { reason: error.to_string() })? };
        // SAFETY: it may be called at any time.
        match unsafe { (loader.driver.init)(0) } {
            SUCCESS => Ok(Arc::new(loader)),
            NO_DEVICE => Err(Error::NoCudaDevice),
            code => Err(Error::NoCuda { reason: loader.driver.name_of(code) }),
        }
    }

    /// Every device, in the driver's order.
    ///
    /// Errors: `NoCudaDevice` where there is none.
    pub(crate) fn devices(&self) -> Result<Vec<DeviceDescription>, Error> {
        let mut count = 0;
        // SAFETY: the driver is started, and the place lives through the call.
        let code = unsafe { (self.driver.device_count)(&raw mut count) };
        let failed = |code| Error::NoCuda { reason: self.driver.name_of(code) };
        checked(code).map_err(failed)?;
        if count == 0 {
            return Err(Error::NoCudaDevice);
        }
        (0..count).map(|ordinal| self.driver.describe(ordinal)).collect::<Result<_, _>>().map_err(failed)
    }
}

impl Driver {
    fn name_of(&self, code: Code) -> String {
        let mut name = null();
        // SAFETY: the place lives through the call; what it is given is a text of the driver's that stays.
        let text = unsafe {
            (self.error_name)(code, &raw mut name);
            (!name.is_null()).then(|| CStr::from_ptr(name).to_string_lossy().into_owned())
        };
        text.unwrap_or_else(|| format!("CUDA error {code}"))
    }

    fn describe(&self, ordinal: c_int) -> Result<DeviceDescription, Code> {
        let (mut device, mut version, mut bytes) = (0, 0, 0);
        let mut name = [0; 256];
        // SAFETY: the driver is started, the places live through the calls, and of the name's the length is
        // told.
        unsafe {
            checked((self.device_get)(&raw mut device, ordinal))?;
            checked((self.version)(&raw mut version))?;
            checked((self.device_bytes)(&raw mut bytes, device))?;
            checked((self.device_name)(name.as_mut_ptr(), name.len() as c_int, device))?;
        }
        let asked = |attribute| {
            let mut value = 0;
            // SAFETY: as above.
            checked(unsafe { (self.device_attribute)(&raw mut value, attribute, device) })?;
            Ok::<_, Code>(u32::try_from(value).unwrap_or(0))
        };
        let [major, minor] = [asked(attribute::COMPUTE[0])?, asked(attribute::COMPUTE[1])?];
        let kind =
            if asked(attribute::IS_INTEGRATED)? == 1 { DeviceKind::Integrated } else { DeviceKind::Discrete };
        // Without one address for host and card a buffer of the host is nothing that a kernel can see.
        let is_unified = asked(attribute::HAS_UNIFIED_ADDRESSES)? == 1;
        let [x, y, z] = attribute::GRID;
        let memory_bytes = bytes as u64;
        let driver = [version / 1000, version % 1000 / 10].map(|part| u32::try_from(part).unwrap_or(0));
        let name: Vec<u8> = name.iter().map(|byte| *byte as u8).collect();
        let name = CStr::from_bytes_until_nul(&name).map_or_else(|_| "?".into(), CStr::to_string_lossy);
        Ok(DeviceDescription {
            index: ordinal as usize,
            name: name.into_owned(),
            kind,
            memory_bytes,
            driver: "NVIDIA".to_owned(),
            version: Version::Cuda { driver, compute: [major, minor] },
            limits: Limits {
                storage_range_bytes: memory_bytes.min(BUFFER_BYTES_MAX),
                allocation_bytes: memory_bytes,
                num_allocations: u32::MAX,
                storage_alignment_bytes: ALIGNMENT_BYTES,
                shared_bytes: asked(attribute::SHARED_BYTES)?,
                workgroup_invocations: asked(attribute::BLOCK_THREADS)?,
                storage_buffers: if is_unified { BUFFERS_MAX } else { 0 },
                num_workgroups: [asked(x)?, asked(y)?, asked(z)?],
            },
        })
    }
}

/// An opened device, with a context of its own and one stream that work goes through.
pub(crate) struct Card {
    context: Handle,
    /// Where graphs are launched, in turn.
    stream: Mutex<Handle>,
    /// Where commands are captured: what is launched meanwhile must not be among them.
    capture: Mutex<Handle>,
    modules: Vec<Handle>,
    /// Of the kernels' images.
    pub(crate) images_digest: u64,
    pub(crate) standing: Standing,
    /// How long a run may take.
    wait_max: Duration,
    loader: Arc<Loader>,
}

impl Card {
    /// Opens a device, whose runs may take `wait_max`, and loads the kernels' images.
    pub(crate) fn open(
        loader: Arc<Loader>,
        description: DeviceDescription,
        (images, wait_max): (&[&[u8]], Duration),
    ) -> Result<Arc<Card>, Error> {
        let name = description.name.clone();
        let unfit = |lacks: String| Error::Unfit { device: name.clone(), lacks };
        if let Some(lack) = description.lack() {
            return Err(unfit(lack));
        }
        let mut card = Card {
            context: Handle(null_mut()),
            stream: Mutex::new(Handle(null_mut())),
            capture: Mutex::new(Handle(null_mut())),
            modules: Vec::new(),
            images_digest: images.iter().copied().fold(DIGEST_START, digest_bytes),
            standing: Standing::new(description),
            wait_max,
            loader,
        };
        let made = card.make(images);
        made.map_err(|code| unfit(format!("opening it failed, {}", card.loader.driver.name_of(code))))?;
        Ok(Arc::new(card))
    }

    /// Makes context, streams and modules; what is made is destroyed by `drop`, whatever fails.
    fn make(&mut self, images: &[&[u8]]) -> Result<(), Code> {
        let driver = &self.loader.driver;
        let ordinal = self.standing.description.index as c_int;
        let mut device = 0;
        let [mut stream, mut capture] = [Handle(null_mut()); 2];
        // SAFETY: the device is the driver's; the places live through the calls.
        unsafe {
            checked((driver.device_get)(&raw mut device, ordinal))?;
            checked((driver.context_create)(&raw mut self.context, 0, device))?;
            checked((driver.stream_create)(&raw mut stream, STREAM_NON_BLOCKING))?;
            checked((driver.stream_create)(&raw mut capture, STREAM_NON_BLOCKING))?;
        }
        (self.stream, self.capture) = (Mutex::new(stream), Mutex::new(capture));
        for image in images {
            // The driver reads words.
            let mut words = vec![0_u64; image.len().div_ceil(8)];
            bytemuck::cast_slice_mut(&mut words)[..image.len()].copy_from_slice(image);
            let mut module = Handle(null_mut());
            // SAFETY: the image is a fat binary of this room, or a test's that its driver takes; it says
            // itself how long it is.
            checked(unsafe { (driver.module_load)(&raw mut module, words.as_ptr().cast()) })?;
            self.modules.push(module);
        }
        Ok(())
    }

    /// The driver, with the card's context for the calls of this thread.
    ///
    /// Errors: why the card was given up.
    fn driver(&self, doing: &str) -> Result<&Driver, Error> {
        self.standing.ask()?;
        // SAFETY: the context is there as long as the card.
        let code = unsafe { (self.loader.driver.context_set)(self.context) };
        checked(code).map_err(|code| self.failed(doing, code))?;
        Ok(&self.loader.driver)
    }

    /// As [`Card::driver`], to give something back, which a lost card must let happen too.
    fn driver_to_free(&self) -> &Driver {
        // SAFETY: as above. What the driver says of a lost card does not matter.
        unsafe { (self.loader.driver.context_set)(self.context) };
        &self.loader.driver
    }

    /// What a driver's code means; after a loss nothing more is asked of the card.
    fn failed(&self, doing: &str, code: Code) -> Error {
        match code {
            OUT_OF_MEMORY => self.standing.is_full(doing),
            code if LOST.contains(&code) => self.standing.is_lost(doing),
            code => {
                let (device, doing) = (self.standing.description.name.clone(), doing.to_owned());
                Error::Driver { device, doing, code: self.loader.driver.name_of(code) }
            }
        }
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        if self.standing.may_run() {
            // Its context is never destroyed, and so the driver must stay.
            std::mem::forget(self.loader.clone());
            return;
        }
        if !self.context.0.is_null() {
            // SAFETY: everything made of the card keeps it, so nothing is left but streams and modules, which
            // go with the context.
            unsafe { (self.loader.driver.context_destroy)(self.context) };
        }
    }
}

/// A buffer with memory of its own.
pub(crate) struct Memory {
    card: Arc<Card>,
    /// Where the card sees it; of a buffer of the host the host too.
    address: Address,
    /// A number that no other buffer of the card has.
    pub(crate) id: u64,
    pub(crate) bytes: u64,
    pub(crate) place: Place,
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
        let driver = card.driver(doing)?;
        let failed = |code| card.failed(doing, code);
        let (mut address, mut mapped) = (0, None);
        match place {
            Place::Card => {
                // SAFETY: the place lives through the call.
                checked(unsafe { (driver.memory_alloc)(&raw mut address, bytes as usize) })
                    .map_err(failed)?;
            }
            Place::Host => {
                let (mut at, flags) = (null_mut(), HOST_PORTABLE_AND_MAPPED);
                // SAFETY: as above.
                checked(unsafe { (driver.host_alloc)(&raw mut at, bytes as usize, flags) })
                    .map_err(failed)?;
                address = at as Address;
                mapped = NonNull::new(at.cast()).map(|at| Mutex::new(Mapped(at)));
            }
        }
        // The driver does not tell what it takes for a buffer.
        card.standing.account.add(place, bytes, bytes);
        Ok(Memory { card: card.clone(), address, id: card.standing.next_buffer(), bytes, place, mapped })
    }

    /// Copies into a buffer of the host.
    ///
    /// Panics: when it is not one, or too short.
    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) {
        let mapped = self.mapped(offset, bytes.len());
        // SAFETY: the range lies in the memory, which no reference of Rust's points into.
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
        self.card.standing.account.remove(self.place, self.bytes, self.bytes);
        let driver = self.card.driver_to_free();
        // SAFETY: commands keep the buffers that they name, so none is running with this one.
        unsafe {
            match self.place {
                Place::Card => (driver.memory_free)(self.address),
                Place::Host => (driver.host_free)(self.address as *mut c_void),
            }
        };
    }
}

/// A kernel of the card's modules.
pub(crate) struct Pipeline {
    card: Arc<Card>,
    function: Handle,
    /// Of a block.
    threads: c_uint,
}

impl Pipeline {
    /// Finds the kernel of a name.
    ///
    /// Errors: `Kernel` when there is none.
    pub(crate) fn new(card: &Arc<Card>, name: &str) -> Result<Pipeline, Error> {
        let doing = format!("loading kernel {name}");
        let driver = card.driver(&doing)?;
        let none = |reason: &str| Error::Kernel { kernel: name.to_owned(), reason: reason.to_owned() };
        let symbol = CString::new(name).map_err(|_| none("its name has a zero in it"))?;
        for module in &card.modules {
            let (mut function, mut threads) = (Handle(null_mut()), 0);
            // SAFETY: the module is the card's, the text ends in a zero, the place lives through the call.
            match unsafe { (driver.module_function)(&raw mut function, *module, symbol.as_ptr()) } {
                NOT_FOUND => continue,
                code => checked(code).map_err(|code| card.failed(&doing, code))?,
            }
            let attribute = FUNCTION_THREADS_MAX;
            // SAFETY: the function is of a module that stays as long as the card.
            let code = unsafe { (driver.function_attribute)(&raw mut threads, attribute, function) };
            checked(code).map_err(|code| card.failed(&doing, code))?;
            return Ok(Pipeline { card: card.clone(), function, threads: threads.cast_unsigned() });
        }
        Err(none("it is not among those in CUDA C++; use --device vulkan"))
    }
}

type Part = command::Part<Arc<Memory>>;
type Command = command::Command<Arc<Memory>, Arc<Pipeline>>;

impl Part {
    fn address(&self) -> Address {
        self.memory.address + self.offset
    }
}

/// Recorded commands, which can be submitted again and again.
pub(crate) struct Commands {
    card: Arc<Card>,
    what: String,
    /// What the commands name.
    kept: Vec<Command>,
    /// The graph, ready to be launched.
    runnable: Handle,
    /// Set behind each launch.
    end: Handle,
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
        card.driver(&doing)?;
        let null = Handle(null_mut());
        let (of, what) = (card.clone(), what.to_owned());
        let mut made =
            Commands { card: of, what, kept: commands, runnable: null, end: null, is_running: false };
        made.make().map_err(|code| card.failed(&doing, code))?;
        Ok(made)
    }

    /// Captures the commands into a graph and makes it ready; what is made is destroyed by `drop`, whatever
    /// fails.
    fn make(&mut self) -> Result<(), Code> {
        let card = self.card.clone();
        let (driver, mut graph) = (&card.loader.driver, Handle(null_mut()));
        let capture = card.capture.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the places live through the calls; the stream is locked and not capturing.
        unsafe {
            checked((driver.event_create)(&raw mut self.end, EVENT_DISABLE_TIMING))?;
            checked((driver.capture_begin)(*capture, CAPTURE_RELAXED))?;
        }
        let captured = self.kept.iter().try_for_each(|command| record(driver, *capture, command));
        // SAFETY: the stream is capturing, and stops here also when a command was refused.
        let ended = checked(unsafe { (driver.capture_end)(*capture, &raw mut graph) });
        // SAFETY: the graph is whole; it is not needed once it was made ready.
        let ready = captured
            .and(ended)
            .and_then(|()| checked(unsafe { (driver.graph_instantiate)(&raw mut self.runnable, graph, 0) }));
        if !graph.0.is_null() {
            // SAFETY: nothing else has it.
            unsafe { (driver.graph_destroy)(graph) };
        }
        ready
    }

    /// Starts the commands; the last run must have been waited for.
    pub(crate) fn submit(&mut self) -> Result<(), Error> {
        assert!(!self.is_running, "{} is running", self.what);
        let doing = format!("starting {}", self.what);
        let driver = self.card.driver(&doing)?;
        let stream = self.card.stream.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the graph is ready and not running, the stream is locked.
        let launched = checked(unsafe { (driver.graph_launch)(self.runnable, *stream) });
        launched.map_err(|code| self.card.failed(&doing, code))?;
        // SAFETY: the event is this one's, and nobody waits for it.
        let marked = checked(unsafe { (driver.event_record)(self.end, *stream) });
        // Without its mark the end of what runs would never be known.
        marked.map_err(|_| self.card.standing.is_lost(&doing))?;
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
        let driver = self.card.driver(&self.what)?;
        let start = Instant::now();
        loop {
            // SAFETY: the event is this one's and was given to the stream.
            match unsafe { (driver.event_query)(self.end) } {
                SUCCESS => break,
                NOT_READY if start.elapsed() >= timeout => {
                    return Err(self.card.standing.hangs(&self.what, timeout));
                }
                NOT_READY if start.elapsed() < SPIN => std::thread::yield_now(),
                NOT_READY => std::thread::sleep(PAUSE),
                code => return Err(self.card.failed(&self.what, code)),
            }
        }
        self.is_running = false;
        Ok(())
    }

    /// How long the card is waited for.
    pub(crate) fn wait_max(&self) -> Duration {
        self.card.wait_max
    }
}

/// Puts a command behind what a stream captures. A barrier is between any two.
fn record(driver: &Driver, stream: Handle, command: &Command) -> Result<(), Code> {
    match command {
        Command::Dispatch { pipeline, parts, constants, groups } => {
            let ([x, y, z], counted) = match groups {
                Groups::Fixed(groups) => (*groups, None),
                Groups::Indirect(part, most) => (*most, Some(part)),
            };
            let mut addresses: Vec<Address> = parts.iter().chain(counted).map(Part::address).collect();
            let words = constants.as_chunks::<4>().0.iter();
            let mut words: Vec<u32> = words.map(|word| u32::from_ne_bytes(*word)).collect();
            let pointers = addresses.iter_mut().map(|address| (&raw mut *address).cast());
            let values = words.iter_mut().map(|word| (&raw mut *word).cast());
            let mut parameters: Vec<*mut c_void> = pointers.chain(values).collect();
            let (none, threads) = (null_mut(), pipeline.threads);
            // SAFETY: the stream is capturing, the kernel takes as many parameters as its twin has bindings
            // and constants, whose numbers the caller has checked, and they are copied by the call. What they
            // point to is of this card, as `new` has seen, and kept.
            checked(unsafe {
                let parameters = parameters.as_mut_ptr();
                (driver.launch)(pipeline.function, x, y, z, threads, 1, 1, 0, stream, parameters, none)
            })
        }
        Command::Copy { from, to } => {
            // SAFETY: as above; both parts lie in their buffers and do not overlap, which the caller has
            // checked.
            checked(unsafe { (driver.copy)(to.address(), from.address(), to.bytes as usize, stream) })
        }
        Command::Barrier => Ok(()),
    }
}

impl Drop for Commands {
    fn drop(&mut self) {
        // Waited for as long as by those who want its numbers; what it meets is kept with the card. A lost
        // card has stopped.
        let _ = self.wait(self.wait_max());
        if self.card.standing.may_run() {
            // The card may still use what the commands name: never freed.
            std::mem::forget(std::mem::take(&mut self.kept));
            return;
        }
        let driver = self.card.driver_to_free();
        // SAFETY: the commands are not running, or the card is lost.
        unsafe {
            if !self.runnable.0.is_null() {
                (driver.runnable_destroy)(self.runnable);
            }
            if !self.end.0.is_null() {
                (driver.event_destroy)(self.end);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_the_driver_is_told_what_to_do() {
        let error = Loader::load_from(Path::new("/no/such/libcuda.so.1")).err().unwrap();
        assert!(
            matches!(&error, Error::NoCuda { .. }) && error.to_string().contains("--device vulkan"),
            "{error}"
        );
    }

    /// The system's mathematics is there and has none of the driver's functions.
    #[test]
    #[cfg(target_os = "linux")]
    fn a_library_that_is_not_the_driver_is_refused() {
        let Err(error) = Loader::load_from(Path::new("libm.so.6")) else { panic!("a driver") };
        assert!(matches!(&error, Error::NoCuda { reason } if reason.contains("libm.so.6")), "{error}");
    }
}
