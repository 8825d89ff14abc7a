//! What an operator's file means: upstreams, rules and detectors, checked.
//!
//! [`Plan::read`] takes the text and whatever stands behind its names, and gives a plan or a line with a
//! reason. It opens nothing itself: files and variables are asked of the caller.

use std::collections::HashSet;
use std::ops::Range;
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use toml::Spanned;
use url::{Host, Url};

use crate::detect::{Detector, Finds, FindsPersonalData, PersonalFilter, pattern};
use crate::file::{DetectorKind, DetectorTable, File, RouteTable, UpstreamTable};
use crate::label::Label;
use crate::limits::{
    DETECTORS_MAX, FILE_BYTES_MAX, MODELS_MAX, NAME_BYTES_MAX, PATTERN_BYTES_MAX, ROUTES_MAX, TARGETS_MAX,
    UPSTREAMS_MAX,
};
use crate::problem::Problem;
use crate::rule::{Place, Rule, Target};
use crate::secret::Secret;
use crate::upstream::{Kind, Price, Upstream};

/// The word for this server's own engine.
pub const LOCAL: &str = "local";
/// Efforts that there are.
const EFFORTS: [&str; 4] = ["none", "low", "medium", "high"];
/// How long times may be.
const TIME_MAX: Duration = Duration::from_secs(24 * 3600);
/// Most tries of one request at one upstream, but for the first.
const RETRIES_MAX: u32 = 10;
/// Headers that an upstream's `headers` may not set: they are the connection's, or the key's.
const HEADERS_REFUSED: [&str; 16] = [
    "authorization",
    "api-key",
    "x-api-key",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "host",
    "keep-alive",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
];

/// Upstreams, rules and detectors.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// The label of what nobody says anything of.
    pub default_label: Label,
    /// What the local engine's tokens cost.
    pub local_price: Option<Price>,
    /// Servers elsewhere.
    pub upstreams: Vec<Upstream>,
    /// Rules, the first that is for a request holds.
    pub rules: Vec<Rule>,
    /// What raises labels.
    pub detectors: Vec<Detector>,
}

/// The text of a file by its name; why not, if it cannot be read.
pub type ReadFile<'a> = &'a dyn Fn(&str) -> Result<String, String>;

/// Where a file finds what it names.
pub struct Sources<'a> {
    /// The text of a file of a key; why not, if it cannot be read. None: keys are not asked for.
    pub file: Option<ReadFile<'a>>,
    /// The value of a variable.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// Who finds personal data; None where nobody does.
    pub personal: Option<FindsPersonalData>,
}

impl Sources<'_> {
    /// Those of a file that is only looked at: keys are not read, and nobody finds personal data.
    pub fn none() -> Sources<'static> {
        Sources { file: None, variable: &|_| None, personal: None }
    }
}

/// A file while it is read.
struct Reader<'a> {
    text: &'a str,
    sources: &'a Sources<'a>,
}

type Read<T> = Result<T, Problem>;

impl Plan {
    /// Reads a file.
    ///
    /// Errors: the line and what is wrong with it.
    pub fn read(text: &str, sources: &Sources<'_>) -> Result<Plan, Problem> {
        if text.len() > FILE_BYTES_MAX {
            let reason = format!("the file is longer than {FILE_BYTES_MAX} bytes");
            return Err(Problem { line: 1, reason });
        }
        let file: File = toml::from_str(text).map_err(|error| Problem::of_toml(text, &error))?;
        let reader = Reader { text, sources };
        reader.plan(file)
    }

    /// The names of models that clients may ask for, and who has them.
    pub fn models(&self) -> Vec<(String, String)> {
        let mut names: Vec<(String, String)> = Vec::new();
        let mut add = |name: &str, owner: &str| {
            if !names.iter().any(|(other, _)| other == name) {
                names.push((name.to_owned(), owner.to_owned()));
            }
        };
        for upstream in &self.upstreams {
            upstream.models.iter().for_each(|(name, _)| add(name, &upstream.name));
        }
        let named = self.rules.iter().flat_map(|rule| &rule.models).filter(|name| !name.contains('*'));
        named.for_each(|name| add(name, "gateway"));
        names
    }
}

impl Reader<'_> {
    fn wrong<T>(&self, span: Range<usize>, reason: impl Into<String>) -> Read<T> {
        Err(Problem::at(self.text, &span, reason))
    }

    fn plan(&self, file: File) -> Read<Plan> {
        let counts = [
            ("upstreams", file.upstreams.len(), UPSTREAMS_MAX),
            ("routes", file.routes.len(), ROUTES_MAX),
            ("detectors", file.detectors.len(), DETECTORS_MAX),
        ];
        if let Some((what, count, max)) = counts.into_iter().find(|(_, count, max)| count > max) {
            return self.wrong(0..0, format!("there are {count} {what}, but at most {max} are taken"));
        }
        if file.upstreams.is_empty() && file.routes.is_empty() {
            return self.wrong(0..0, "there is no [[upstreams]]: nothing would go anywhere");
        }
        let mut plan = Plan { default_label: file.default_label, ..Plan::default() };
        plan.local_price = file.local.price.map(|price| self.price(price)).transpose()?;
        for table in file.detectors {
            plan.detectors.push(self.detector(table)?);
        }
        for table in file.upstreams {
            let name = table.get_ref().name.clone();
            let upstream = self.upstream(table.into_inner())?;
            if plan.upstreams.iter().any(|other| other.name == upstream.name) {
                return self.wrong(name.span(), format!("two upstreams are called {:?}", upstream.name));
            }
            plan.upstreams.push(upstream);
        }
        for (index, table) in file.routes.into_iter().enumerate() {
            let rule = self.rule(index, table, &plan.upstreams)?;
            plan.rules.push(rule);
        }
        Ok(plan)
    }

    fn detector(&self, table: Spanned<DetectorTable>) -> Read<Detector> {
        let span = table.span();
        let table = table.into_inner();
        if *table.label.get_ref() == Label::Any {
            return self.wrong(table.label.span(), "a detector that labels what it finds `any` does nothing");
        }
        let is_pattern = table.kind == DetectorKind::Pattern;
        let finds = match (&table.pattern, table.kind) {
            (Some(text), DetectorKind::Pattern) => {
                if text.get_ref().len() > PATTERN_BYTES_MAX {
                    return self
                        .wrong(text.span(), format!("a pattern is at most {PATTERN_BYTES_MAX} bytes long"));
                }
                let read = pattern(text.get_ref());
                let wrong = |why| Problem::at(self.text, &text.span(), format!("the pattern: {why}"));
                Finds::Pattern(Box::new(read.map_err(wrong)?))
            }
            (None, DetectorKind::Pattern) => {
                return self.wrong(span, "a detector of the kind `pattern` has a `pattern`");
            }
            (Some(text), _) => {
                return self.wrong(text.span(), "only a detector of the kind `pattern` has a `pattern`");
            }
            (None, DetectorKind::Email) => Finds::Email,
            (None, DetectorKind::Card) => Finds::Card,
            (None, DetectorKind::Iban) => Finds::Iban,
            (None, DetectorKind::Redact) => match (&self.sources.personal, self.sources.file) {
                (Some(finds), _) => Finds::Personal(PersonalFilter(finds.clone())),
                // Looked at only.
                (None, None) => Finds::Personal(PersonalFilter(std::sync::Arc::new(|_| false))),
                (None, Some(_)) => {
                    return self.wrong(span, "a detector of the kind `redact` needs the filter of --redact");
                }
            },
        };
        let name = match &table.name {
            Some(name) => self.name(name)?,
            None if is_pattern => {
                return self.wrong(span, "a detector of the kind `pattern` has a `name`, which reasons tell");
            }
            None => table.kind.name().to_owned(),
        };
        Ok(Detector { name, label: table.label.into_inner(), finds })
    }

    fn name(&self, name: &Spanned<String>) -> Read<String> {
        let text = name.get_ref();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if text.is_empty() || text.len() > NAME_BYTES_MAX || !text.bytes().all(is_plain) {
            let reason = format!(
                "a name is 1 to {NAME_BYTES_MAX} letters, digits, '-', '_' and '.', but this is {text:?}"
            );
            return self.wrong(name.span(), reason);
        }
        Ok(text.clone())
    }

    fn price(&self, price: Spanned<Price>) -> Read<Price> {
        let Price { input, output, cached } = *price.get_ref();
        let is_right = |number: f64| number.is_finite() && (0.0..=1e6).contains(&number);
        if ![input, output, cached.unwrap_or(0.0)].into_iter().all(is_right) {
            return self.wrong(price.span(), "a price is dollars for a million tokens, from 0 up");
        }
        Ok(price.into_inner())
    }

    fn upstream(&self, table: UpstreamTable) -> Read<Upstream> {
        let name = self.name(&table.name)?;
        if name == LOCAL {
            return self.wrong(table.name.span(), "`local` is this server's own engine");
        }
        let secret = self.secret(&table)?;
        let base_url = self.base_url(&table)?;
        if let Some(version) = &table.api_version
            && (table.kind != Kind::Azure || !is_word(version.get_ref()))
        {
            return self
                .wrong(version.span(), "api_version is a word such as 2024-10-21, of kind = \"azure\"");
        }
        let models = self.models(table.models)?;
        let timeout = self.time(table.timeout, Duration::from_secs(60))?;
        let label_max = match table.label_max {
            Some(label) if *label.get_ref() == Label::LocalOnly => {
                return self.wrong(label.span(), "what is labelled local_only goes to no upstream");
            }
            label => label.map_or(Label::Any, Spanned::into_inner),
        };
        let max = self.number(table.max_parallel, 1..=100_000, "max_parallel")?;
        Ok(Upstream {
            name,
            base_url,
            kind: table.kind,
            secret,
            api_version: table.api_version.map(Spanned::into_inner),
            models,
            chat_only: table.chat_only,
            timeout,
            idle_timeout: self.time(table.idle_timeout, timeout)?,
            num_retries: self.number(table.num_retries, 0..=RETRIES_MAX, "num_retries")?.unwrap_or(1),
            allowed_fails: self.number(table.allowed_fails, 1..=1000, "allowed_fails")?.unwrap_or(3),
            cooldown_time: self.time(table.cooldown_time, Duration::from_secs(30))?,
            max_parallel: max.unwrap_or(256),
            context_window: self.number(table.context_window, 1..=1 << 40, "context_window")?,
            price: table.price.map(|price| self.price(price)).transpose()?,
            data_collection: table.data_collection,
            zdr: table.zdr,
            label_max,
            tools: table.tools.unwrap_or(true),
            efforts: table.efforts.map(|list| self.efforts(list)).transpose()?,
            hosted_tools: table.hosted_tools,
            max_tokens_field: table.max_tokens_field,
            include_usage: table.include_usage.unwrap_or(true),
            send_reasoning: table.send_reasoning.unwrap_or(table.chat_only),
            thinking: table.thinking,
            headers: self.headers(table.headers)?,
        })
    }

    fn secret(&self, table: &UpstreamTable) -> Read<Option<Secret>> {
        let (span, text) = match (&table.api_key_file, &table.api_key_env) {
            (Some(_), Some(name)) => {
                return self.wrong(name.span(), "give api_key_file or api_key_env, not both");
            }
            (None, None) => return Ok(None),
            (Some(path), None) => {
                let Some(file) = self.sources.file else { return Ok(None) };
                (path.span(), file(path.get_ref()).map_err(|why| format!("{:?}: {why}", path.get_ref())))
            }
            (None, Some(name)) => {
                if self.sources.file.is_none() {
                    return Ok(None);
                }
                let value = (self.sources.variable)(name.get_ref());
                let missing = || format!("the variable {:?} is not set", name.get_ref());
                (name.span(), value.ok_or_else(missing))
            }
        };
        let wrong = |why: String| Problem::at(self.text, &span, format!("the key: {why}"));
        let text = text.map_err(wrong)?;
        Secret::new(&text).map(Some).map_err(|why| wrong(why.to_owned()))
    }

    fn base_url(&self, table: &UpstreamTable) -> Read<String> {
        let has_key = table.api_key_file.is_some() || table.api_key_env.is_some();
        let (span, text) = (table.base_url.span(), table.base_url.get_ref());
        let wrong = |reason: &str| {
            let reason = format!("base_url: {reason}; give one such as https://openrouter.ai/api/v1");
            self.wrong(span.clone(), reason)
        };
        let Ok(url) = Url::parse(text) else { return wrong("it is no address") };
        if !matches!(url.scheme(), "http" | "https") {
            return wrong("it begins with neither http:// nor https://");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return wrong("it has a name or a password in it");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return wrong("it has something behind its path");
        }
        if url.host().is_none() || text.bytes().any(|byte| byte.is_ascii_whitespace()) {
            return wrong("it names no host");
        }
        if url.scheme() == "http" && has_key && !is_here(&url) && !table.allow_http {
            return wrong("the key would go over the network in clear (allow_http = true allows it)");
        }
        Ok(url.as_str().trim_end_matches('/').to_owned())
    }

    fn models(
        &self,
        table: Spanned<std::collections::BTreeMap<String, Spanned<String>>>,
    ) -> Read<Vec<(String, String)>> {
        let span = table.span();
        let table = table.into_inner();
        if table.is_empty() || table.len() > MODELS_MAX {
            let reason = format!("models: 1 to {MODELS_MAX} lines NAME = \"the upstream's name of it\"");
            return self.wrong(span, reason);
        }
        let mut models = Vec::new();
        for (ours, theirs) in table {
            if !is_model(&ours) || ours.contains('*') || !is_model(theirs.get_ref()) {
                return self.wrong(theirs.span(), format!("models: {ours:?} or its value is no name of one"));
            }
            models.push((ours, theirs.into_inner()));
        }
        Ok(models)
    }

    fn time(&self, text: Option<Spanned<String>>, default: Duration) -> Read<Duration> {
        let Some(text) = text else { return Ok(default) };
        match duration(text.get_ref()) {
            Some(time) if !time.is_zero() && time <= TIME_MAX => Ok(time),
            _ => self.wrong(text.span(), "a time is 1ms to 24h, such as 500ms, 60s, 5m"),
        }
    }

    fn number<T: PartialOrd + std::fmt::Display>(
        &self,
        number: Option<Spanned<T>>,
        range: std::ops::RangeInclusive<T>,
        name: &str,
    ) -> Read<Option<T>> {
        match number {
            Some(number) if !range.contains(number.get_ref()) => {
                let reason = format!("{name} is {} to {}", range.start(), range.end());
                self.wrong(number.span(), reason)
            }
            number => Ok(number.map(Spanned::into_inner)),
        }
    }

    fn efforts(&self, list: Spanned<Vec<String>>) -> Read<Vec<String>> {
        let is_known = |effort: &String| EFFORTS.contains(&effort.as_str());
        if list.get_ref().is_empty() || !list.get_ref().iter().all(is_known) {
            return self.wrong(list.span(), format!("efforts are some of {}", EFFORTS.join(", ")));
        }
        Ok(list.into_inner())
    }

    fn headers(
        &self,
        table: std::collections::BTreeMap<Spanned<String>, Spanned<String>>,
    ) -> Read<Vec<(HeaderName, HeaderValue)>> {
        let mut headers = Vec::new();
        for (name, value) in table {
            let lower = name.get_ref().to_ascii_lowercase();
            let read = (HeaderName::try_from(&lower), HeaderValue::try_from(value.get_ref()));
            match read {
                (Ok(name), Ok(value)) if !HEADERS_REFUSED.contains(&lower.as_str()) => {
                    headers.push((name, value));
                }
                _ => {
                    let reason =
                        format!("headers: {lower:?} cannot be set here, or its value cannot be sent");
                    return self.wrong(name.span(), reason);
                }
            }
        }
        Ok(headers)
    }

    fn rule(&self, index: usize, table: Spanned<RouteTable>, upstreams: &[Upstream]) -> Read<Rule> {
        let table = table.into_inner();
        let name = match &table.name {
            Some(name) => self.name(name)?,
            None => format!("route-{}", index + 1),
        };
        for model in &table.model {
            if !is_model(model.get_ref()) {
                return self.wrong(model.span(), "a model is a name, in which * stands for anything");
            }
        }
        if let (Some(min), Some(max)) = (&table.prompt_tokens_min, &table.prompt_tokens_max)
            && min.get_ref() > max.get_ref()
        {
            return self
                .wrong(min.span(), "prompt_tokens_min is greater than prompt_tokens_max: it is for nothing");
        }
        let (span, list) = (table.targets.span(), table.targets.into_inner());
        if list.is_empty() || list.len() > TARGETS_MAX {
            return self.wrong(span, format!("targets: 1 to {TARGETS_MAX} of local and upstreams' names"));
        }
        let mut targets = Vec::new();
        let mut seen = HashSet::new();
        for text in &list {
            if !seen.insert(text.get_ref().clone()) {
                return self.wrong(text.span(), format!("targets: {:?} stands there twice", text.get_ref()));
            }
            targets.push(self.target(text, &table.model, upstreams)?);
        }
        Ok(Rule {
            name,
            models: table.model.into_iter().map(Spanned::into_inner).collect(),
            labels: table.label,
            tools: table.tools,
            efforts: table.effort.map(|list| self.efforts(list)).transpose()?.unwrap_or_default(),
            prompt_tokens_min: table.prompt_tokens_min.map(Spanned::into_inner),
            prompt_tokens_max: table.prompt_tokens_max.map(Spanned::into_inner),
            targets,
            strategy: table.strategy,
        })
    }

    /// `local`, `local:MODEL`, `UPSTREAM` or `UPSTREAM:MODEL`.
    fn target(
        &self,
        text: &Spanned<String>,
        models: &[Spanned<String>],
        upstreams: &[Upstream],
    ) -> Read<Target> {
        let (who, model) = match text.get_ref().split_once(':') {
            Some((who, model)) => (who, Some(model.to_owned())),
            None => (text.get_ref().as_str(), None),
        };
        if model.as_ref().is_some_and(|model| !is_model(model) || model.contains('*')) {
            return self.wrong(text.span(), format!("targets: {:?} names no model", text.get_ref()));
        }
        if who == LOCAL {
            return Ok(Target { place: Place::Local, model });
        }
        let Some(index) = upstreams.iter().position(|upstream| upstream.name == who) else {
            let known: Vec<&str> = upstreams.iter().map(|upstream| upstream.name.as_str()).collect();
            let reason =
                format!("targets: there is no upstream {who:?}; there are local, {}", known.join(", "));
            return self.wrong(text.span(), reason);
        };
        let lacks = |name: &str| upstreams[index].model(name).is_none();
        let named = models.iter().map(|name| name.get_ref().as_str()).filter(|name| !name.contains('*'));
        let lacking = match &model {
            Some(model) => lacks(model).then_some(model.as_str()),
            None => named.into_iter().find(|name| lacks(name)),
        };
        if let Some(model) = lacking {
            let reason = format!("targets: the upstream {who:?} has no model {model:?} in its models");
            return self.wrong(text.span(), reason);
        }
        Ok(Target { place: Place::Upstream(index), model })
    }
}

/// Whether an address is on this machine.
fn is_here(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn is_model(name: &str) -> bool {
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_word(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && text.bytes().all(is_plain)
}

/// A time: a number and ms, s, m or h.
fn duration(text: &str) -> Option<Duration> {
    let at = text.find(|letter: char| !letter.is_ascii_digit())?;
    let number: u64 = text[..at].parse().ok()?;
    match &text[at..] {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        _ => None,
    }
}
