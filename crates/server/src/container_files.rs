//! Which files are in `/mnt/data`: what was given to a container, and what code wrote there?
//!
//! [`ContainerFiles`] keeps each file that a call handed out for a stated time, and each that was given as
//! long as its container, all within a stated size, in memory; one of the same path takes its place. Tenants
//! do not see each other's. A container that has none is not told from one that never was.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use axum::body::Bytes;
use gptoss_api::ApiError;
use gptoss_api::containers::input_name;
use gptoss_api::limits::CONTAINER_INPUTS_MAX;
use gptoss_api::responses::events::MadeFile;
use gptoss_api::wire::containers::ContainerFile;

use crate::fair_share::make_room;
use crate::ids;
use crate::limits::{
    CONTAINER_FILE_SECONDS, CONTAINER_FILES_BYTES_MAX, CONTAINER_FILES_MAX, CONTAINER_INPUT_BYTES_MAX,
};

/// The files of all tenants, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct ContainerFiles {
    kept: Mutex<VecDeque<Kept>>,
}

#[derive(Debug)]
struct Kept {
    tenant: String,
    file: ContainerFile,
    bytes: Bytes,
    /// Of one that was given: the file of the caller's that it is a copy of, if it is one.
    given: Option<Option<String>>,
}

/// A file for a container.
#[derive(Debug, Clone)]
pub(crate) struct GivenFile {
    /// The caller's file that it is a copy of, if it is one.
    pub(crate) file_id: Option<String>,
    /// Its own name.
    pub(crate) filename: String,
    /// What stands in it.
    pub(crate) bytes: Bytes,
}

impl ContainerFiles {
    /// Takes the bytes of files that a call in a container made, and gives the files their ids.
    pub(crate) fn keep(&self, (tenant, container): (&str, &str), files: &mut [MadeFile], now: u64) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|kept| kept.is_fresh(now));
        for made in files {
            let path = format!("/mnt/data/{}", made.path);
            kept.retain(|kept| !(kept.is_in(tenant, container) && kept.file.path == path));
            made.id = ids::random("cfile");
            let bytes = Bytes::from(std::mem::take(&mut made.bytes));
            let file = ContainerFile {
                id: made.id.clone(),
                object: "container.file".to_owned(),
                created_at: now,
                bytes: bytes.len() as u64,
                container_id: container.to_owned(),
                path,
                source: "assistant".to_owned(),
            };
            kept.push_back(Kept { tenant: tenant.to_owned(), file, bytes, given: None });
        }
        bound(&mut kept);
    }

    /// Puts files into a container, each under a name of its own; one that is there as a copy already is left
    /// as it is. Gives all that were named, in their order.
    ///
    /// Errors: the container would have more files or bytes than may be given to one.
    pub(crate) fn give(
        &self,
        (tenant, container): (&str, &str),
        files: Vec<GivenFile>,
        (param, now): (&str, u64),
    ) -> Result<Vec<ContainerFile>, ApiError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|kept| kept.is_fresh(now));
        let is_given = |kept: &&Kept| kept.is_in(tenant, container) && kept.given.is_some();
        let (mut num, mut bytes) = kept
            .iter()
            .filter(is_given)
            .fold((0, 0), |(num, bytes), kept| (num + 1, bytes + kept.bytes.len()));
        let mut named = Vec::new();
        let mut added: Vec<Kept> = Vec::new();
        for file in files {
            let copy = Some(file.file_id.clone());
            let is_it =
                |kept: &&Kept| kept.is_in(tenant, container) && file.file_id.is_some() && kept.given == copy;
            if let Some(there) = kept.iter().chain(&added).find(is_it) {
                named.push(there.file.clone());
                continue;
            }
            (num, bytes) = (num + 1, bytes + file.bytes.len());
            check_room(num, bytes, param)?;
            let is_taken = |name: &str| {
                let path = format!("/mnt/data/{name}");
                kept.iter().chain(&added).any(|kept| kept.is_in(tenant, container) && kept.file.path == path)
            };
            let path = format!("/mnt/data/{}", input_name(&file.filename, is_taken));
            let told = ContainerFile {
                id: ids::random("cfile"),
                object: "container.file".to_owned(),
                created_at: now,
                bytes: file.bytes.len() as u64,
                container_id: container.to_owned(),
                path,
                source: "user".to_owned(),
            };
            named.push(told.clone());
            added.push(Kept { tenant: tenant.to_owned(), file: told, bytes: file.bytes, given: copy });
        }
        kept.extend(added);
        bound(&mut kept);
        Ok(named)
    }

    /// What was given to a container, the oldest first.
    pub(crate) fn given(&self, tenant: &str, container: &str) -> Vec<(ContainerFile, Bytes)> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let given = kept.iter().filter(|kept| kept.is_in(tenant, container) && kept.given.is_some());
        given.map(|kept| (kept.file.clone(), kept.bytes.clone())).collect()
    }

    /// Drops what was given to a container that has ended, and with `all` what code made there too.
    pub(crate) fn end(&self, tenant: &str, container: &str, all: bool) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|kept| !(kept.is_in(tenant, container) && (all || kept.given.is_some())));
    }

    /// The files of a container, the oldest first.
    pub(crate) fn list(&self, tenant: &str, container: &str, now: u64) -> Vec<ContainerFile> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kept.iter().filter(|kept| kept.is_in(tenant, container) && kept.is_fresh(now));
        known.map(|kept| kept.file.clone()).collect()
    }

    /// One file of a container.
    ///
    /// Errors: there is none of that id any more.
    pub(crate) fn find(
        &self,
        tenant: &str,
        (container, id): (&str, &str),
        now: u64,
    ) -> Result<(ContainerFile, Bytes), ApiError> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |kept: &&Kept| kept.is_in(tenant, container) && kept.file.id == id && kept.is_fresh(now);
        let found = kept.iter().find(is_it).ok_or_else(|| not_found(id))?;
        Ok((found.file.clone(), found.bytes.clone()))
    }

    /// Drops one, and says where it was.
    ///
    /// Errors: there is none of that id any more.
    pub(crate) fn delete(
        &self,
        tenant: &str,
        (container, id): (&str, &str),
        now: u64,
    ) -> Result<String, ApiError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|kept| kept.is_fresh(now));
        let place = kept.iter().position(|kept| kept.is_in(tenant, container) && kept.file.id == id);
        let gone = kept.remove(place.ok_or_else(|| not_found(id))?);
        gone.map(|gone| gone.file.path).ok_or_else(|| not_found(id))
    }
}

impl Kept {
    fn is_in(&self, tenant: &str, container: &str) -> bool {
        self.tenant == tenant && self.file.container_id == container
    }

    fn is_fresh(&self, now: u64) -> bool {
        self.given.is_some() || now.saturating_sub(self.file.created_at) <= CONTAINER_FILE_SECONDS
    }
}

/// Whether a container may be given so many files of so many bytes together.
///
/// Errors: it may not.
pub(crate) fn check_room(num: usize, bytes: usize, param: &str) -> Result<(), ApiError> {
    let what = if num > CONTAINER_INPUTS_MAX {
        format!("{CONTAINER_INPUTS_MAX} files")
    } else if bytes > CONTAINER_INPUT_BYTES_MAX {
        format!("{CONTAINER_INPUT_BYTES_MAX} bytes")
    } else {
        return Ok(());
    };
    Err(ApiError::invalid(
        param,
        format!("{param}: a container is given {what} at most, all its files together"),
    ))
}

fn bound(kept: &mut VecDeque<Kept>) {
    let bounds = (CONTAINER_FILES_MAX, CONTAINER_FILES_BYTES_MAX);
    make_room(kept, bounds, |kept| (kept.tenant.as_str(), kept.bytes.len()));
}

fn not_found(id: &str) -> ApiError {
    ApiError::NotFound { what: "container file", id: id.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(path: &str, bytes: usize) -> Vec<MadeFile> {
        vec![MadeFile { id: String::new(), path: path.to_owned(), bytes: vec![b'x'; bytes] }]
    }

    #[test]
    fn files_are_their_tenants_for_their_time_and_the_newest_of_a_path_stays() {
        let files = ContainerFiles::default();
        let mut first = made("a.png", 1);
        files.keep(("t", "c"), &mut first, 100);
        assert!(first[0].id.starts_with("cfile_") && first[0].bytes.is_empty());
        files.keep(("t", "c"), &mut made("a.png", 2), 101);
        let listed = files.list("t", "c", 101);
        assert_eq!((listed.len(), listed[0].bytes, listed[0].path.as_str()), (1, 2, "/mnt/data/a.png"));
        assert!(files.find("t", ("c", first[0].id.as_str()), 101).is_err());
        let id = listed[0].id.as_str();
        assert_eq!(files.find("t", ("c", id), 101 + CONTAINER_FILE_SECONDS).unwrap().1.len(), 2);
        for (tenant, container, at) in
            [("u", "c", 101), ("t", "d", 101), ("t", "c", 102 + CONTAINER_FILE_SECONDS)]
        {
            assert!(
                files.find(tenant, (container, id), at).is_err()
                    && files.list(tenant, container, at).is_empty()
            );
        }
        assert!(files.delete("u", ("c", id), 101).is_err() && files.delete("t", ("c", id), 101).is_ok());
        assert!(files.list("t", "c", 101).is_empty());
    }

    fn given(file_id: &str, filename: &str, bytes: usize) -> GivenFile {
        let file_id = (!file_id.is_empty()).then(|| file_id.to_owned());
        GivenFile { file_id, filename: filename.to_owned(), bytes: vec![b'x'; bytes].into() }
    }

    #[test]
    fn what_was_given_has_its_name_once_and_lives_as_its_container() {
        let files = ContainerFiles::default();
        files.keep(("t", "c"), &mut made("b.csv", 1), 100);
        let put = |list: Vec<GivenFile>| {
            let given = files.give(("t", "c"), list, ("file_ids", 100))?;
            Ok::<_, ApiError>(given.into_iter().map(|file| file.path).collect::<Vec<_>>())
        };
        let both = || vec![given("file_1", "a.csv", 1), given("file_2", "a.csv", 1), given("", "b.csv", 1)];
        let expect = ["/mnt/data/a.csv", "/mnt/data/a-2.csv", "/mnt/data/b-2.csv"];
        assert_eq!(put(both()).unwrap(), expect);
        // What is there stays; what is no copy is new each time.
        assert_eq!(put(both()).unwrap(), ["/mnt/data/a.csv", "/mnt/data/a-2.csv", "/mnt/data/b-3.csv"]);
        assert_eq!(files.given("u", "c").len() + files.given("t", "d").len(), 0);
        let later = 100 + 2 * CONTAINER_FILE_SECONDS;
        assert_eq!(files.list("t", "c", later).len(), 4);
        let refused = put(vec![given("file_3", "c", CONTAINER_INPUT_BYTES_MAX)]).unwrap_err().to_string();
        assert!(refused.contains("67108864 bytes at most"), "{refused}");
        let many = (0..CONTAINER_INPUTS_MAX).map(|n| given(&n.to_string(), "d", 0)).collect();
        assert!(put(many).unwrap_err().to_string().contains("64 files at most"));
        assert_eq!(files.given("t", "c").len(), 4);
        files.end("t", "c", false);
        assert_eq!((files.given("t", "c").len(), files.list("t", "c", 100).len()), (0, 1));
    }

    #[test]
    fn together_they_are_bounded() {
        let files = ContainerFiles::default();
        files.keep(("u", "c"), &mut made("small", 1), 1);
        for path in ["1", "2", "3"] {
            files.keep(("t", "c"), &mut made(path, CONTAINER_FILES_BYTES_MAX / 2), 1);
        }
        let paths: Vec<String> = files.list("t", "c", 1).into_iter().map(|file| file.path).collect();
        assert_eq!((files.list("u", "c", 1).len(), paths), (1, vec!["/mnt/data/3".to_owned()]));
        for number in 0..CONTAINER_FILES_MAX + 9 {
            files.keep(("v", "c"), &mut made(&number.to_string(), 0), 1);
        }
        assert_eq!(files.kept.lock().unwrap().len(), CONTAINER_FILES_MAX);
        assert_eq!(files.list("u", "c", 1).len(), 1);
    }
}
