//! The adapters that were tuned here, beside the weights of one model in memory.
//!
//! One is loaded when it is first asked for and stays. When its model is deleted it leaves with the last that
//! uses it, unless another folder holds the same numbers.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gptoss_turn::AdapterId;

use crate::model::AdapterDoor;

/// Those of one model.
pub(crate) struct TunedAdapters {
    door: Option<AdapterDoor>,
    /// By their folders.
    loaded: Mutex<HashMap<PathBuf, Place>>,
}

struct Place {
    id: AdapterId,
    num_users: usize,
    is_deleted: bool,
}

/// The right to one of them.
pub(crate) struct TunedUse {
    all: Arc<TunedAdapters>,
    folder: PathBuf,
    /// It.
    pub(crate) id: AdapterId,
}

impl TunedAdapters {
    /// None is loaded yet; without a door none ever is.
    pub(crate) fn new(door: Option<AdapterDoor>) -> Arc<TunedAdapters> {
        Arc::new(TunedAdapters { door, loaded: Mutex::default() })
    }

    /// The adapter of a folder, beside the weights.
    ///
    /// Errors: what is wrong, for the operator.
    pub(crate) fn take(self: &Arc<Self>, folder: &Path) -> Result<TunedUse, String> {
        // Held, so that who asks for the same at the same time does not load it twice.
        let mut loaded = self.lock();
        let id = match loaded.get_mut(folder) {
            Some(place) => {
                (place.num_users, place.is_deleted) = (place.num_users + 1, false);
                place.id
            }
            None => {
                let door = self.door.as_ref().ok_or("it takes no adapters while it runs")?;
                let id = catch_unwind(AssertUnwindSafe(|| (door.load)(folder)));
                let id = id.unwrap_or_else(|_| Err("the loading of its adapter broke off".to_owned()))?;
                loaded.insert(folder.to_owned(), Place { id, num_users: 1, is_deleted: false });
                id
            }
        };
        Ok(TunedUse { all: Arc::clone(self), folder: folder.to_owned(), id })
    }

    /// The model of a folder was deleted.
    pub(crate) fn delete(&self, folder: &Path) {
        let mut loaded = self.lock();
        if let Some(place) = loaded.get_mut(folder) {
            place.is_deleted = true;
            self.settle(&mut loaded, folder);
        }
    }

    /// Unloads what was deleted and nobody uses.
    fn settle(&self, loaded: &mut HashMap<PathBuf, Place>, folder: &Path) {
        if !loaded.get(folder).is_some_and(|place| place.is_deleted && place.num_users == 0) {
            return;
        }
        let Some(Place { id, .. }) = loaded.remove(folder) else { return };
        if let Some(door) = &self.door
            && loaded.values().all(|other| other.id != id)
        {
            (door.unload)(id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PathBuf, Place>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for TunedUse {
    fn drop(&mut self) {
        let mut loaded = self.all.lock();
        if let Some(place) = loaded.get_mut(&self.folder) {
            place.num_users -= 1;
            self.all.settle(&mut loaded, &self.folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use gptoss_checkpoint::{Adapter, AdapterRows};

    use super::*;

    #[test]
    fn what_was_deleted_leaves_with_the_last_that_uses_it() {
        let id = |n: u8| {
            let rows = AdapterRows { tokens: vec![n.into()], ..AdapterRows::default() };
            AdapterId::of(&Adapter { rows, ..Adapter::default() })
        };
        let gone = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&gone);
        let door = AdapterDoor {
            // The first letter says which numbers a folder holds.
            load: Box::new(move |folder| Ok(id(folder.to_string_lossy().as_bytes()[0]))),
            unload: Box::new(move |id| told.lock().unwrap().push(id)),
        };
        let all = TunedAdapters::new(Some(door));
        let take = |folder: &str| all.take(Path::new(folder)).unwrap();
        let delete = |folder: &str| all.delete(Path::new(folder));
        let gone = || std::mem::take(&mut *gone.lock().unwrap());
        let uses = [take("a1"), take("a1")];
        delete("a1");
        delete("never");
        let [first, second] = uses;
        drop(first);
        assert_eq!(gone(), []);
        drop(second);
        assert_eq!(gone(), [id(b'a')]);
        // Nobody uses it: at once. Asked for again it comes again, and stays.
        drop(take("b"));
        assert_eq!(gone(), []);
        delete("b");
        assert_eq!(gone(), [id(b'b')]);
        drop(take("b"));
        assert_eq!(gone(), []);
        // Another folder holds the same.
        drop([take("c1"), take("c2")]);
        delete("c1");
        assert_eq!(gone(), []);
        delete("c2");
        assert_eq!(gone(), [id(b'c')]);
    }
}
