//! A Vulkan loader that fails when it is told to: the system's own, with a few of its calls in between.
//!
//! `mod.rs` beside it builds this file as a library of its own, so that everything of ours above the calls of
//! Vulkan is the real thing, down to the loading of the loader. Before each call that can fail, the file of
//! faults is read, a line `CALL OUTCOME N`: of a device's calls of that name, since it was opened and the
//! file changed, N go well, and those after them have the outcome. `lost` stays with a device, and so does
//! `hang`: its work is started, its waits come back as late at once, and whoever frees what it may be using
//! ends the process. `full` is the lack of memory.

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::{LazyLock, Mutex};

type Function = unsafe extern "system" fn();
/// `VkDevice`, `VkQueue` and other dispatchable handles.
type Handle = *mut c_void;

const TIMEOUT: i32 = 2;
const OUT_OF_DEVICE_MEMORY: i32 = -2;
const INITIALIZATION_FAILED: i32 = -3;
const DEVICE_LOST: i32 = -4;

/// Calls of the device that was opened last, by name, and what became of it.
#[derive(Default)]
struct Device {
    calls: HashMap<String, u64>,
    /// The faults that were read last.
    faults: String,
    is_lost: bool,
    hangs: bool,
}

static DEVICE: LazyLock<Mutex<Device>> = LazyLock::new(Mutex::default);

unsafe extern "C" {
    fn dlopen(name: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}

/// A function of the system's loader, which finds the driver by the handle.
fn real(name: &CStr) -> *mut c_void {
    static LIBRARY: LazyLock<usize> = LazyLock::new(|| {
        let path = CString::new(env!("FAULTS_REAL_LOADER")).expect("a path");
        // SAFETY: the system's loader; 2 is RTLD_NOW.
        unsafe { dlopen(path.as_ptr(), 2) as usize }
    });
    assert_ne!(*LIBRARY, 0, "the system's loader");
    // SAFETY: the library is open for good.
    let found = unsafe { dlsym(*LIBRARY as *mut c_void, name.as_ptr()) };
    assert!(!found.is_null(), "{name:?} of the system's loader");
    found
}

/// What the file of faults says of a call.
fn outcome(call: &str, device: &mut Device) -> Option<String> {
    let faults = std::fs::read_to_string(env!("FAULTS_FILE")).unwrap_or_default();
    if faults != device.faults {
        device.calls.clear();
        device.faults.clone_from(&faults);
    }
    let calls = device.calls.entry(call.to_owned()).or_default();
    *calls += 1;
    faults.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let is_meant = words.next()? == call;
        let outcome = words.next()?;
        let well: u64 = words.next()?.parse().ok()?;
        (is_meant && *calls > well).then(|| outcome.to_owned())
    })
}

/// The code that a call is answered with in place of the driver's, if there is one.
fn fault(call: &str) -> Option<i32> {
    let mut device = DEVICE.lock().expect("no panic");
    match outcome(call, &mut device).as_deref() {
        Some("lost") => device.is_lost = true,
        Some("hang") => device.hangs = true,
        Some("full") => return Some(OUT_OF_DEVICE_MEMORY),
        Some(other) => panic!("an outcome `{other}`"),
        None => {}
    }
    device.is_lost.then_some(DEVICE_LOST)
}

/// Calls a function of the system's loader.
macro_rules! really {
    ($name:literal, fn($($of:ty),*) $(-> $gives:ty)?, $($argument:expr),*) => {{
        // SAFETY: the function has this signature in the specification; the arguments are the caller's.
        let function: unsafe extern "system" fn($($of),*) $(-> $gives)? =
            unsafe { std::mem::transmute(real($name)) };
        unsafe { function($($argument),*) }
    }};
}

unsafe extern "system" fn create_device(
    physical: Handle,
    create: *const c_void,
    allocator: *const c_void,
    device: *mut Handle,
) -> i32 {
    *DEVICE.lock().expect("no panic") = Device::default();
    if fault("open").is_some() {
        *DEVICE.lock().expect("no panic") = Device::default();
        return INITIALIZATION_FAILED;
    }
    really!(
        c"vkCreateDevice",
        fn(Handle, *const c_void, *const c_void, *mut Handle) -> i32,
        physical,
        create,
        allocator,
        device
    )
}

unsafe extern "system" fn queue_submit(queue: Handle, count: u32, submits: *const c_void, fence: u64) -> i32 {
    if let Some(code) = fault("submit") {
        return code;
    }
    really!(c"vkQueueSubmit", fn(Handle, u32, *const c_void, u64) -> i32, queue, count, submits, fence)
}

unsafe extern "system" fn wait_for_fences(
    device: Handle,
    count: u32,
    fences: *const u64,
    all: u32,
    nanoseconds: u64,
) -> i32 {
    let code = fault("wait");
    if DEVICE.lock().expect("no panic").hangs {
        return TIMEOUT;
    }
    let waited = really!(
        c"vkWaitForFences",
        fn(Handle, u32, *const u64, u32, u64) -> i32,
        device,
        count,
        fences,
        all,
        // What a lost device was given and never started has a fence that never comes.
        if code.is_some() { nanoseconds.min(2_000_000_000) } else { nanoseconds }
    );
    code.unwrap_or(waited)
}

unsafe extern "system" fn allocate_memory(
    device: Handle,
    allocate: *const c_void,
    allocator: *const c_void,
    memory: *mut u64,
) -> i32 {
    if let Some(code) = fault("allocate") {
        return code;
    }
    really!(
        c"vkAllocateMemory",
        fn(Handle, *const c_void, *const c_void, *mut u64) -> i32,
        device,
        allocate,
        allocator,
        memory
    )
}

unsafe extern "system" fn create_command_pool(
    device: Handle,
    create: *const c_void,
    allocator: *const c_void,
    pool: *mut u64,
) -> i32 {
    if let Some(code) = fault("record") {
        return code;
    }
    really!(
        c"vkCreateCommandPool",
        fn(Handle, *const c_void, *const c_void, *mut u64) -> i32,
        device,
        create,
        allocator,
        pool
    )
}

/// Ends the process if the device may be using what is freed.
fn free(what: &str) {
    if DEVICE.lock().expect("no panic").hangs {
        eprintln!("{what} under a device that hangs");
        std::process::abort();
    }
}

/// Functions that give something of a device back.
macro_rules! freeing {
    ($($ours:ident $name:literal),*) => {
        $(unsafe extern "system" fn $ours(device: Handle, freed: u64, allocator: *const c_void) {
            free(stringify!($ours));
            really!($name, fn(Handle, u64, *const c_void), device, freed, allocator);
        })*

        /// Ours by their names.
        fn freeing(name: &CStr) -> Option<*const ()> {
            $(if name == $name { return Some($ours as *const ()); })*
            None
        }
    };
}

freeing!(
    free_memory c"vkFreeMemory",
    destroy_buffer c"vkDestroyBuffer",
    destroy_fence c"vkDestroyFence",
    destroy_command_pool c"vkDestroyCommandPool",
    destroy_descriptor_pool c"vkDestroyDescriptorPool",
    destroy_pipeline c"vkDestroyPipeline"
);

unsafe extern "system" fn destroy_device(device: Handle, allocator: *const c_void) {
    free("vkDestroyDevice");
    really!(c"vkDestroyDevice", fn(Handle, *const c_void), device, allocator);
}

/// Our function of a name, if it is in between.
fn ours(name: &CStr) -> Option<Function> {
    let function = match name.to_bytes() {
        b"vkGetInstanceProcAddr" => vkGetInstanceProcAddr as *const (),
        b"vkGetDeviceProcAddr" => get_device_proc_addr as *const (),
        b"vkCreateDevice" => create_device as *const (),
        b"vkDestroyDevice" => destroy_device as *const (),
        b"vkQueueSubmit" => queue_submit as *const (),
        b"vkWaitForFences" => wait_for_fences as *const (),
        b"vkAllocateMemory" => allocate_memory as *const (),
        b"vkCreateCommandPool" => create_command_pool as *const (),
        _ => freeing(name)?,
    };
    // SAFETY: a function's address.
    Some(unsafe { std::mem::transmute::<*const (), Function>(function) })
}

unsafe extern "system" fn get_device_proc_addr(device: Handle, name: *const c_char) -> Option<Function> {
    // SAFETY: the caller's name ends in a zero.
    ours(unsafe { CStr::from_ptr(name) }).or_else(|| {
        really!(c"vkGetDeviceProcAddr", fn(Handle, *const c_char) -> Option<Function>, device, name)
    })
}

/// The one function that a program asks a loader for by name.
///
/// # Safety
///
/// As the specification has it.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn vkGetInstanceProcAddr(
    instance: Handle,
    name: *const c_char,
) -> Option<Function> {
    // SAFETY: the caller's name ends in a zero.
    ours(unsafe { CStr::from_ptr(name) }).or_else(|| {
        really!(c"vkGetInstanceProcAddr", fn(Handle, *const c_char) -> Option<Function>, instance, name)
    })
}
