//! `gptoss pull`: a model from the hub into the local cache.
//!
//! One request lists the revision's files with their lengths and hashes; each file that the other commands
//! read is then fetched into `blobs`, verified, and only after that given its name in `snapshots`. The
//! branch's ref is written last. So whatever ends a pull half way, the cache holds nothing wrong: whole
//! files, and partial ones (`blobs/HASH.incomplete`) that the next pull completes. Layout, names of partial
//! files and locks are the hub's own, and other tools share them.
//!
//! The hub client gives the addresses, the listing and the layout. It does not know what the files mean:
//! opening them is `checkpoint`'s.

pub mod checksum;
pub mod listing;
mod refusal;
mod transfer;

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use hf_hub::api::sync::{Api, ApiBuilder, ApiRepo};
use hf_hub::{Cache, CacheRepo};
use indicatif::HumanBytes;

use crate::air_gap;
use crate::args::PullArgs;
use crate::failure::usage;
use crate::hub::{self, Settings};
use crate::model_source::{ModelSource, is_repository_name};
use crate::progress::{Progress, Unit};
use crate::{machine, terminal};
use checksum::{Verdict, verify};
use listing::{Listing, RemoteFile, Selection};
use refusal::{Asked, explain};
use transfer::{Route, fetch};

/// Bytes of the largest answer to the listing request: tens of thousands of files.
const LISTING_BYTES_MAX: u64 = 32 << 20;

/// Fetches what is missing, verifies everything, and prints the snapshot's folder.
///
/// Errors: a name or revision that cannot be one (usage); what the hub, the network or the disk refuses; a
/// file that is not what the hub promised, which is removed.
pub fn run(args: &PullArgs) -> Result<ExitCode> {
    air_gap::refused(gptoss_egress::check("pull"))?;
    let PullArgs { repository, revision, include } = args;
    let (name, quantization) = hub::name_and_quantization(repository);
    let name = &name;
    if !is_repository_name(name) || quantization == Some("") {
        return Err(usage(format!(
            "`{repository}` is not a repository: write ORG/NAME, for example openai/gpt-oss-20b"
        )));
    }
    if !hub::is_safe_revision(revision) {
        return Err(usage(format!("`{revision}` is not a revision: write a branch, a tag or a commit")));
    }
    let settings = Settings::from_environment()?;
    if settings.offline {
        bail!("HF_HUB_OFFLINE is set: unset it to pull {name}");
    }
    let pull = Pull::new(name, revision, settings)?;
    let asked = Asked { name, revision, page: &pull.page, with_token: pull.settings.token.is_some() };
    let snapshot = pull
        .everything(&Selection { quantization, include })
        .map_err(|error| explain(error, &asked).context(format!("cannot pull {name}")))?;
    let quantization = quantization.map(str::to_owned);
    let source = ModelSource::Repository { name: name.clone(), revision: revision.clone(), quantization };
    let model = source.name();
    tell(&format!("{name} is whole and verified; use it with --model {model}"));
    writeln!(io::stdout(), "{}", snapshot.display())?;
    Ok(ExitCode::SUCCESS)
}

/// One run of the command.
struct Pull {
    name: String,
    revision: String,
    settings: Settings,
    api: Api,
    /// The client's view of the repository in the cache.
    local: CacheRepo,
    /// The repository's page on the hub, for messages.
    page: String,
    route: Route,
}

impl Pull {
    fn new(name: &str, revision: &str, settings: Settings) -> Result<Pull> {
        let cache = Cache::new(settings.cache.clone());
        let mut builder =
            ApiBuilder::from_cache(cache.clone()).with_progress(false).with_token(settings.token.clone());
        if let Some(endpoint) = &settings.endpoint {
            builder = builder.with_endpoint(endpoint.clone());
        }
        let api = builder.build().context("the hub client does not start")?;
        let repository = hub::repository(name, revision);
        let address = api.repo(repository.clone()).url("");
        let page = address.split("/resolve/").next().unwrap_or_default().to_owned();
        let route = Route::new(settings.token.clone(), settings.silence_max);
        let local = cache.repo(repository);
        Ok(Pull { name: name.to_owned(), revision: revision.to_owned(), settings, api, local, page, route })
    }

    /// The repository on the hub at a revision; files are asked for by commit, so that a moving branch does
    /// not mix two.
    fn remote(&self, revision: &str) -> ApiRepo {
        self.api.repo(hub::repository(&self.name, revision))
    }

    fn everything(&self, selection: &Selection<'_>) -> Result<PathBuf> {
        let listing = self.listing()?;
        let files = listing.wanted(selection)?;
        let snapshot = self.local.pointer_path(&listing.commit);
        make_folder(&snapshot)?;
        make_folder(&self.blobs())?;
        self.remove_damaged(&files)?;
        self.check_space(&files)?;
        for file in &files {
            self.file(file, &listing.commit)?;
            link(&self.local.blob_path(file.digest.hex()), &snapshot, &file.name)?;
        }
        if self.revision != listing.commit {
            self.local.create_ref(&listing.commit).context("cannot write the cache's ref")?;
        }
        Ok(snapshot)
    }

    /// Asks the hub what the revision holds.
    fn listing(&self) -> Result<Listing> {
        let request = self.remote(&self.revision).info_request().query("blobs", "true");
        let silence = Some(self.settings.silence_max);
        let request = request.config().timeout_connect(silence).timeout_per_read(silence).build();
        let mut response = request.call()?;
        let json = response.body_mut().with_config().limit(LISTING_BYTES_MAX).read_to_vec()?;
        Listing::parse(&json)
    }

    fn blobs(&self) -> PathBuf {
        hub::repository_folder(&self.settings.cache, &self.name).join("blobs")
    }

    /// Where a file's bytes gather until they are whole and right.
    fn partial(&self, file: &RemoteFile) -> PathBuf {
        self.blobs().join(format!("{}.incomplete", file.digest.hex()))
    }

    /// Verifies the files that are already there and removes those that are not what the hub lists.
    fn remove_damaged(&self, files: &[RemoteFile]) -> Result<()> {
        for file in files {
            let blob = self.local.blob_path(file.digest.hex());
            if !blob.exists() {
                continue;
            }
            if let Some(damage) = damage(&blob, file)? {
                tell(&format!(
                    "{} in the cache is damaged: {damage}. It is removed and fetched again",
                    file.name
                ));
                remove(&blob)?;
            }
        }
        Ok(())
    }

    /// Refuses to begin what cannot end.
    fn check_space(&self, files: &[RemoteFile]) -> Result<()> {
        let length = |path: PathBuf| fs::metadata(path).map_or(0, |file| file.len());
        let missing = files.iter().filter(|file| !self.local.blob_path(file.digest.hex()).exists());
        let needed: u64 = missing.map(|file| file.num_bytes.saturating_sub(length(self.partial(file)))).sum();
        let free = machine::free_bytes(&self.blobs()).unwrap_or(u64::MAX);
        if needed > free {
            let (needed, free) = (HumanBytes(needed), HumanBytes(free));
            bail!(
                "{needed} are to come and {} has {free} free: make room, or set HF_HOME",
                self.settings.cache.display()
            );
        }
        Ok(())
    }

    /// Puts one file among the blobs, unless it is there.
    fn file(&self, file: &RemoteFile, commit: &str) -> Result<()> {
        let blob = self.local.blob_path(file.digest.hex());
        if blob.exists() {
            tell(&format!("{}: {}, already there", file.name, HumanBytes(file.num_bytes)));
            return Ok(());
        }
        let _lock = self.lock(file)?;
        let partial = self.partial(file);
        let url = self.remote(commit).url(&file.name);
        let mut progress = Progress::new(&file.name, Unit::Bytes);
        fetch(&self.route, &url, file, &partial, &mut |done| progress.set(done, file.num_bytes))?;
        progress.clear();
        if let Some(damage) = damage(&partial, file)? {
            remove(&partial)?;
            bail!(
                "{} arrived damaged: {damage}. It is removed; run the same command to fetch it again",
                file.name
            );
        }
        fs::rename(&partial, &blob).with_context(|| format!("cannot name {}", blob.display()))?;
        tell(&format!("{}: {}", file.name, HumanBytes(file.num_bytes)));
        Ok(())
    }

    /// Keeps other programs away from a file while it gathers. The lock lies where the hub's own tools put
    /// theirs.
    fn lock(&self, file: &RemoteFile) -> Result<File> {
        let repository = hub::repository(&self.name, &self.revision).folder_name();
        let folder = self.settings.cache.join(".locks").join(repository);
        make_folder(&folder)?;
        let path = folder.join(format!("{}.lock", file.digest.hex()));
        let lock = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => Ok(lock),
            Err(TryLockError::WouldBlock) => {
                bail!("another program is fetching {}: let it finish", file.name)
            }
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {}", path.display()))
            }
        }
    }
}

/// A line about how it goes. Standard error may be closed; the pull goes on all the same.
fn tell(text: &str) {
    let _ = writeln!(io::stderr(), "{}", terminal::safe(text));
}

/// What is wrong with a file, in words; `None` when nothing is.
fn damage(path: &Path, file: &RemoteFile) -> Result<Option<String>> {
    let mut progress = Progress::new(format!("checking {}", file.name), Unit::Bytes);
    let expected = file.digest.hex();
    Ok(match verify(path, file, &mut |done| progress.set(done, file.num_bytes))? {
        Verdict::Right => None,
        Verdict::Length(found) => Some(format!("it has {found} bytes, the hub lists {}", file.num_bytes)),
        Verdict::Hash(found) => Some(format!("its hash is {found}, the hub lists {expected}")),
    })
}

fn make_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot make the folder {}", path.display()))
}

fn remove(path: &Path) -> Result<()> {
    fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))
}

/// Gives a blob its name in a snapshot, by a link that survives moving the cache.
fn link(blob: &Path, snapshot: &Path, name: &str) -> Result<()> {
    // A file in a folder of the repository is one level further from the blobs.
    let up = "../".repeat(2 + name.matches('/').count());
    let target = Path::new(&up).join("blobs").join(blob.file_name().unwrap_or_default());
    let name = &snapshot.join(name);
    make_folder(name.parent().unwrap_or(snapshot))?;
    if fs::read_link(name).is_ok_and(|found| found == target) {
        return Ok(());
    }
    if fs::symlink_metadata(name).is_ok() {
        remove(name)?;
    }
    make_link(&target, blob, name).with_context(|| format!("cannot link {}", name.display()))
}

#[cfg(unix)]
fn make_link(target: &Path, _blob: &Path, name: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, name)
}

/// Symbolic links need a privilege there; the hub's own tools then do without as well.
#[cfg(not(unix))]
fn make_link(_target: &Path, blob: &Path, name: &Path) -> std::io::Result<()> {
    fs::hard_link(blob, name)
}
