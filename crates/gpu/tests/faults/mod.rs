//! A device that fails when a test wants it to, in every room with tests of that.
//!
//! What fails is the call of Vulkan (`loader.rs` beside this file), so all of ours above it is real. The
//! loader is built by the compiler once a process and found by its path, or by a program whose
//! `LD_LIBRARY_PATH` has its folder in front.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use gptoss_gpu::{Device, Error};

/// Where the system's loader may be.
const FOLDERS: [&str; 4] =
    ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"];

/// A loader with faults; clones are the same one.
#[derive(Clone)]
pub struct Faults {
    folder: PathBuf,
}

impl Faults {
    /// Builds it, without faults; None where there is no loader that it could stand before. `name` is the
    /// folder's, which no other test of the crate may have.
    pub fn new(name: &str) -> Option<Faults> {
        let real = FOLDERS
            .iter()
            .map(|folder| Path::new(folder).join("libvulkan.so.1"))
            .find(|path| path.exists())?;
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        let faults = Faults { folder };
        faults.clear();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../gpu/tests/faults/loader.rs");
        // Never unloaded: the system's loader, which goes by the same name, would be found in its place.
        let built = Command::new("rustc")
            .args(["--edition", "2024", "--crate-type", "cdylib", "-C", "panic=abort", "-C", "strip=symbols"])
            .args(["-C", "link-arg=-Wl,-z,nodelete", "-o"])
            .arg(faults.library())
            .arg(source)
            .env("FAULTS_FILE", faults.file())
            .env("FAULTS_REAL_LOADER", real)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status();
        assert!(built.expect("the compiler").success());
        Some(faults)
    }

    /// The folder with `libvulkan.so.1`.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn library(&self) -> PathBuf {
        self.folder().join("libvulkan.so.1")
    }

    fn file(&self) -> PathBuf {
        self.folder.join("faults")
    }

    /// Lines `CALL OUTCOME N`, from now on: calls `open`, `allocate`, `record`, `submit` and `wait`, of which
    /// N of a device go well; outcomes `lost`, `hang` and `full`.
    pub fn set(&self, lines: &str) {
        // Each time another text, so that calls are counted anew.
        static TIMES: AtomicU64 = AtomicU64::new(0);
        let lines = format!("{lines}\n# {}\n", TIMES.fetch_add(1, Ordering::Relaxed));
        // Whole at once: a call reads it at any time.
        let new = self.folder.join("new");
        std::fs::write(&new, lines).and_then(|()| std::fs::rename(new, self.file())).expect("writes");
    }

    /// No faults from now on; what is lost stays so.
    pub fn clear(&self) {
        self.set("");
    }

    /// The same device as `device`, opened so that it can fail.
    ///
    /// Errors: those of opening it.
    pub fn open(&self, device: &Device) -> Result<Device, Error> {
        Device::open_through(&self.library(), &device.description().choice())
    }
}
