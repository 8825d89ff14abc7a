//! Steps on a device that is lost, full or hangs, at each of its calls.

use gptoss_checkpoint::Checkpoint;
use gptoss_gpu::{Device, Place};
use gptoss_kernels::Pool;
use gptoss_model::{
    DenseMode, Error, KvMove, KvStore, LoadOptions, LogitRows, Model, Precision, Segment, SequenceKv,
    Workspace,
};

use crate::devices::{one_at_a_time, opened};
use crate::faults::Faults;
use crate::golden::testdata;
use crate::segments::{CONTEXT, sizes};

const OPTIONS: LoadOptions =
    LoadOptions { precision: Precision::Fast, dense: DenseMode::AsStored, expert_slots: None };

fn with_faults(name: &str, test: impl Fn(&Faults, &Device)) {
    let _alone = one_at_a_time();
    for device in opened(1) {
        let Some(faults) = Faults::new(name) else {
            return eprintln!("SKIPPED: no Vulkan loader in /usr/lib");
        };
        test(&faults, &device);
        faults.clear();
    }
}

fn load(device: &Device) -> Result<Model, Error> {
    let checkpoint = Checkpoint::open(&testdata("tiny-yarn")).expect("opens");
    Model::load_on(device, &checkpoint, &OPTIONS, Pool::new(1), &mut |_, _| {})
}

/// A model with everything that a step takes.
struct Made {
    model: Model,
    store: KvStore,
    work: Workspace,
}

impl Made {
    fn new(device: &Device) -> Made {
        let model = load(device).expect("loads");
        Made { store: model.new_store(sizes(2), CONTEXT), work: model.new_workspace(), model }
    }

    /// A copy, and a step of two sequences whose logits are not its first rows; the logits.
    fn step(&mut self) -> Result<Vec<f32>, Error> {
        self.store.apply(&[KvMove::CopyBlock { from: 0, to: 3, rows: 5 }]);
        let segment = |tokens, blocks, ring, logits| Segment {
            tokens,
            first_position: 0,
            kv: SequenceKv { blocks, ring },
            logits,
            adapter: None,
        };
        let segments = [
            segment(&[1, 2, 3], &[1], 0, LogitRows::Last),
            segment(&[7, 8, 9, 10], &[2], 1, LogitRows::Last),
        ];
        self.work.clear();
        self.model.forward_segments(&segments, &mut self.store, &mut self.work)?;
        let rows = (0..2).flat_map(|index| self.work.logits(index).expect("finite").row(0).into_owned());
        Ok(rows.collect())
    }
}

/// A full device fails the step and says what for; the same step then gives the same bits, unless it was the
/// copy that had no room: then rows are missing, and each step with that store says so.
#[test]
fn a_full_device_fails_a_step_and_goes_on() {
    with_faults("full", |faults, device| {
        let expected = Made::new(&faults.open(device).expect("opens")).step().expect("runs");
        for call in ["record", "submit", "allocate"] {
            let mut failed = 0;
            // A step makes many buffers, and each load takes a second.
            for well in (0..).step_by(if call == "allocate" { 7 } else { 1 }) {
                let mut made = Made::new(&faults.open(device).expect("opens"));
                faults.set(&format!("{call} full {well}"));
                let outcome = made.step();
                faults.clear();
                let again = made.step();
                match outcome {
                    Ok(found) => {
                        assert_eq!(found, expected);
                        break;
                    }
                    Err(Error::LostRows(_)) => {
                        assert!(matches!(again, Err(Error::LostRows(_))));
                        assert!(made.store.block_bytes(0).is_empty(), "nothing of it is kept elsewhere");
                        made.store = made.model.new_store(sizes(2), CONTEXT);
                        assert_eq!(made.step().expect("runs"), expected);
                    }
                    Err(error) => {
                        assert!(matches!(&error, Error::Card(_)) && !error.ends_device(), "{error}");
                        assert!(error.to_string().contains("has no room left while"), "{error}");
                        assert_eq!(again.expect("runs"), expected, "{call} {well}");
                    }
                }
                failed += 1;
            }
            assert!(failed > 2, "{call}: {failed}");
        }
    });
}

#[test]
fn a_device_that_is_lost_or_hangs_fails_every_step_with_the_first_reason() {
    with_faults("lost", |faults, device| {
        let expected = Made::new(&faults.open(device).expect("opens")).step().expect("runs");
        for fault in ["submit lost", "wait lost", "wait hang"] {
            let mut failed = 0;
            for well in 0.. {
                let card = faults.open(device).expect("opens");
                let mut made = Made::new(&card);
                faults.set(&format!("{fault} {well}"));
                let outcome = made.step();
                faults.clear();
                let Err(error) = outcome else { break };
                assert!(error.ends_device() && made.work.num_segments() == 0, "{error}");
                let reason = |error: Error| match error {
                    Error::Card(error) | Error::LostRows(error) => error,
                    other => panic!("{other}"),
                };
                let first = reason(error);
                assert_eq!(reason(made.step().expect_err("it is gone")), first);
                assert_eq!(reason(load(&card).err().expect("it is gone")), first);
                drop(made);
                let held = card.held(Place::Card).bytes;
                assert_eq!(held > 0, fault.ends_with("hang"), "{held} bytes");
                failed += 1;
            }
            assert!(failed > 2, "{fault}: {failed}");
            assert_eq!(Made::new(&faults.open(device).expect("opens")).step().expect("runs"), expected);
        }
    });
}

/// Everything that a load has sent is given back, wherever it ends.
#[test]
fn a_load_that_fails_leaves_nothing() {
    with_faults("load", |faults, device| {
        for fault in ["allocate full 0", "allocate full 7", "submit full 20", "record full 9", "wait lost 11"]
        {
            faults.clear();
            let card = faults.open(device).expect("opens");
            faults.set(fault);
            assert!(matches!(load(&card), Err(Error::Card(_))), "{fault}");
            assert_eq!([Place::Card, Place::Host].map(|place| card.held(place).bytes), [0, 0], "{fault}");
        }
    });
}
