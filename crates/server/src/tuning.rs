//! What handlers and tasks of tuning share: who trains, where, which job it is at, and the signal by which
//! tasks look up.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::error::{Error, remedied};
use crate::training::TrainingRunner;

/// What handlers and tasks of tuning share.
pub(crate) struct Tuning {
    /// Who trains.
    pub(crate) runner: Arc<dyn TrainingRunner>,
    folder: PathBuf,
    /// Somebody changed the row of a job.
    changed: watch::Sender<()>,
    current: Mutex<Option<Current>>,
}

/// The job that is trained.
#[derive(Debug, Clone)]
pub(crate) struct Current {
    id: String,
    is_stopped: Arc<AtomicBool>,
}

impl Current {
    /// Whether it has to stop.
    pub(crate) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }

    /// Has it stop.
    pub(crate) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }
}

impl Tuning {
    /// With a folder for what is trained, which is made.
    ///
    /// Errors: `State`.
    pub(crate) fn open(runner: Arc<dyn TrainingRunner>, folder: &Path) -> Result<Tuning, Error> {
        make_folder(folder)
            .map_err(|error| Error::State { path: folder.to_owned(), problem: remedied(&error) })?;
        Ok(Tuning {
            runner,
            folder: folder.to_owned(),
            changed: watch::Sender::new(()),
            current: Mutex::new(None),
        })
    }

    /// Where the state of a job's training is.
    pub(crate) fn work(&self, id: &str) -> PathBuf {
        self.folder.join(id).join("work")
    }

    /// Where the adapters of a job are.
    pub(crate) fn adapters(&self, id: &str) -> PathBuf {
        self.folder.join(id).join("adapters")
    }

    /// Has the tasks look at the rows, and the training of the job `id` stop, if it runs.
    pub(crate) fn has_changed(&self, id: &str) {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(current) = current.as_ref().filter(|current| current.id == id) {
            current.stop();
        }
        drop(current);
        self.have_changed();
    }

    /// Has the tasks look at the rows.
    pub(crate) fn have_changed(&self) {
        self.changed.send_replace(());
    }

    /// Sees when some row has changed.
    pub(crate) fn watch_changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// The job `id` is trained from now on.
    pub(crate) fn begin(&self, id: &str) -> Current {
        let current = Current { id: id.to_owned(), is_stopped: Arc::default() };
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(current.clone());
        current
    }

    /// None is trained any more.
    pub(crate) fn end(&self) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether the job `id` is trained, or has not stopped yet.
    pub(crate) fn is_current(&self, id: &str) -> bool {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().is_some_and(|current| current.id == id)
    }

    /// Whether one is trained.
    pub(crate) fn is_training(&self) -> bool {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

/// Makes a folder that other users do not see into.
pub(crate) fn make_folder(path: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(path)
}
