//! A Python in WebAssembly that the user gives: compiled once, and run in a cell as a machine's Python is.
//!
//! [`WasmPython::open`] compiles it for this processor and keeps the result; [`run_wasm_python`] is the
//! program in the cell that runs it, this one itself under another name. The guest sees `/mnt/data`, its own
//! modules, and three streams; it has no sockets, no variables and no processes, so there are two walls.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use wasmtime::{Config, Engine};

use crate::cell::Bind;

mod guest;

pub use guest::run_wasm_python;

/// The word that the program in the cell is started with.
const WORD: &str = "__python-wasm";
/// The largest module. Units: bytes.
const MODULE_BYTES_MAX: u64 = 256 << 20;
/// What every WebAssembly module begins with.
const MAGIC: &[u8] = b"\0asm";
/// The folder beside a module that holds Python's own modules, where the module does not.
const LIBRARY: &str = "lib";

/// A Python in WebAssembly, compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WasmPython {
    /// This program.
    program: PathBuf,
    /// What was compiled.
    compiled: PathBuf,
    /// Python's own modules.
    library: Option<PathBuf>,
}

/// A file that is no Python in WebAssembly, or cannot be made ready.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be used as a Python in WebAssembly: {why}", path.display())]
pub struct NoWasmPython {
    /// The file.
    pub path: PathBuf,
    /// What stands against it.
    pub why: String,
}

impl WasmPython {
    /// Compiles a module, which takes some seconds, unless what came of it is in `folder` already.
    ///
    /// Errors: a file that cannot be read or is no module for WASI; a folder that cannot be written to.
    pub fn open(file: &Path, folder: &Path) -> Result<WasmPython, NoWasmPython> {
        let failed = |why: String| NoWasmPython { path: file.to_owned(), why };
        let told = |error: io::Error| failed(error.to_string());
        let num_bytes = fs::metadata(file).map_err(told)?.len();
        if num_bytes > MODULE_BYTES_MAX {
            return Err(failed(format!("it has more than {} MiB", MODULE_BYTES_MAX >> 20)));
        }
        let bytes = fs::read(file).map_err(told)?;
        if !bytes.starts_with(MAGIC) {
            return Err(failed(
                "it is no WebAssembly module: give the python.wasm of a build for WASI".into(),
            ));
        }
        let engine = engine().map_err(|error| failed(format!("{error:#}")))?;
        let compiled = folder.join(format!("python-{}.cwasm", name(&bytes, &engine)));
        if !compiled.is_file() {
            let code = engine.precompile_module(&bytes).map_err(|error| failed(format!("{error:#}")))?;
            let write = || {
                fs::create_dir_all(folder)?;
                // Whole under its name, whoever else compiles the same.
                let mut file = tempfile::NamedTempFile::new_in(folder)?;
                file.write_all(&code)?;
                file.as_file().sync_all()?;
                file.persist(&compiled).map_err(|error| error.error)?;
                io::Result::Ok(())
            };
            write().map_err(|error| failed(format!("{} cannot be written: {error}", compiled.display())))?;
        }
        let library = file.parent().map(|folder| folder.join(LIBRARY)).filter(|library| library.is_dir());
        let absolute = |path: PathBuf| path.canonicalize().map_err(told);
        let library = library.map(absolute).transpose()?;
        let program = std::env::current_exe().map_err(told)?;
        Ok(WasmPython { program, compiled: absolute(compiled)?, library })
    }

    /// What a cell must show for it.
    pub(super) fn binds(&self) -> Vec<Bind> {
        let shown = [&self.program, &self.compiled].into_iter().chain(&self.library);
        shown.filter(|path| !super::find::is_shown(path)).map(Bind::read_only).collect()
    }

    /// What is run in the cell, before the guest's own arguments; the guest may have so many bytes of memory.
    pub(super) fn argv(&self, memory_bytes: u64) -> Vec<String> {
        let text = |path: &Path| path.display().to_string();
        let library = self.library.as_deref().map_or(String::new(), text);
        let program = [text(&self.program), WORD.to_owned(), text(&self.compiled)];
        program.into_iter().chain([library, memory_bytes.to_string()]).collect()
    }
}

/// What compiles and what runs: both alike, or what was compiled is refused.
fn engine() -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    // Both would ask for memory that a cell does not have: of no file, and reserved by the gigabyte.
    config.memory_init_cow(false);
    config.memory_reservation(0).memory_guard_size(0).memory_reservation_for_growth(1 << 20);
    Engine::new(&config)
}

/// The name of what comes of a module with this compiler on this processor.
fn name(bytes: &[u8], engine: &Engine) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut compatibility = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut compatibility);
    let digest = Sha256::digest(bytes);
    let digest: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{digest}-{:016x}", compatibility.finish())
}
