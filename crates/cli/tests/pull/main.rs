//! `gptoss pull` against a stand-in of the hub on this machine: what arrives, what a fault leaves behind, and
//! what works without the network afterwards.
//!
//! Each test runs the binary itself, with a cache folder of its own and an environment in which nothing else
//! is set. The repository's content is `testdata/tiny`, beside files that a pull has no use for.

mod library;
mod stand_in;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use stand_in::{BRANCH, COMMIT, Fault, Hub, REPOSITORY, git_blob, sha256};

/// The weights that faults happen to.
const SHARD: &str = "model-00001.safetensors";
const OTHERS: &[&str] = &[
    "README.md",
    "chat_template.jinja",
    "pytorch_model.bin",
    "original/config.json",
    "original/model.safetensors",
    "metal/model.bin",
];

fn tiny() -> BTreeMap<String, Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/tiny");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

/// The stand-in with a model and other files, and an empty cache.
struct House {
    hub: Hub,
    home: tempfile::TempDir,
}

/// How a command ended.
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl House {
    fn new() -> House {
        let mut files = tiny();
        files.extend(OTHERS.iter().map(|name| ((*name).to_owned(), b"not wanted".to_vec())));
        House::with_files(files)
    }

    fn with_files(files: BTreeMap<String, Vec<u8>>) -> House {
        House { hub: Hub::with_files(files), home: tempfile::tempdir().unwrap() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gptoss"));
        command
            .args(arguments)
            .env_clear()
            .env("HF_HOME", self.home.path())
            .env("HF_ENDPOINT", self.hub.endpoint());
        command.stdin(Stdio::null());
        command
    }

    fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
        let output = self.command(arguments).envs(variables.iter().copied()).output().unwrap();
        Ended {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    fn pull(&self) -> Ended {
        self.run_with(&["pull", REPOSITORY], &[])
    }

    fn folder(&self) -> PathBuf {
        self.home.path().join("hub/models--org--tiny")
    }

    fn snapshot(&self) -> PathBuf {
        self.folder().join("snapshots").join(COMMIT)
    }

    /// The blob of a large file.
    fn blob(&self, name: &str) -> PathBuf {
        self.folder().join("blobs").join(sha256(&tiny()[name]))
    }

    fn partial(&self, name: &str) -> PathBuf {
        self.blob(name).with_extension("incomplete")
    }

    /// The snapshot holds the model, bit for bit, and the blobs nothing unfinished.
    fn assert_whole(&self) {
        let names = |folder: PathBuf| -> Vec<String> {
            let mut names: Vec<String> = fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        let expect = tiny();
        assert_eq!(names(self.snapshot()), expect.keys().cloned().collect::<Vec<_>>());
        for (name, bytes) in &expect {
            assert!(fs::read(self.snapshot().join(name)).unwrap() == *bytes, "{name}");
        }
        assert_eq!(names(self.folder().join("blobs")).len(), expect.len());
    }

    /// How many bytes of a file's content went over the wire since the log was last taken.
    fn bytes_sent(&self, name: &str) -> usize {
        self.hub.take_log(name).iter().map(|seen| seen.body_bytes).sum()
    }
}

impl Ended {
    fn ok(self) -> Ended {
        assert_eq!(self.code, Some(0), "{}{}", self.stdout, self.stderr);
        self
    }

    fn refused(self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "`{word}` is not in: {}", self.stderr);
        }
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
    }
}

#[test]
fn a_pull_fetches_what_is_read_into_the_layout_of_the_hub() {
    let house = House::new();
    let ended = house.pull().ok();
    assert_eq!(ended.stdout.trim_end(), house.snapshot().to_str().unwrap());
    house.assert_whole();
    assert_eq!(fs::read_to_string(house.folder().join("refs/main")).unwrap(), COMMIT);

    let shard = fs::read_link(house.snapshot().join(SHARD)).unwrap();
    assert_eq!(shard, Path::new("../../blobs").join(sha256(&tiny()[SHARD])));
    let config = fs::read_link(house.snapshot().join("config.json")).unwrap();
    assert_eq!(config, Path::new("../../blobs").join(git_blob(&tiny()["config.json"])));

    let asked = house.hub.take_log("");
    let unwanted = asked.iter().filter(|seen| OTHERS.iter().any(|name| seen.path.ends_with(name)));
    assert_eq!(unwanted.count(), 0, "{asked:?}");
}

#[test]
fn a_pulled_model_is_used_without_the_network() {
    let house = House::new();
    house.pull().ok();
    let home = house.home;
    drop(house.hub);
    let gone = House { hub: Hub::with_files(BTreeMap::new()), home };
    let inspected = gone.run_with(&["inspect", REPOSITORY, "--json"], &[("HF_HUB_OFFLINE", "1")]).ok();
    assert!(inspected.stdout.contains("\"num_hidden_layers\": 4"), "{}", inspected.stdout);
    assert_eq!(gone.hub.take_log("").len(), 0);
}

#[test]
fn a_second_pull_verifies_and_fetches_nothing() {
    let house = House::new();
    house.pull().ok();
    house.hub.take_log("");
    let again = house.pull().ok();
    assert!(again.stderr.contains("already there"), "{}", again.stderr);
    let asked = house.hub.take_log("");
    assert!(asked.len() == 1 && asked[0].path.starts_with("/api/models/"), "{asked:?}");
}

#[test]
fn a_broken_connection_is_resumed_and_no_byte_comes_twice() {
    let house = House::new();
    house.hub.set_faults(&[
        Fault::Break { file: SHARD, after: 1000 },
        Fault::Break { file: "config.json", after: 100 },
    ]);
    house.pull().ok();
    house.assert_whole();
    let log = house.hub.take_log("");
    let content = |name: &str| {
        log.iter().filter(|seen| seen.path.ends_with(name) && seen.body_bytes > 0).collect::<Vec<_>>()
    };
    let shard = content(SHARD);
    assert_eq!(shard.iter().map(|seen| seen.range_start).collect::<Vec<_>>(), [None, Some(1000)]);
    assert_eq!(shard.iter().map(|seen| seen.body_bytes).sum::<usize>(), tiny()[SHARD].len());
    let config = content("config.json");
    assert_eq!(config.iter().map(|seen| seen.body_bytes).sum::<usize>(), tiny()["config.json"].len());
}

/// A signal, or a power cut: the next pull goes on, and until then nothing in the cache looks like a model.
#[test]
#[cfg(unix)]
fn an_interrupted_pull_is_resumed_by_the_next_one() {
    let house = House::new();
    house.hub.set_faults(&[Fault::Silence { file: SHARD, after: 1000 }]);
    let mut child =
        house.command(&["pull", REPOSITORY]).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let started = Instant::now();
    while fs::metadata(house.partial(SHARD)).map_or(0, |file| file.len()) < 1000 {
        assert!(started.elapsed() < Duration::from_secs(30), "the first bytes never came");
        std::thread::sleep(Duration::from_millis(20));
    }
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(killed.success() && !child.wait().unwrap().success());

    assert!(!house.blob(SHARD).exists() && !house.snapshot().join(SHARD).exists());
    house.run_with(&["inspect", REPOSITORY], &[]).refused(1, &["gptoss pull org/tiny"]);
    house.pull().ok();
    house.assert_whole();
    assert_eq!(house.bytes_sent(SHARD), tiny()[SHARD].len());
}

#[test]
fn a_silent_connection_counts_as_broken() {
    let house = House::new();
    house.hub.set_faults(&[Fault::Silence { file: SHARD, after: 1000 }]);
    let started = Instant::now();
    house.run_with(&["pull", REPOSITORY], &[("HF_HUB_DOWNLOAD_TIMEOUT", "1")]).ok();
    assert!(started.elapsed() < Duration::from_secs(30), "the stand-in hung up first");
    house.assert_whole();
    assert_eq!(house.bytes_sent(SHARD), tiny()[SHARD].len());
}

#[test]
fn a_busy_hub_is_asked_again() {
    let house = House::new();
    house.hub.set_faults(&[Fault::Busy { times: 2 }]);
    house.pull().ok();
    house.assert_whole();
}

/// Appending a whole file to the half that is there would make a file of the wrong length out of two right
/// ones.
#[test]
fn a_hub_without_ranges_sends_the_file_anew() {
    let house = House::new();
    house.hub.set_faults(&[Fault::NoRanges, Fault::Break { file: SHARD, after: 1000 }]);
    house.pull().ok();
    house.assert_whole();
    assert_eq!(house.bytes_sent(SHARD), 1000 + tiny()[SHARD].len());
}

#[test]
fn a_file_that_arrives_damaged_is_named_and_removed() {
    let house = House::new();
    house.hub.set_faults(&[Fault::Corrupt { file: SHARD }]);
    let right = sha256(&tiny()[SHARD]);
    house.pull().refused(1, &[SHARD, "arrived damaged", &right, "removed"]);
    assert!(
        !house.partial(SHARD).exists()
            && !house.blob(SHARD).exists()
            && !house.folder().join("refs/main").exists()
    );
    house.hub.set_faults(&[]);
    house.pull().ok();
    house.assert_whole();
}

#[test]
fn a_small_file_is_verified_too() {
    let house = House::new();
    house.hub.set_faults(&[Fault::Corrupt { file: "config.json" }]);
    house.pull().refused(1, &["config.json", "arrived damaged", &git_blob(&tiny()["config.json"])]);
}

#[test]
fn a_file_of_another_length_than_listed_is_refused() {
    let house = House::new();
    house.hub.set_faults(&[Fault::Shorter { file: SHARD }]);
    let listed = tiny()[SHARD].len();
    let lengths = [listed.to_string(), (listed - 1).to_string()];
    house.pull().refused(1, &[SHARD, &lengths[0], &lengths[1]]);
    assert!(!house.blob(SHARD).exists());
}

#[test]
fn a_file_damaged_in_the_cache_is_found_and_fetched_again() {
    let house = House::new();
    house.pull().ok();
    let mut bytes = fs::read(house.blob(SHARD)).unwrap();
    bytes[77] ^= 1;
    fs::write(house.blob(SHARD), bytes).unwrap();
    house.hub.take_log("");
    let again = house.pull().ok();
    assert!(again.stderr.contains(&format!("{SHARD} in the cache is damaged")), "{}", again.stderr);
    house.assert_whole();
    let fetched: Vec<_> = house.hub.take_log("/cdn/");
    assert!(fetched.len() == 1 && fetched[0].path.ends_with(SHARD), "{fetched:?}");
}

#[test]
fn a_gated_model_asks_for_the_token_and_takes_it() {
    let house = House::new();
    house.hub.set_faults(&[Fault::Gated { token: "hf_right" }]);
    house.pull().refused(1, &["401", "HF_TOKEN", "gated", REPOSITORY]);
    house
        .run_with(&["pull", REPOSITORY], &[("HF_TOKEN", "hf_wrong")])
        .refused(1, &["401", "refuses the token"]);
    assert!(!house.home.path().join("hub").exists(), "a refused pull leaves no folders");
    house.hub.take_log("");
    house.run_with(&["pull", REPOSITORY], &[("HF_TOKEN", "hf_right")]).ok();
    house.assert_whole();
    let log = house.hub.take_log("");
    let elsewhere: Vec<_> = log.iter().filter(|seen| seen.host.starts_with("localhost")).collect();
    assert!(
        !elsewhere.is_empty() && elsewhere.iter().all(|seen| seen.token.is_none()),
        "the token stays with the hub"
    );
}

#[test]
fn the_token_file_is_read() {
    let house = House::new();
    house.hub.set_faults(&[Fault::Gated { token: "hf_right" }]);
    fs::write(house.home.path().join("token"), "hf_right\n").unwrap();
    house.pull().ok();
    house.assert_whole();
}

#[test]
fn the_cache_folder_can_be_named() {
    let house = House::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let cache = [("HF_HUB_CACHE", elsewhere.path().to_str().unwrap())];
    let pulled = house.run_with(&["pull", REPOSITORY], &cache).ok();
    assert!(pulled.stdout.starts_with(cache[0].1), "{}", pulled.stdout);
    house.run_with(&["inspect", REPOSITORY], &cache).ok();
    assert!(!house.home.path().join("hub").exists());
}

/// A line about the progress that nobody can read any more was a panic. The reading end is closed before the
/// first answer of the hub is in; were it later, the pull would only have said more.
#[test]
fn a_closed_standard_error_does_not_stop_a_pull() {
    let house = House::new();
    let mut command = house.command(&["pull", REPOSITORY]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(!output.stdout.is_empty());
    house.assert_whole();
}

#[test]
fn branches_and_commits_are_revisions() {
    let house = House::new();
    let branch = house.run_with(&["pull", REPOSITORY, "--revision", BRANCH], &[]).ok();
    house.assert_whole();
    assert_eq!(fs::read_to_string(house.folder().join("refs").join(BRANCH)).unwrap(), COMMIT);
    let by_name = format!("{REPOSITORY}@{BRANCH}");
    assert!(branch.stderr.contains(&format!("--model {by_name}")), "{}", branch.stderr);
    house.run_with(&["inspect", &by_name], &[]).ok();
    house.run_with(&["inspect", REPOSITORY], &[]).refused(1, &[REPOSITORY, "gptoss pull"]);
    let by_folder = house.run_with(&["inspect", branch.stdout.trim_end()], &[]);
    by_folder.ok();

    let other = House::new();
    other.run_with(&["pull", REPOSITORY, "--revision", COMMIT], &[]).ok();
    other.assert_whole();
    assert!(!other.folder().join("refs").exists(), "a commit needs no ref");
}

#[test]
fn what_the_hub_does_not_have_leaves_nothing_behind() {
    let house = House::new();
    house.run_with(&["pull", "org/missing"], &[]).refused(1, &["404", "org/missing"]);
    house.run_with(&["pull", REPOSITORY, "--revision", "v9"], &[]).refused(1, &["404", "v9"]);
    let weightless =
        BTreeMap::from([("config.json".to_owned(), b"{}".to_vec()), ("a.txt".to_owned(), b"x".to_vec())]);
    let other = House::with_files(weightless);
    other.pull().refused(1, &["safetensors"]);
    assert!(!house.home.path().join("hub").exists() && !other.home.path().join("hub").exists());
}

#[test]
fn a_disk_too_small_is_found_before_the_first_byte() {
    let house = House::new();
    house.hub.set_faults(&[Fault::Enormous { file: SHARD }]);
    house.pull().refused(1, &["free", "make room"]);
    assert_eq!(house.hub.take_log("/resolve/").len(), 0);
}

#[test]
fn a_hole_in_the_cache_is_named() {
    let house = House::new();
    house.pull().ok();
    fs::remove_file(house.blob(SHARD)).unwrap();
    house.run_with(&["inspect", REPOSITORY], &[]).refused(1, &[SHARD, "gptoss pull org/tiny"]);
    house.pull().ok();
    house.assert_whole();
}

#[test]
fn two_pulls_do_not_write_the_same_file() {
    let house = House::new();
    let locks = house.home.path().join("hub/.locks/models--org--tiny");
    fs::create_dir_all(&locks).unwrap();
    let name = house.blob(SHARD).with_extension("lock");
    let lock = fs::File::create(locks.join(name.file_name().unwrap())).unwrap();
    lock.lock().unwrap();
    house.pull().refused(1, &["another program", SHARD]);
    drop(lock);
    house.pull().ok();
    house.assert_whole();
}

#[test]
fn a_machine_that_is_offline_is_told_so() {
    let house = House::new();
    house.run_with(&["pull", REPOSITORY], &[("HF_HUB_OFFLINE", "1")]).refused(1, &["HF_HUB_OFFLINE"]);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let endpoint = format!("http://{closed}");
    house
        .run_with(&["pull", REPOSITORY], &[("HF_ENDPOINT", &endpoint)])
        .refused(1, &["cannot reach", "online", &endpoint]);
    let unknown = [("HF_ENDPOINT", "http://no-such-host.invalid")];
    house.run_with(&["pull", REPOSITORY], &unknown).refused(1, &["no-such-host.invalid", "online"]);
}

#[test]
fn what_cannot_be_meant_is_a_usage_error() {
    let house = House::new();
    for arguments in [
        &["pull", "nobody-knows"][..],
        &["pull", "a/b/c"],
        &["pull", "../x"],
        &["pull", "org/x", "--revision", "../y"],
    ] {
        house.run_with(arguments, &[]).refused(2, &["ORG/NAME"][..usize::from(arguments.len() == 2)]);
    }
    house.run_with(&["pull", REPOSITORY], &[("HF_ENDPOINT", "hub")]).refused(2, &["HF_ENDPOINT", "https://"]);
    house
        .run_with(&["pull", REPOSITORY], &[("HF_HUB_DOWNLOAD_TIMEOUT", "soon")])
        .refused(2, &["HF_HUB_DOWNLOAD_TIMEOUT"]);
    assert_eq!(house.hub.take_log("").len(), 0);
}
