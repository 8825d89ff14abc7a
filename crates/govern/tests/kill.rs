//! A journal whose process is killed under load, at moments that nobody chose: the chain verifies, budgets
//! are its sums, and each request that was admitted has ended once.
//!
//! The program is its own child: `kill child FOLDER SEED` admits and settles by several threads, says each
//! act that is done in a line, and ends by being killed.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;

use gptoss_govern::{Audit, Charge, Digest, EntryQuery, Event, Journal, NotAdmitted, Rules, Ticket, Used};
use libtest_mimic::{Arguments, Failed, Trial};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// 2026-11-30 00:00 UTC. Units: milliseconds since 1970.
const NOW: i64 = 1_795_996_800_000;
const TENANTS: usize = 12;
const GROUPS: usize = 3;
const THREADS: u64 = 4;
/// Requests that a thread keeps open at a time.
const OPEN_MAX: usize = 5;
/// Acts that are waited for before a kill, at most.
const ACTS_MAX: usize = 200;
/// The most that one request reserves. Units: tokens.
const CHARGE_MAX: u64 = 100;

#[expect(clippy::disallowed_methods, reason = "a program of its own, which is also its child")]
fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    if let [_, word, folder, seed] = words.as_slice()
        && word == "child"
    {
        child(Path::new(folder), seed.parse().unwrap());
        return ExitCode::SUCCESS;
    }
    let arguments = Arguments::from_args();
    let trials = vec![
        Trial::test("twenty_kills_under_load", || kills(20, 18)),
        Trial::test("two_hundred_kills_under_load_by_hand", || kills(200, 19)).with_ignored_flag(true),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Tenants with much and with little, half of them in groups.
fn rules() -> Rules {
    let mut text = String::from("[prices.m]\ninput = 1\noutput = 1\n");
    for group in 0..GROUPS {
        text +=
            &format!("[groups.g{group}]\nmax_budget = {{ tokens = 100_000_000 }}\nrpm_limit = 1_000_000\n");
    }
    for index in 0..TENANTS {
        let hash = Digest::of(&index.to_string()).to_hex();
        let tokens = if index % 3 == 0 { 20_000 } else { 50_000_000 };
        text += &format!(
            "[[keys]]\nname = \"t{index}\"\nid = \"k{index}\"\nhash = \"sha256:{hash}\"\ntpm_limit = 100_000_000\n\
             max_budget = {{ tokens = {tokens}, usd = 1000 }}\nbudget_duration = \"1mo\"\n"
        );
        if index % 2 == 0 {
            text += &format!("group = \"g{}\"\n", index % GROUPS);
        }
    }
    Rules::parse(&text).unwrap()
}

fn child(folder: &Path, seed: u64) {
    let (rules, journal) = (rules(), Journal::open(Some(folder), NOW + seed as i64).unwrap());
    let clock = AtomicI64::new(NOW + seed as i64);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (rules, journal, clock) = (&rules, &journal, &clock);
            scope.spawn(move || work(StdRng::seed_from_u64(seed * THREADS + thread), rules, journal, clock));
        }
    });
}

/// Admits, settles and refunds for good.
fn work(mut random: StdRng, rules: &Rules, journal: &Journal, clock: &AtomicI64) {
    let mut open: Vec<(Ticket, u64)> = Vec::new();
    loop {
        let now = clock.fetch_add(1, Ordering::Relaxed);
        if open.len() < OPEN_MAX && random.random_bool(0.6) {
            let tokens = random.random_range(1..=CHARGE_MAX);
            let key = rules.identify(&random.random_range(0..TENANTS).to_string(), 0).unwrap();
            match journal.admit(key, Charge { tokens, micro_usd: tokens }, now) {
                Ok(ticket) => {
                    say(&format!("admitted {} {tokens}", ticket.id()));
                    open.push((ticket, tokens));
                }
                Err(NotAdmitted::Refused(_)) => {}
                Err(NotAdmitted::Journal(error)) => panic!("{error}"),
            }
            continue;
        }
        if open.is_empty() {
            continue;
        }
        let (ticket, tokens) = open.swap_remove(random.random_range(0..open.len()));
        let id = ticket.id();
        if random.random_bool(0.2) {
            journal.refund(ticket, now).unwrap();
            say(&format!("refunded {id} 0"));
        } else {
            let output = random.random_range(0..=tokens);
            journal.settle(ticket, Used { output, micro_usd: output, ..Used::default() }, now).unwrap();
            say(&format!("settled {id} {output}"));
        }
    }
}

/// A line in one piece.
fn say(line: &str) {
    let mut out = io::stdout().lock();
    // Whoever listens may be gone: then a kill is on its way.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// What was said of a ticket before the kill.
#[derive(Debug, Default, Clone)]
struct Told {
    reserved: Option<i64>,
    ended: Option<(String, i64)>,
}

fn program() -> std::path::PathBuf {
    std::env::current_exe().unwrap()
}

fn kills(num: u64, seed: u64) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let mut random = StdRng::seed_from_u64(seed);
    let mut told = HashMap::<i64, Told>::new();
    let mut seen = Seen::default();
    for round in 0..num {
        let mut command = Command::new(program());
        command.arg("child").arg(folder.path()).arg(round.to_string()).stdout(Stdio::piped());
        let acts = random.random_range(1..=ACTS_MAX);
        listen(command.spawn()?, acts, &mut told)?;
        // As it lies, before anybody has put it in order.
        Audit::open(folder.path())?.verify(None)?;
        let journal = Journal::open(Some(folder.path()), NOW + 1_000_000 + round as i64)?;
        journal.verify()?;
        seen.read(&journal)?;
        check(&journal, &seen, &told)?;
    }
    match seen.num_lost {
        0 => Err("no kill left a request open: the load is none".into()),
        _ => Ok(()),
    }
}

/// Reads so many lines, kills, and reads what is left.
fn listen(mut child: Child, acts: usize, told: &mut HashMap<i64, Told>) -> Result<(), Failed> {
    let out = child.stdout.take().ok_or("there is no output")?;
    let mut lines = BufReader::new(out).lines();
    for line in lines.by_ref().take(acts) {
        hear(&line?, told)?;
    }
    child.kill()?;
    child.wait()?;
    for line in lines {
        hear(&line?, told)?;
    }
    Ok(())
}

/// A line that a kill cut has no third word, or one that was told of nothing else yet.
fn hear(line: &str, told: &mut HashMap<i64, Told>) -> Result<(), Failed> {
    let words: Vec<&str> = line.split(' ').collect();
    let [word, id, number] = words[..] else { return Ok(()) };
    let entry = told.entry(id.parse()?).or_default();
    match word {
        "admitted" => entry.reserved = Some(number.parse()?),
        word => entry.ended = Some((word.to_owned(), number.parse()?)),
    }
    Ok(())
}

/// What the chain said so far.
#[derive(Debug, Default)]
struct Seen {
    last: i64,
    /// How each ticket ended, and what was charged.
    by_ticket: HashMap<i64, (Event, i64)>,
    /// Tokens of each account.
    sums: HashMap<String, u64>,
    num_lost: usize,
}

impl Seen {
    /// Reads on. No ticket may end twice, ever.
    fn read(&mut self, journal: &Journal) -> Result<(), Failed> {
        loop {
            let query = EntryQuery { after: Some(self.last), ..EntryQuery::default() };
            let records = journal.entries(&query)?;
            let Some(last) = records.last() else { return Ok(()) };
            self.last = last.seq;
            for record in records {
                let ticket = record.ticket.ok_or("an entry without a ticket")?;
                if self.by_ticket.insert(ticket, (record.event, record.charged_tokens)).is_some() {
                    return Err(format!("the ticket {ticket} ended twice").into());
                }
                self.num_lost += usize::from(record.event == Event::RequestLost);
                for account in [format!("key:{}", record.tenant), format!("group:{}", record.group)] {
                    *self.sums.entry(account).or_default() += record.charged_tokens.unsigned_abs();
                }
            }
        }
    }
}

/// Compares the chain with what was told, and budgets with sums made here.
fn check(journal: &Journal, seen: &Seen, told: &HashMap<i64, Told>) -> Result<(), Failed> {
    for (id, told) in told {
        let ended = seen.by_ticket.get(id).ok_or_else(|| format!("the ticket {id} has no end: {told:?}"))?;
        let (event, charged) = *ended;
        let expect = match &told.ended {
            Some(_) if event == Event::RequestLost => {
                return Err(format!("the ticket {id} was lost after it had ended: {told:?}").into());
            }
            Some((_, charged)) => *charged,
            // Ended or not, it was not said.
            None if event == Event::RequestLost => told.reserved.ok_or("a ticket that was not admitted")?,
            None => continue,
        };
        if charged != expect {
            return Err(format!("the ticket {id} was charged {charged}: {told:?}").into());
        }
    }
    for key in rules().keys() {
        for spent in journal.spent(key, NOW)? {
            let sum = seen.sums.get(&spent.account).copied().unwrap_or_default();
            let is_tokens = spent.budget.amount.unit() == "tokens";
            let is_over = spent.spent > spent.budget.amount.value();
            if spent.reserved != 0 || is_tokens && spent.spent != sum || is_over {
                return Err(format!("{spent:?}, but its entries are {sum}").into());
            }
        }
    }
    Ok(())
}
