//! A device that is lost, full or hangs, at every call that can say so.

use gptoss_gpu::ops::{NormInputs, RmsNorm};
use gptoss_gpu::{Device, Error, Kernels, Place, Recorded, Recording, TESTS_WAIT_MAX, Upload, download};

use crate::devices::one_at_a_time;
use crate::fake_cuda::FakeCuda;
use crate::faults::Faults;
use crate::support::devices;

const NUMBERS: usize = 64;

/// A device that a test opens as often as it wants, and tells when to fail.
struct Faulty<'a> {
    set: &'a dyn Fn(&str),
    open: &'a dyn Fn() -> Result<Device, Error>,
    /// How long it is waited for. Units: seconds.
    wait_max: u64,
}

impl Faulty<'_> {
    fn set(&self, faults: &str) {
        (self.set)(faults);
    }

    fn clear(&self) {
        self.set("");
    }

    fn open(&self) -> Result<Device, Error> {
        (self.open)()
    }
}

/// Runs a test on every device.
fn on_every_faulty_device(name: &str, test: impl Fn(&Faulty<'_>)) {
    let _alone = one_at_a_time();
    for device in devices() {
        let Some(faults) = Faults::new(name) else {
            eprintln!("SKIPPED: no Vulkan loader in /usr/lib");
            break;
        };
        let wait_max = device.description().kind.wait_max().as_secs();
        test(&Faulty { set: &|lines| faults.set(lines), open: &|| faults.open(device), wait_max });
    }
    if let Some(fake) = FakeCuda::new() {
        let wait_max = TESTS_WAIT_MAX.as_secs();
        test(&Faulty { set: &|lines| fake.set(lines), open: &|| fake.open(), wait_max });
        fake.clear();
    }
}

/// A norm of what is uploaded: every kind of call once.
struct Work {
    recorded: Recorded,
    out: gptoss_gpu::Slice,
    device: Device,
}

impl Work {
    fn new(device: &Device) -> Result<Work, Error> {
        let slice = |name| Ok::<_, Error>(device.buffer(name, 4 * NUMBERS as u64, Place::Card)?.all());
        let (x, weight, out) = (slice("rows")?, slice("weights")?, slice("normed rows")?);
        let mut upload = Upload::new(device, 4 * NUMBERS as u64)?;
        upload.write(&x, bytemuck::cast_slice(&[3.0_f32; NUMBERS]))?;
        upload.write(&weight, bytemuck::cast_slice(&[2.0_f32; NUMBERS]))?;
        upload.finish()?;
        let mut recording = Recording::new(device);
        let inputs = NormInputs { x: &x, weight: &weight, t: 1, c: NUMBERS as u32, eps: 0.0 };
        RmsNorm { out: &out, inputs }.record(&Kernels::new(device), &mut recording)?;
        Ok(Work { recorded: recording.finish("a norm")?, out, device: device.clone() })
    }

    fn run(&mut self) -> Result<Vec<u8>, Error> {
        self.recorded.run()?;
        download(&self.device, &self.out)
    }
}

fn whole(device: &Device) -> Result<Vec<u8>, Error> {
    Work::new(device)?.run()
}

/// Walks the fault through every call of the work: it says so each time, nothing is left, and the device that
/// is opened afterwards gives the same bytes.
#[test]
fn a_lost_device_says_so_gives_all_back_and_can_be_opened_again() {
    on_every_faulty_device("lost", |faults| {
        let expected = whole(&faults.open().unwrap()).unwrap();
        for call in ["submit", "wait"] {
            let mut well = 0;
            loop {
                faults.set(&format!("{call} lost {well}"));
                let device = faults.open().unwrap();
                let outcome = whole(&device);
                if let Ok(found) = outcome {
                    assert_eq!(found, expected);
                    break;
                }
                let error = outcome.unwrap_err();
                assert!(matches!(error, Error::Lost { .. }) && error.ends_device(), "{error}");
                assert!(error.to_string().contains("the system's log"), "{error}");
                // Whatever is asked later gets the first reason, and nothing is asked of the driver.
                assert_eq!(device.buffer("more", 16, Place::Card).unwrap_err(), error);
                assert_eq!(whole(&device).unwrap_err(), error);
                for place in [Place::Card, Place::Host] {
                    assert_eq!(device.held(place).num_buffers, 0, "{call} {well}: {error}");
                }
                faults.clear();
                assert_eq!(whole(&faults.open().unwrap()).unwrap(), expected);
                well += 1;
            }
            assert!(well >= 3, "{call}: {well} calls");
        }
    });
}

#[test]
fn a_full_device_says_for_what_there_was_no_room_and_goes_on() {
    on_every_faulty_device("full", |faults| {
        let device = faults.open().unwrap();
        let expected = whole(&device).unwrap();
        for (call, doing) in [
            ("allocate", "making room for rows (256 bytes)"),
            ("record", "recording"),
            ("submit", "starting"),
        ] {
            faults.set(&format!("{call} full 0"));
            let error = whole(&device).unwrap_err();
            assert!(matches!(error, Error::OutOfMemory { .. }) && !error.ends_device(), "{error}");
            assert!(error.to_string().contains(doing), "{error}");
            assert_eq!((device.held(Place::Card).bytes, device.held(Place::Host).bytes), (0, 0));
            faults.clear();
            assert_eq!(whole(&device).unwrap(), expected);
        }
        // What was recorded before runs again after a refusal.
        let mut work = Work::new(&device).unwrap();
        faults.set("submit full 0");
        assert!(matches!(work.run(), Err(Error::OutOfMemory { .. })));
        faults.clear();
        assert_eq!(work.run().unwrap(), expected);
    });
}

/// The loader ends the process when anything is freed under a device that hangs.
#[test]
fn a_device_that_hangs_is_waited_for_once_and_leaked() {
    on_every_faulty_device("hang", |faults| {
        let expected = whole(&faults.open().unwrap()).unwrap();
        for well in 0..4 {
            faults.set(&format!("wait hang {well}"));
            let device = faults.open().unwrap();
            let error = whole(&device).unwrap_err();
            assert!(matches!(error, Error::Hang { .. }) && error.ends_device(), "{error}");
            let held = device.held(Place::Card).bytes;
            assert!(held > 0, "what is leaked is counted");
            for part in [
                &format!("within {} s", faults.wait_max),
                &format!("{held} bytes on it stay taken until this program ends"),
            ] {
                assert!(error.to_string().contains(part), "{error}");
            }
            assert_eq!(whole(&device).unwrap_err(), error);
            drop(device);
            faults.clear();
            assert_eq!(whole(&faults.open().unwrap()).unwrap(), expected);
        }
        // Nor is it waited for when what runs is dropped.
        let device = faults.open().unwrap();
        let mut work = Work::new(&device).unwrap();
        work.recorded.submit().unwrap();
        faults.set("wait hang 0");
        drop(work);
        let error = device.buffer("more", 16, Place::Card).unwrap_err();
        assert!(matches!(&error, Error::Hang { doing, .. } if doing == "a norm"), "{error}");
    });
}

#[test]
fn a_device_that_does_not_open_is_told() {
    on_every_faulty_device("open", |faults| {
        faults.set("open full 0");
        let error = faults.open().unwrap_err();
        assert!(
            matches!(&error, Error::Unfit { .. }) && error.to_string().contains("opening it failed"),
            "{error}"
        );
        faults.clear();
        whole(&faults.open().unwrap()).unwrap();
    });
}
