//! The program that a C++ compiler makes of kernels and shim, and what it is given to do.

#![expect(clippy::disallowed_methods, reason = "which compiler is taken is told by the environment")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Threads of a block (at most a kernel's own), each in ascending and in descending order.
const BLOCK_SIZES: [u32; 3] = [32, 64, 256];
/// No multiply-add that is not asked for; kernels are templates of which not all is used.
const FLAGS: [&str; 7] = [
    "-std=c++17",
    "-O1",
    "-ffp-contract=off",
    "-fno-strict-aliasing",
    "-Wall",
    "-Wno-unknown-pragmas",
    "-Wno-unused-function",
];

/// What runs them.
const OBJECTS: [&str; 2] = ["shim.o", "program.o"];

/// Kernels that can be run.
pub struct Program {
    path: PathBuf,
}

/// The compiler, if there is one.
fn compiler() -> Option<String> {
    let named = std::env::var("GPTOSS_CUDA_TEST_COMPILER").ok();
    let compiler = named.clone().unwrap_or_else(|| "g++".to_owned());
    let is_there = Command::new(&compiler).arg("--version").output().is_ok_and(|out| out.status.success());
    assert!(is_there || named.is_none(), "{compiler} of GPTOSS_CUDA_TEST_COMPILER does not run");
    is_there.then_some(compiler)
}

/// Where the kernels are.
pub fn sources() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/cuda"))
}

/// Where programs and mutants are made.
pub fn made() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("cuda")
}

/// Every file of kernels in a folder.
pub fn kernel_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|e| e == "cu")).collect();
    files.sort();
    files
}

/// Runs the compiler on `arguments`.
fn compile(compiler: &str, arguments: &[&Path], to: &Path) {
    let shim = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cuda/shim");
    let mut command = Command::new(compiler);
    command.args(FLAGS).arg("-I").arg(shim).args(arguments).arg("-o").arg(to).arg("-lm");
    let out = command.output().unwrap();
    assert!(out.status.success(), "{}: {}", to.display(), String::from_utf8_lossy(&out.stderr));
}

impl Program {
    /// All kernels, built once; `None` where there is no compiler.
    pub fn of_all() -> Option<&'static Program> {
        static ALL: OnceLock<Option<Program>> = OnceLock::new();
        let all = ALL.get_or_init(|| {
            let shim = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cuda/shim");
            let compiler = compiler()?;
            std::fs::create_dir_all(made()).unwrap();
            for name in OBJECTS {
                let source = shim.join(name).with_extension("cpp");
                compile(&compiler, &[Path::new("-c"), &source], &made().join(name));
            }
            Some(Program::build("all", &kernel_files(sources())))
        });
        if all.is_none() {
            eprintln!("SKIPPED: no C++ compiler on this machine");
        }
        all.as_ref()
    }

    /// The kernels of some files; [`Program::of_all`] has been there before.
    pub fn build(name: &str, files: &[PathBuf]) -> Program {
        let compiler = compiler().expect("the compiler that has built all");
        let path = made().join(name);
        let objects = OBJECTS.map(|name| made().join(name));
        let files = files.iter().map(PathBuf::as_path);
        let sources = ["-x", "c++"].map(Path::new).into_iter().chain(files);
        let arguments: Vec<&Path> = sources
            .chain(["-x", "none"].map(Path::new))
            .chain(objects.iter().map(PathBuf::as_path))
            .collect();
        compile(&compiler, &arguments, &path);
        Program { path }
    }

    /// Removes it from the disk.
    pub fn remove(self) {
        std::fs::remove_file(self.path).unwrap();
    }
}

/// Buffers, and dispatches over them.
#[derive(Default)]
pub struct Job {
    buffers: Vec<Vec<u8>>,
    dispatches: Vec<u8>,
    num_dispatches: u32,
}

/// A buffer of a job.
#[derive(Clone, Copy, Debug)]
pub struct Handle(usize);

/// What the buffers of a job hold after a run.
pub struct Run<'a> {
    job: &'a Job,
    bytes: &'a [u8],
    /// Threads of a block, and whether they descend.
    pub way: (u32, bool),
}

impl Job {
    /// A buffer of numbers, whole words of 16 bytes as a card's buffers are.
    pub fn holding<T: bytemuck::NoUninit>(&mut self, numbers: &[T]) -> Handle {
        let mut bytes = bytemuck::cast_slice(numbers).to_vec();
        bytes.resize(bytes.len().next_multiple_of(16), 0xff);
        self.buffers.push(bytes);
        Handle(self.buffers.len() - 1)
    }

    /// A buffer of so many words of NaN.
    pub fn poisoned(&mut self, words: usize) -> Handle {
        self.holding(&vec![u32::MAX; words])
    }

    /// Puts a kernel behind what is there.
    pub fn dispatch(&mut self, kernel: &str, buffers: &[Handle], constants: &[u32], grid: [u32; 3]) {
        let mut word = |word: u32| self.dispatches.extend(word.to_le_bytes());
        word(kernel.len() as u32);
        self.dispatches.extend(kernel.as_bytes());
        let indexes: Vec<u32> = buffers.iter().map(|handle| handle.0 as u32).collect();
        let counts = [indexes.len() as u32, constants.len() as u32];
        for words in [&grid[..], &counts[..1], &indexes, &counts[1..], constants] {
            self.dispatches.extend_from_slice(bytemuck::cast_slice(words));
        }
        self.num_dispatches += 1;
    }

    /// Runs it at every block size in both orders; panics when the program gives up.
    pub fn run(&self, program: &Program, mut check: impl FnMut(&Run<'_>)) {
        let ways: Vec<(u32, bool)> =
            BLOCK_SIZES.iter().flat_map(|threads| [(*threads, false), (*threads, true)]).collect();
        let mut input = Vec::new();
        input.extend((self.buffers.len() as u32).to_le_bytes());
        for buffer in &self.buffers {
            input.extend((buffer.len() as u32).to_le_bytes());
            input.extend(buffer);
        }
        input.extend(self.num_dispatches.to_le_bytes());
        input.extend(&self.dispatches);
        input.extend((ways.len() as u32).to_le_bytes());
        for (threads, descends) in &ways {
            input.extend([*threads, u32::from(*descends)].map(u32::to_le_bytes).as_flattened());
        }
        let mut child = Command::new(&program.path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It reads all before it writes; what it does not read it has given up on, and says why.
        child.stdin.take().unwrap().write_all(&input).ok();
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success(), "{}: {}", out.status, String::from_utf8_lossy(&out.stderr));
        let bytes_of_run: usize = self.buffers.iter().map(Vec::len).sum();
        assert_eq!(out.stdout.len(), bytes_of_run * ways.len());
        for (bytes, way) in out.stdout.chunks_exact(bytes_of_run.max(1)).zip(ways) {
            check(&Run { job: self, bytes, way });
        }
    }
}

impl Run<'_> {
    /// The first `len` numbers of a buffer.
    pub fn read<T: bytemuck::AnyBitPattern>(&self, handle: Handle, len: usize) -> Vec<T> {
        let start: usize = self.job.buffers[..handle.0].iter().map(Vec::len).sum();
        self.bytes[start..][..len * size_of::<T>()]
            .chunks_exact(size_of::<T>())
            .map(bytemuck::pod_read_unaligned)
            .collect()
    }
}

/// Runs a check on all kernels.
pub fn on_host(check: fn(&Program)) {
    if let Some(program) = Program::of_all() {
        check(program);
    }
}
