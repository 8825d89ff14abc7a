//! A card by CUDA on a machine without one: NVIDIA's driver as `../cuda/shim/fake.cpp` plays it, in every
//! room with tests on cards.
//!
//! A C++ compiler builds it with the kernels, once for all rooms. `GPTOSS_CUDA_TEST_COMPILER` names the
//! compiler, which then must be there; without it, it is `g++`, and where there is none a line says so.

#![expect(clippy::disallowed_methods, reason = "which compiler is taken is told by the environment")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use gptoss_gpu::{Device, DeviceChoice, Error, Way};

/// No multiply-add that is not asked for; kernels are templates of which not all is used.
const FLAGS: [&str; 9] = [
    "-std=c++17",
    "-O2",
    "-fPIC",
    "-shared",
    "-ffp-contract=off",
    "-fno-strict-aliasing",
    "-Wno-unknown-pragmas",
    "-Wno-unused-function",
    "-xc++",
];

/// A driver whose card can fail; clones are the same one.
#[derive(Clone)]
pub struct FakeCuda {
    folder: PathBuf,
}

impl FakeCuda {
    /// The driver, without faults; `None` where there is no compiler.
    pub fn new() -> Option<FakeCuda> {
        static BUILT: OnceLock<Option<FakeCuda>> = OnceLock::new();
        let built = BUILT.get_or_init(|| {
            let fake = FakeCuda { folder: Path::new(env!("CARGO_TARGET_TMPDIR")).join("fake_cuda") };
            fake.build(&compiler()?);
            Some(fake)
        });
        match built {
            Some(fake) => fake.clear(),
            None => eprintln!("SKIPPED: no C++ compiler on this machine"),
        }
        built.clone()
    }

    fn build(&self, compiler: &str) {
        std::fs::create_dir_all(&self.folder).expect("a folder");
        let of_gpu = Path::new(env!("CARGO_MANIFEST_DIR")).join("../gpu");
        let (kernels, shim) = (of_gpu.join("cuda"), of_gpu.join("tests/cuda/shim"));
        let folders = [&kernels, &kernels.join("parts"), &shim];
        let newest = folders.iter().flat_map(|folder| files(folder)).map(|file| changed(&file)).max();
        if self.library().exists() && Some(changed(&self.library())) > newest {
            return;
        }
        let new = self.folder.join(format!("new_{}", std::process::id()));
        let sources = files(&kernels).into_iter().filter(|file| file.extension().is_some_and(|e| e == "cu"));
        let out = Command::new(compiler)
            .args(FLAGS)
            .arg(format!("-DFAULTS_FILE={:?}", self.folder.join("faults")))
            .arg("-I")
            .arg(&shim)
            .args(sources)
            .args(["shim.cpp", "fake.cpp"].map(|name| shim.join(name)))
            .arg("-o")
            .arg(&new)
            .output()
            .expect("the compiler");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        // Whole at once: another test may be loading it.
        std::fs::rename(new, self.library()).expect("a library");
    }

    fn library(&self) -> PathBuf {
        self.folder.join("libcuda.so.1")
    }

    /// Of this process: others may be testing.
    fn file(&self) -> PathBuf {
        self.folder.join(format!("faults.{}", std::process::id()))
    }

    /// Lines `CALL OUTCOME N`, from now on: calls `open`, `allocate`, `record`, `submit` and `wait`, of which
    /// N of a device go well; outcomes `lost`, `hang` and `full`.
    pub fn set(&self, lines: &str) {
        // Each time another text, so that calls are counted anew.
        static TIMES: AtomicU64 = AtomicU64::new(0);
        let lines = format!("{lines}\n# {}\n", TIMES.fetch_add(1, Ordering::Relaxed));
        // Whole at once: a call reads it at any time.
        let new = self.file().with_added_extension("new");
        std::fs::write(&new, lines).and_then(|()| std::fs::rename(new, self.file())).expect("writes");
    }

    /// No faults from now on; what is lost stays so.
    pub fn clear(&self) {
        self.set("");
    }

    /// The card, opened.
    ///
    /// Errors: those of opening it.
    pub fn open(&self) -> Result<Device, Error> {
        Device::open_through(&self.library(), &DeviceChoice::Any(Way::Cuda))
    }
}

/// The compiler, if there is one.
fn compiler() -> Option<String> {
    let named = std::env::var("GPTOSS_CUDA_TEST_COMPILER").ok();
    let compiler = named.clone().unwrap_or_else(|| "g++".to_owned());
    let is_there = Command::new(&compiler).arg("--version").output().is_ok_and(|out| out.status.success());
    assert!(is_there || named.is_none(), "{compiler} of GPTOSS_CUDA_TEST_COMPILER does not run");
    is_there.then_some(compiler)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("sources").map(|entry| entry.expect("a source").path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.is_file()).collect();
    files.sort();
    files
}

fn changed(file: &Path) -> SystemTime {
    file.metadata().and_then(|found| found.modified()).expect("a time of change")
}
