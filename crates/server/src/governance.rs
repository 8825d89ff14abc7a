//! The operator's rules and their journal, as the server has them.
//!
//! Rules are swapped whole: a file that cannot be used leaves those that hold as they are. What a request is
//! asked for is written before its answer goes on; what can only be written when the last of its parts is
//! gone (its client left, its task broke off) is written by one thread in the order in which it came.

use std::io::Write;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::thread::{self, JoinHandle};

use gptoss_api::ApiError;
use gptoss_govern::{
    Entry, Event, Head, Journal, JournalError, Key, KeyChange, KeyState, Remaining, Rules, RulesProblem,
    Texts, Unknown,
};
use tokio::sync::oneshot;

use crate::access_log::{Log, LogFormat};
use crate::clock::{now, now_ms};
use crate::said_queue::{SaidPlace, SaidQueue};

/// Most entries of requests without a key in a minute: whoever has none shall not fill the disk.
const STRANGERS_A_MINUTE_MAX: u32 = 600;

type Job = Box<dyn FnOnce(&Journal) -> Result<(), JournalError> + Send>;

/// The operator's rules and their journal.
pub struct Governance {
    rules: RwLock<Arc<Rules>>,
    /// The policies of the guard.
    judges: Vec<String>,
    journal: Arc<Journal>,
    /// Takes what goes wrong with the journal.
    log: Arc<OnceLock<Log>>,
    jobs: Option<Sender<Job>>,
    /// What was said and waits to be written.
    said: Arc<SaidQueue>,
    writer: Option<JoinHandle<()>>,
    /// The minute in which strangers were counted last, and how many.
    strangers: Mutex<(u64, u32)>,
}

impl std::fmt::Debug for Governance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Governance").field("version", &self.rules().version()).finish_non_exhaustive()
    }
}

impl Governance {
    /// Reads rules; `judges` are the policies of the guard, which their moderation may name.
    ///
    /// Errors: they cannot be used.
    pub fn parse(text: &str, judges: &[String]) -> Result<Rules, RulesProblem> {
        let rules = Rules::parse(text)?;
        let mut named = rules.policies().iter().filter_map(|policy| policy.moderation.as_ref());
        let Some(name) = named.find(|name| !judges.contains(name)) else { return Ok(rules) };
        let is_it = |line: &str| line.contains("moderation") && line.contains(name.as_str());
        let before = text.lines().position(is_it).unwrap_or_default();
        let problem = format!("moderation {name:?} is not a policy of the guard (--guard FILE)");
        Err(RulesProblem { line: before + 1, problem })
    }

    /// With rules that hold, and the journal that they are counted in.
    ///
    /// Errors: the journal cannot be written.
    pub fn new(rules: Rules, judges: Vec<String>, journal: Journal) -> Result<Governance, JournalError> {
        let journal = Arc::new(journal);
        let started = of_rules(Event::ServerStarted, rules.version(), "");
        journal.record(started, now_ms())?;
        journal.record(of_rules(Event::RulesLoaded, rules.version(), "at the start"), now_ms())?;
        let (jobs, work) = channel::<Job>();
        let log = Arc::new(OnceLock::new());
        let (written, told) = (Arc::clone(&journal), Arc::clone(&log));
        let writer = thread::Builder::new().name("govern".to_owned()).spawn(move || {
            for job in work {
                if let Err(error) = job(&written) {
                    complain(&told, &error);
                }
            }
        });
        // Without a thread it is written where it comes up.
        let writer = writer.ok();
        let jobs = writer.is_some().then_some(jobs);
        let strangers = Mutex::new((0, 0));
        let rules = RwLock::new(Arc::new(rules));
        let said = Arc::default();
        Ok(Governance { rules, judges, journal, log, jobs, said, writer, strangers })
    }

    /// The rules that hold.
    pub fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on what goes wrong with the journal is told there; the first word counts.
    pub(crate) fn tell(&self, log: Log) {
        let _ = self.log.set(log);
    }

    /// Says what went wrong with the journal.
    pub(crate) fn complain(&self, error: &JournalError) {
        complain(&self.log, error);
    }

    /// The journal.
    pub(crate) fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// The end of the audit's chain.
    pub fn audit_head(&self) -> Head {
        self.journal.head()
    }

    /// Writes the audit's entries behind the one of that number, a line of JSON each.
    ///
    /// Errors: the journal, or `out`.
    pub fn export_audit(&self, out: &mut dyn Write, after: u64, texts: Texts) -> Result<Head, JournalError> {
        self.journal.export_entries(out, after, texts)
    }

    /// Reads rules anew and lets them hold, whole; their version.
    ///
    /// Errors: they cannot be used; then those that held hold on, and the audit says so.
    pub fn reload(&self, text: &str) -> Result<String, RulesProblem> {
        let rules = Governance::parse(text, &self.judges).inspect_err(|problem| self.refuse(problem.line))?;
        let (version, rules) = (rules.version().to_owned(), Arc::new(rules));
        let mut holding = self.rules.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *holding, Arc::clone(&rules));
        drop(holding);
        self.later(of_rules(Event::RulesLoaded, &version, "at a reload"));
        for (change, key) in rules.changes(&before) {
            let event = match change {
                KeyChange::Created => Event::KeyCreated,
                KeyChange::Updated => Event::KeyUpdated,
                KeyChange::Deleted => Event::KeyDeleted,
            };
            let (actor, tenant) = (key.id.clone(), key.name.clone());
            self.later(Entry { actor, tenant, ..of_rules(event, &version, "at a reload") });
        }
        Ok(version)
    }

    /// Writes that rules were refused, and at which line; 0 is for a file that cannot be read.
    pub fn refuse(&self, line: usize) {
        let why = format!("line {line}");
        self.later(of_rules(Event::RulesRefused, self.rules().version(), &why));
    }

    /// Whose secret it is.
    ///
    /// Errors: `Key`, `KeyExpired`.
    pub(crate) fn pass(self: &Arc<Self>, secret: &str) -> Result<Pass, ApiError> {
        let rules = self.rules();
        let key = match rules.identify(secret, now()) {
            Ok(key) => Arc::new(key.clone()),
            Err(Unknown::Expired { at, .. }) => return Err(KeyEnded::Expired(at).into()),
            Err(_) => return Err(ApiError::Key),
        };
        Ok(Pass { governance: Arc::clone(self), rules, key })
    }

    /// The pass of the tenant's key with that public part, for what goes on without a secret: a line of a
    /// batch, a message of a connection. None: any of the tenant's keys, where none was noted.
    ///
    /// Errors: it does not hold any more.
    pub(crate) fn pass_of(self: &Arc<Self>, tenant: &str, id: Option<&str>) -> Result<Pass, KeyEnded> {
        let (rules, now) = (self.rules(), now());
        let mut ended = KeyEnded::Gone;
        let is_it = |key: &&Key| key.name == tenant && id.is_none_or(|id| key.id == id);
        for key in rules.keys().iter().filter(is_it) {
            ended = match key.state(now) {
                KeyState::InForce => {
                    let key = Arc::new(key.clone());
                    return Ok(Pass { governance: Arc::clone(self), rules: Arc::clone(&rules), key });
                }
                KeyState::Expired(at) => KeyEnded::Expired(at),
                KeyState::Revoked => KeyEnded::Revoked,
            };
        }
        Err(ended)
    }

    /// Has `job` done by the thread that writes, behind what came before.
    pub(crate) fn work(&self, job: impl FnOnce(&Journal) -> Result<(), JournalError> + Send + 'static) {
        match &self.jobs {
            // The thread lives as long as the sender.
            Some(jobs) => drop(jobs.send(Box::new(job))),
            None => job(&self.journal).unwrap_or_else(|error| self.complain(&error)),
        }
    }

    /// A place for what was said, to be held until it is written.
    pub(crate) fn said_place(&self, bytes: usize) -> SaidPlace {
        self.said.place(bytes)
    }

    /// Waits until not too much of what was said waits to be written.
    ///
    /// Errors: `Overloaded`, when that takes too long.
    pub(crate) async fn said_room(&self) -> Result<(), ApiError> {
        self.said.room().await
    }

    /// Has an entry written. A disk that is full loses it, as the line of log says.
    pub(crate) fn later(&self, entry: Entry) {
        self.work(move |journal| journal.record(entry, now_ms()));
    }

    /// Whether one more entry of a request without a key may be written in this minute.
    pub(crate) fn takes_stranger(&self) -> bool {
        let minute = now() / 60;
        let mut strangers = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        if strangers.0 != minute {
            *strangers = (minute, 0);
        }
        strangers.1 = strangers.1.saturating_add(1);
        strangers.1 <= STRANGERS_A_MINUTE_MAX
    }

    /// Writes that the server ends in order, and waits until that is written.
    pub(crate) async fn stop(&self) {
        self.later(of_rules(Event::ServerStopped, self.rules().version(), ""));
        self.flush().await;
    }

    /// Waits until everything that came before is written.
    pub(crate) async fn flush(&self) {
        let (told, heard) = oneshot::channel();
        self.work(move |_| {
            let _: Result<(), ()> = told.send(());
            Ok(())
        });
        let _ = heard.await;
    }
}

impl Drop for Governance {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(writer) = self.writer.take() {
            // By its own end the last holder may be a job's; a thread cannot wait for itself.
            if writer.thread().id() != thread::current().id() {
                let _ = writer.join();
            }
        }
    }
}

fn complain(log: &OnceLock<Log>, error: &JournalError) {
    if let Some(log) = log.get() {
        log(&LogFormat::default().notice(&format!("the journal of the rules: {error}")));
    }
}

/// What a key may do by the rules that held when it was shown.
#[derive(Debug, Clone)]
pub(crate) struct Pass {
    pub(crate) governance: Arc<Governance>,
    pub(crate) rules: Arc<Rules>,
    pub(crate) key: Arc<Key>,
}

/// Why a key that opened something does so no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyEnded {
    /// It is none of the rules' keys.
    Gone,
    /// It was taken back.
    Revoked,
    /// Its time is over; since when. Units: seconds since 1970.
    Expired(u64),
}

impl From<KeyEnded> for ApiError {
    fn from(ended: KeyEnded) -> ApiError {
        match ended {
            KeyEnded::Gone | KeyEnded::Revoked => ApiError::Key,
            KeyEnded::Expired(at) => {
                ApiError::KeyExpired { expired_at: gptoss_api::ollama::lines::timestamp(at) }
            }
        }
    }
}

impl std::fmt::Display for KeyEnded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            KeyEnded::Gone => f.write_str("is not in the server's rules any more"),
            KeyEnded::Revoked => f.write_str("was revoked"),
            KeyEnded::Expired(at) => {
                write!(f, "expired at {}", gptoss_api::ollama::lines::timestamp(*at))
            }
        }
    }
}

impl Pass {
    /// What is left of the key's rates; None where it has none.
    pub(crate) async fn remaining(self) -> Option<Remaining> {
        if !self.key.has_rates() {
            return None;
        }
        let asked = move || self.governance.journal.remaining(&self.key, now_ms());
        tokio::task::spawn_blocking(asked).await.ok()?.ok()
    }
}

impl PartialEq for Pass {
    fn eq(&self, other: &Pass) -> bool {
        self.key.id == other.key.id && self.rules.version() == other.rules.version()
    }
}

impl Eq for Pass {}

/// An entry about rules.
fn of_rules(event: Event, version: &str, reason: &str) -> Entry {
    Entry { policy_version: version.to_owned(), reason: reason.to_owned(), ..Entry::new(event) }
}
