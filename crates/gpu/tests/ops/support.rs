//! Devices and buffers for the tests of ops.

use std::sync::OnceLock;

use bytemuck::{NoUninit, Pod};
use gptoss_gpu::ops::FloatProbe;
use gptoss_gpu::{Device, Error, Kernels, Place, Recording, Slice, Upload, Way, download};

use crate::devices::{one_at_a_time, opened};
use crate::fake_cuda::FakeCuda;
use crate::reference::Fma;

/// A device under test.
pub struct Bench {
    pub device: Device,
    /// How it computes multiply-add.
    pub fma: Fma,
    pub kernels: Kernels,
}

/// Runs a test on every device, one after the other.
pub fn on_every_device(test: impl Fn(&Bench)) {
    let _alone = one_at_a_time();
    for device in devices().iter().chain(cuda()) {
        eprintln!("on {device:?}");
        test(&Bench::of(device, Kernels::new(device)));
    }
}

/// The devices by Vulkan, opened once.
pub fn devices() -> &'static [Device] {
    static DEVICES: OnceLock<Vec<Device>> = OnceLock::new();
    DEVICES.get_or_init(|| opened(usize::MAX))
}

/// The card by CUDA that the tests' driver plays, opened once.
pub fn cuda() -> Option<&'static Device> {
    static DEVICE: OnceLock<Option<Device>> = OnceLock::new();
    DEVICE.get_or_init(|| Some(FakeCuda::new()?.open().unwrap())).as_ref()
}

/// The same device, opened once more.
pub fn again(device: &Device) -> Device {
    match device.description().way() {
        Way::Vulkan => Device::open(&device.description().choice()).unwrap(),
        Way::Cuda => FakeCuda::new().unwrap().open().unwrap(),
    }
}

impl Bench {
    /// A device with kernels of its own.
    pub fn of(device: &Device, kernels: Kernels) -> Bench {
        let mut bench = Bench { device: device.clone(), fma: Fma::Split, kernels };
        // Rounded twice it is nothing.
        let (a, sum) = (1.0 + 2_f32.powi(-12), -(1.0 + 2_f32.powi(-11)));
        let (numbers, out) = (bench.holding(&[a, a, sum, 0.0]), bench.poisoned(4));
        let probe = FloatProbe { out: &out, numbers: &numbers, count: 1 };
        bench.run_with(&Kernels::new(device), |kernels, recording| probe.record(kernels, recording));
        if bench.read::<f32>(&out, 4)[3] != 0.0 {
            bench.fma = Fma::Fused;
        }
        bench
    }

    /// A buffer that holds `data`, poisoned with NaN behind it as far as it is longer.
    pub fn holding<T: NoUninit>(&self, data: &[T]) -> Slice {
        let bytes: &[u8] = bytemuck::cast_slice(data);
        let buffer = self.device.buffer("a test's input", bytes.len() as u64, Place::Card).unwrap();
        let mut all = bytes.to_vec();
        all.resize(buffer.bytes() as usize, 0xff);
        let mut upload = Upload::new(&self.device, all.len() as u64).unwrap();
        upload.write(&buffer.all(), &all).unwrap();
        upload.finish().unwrap();
        buffer.all()
    }

    /// A buffer of `len` numbers that nothing has written: NaN, or -1.
    pub fn poisoned(&self, len: usize) -> Slice {
        self.holding(&vec![u32::MAX; len])
    }

    /// Records and runs.
    pub fn run(&self, record: impl FnOnce(&Kernels, &mut Recording) -> Result<(), Error>) {
        self.run_with(&self.kernels, record);
    }

    fn run_with(
        &self,
        kernels: &Kernels,
        record: impl FnOnce(&Kernels, &mut Recording) -> Result<(), Error>,
    ) {
        let mut recording = Recording::new(&self.device);
        record(kernels, &mut recording).unwrap();
        recording.finish("a test").unwrap().run().unwrap();
    }

    /// The first `len` numbers of a slice.
    pub fn read<T: Pod>(&self, slice: &Slice, len: usize) -> Vec<T> {
        let mut bytes = download(&self.device, slice).unwrap();
        bytes.truncate(len * size_of::<T>());
        let mut numbers = vec![T::zeroed(); len];
        bytemuck::cast_slice_mut(&mut numbers).copy_from_slice(&bytes);
        numbers
    }
}
