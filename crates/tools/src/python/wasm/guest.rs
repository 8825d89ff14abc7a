//! The program in a cell that runs a compiled module.
#![expect(
    unsafe_code,
    reason = "machine code is loaded that this program compiled, by the only way there is"
)]

use std::ffi::OsString;
use std::process::ExitCode;

use wasmtime::{Linker, Module, Store, StoreLimits, StoreLimitsBuilder};
use wasmtime_wasi::p1::{WasiP1Ctx, add_to_linker_sync};
use wasmtime_wasi::{FsPerms, I32Exit, WasiCtxBuilder};

use super::{WORD, engine};

/// The one folder of the cell's that the guest may write to.
const DATA: &str = "/mnt/data";
/// Where the guest finds its own modules.
const LIBRARY: &str = "/usr/local/lib";

/// What a guest has.
struct Guest {
    wasi: WasiP1Ctx,
    limits: StoreLimits,
}

/// Runs a Python in WebAssembly if the arguments, without the program's name, ask for it: see
/// [`WasmPython`](super::WasmPython). A program that makes cells for one calls this before it starts a
/// thread.
pub fn run_wasm_python(args: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let args: Vec<String> = args.into_iter().filter_map(|arg| arg.into_string().ok()).collect();
    let [word, compiled, library, memory_bytes, guest @ ..] = args.as_slice() else { return None };
    if word != WORD {
        return None;
    }
    Some(match run(compiled, library, memory_bytes.parse().unwrap_or(0), guest) {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    })
}

fn run(compiled: &str, library: &str, memory_bytes: usize, args: &[String]) -> wasmtime::Result<i32> {
    let engine = engine()?;
    // SAFETY: the file was compiled by this program from what its user gave, under a name of its content, and
    // is shown in the cell to be read alone. What else it might do, the cell's walls hold.
    let module = unsafe { Module::deserialize_file(&engine, compiled)? };
    let mut linker: Linker<Guest> = Linker::new(&engine);
    add_to_linker_sync(&mut linker, |guest| &mut guest.wasi)?;
    let mut wasi = WasiCtxBuilder::new();
    wasi.inherit_stdio().arg("python").args(args);
    wasi.preopened_dir(DATA, DATA, FsPerms::ReadWrite)?;
    if !library.is_empty() {
        wasi.preopened_dir(library, LIBRARY, FsPerms::ReadOnly)?;
    }
    let limits = StoreLimitsBuilder::new().memory_size(memory_bytes).build();
    let mut store = Store::new(&engine, Guest { wasi: wasi.build_p1(), limits });
    store.limiter(|guest| &mut guest.limits);
    let instance = linker.instantiate(&mut store, &module)?;
    let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
    match start.call(&mut store, ()) {
        Ok(()) => Ok(0),
        Err(error) => error.downcast::<I32Exit>().map(|exit| exit.0),
    }
}
