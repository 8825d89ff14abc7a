//! What a request is charged, and its entry in the audit: one, whatever becomes of the request.
//!
//! A bill is opened when the key is known and admitted before the body is read, which counts a request and a
//! place at a time. Tokens are reserved where a prompt's are known, before the engine has it: the prompt and
//! as many as the answer may have. When all has ended well, what the client is told as usage is charged. When
//! it ended otherwise, what was computed is charged, prompts and tokens written, up to the step at which it
//! was cancelled; nothing, if no token was written.
//!
//! Whoever holds a bill last ends it, so that a client that goes away, a task that breaks off and a panic
//! leave an entry too.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use gptoss_api::ApiError;
use gptoss_api::usage::TokenUsage;
use gptoss_govern::{
    Charge, Entry, Event, Journal, JournalError, NotAdmitted, Refusal, RefusalKind, Ticket, Tokens, Used,
};

use crate::clock::now_ms;
use crate::governance::{Governance, Pass};
use crate::said::Said;

/// The status of a request whose client went away before there was an answer.
const CLIENT_GONE: u16 = 499;
/// The status of a request whose upstream broke off.
const UPSTREAM_BROKE: u16 = 502;
/// The status of a request whose handler broke off.
const BROKEN: u16 = 500;
/// What the audit calls what the rules do not allow.
pub(crate) const REFUSED: &str = "refused";
/// Where a request goes whose model is here.
const HERE: &str = "local";
/// How long a client should wait for a place of its key's requests.
const PLACE_RETRY_MS: u64 = 1000;
/// Statuses of requests that are not charged: those that were refused for want of room, and those left.
const UNCHARGED: [u16; 2] = [429, CLIENT_GONE];
/// Most tokens of an answer where neither the request nor a policy says how many and the key's are counted:
/// without an end nothing could be reserved.
pub(crate) const UNSAID_OUTPUT_MAX: usize = 4096;

/// What a request is charged.
pub(crate) struct Bill {
    pub(crate) pass: Pass,
    route: String,
    request_id: String,
    /// None: nothing that is said in it is kept.
    said: OnceLock<Arc<Said>>,
    open: Mutex<Open>,
}

/// What is known of it so far.
#[derive(Default)]
struct Open {
    /// None: it is not admitted, or has been ended.
    ticket: Option<Ticket>,
    is_ended: bool,
    status: Option<u16>,
    facts: Facts,
    /// Tokens that are reserved.
    reserved: Tokens,
    /// What the engine has computed for it.
    computed: Tokens,
    /// What the guard's judges took, and what that costs.
    judged: Tokens,
    judged_micro_usd: u64,
}

/// What was decided about it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    /// The served name of the model.
    pub(crate) model: String,
    /// The adapter's.
    pub(crate) adapter: Option<String>,
    /// `allowed`, `refused`, or `shadowed` where a policy in shadow mode would have refused.
    pub(crate) decision: &'static str,
    /// Where it went, if not to a model here.
    pub(crate) place: Option<String>,
    /// Which rule, and why, without a word of the client's.
    pub(crate) reason: String,
}

impl std::fmt::Debug for Bill {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bill").field("request_id", &self.request_id).finish_non_exhaustive()
    }
}

/// A bill is itself alone.
impl PartialEq for Bill {
    fn eq(&self, other: &Bill) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Bill {}

impl Bill {
    /// Of a request that has just come.
    pub(crate) fn new(pass: Pass, route: String, request_id: String) -> Arc<Bill> {
        Arc::new(Bill { pass, route, request_id, said: OnceLock::new(), open: Mutex::default() })
    }

    /// Keeps what is said in it from now on, if its key's policies have that kept; waits until there is room.
    ///
    /// Errors: as [`Governance::said_room`].
    pub(crate) async fn keep_said(&self) -> Result<(), ApiError> {
        if let Some(said) = Said::new(&self.pass, &self.route, &self.request_id) {
            self.pass.governance.said_room().await?;
            let _ = self.said.set(said);
        }
        Ok(())
    }

    /// What is kept of what is said in it.
    pub(crate) fn said(&self) -> Option<&Arc<Said>> {
        self.said.get()
    }

    /// Counts the request.
    ///
    /// Errors: `Rate`, `Quota`; `State`, when the journal fails.
    pub(crate) async fn admit(self: &Arc<Self>) -> Result<(), ApiError> {
        let bill = Arc::clone(self);
        apart(move || {
            let key = &bill.pass.key;
            let ticket = bill.journal().admit(key, Charge::default(), now_ms()).map_err(refused)?;
            bill.lock().ticket = Some(ticket);
            Ok(())
        })
        .await
    }

    /// Whether what it takes is counted against anything.
    pub(crate) fn is_limited(&self) -> bool {
        self.pass.key.counts_tokens()
    }

    /// Reserves what a turn reads and the most that it may write; waits for the journal.
    ///
    /// Errors: as [`Bill::admit`].
    pub(crate) fn reserve(&self, input: usize, output: Option<usize>) -> Result<(), ApiError> {
        let input = input as u64;
        let output = output.map_or(0, |output| output as u64);
        let mut open = self.lock();
        let Some(ticket) = &open.ticket else { return Ok(()) };
        // What a turn before did not take of its own is there for this one, and for the next try what one
        // reserved that found no place in the queue.
        let (reserved, computed) = (open.reserved, open.computed);
        let more = Tokens {
            input: input.saturating_sub(reserved.input.saturating_sub(computed.input)),
            cached: 0,
            output: output.saturating_sub(reserved.output.saturating_sub(computed.output)),
        };
        let micro_usd = self.cost(&open.facts.model, more);
        let charge = Charge { tokens: more.input.saturating_add(more.output), micro_usd };
        let extended = self.journal().extend(ticket, &self.pass.key, charge, now_ms());
        match extended {
            Ok(()) => {
                open.reserved.input += more.input;
                open.reserved.output += more.output;
                Ok(())
            }
            Err(error) => Err(refused(error)),
        }
    }

    /// As [`Bill::reserve`], where waiting is not allowed.
    ///
    /// Errors: as [`Bill::admit`].
    pub(crate) async fn reserve_apart(
        self: &Arc<Self>,
        input: usize,
        output: Option<usize>,
    ) -> Result<(), ApiError> {
        let bill = Arc::clone(self);
        apart(move || bill.reserve(input, output)).await
    }

    /// Takes down what the engine has computed.
    pub(crate) fn computed(&self, input: usize, cached: usize, output: usize) {
        let computed = &mut self.lock().computed;
        computed.input += input as u64;
        computed.cached += cached as u64;
        computed.output += output as u64;
    }

    /// Takes down what a judge of the guard took, a model of that name. It is charged though it was not
    /// reserved: a text that is not judged because a budget is spent could be one that must not pass.
    pub(crate) fn judged(&self, model: &str, tokens: Tokens) {
        let micro_usd = self.cost(model, tokens);
        let mut open = self.lock();
        open.judged.input += tokens.input;
        open.judged.cached += tokens.cached;
        open.judged.output += tokens.output;
        open.judged_micro_usd = open.judged_micro_usd.saturating_add(micro_usd);
    }

    /// Takes down what was decided.
    pub(crate) fn decided(&self, facts: Facts) {
        let mut open = self.lock();
        let place = open.facts.place.take();
        open.facts = Facts { place, ..facts };
    }

    /// Takes down that it goes to another server, after those that it went to before.
    pub(crate) fn went(&self, place: &str) {
        let mut open = self.lock();
        open.facts.place = Some(match open.facts.place.take() {
            // One more turn of an answer that it has begun.
            Some(before) if before.rsplit(" > ").next() == Some(place) => before,
            Some(before) => format!("{before} > {place}"),
            None => place.to_owned(),
        });
    }

    /// Takes down how its answer begins, unless it is known how it ended.
    pub(crate) fn begins(&self, status: u16) {
        self.lock().status.get_or_insert(status);
    }

    /// Takes down that texts are judged, for which a model of that name is charged.
    pub(crate) fn judges(&self, model: &str) {
        let facts = Facts { model: model.to_owned(), decision: "allowed", ..Facts::default() };
        self.decided(Facts { reason: "moderation".to_owned(), ..facts });
    }

    /// Takes down how it failed.
    pub(crate) fn failed(&self, error: &ApiError) {
        self.lock().status = Some(error.row().status);
        self.blame(error);
    }

    /// Takes down that the answer of another server broke off, after it had begun.
    pub(crate) fn broke(&self) {
        self.lock().status = Some(UPSTREAM_BROKE);
    }

    /// Takes down that its client went away.
    pub(crate) fn left(&self) {
        self.lock().status = Some(CLIENT_GONE);
    }

    /// Takes down the rule behind a refusal, if one is.
    pub(crate) fn blame(&self, error: &ApiError) {
        let reason = match error {
            ApiError::Rate { what, .. } => format!("rate: {what}"),
            ApiError::Quota { what, .. } => format!("budget: {what}"),
            ApiError::Unscoped { scope } => format!("scopes: {scope} is asked for"),
            ApiError::Scope { .. } => "scopes: raw_reasoning is asked for".to_owned(),
            ApiError::Ruled { reason } => reason.clone(),
            _ => return,
        };
        let mut open = self.lock();
        // What the rules said has been taken down already, without the client's words.
        if matches!(error, ApiError::Ruled { .. }) && open.facts.decision == REFUSED {
            return;
        }
        open.facts.decision = REFUSED;
        open.facts.reason = reason;
    }

    /// Ends it: all has ended well, and took `tokens`.
    pub(crate) async fn settle(self: &Arc<Self>, tokens: TokenUsage) {
        let used = Tokens { input: tokens.prompt, cached: tokens.cached, output: tokens.completion };
        self.lock().status = Some(200);
        self.write(Some(used)).await;
    }

    /// Ends it here and now, if nobody else holds it: then nothing runs for it any more.
    pub(crate) async fn end(self: Arc<Self>) {
        if Arc::strong_count(&self) == 1 {
            self.write(None).await;
        }
    }

    /// Ends it, and waits until that is written.
    async fn write(&self, used: Option<Tokens>) {
        let Some(ended) = self.take(used) else { return };
        let governance = Arc::clone(&self.pass.governance);
        let _ = tokio::task::spawn_blocking(move || ended.write(&governance)).await;
    }

    /// Its end, once: `used` where all went well.
    fn take(&self, used: Option<Tokens>) -> Option<Ended> {
        let mut open = self.lock();
        if std::mem::replace(&mut open.is_ended, true) {
            return None;
        }
        // What the client or the server broke off before a token was written costs nothing.
        let is_answered = open.status.is_some_and(|status| status < BROKEN && !UNCHARGED.contains(&status));
        let used = used.or(match open.computed.output {
            0 if is_answered || open.judged != Tokens::default() => Some(Tokens::default()),
            0 => None,
            _ => Some(open.computed),
        });
        let tokens = used.unwrap_or_default();
        let unknown = if std::thread::panicking() { BROKEN } else { CLIENT_GONE };
        let facts = open.facts.clone();
        let event = match (facts.decision, used) {
            (REFUSED, _) => Event::RequestRefused,
            (_, None) if open.ticket.is_some() => Event::RequestRefunded,
            _ => Event::Request,
        };
        let micro_usd = self.cost(&facts.model, tokens).saturating_add(open.judged_micro_usd);
        let judged = open.judged;
        let route = if facts.model.is_empty() {
            self.route.clone()
        } else {
            format!("{} > {}", self.route, facts.place.as_deref().unwrap_or(HERE))
        };
        let entry = Entry {
            actor: self.pass.key.id.clone(),
            tenant: self.pass.key.name.clone(),
            group: self.pass.key.group_name().unwrap_or_default().to_owned(),
            model: facts.model,
            adapter: facts.adapter.unwrap_or_default(),
            policy_version: self.pass.rules.version().to_owned(),
            decision: if facts.decision.is_empty() { "allowed" } else { facts.decision }.to_owned(),
            reason: facts.reason,
            route,
            used: used.map_or_else(Used::default, |tokens| Used {
                input: tokens.input,
                cached: tokens.cached,
                output: tokens.output,
                judged_input: judged.input,
                judged_output: judged.output,
                micro_usd,
            }),
            status: open.status.unwrap_or(unknown),
            request_id: self.request_id.clone(),
            ..Entry::new(event)
        };
        if let Some(said) = self.said() {
            said.settled(entry.status);
        }
        Some(Ended { ticket: open.ticket.take(), entry })
    }

    fn cost(&self, model: &str, tokens: Tokens) -> u64 {
        self.pass.rules.price(model).map_or(0, |price| price.of(tokens))
    }

    fn journal(&self) -> &Journal {
        self.pass.governance.journal()
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Bill {
    fn drop(&mut self) {
        if let Some(ended) = self.take(None) {
            self.pass.governance.work(move |journal| ended.put(journal));
        }
    }
}

/// What is written at a bill's end.
struct Ended {
    ticket: Option<Ticket>,
    entry: Entry,
}

impl Ended {
    /// Writes it. What the journal cannot write is charged as it was reserved, when it is opened again.
    fn write(self, governance: &Governance) {
        if let Err(error) = self.put(governance.journal()) {
            governance.complain(&error);
        }
    }

    fn put(self, journal: &Journal) -> Result<(), JournalError> {
        match self.ticket {
            Some(ticket) => journal.settle_and_record(ticket, self.entry, now_ms()),
            None => journal.record(self.entry, now_ms()),
        }
    }
}

fn refused(error: NotAdmitted) -> ApiError {
    match error {
        NotAdmitted::Refused(Refusal { what, kind: RefusalKind::Budget, retry_after_ms, .. }) => {
            ApiError::Quota { what, retry_ms: retry_after_ms }
        }
        // Nobody knows when a place will be free.
        NotAdmitted::Refused(Refusal { what, kind: RefusalKind::Parallel, .. }) => {
            ApiError::Rate { what, retry_ms: Some(PLACE_RETRY_MS) }
        }
        NotAdmitted::Refused(Refusal { what, retry_after_ms, .. }) => {
            ApiError::Rate { what, retry_ms: retry_after_ms }
        }
        NotAdmitted::Journal(error) => ApiError::State { problem: error.to_string() },
    }
}

/// Does what waits for the journal where waiting is allowed.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let failed = |error: tokio::task::JoinError| ApiError::Internal { problem: error.to_string() };
    tokio::task::spawn_blocking(work).await.map_err(failed)?
}
