//! What did code write to `/mnt/data`?
//!
//! [`ContainerFiles`] keeps each file that a call handed out for a stated time and within a stated size, in
//! memory; one of the same path takes its place. Tenants do not see each other's. A container that has none
//! is not told from one that never was.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use axum::body::Bytes;
use gptoss_api::ApiError;
use gptoss_api::responses::events::MadeFile;
use gptoss_api::wire::containers::ContainerFile;

use crate::fair_share::make_room;
use crate::ids;
use crate::limits::{CONTAINER_FILE_SECONDS, CONTAINER_FILES_BYTES_MAX, CONTAINER_FILES_MAX};

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
            kept.push_back(Kept { tenant: tenant.to_owned(), file, bytes });
        }
        let bounds = (CONTAINER_FILES_MAX, CONTAINER_FILES_BYTES_MAX);
        make_room(&mut kept, bounds, |kept| (kept.tenant.as_str(), kept.bytes.len()));
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

    /// Drops one.
    ///
    /// Errors: there is none of that id any more.
    pub(crate) fn delete(
        &self,
        tenant: &str,
        (container, id): (&str, &str),
        now: u64,
    ) -> Result<(), ApiError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|kept| kept.is_fresh(now));
        let place = kept.iter().position(|kept| kept.is_in(tenant, container) && kept.file.id == id);
        kept.remove(place.ok_or_else(|| not_found(id))?);
        Ok(())
    }
}

impl Kept {
    fn is_in(&self, tenant: &str, container: &str) -> bool {
        self.tenant == tenant && self.file.container_id == container
    }

    fn is_fresh(&self, now: u64) -> bool {
        now.saturating_sub(self.file.created_at) <= CONTAINER_FILE_SECONDS
    }
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
