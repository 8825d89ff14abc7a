//! The operator's folder of adapters: which of them does a path of a request mean, and who changes what is
//! loaded?

use std::path::PathBuf;

use gptoss_api::ApiError;
use tokio::sync::{Mutex, MutexGuard};

/// The folder whose adapters requests may load.
pub(crate) struct AdapterRoot {
    folder: PathBuf,
    changes: Mutex<()>,
}

impl AdapterRoot {
    /// Of a folder.
    pub(crate) fn new(folder: PathBuf) -> AdapterRoot {
        AdapterRoot { folder, changes: Mutex::new(()) }
    }

    /// Names are looked at and changed by one request at a time: by the one that has this.
    pub(crate) async fn alone(&self) -> MutexGuard<'_, ()> {
        self.changes.lock().await
    }

    /// The folder that a path means, in the operator's.
    ///
    /// Errors: it is not there, or leads out of it.
    pub(crate) fn find(&self, path: &str) -> Result<PathBuf, ApiError> {
        if path.is_empty() {
            return Err(ApiError::invalid("lora_path", "is missing"));
        }
        let outside = || ApiError::invalid("lora_path", "is no folder in the operator's folder of adapters");
        let root = self.folder.canonicalize().map_err(|_| outside())?;
        let folder = self.folder.join(path).canonicalize().map_err(|_| outside())?;
        let is_inside = folder.starts_with(&root) && folder != root && folder.is_dir();
        if is_inside { Ok(folder) } else { Err(outside()) }
    }
}
