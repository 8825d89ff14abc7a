//! The adapters that were tuned here or that requests loaded, beside the weights of one model in memory.
//!
//! One is loaded when it is first asked for and stays. When its model is deleted it leaves with the last that
//! uses it, unless another folder, or an adapter of the operator's, has the same numbers. Its folder is read
//! again only when that is asked for ([`TunedAdapters::restore`]).

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use gptoss_turn::AdapterId;

use crate::model::AdapterDoor;

/// Those of one model.
pub(crate) struct TunedAdapters {
    door: Option<AdapterDoor>,
    /// Those that were loaded with the model: they stay.
    own: Vec<AdapterId>,
    state: Mutex<State>,
    /// One that was being loaded is, or is not.
    settled: Condvar,
}

#[derive(Default)]
struct State {
    /// By their folders.
    places: HashMap<PathBuf, Place>,
    /// Folders of deleted models that were not restored.
    deleted: HashSet<PathBuf>,
}

struct Place {
    /// None while it is being loaded.
    id: Option<AdapterId>,
    num_users: usize,
}

/// The right to one of them.
pub(crate) struct TunedUse {
    all: Arc<TunedAdapters>,
    folder: PathBuf,
    /// It.
    pub(crate) id: AdapterId,
}

impl TunedAdapters {
    /// None is loaded yet; without a door none ever is. `own` were loaded with the model.
    pub(crate) fn new(door: Option<AdapterDoor>, own: Vec<AdapterId>) -> Arc<TunedAdapters> {
        Arc::new(TunedAdapters { door, own, state: Mutex::default(), settled: Condvar::new() })
    }

    /// The adapter of a folder, beside the weights. Waits for it to be loaded.
    ///
    /// Errors: what is wrong, for the operator.
    pub(crate) fn take(self: &Arc<Self>, folder: &Path) -> Result<TunedUse, String> {
        let door = self.door.as_ref().ok_or("it takes no adapters while it runs")?;
        let taken = |id| TunedUse { all: Arc::clone(self), folder: folder.to_owned(), id };
        let mut state = self.lock();
        loop {
            if state.deleted.contains(folder) {
                return Err("it was deleted".to_owned());
            }
            match state.places.get_mut(folder) {
                None => break,
                Some(Place { id: Some(id), num_users }) => {
                    *num_users += 1;
                    return Ok(taken(*id));
                }
                Some(_) => state = self.settled.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
        state.places.insert(folder.to_owned(), Place { id: None, num_users: 1 });
        drop(state);
        // The lock is not held: whoever ends a use waits for nothing.
        let loaded = catch_unwind(AssertUnwindSafe(|| (door.load)(folder)));
        let loaded = loaded.unwrap_or_else(|_| Err("the loading of its adapter broke off".to_owned()));
        let mut state = self.lock();
        match &loaded {
            Ok(id) => {
                if let Some(place) = state.places.get_mut(folder) {
                    place.id = Some(*id);
                }
            }
            Err(_) => {
                state.places.remove(folder);
            }
        }
        self.settled.notify_all();
        drop(state);
        Ok(taken(loaded?))
    }

    /// The folder of a model that was deleted is one's again.
    ///
    /// Errors: what was read of it is still used.
    pub(crate) fn restore(&self, folder: &Path) -> Result<(), String> {
        let mut state = self.lock();
        if state.deleted.contains(folder) && state.places.contains_key(folder) {
            return Err("it was unloaded, and answers that use it have not ended; try again".to_owned());
        }
        state.deleted.remove(folder);
        Ok(())
    }

    /// The model of a folder was deleted.
    pub(crate) fn delete(&self, folder: &Path) {
        let mut state = self.lock();
        state.deleted.insert(folder.to_owned());
        self.settle(&mut state, folder);
    }

    /// Unloads what was deleted and nobody uses.
    fn settle(&self, state: &mut State, folder: &Path) {
        let is_used = state.places.get(folder).is_none_or(|place| place.num_users > 0);
        if is_used || !state.deleted.contains(folder) {
            return;
        }
        let Some(Place { id: Some(id), .. }) = state.places.remove(folder) else { return };
        if let Some(door) = &self.door
            && !self.own.contains(&id)
            && state.places.values().all(|other| other.id != Some(id))
        {
            (door.unload)(id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for TunedUse {
    fn drop(&mut self) {
        let mut state = self.all.lock();
        if let Some(place) = state.places.get_mut(&self.folder) {
            place.num_users -= 1;
            self.all.settle(&mut state, &self.folder);
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
        let all = TunedAdapters::new(Some(door), vec![id(b'o')]);
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
        // Nobody uses it: at once. It does not come back.
        drop(take("b"));
        assert_eq!(gone(), []);
        delete("b");
        assert_eq!(gone(), [id(b'b')]);
        assert!(all.take(Path::new("b")).is_err() && all.take(Path::new("a1")).is_err());
        // Another folder holds the same.
        drop([take("c1"), take("c2")]);
        delete("c1");
        assert_eq!(gone(), []);
        delete("c2");
        assert_eq!(gone(), [id(b'c')]);
        // The operator has it loaded too.
        drop(take("own"));
        delete("own");
        assert_eq!(gone(), []);
    }
}
