//! OpenAI's organization API, for whoever has the scope `admin`: usage, costs, the audit, the keys, rates.
//!
//! All of it is read from the journal of the operator's rules, as far as that is written when it is asked.
//! Nothing is changed here: keys are made and revoked with `gptoss key`, in the file of the rules.

mod asked;
mod audit_log;

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use gptoss_api::ApiError;
use gptoss_api::wire::organization::audit_logs::AuditLogList;
use gptoss_api::wire::organization::costs::{CostAmount, CostResult};
use gptoss_api::wire::organization::keys::{AdminKey, AdminKeyList, KeyOwner};
use gptoss_api::wire::organization::rates::{ProjectRate, ProjectRateList};
use gptoss_api::wire::organization::usage::UsageResult;
use gptoss_api::wire::organization::{BucketPage, TimeBucket};
use gptoss_govern::{
    Bucket, EntryQuery, Grouping, Journal, JournalError, Key, Rules, Scope, Usage, UsageQuery, UsageRow,
    Width,
};

use self::asked::Asked;
use crate::governance::Governance;
use crate::query::Query;
use crate::rejection::Rejection;
use crate::state::App;
use crate::state::{Shared, now};

/// Buckets of a page, by default and at most, by their width; OpenAI's.
const MINUTES: (usize, usize) = (60, 1440);
const HOURS: (usize, usize) = (24, 168);
const DAYS: (usize, usize) = (7, 31);
/// Days of costs.
const COST_DAYS: (usize, usize) = (7, 180);
/// Entries of the audit, and keys.
const LISTED: (usize, usize) = (20, 100);
/// What is told of a rate that has no limit: the largest number that JSON holds exactly.
const UNLIMITED: u64 = (1 << 53) - 1;

/// What stands behind the question mark.
pub(crate) type Pairs = Query<Vec<(String, String)>>;

/// `GET /v1/organization/usage/completions`.
pub(crate) async fn usage(
    State(app): State<Shared>,
    Query(pairs): Pairs,
) -> Result<Json<BucketPage<UsageResult>>, Rejection> {
    let asked = Asked::new(pairs);
    let (width, limits) = match asked.one("bucket_width") {
        None => (Width::Day, DAYS),
        Some(name) => match Width::from_name(name) {
            Some(Width::Minute) => (Width::Minute, MINUTES),
            Some(Width::Hour) => (Width::Hour, HOURS),
            Some(Width::Day) => (Width::Day, DAYS),
            None => return Err(ApiError::invalid("bucket_width", "bucket_width is 1m, 1h or 1d").into()),
        },
    };
    let found = found(&app, asked, width, limits).await?;
    Ok(Json(page(found, |row| UsageResult {
        object: "organization.usage.completions.result",
        input_tokens: row.input,
        output_tokens: row.output,
        input_cached_tokens: row.cached,
        num_model_requests: row.requests,
        project_id: row.project,
        api_key_id: row.key,
        model: row.model,
        ..UsageResult::default()
    })))
}

/// `GET /v1/organization/costs`; nothing where no model has a price.
pub(crate) async fn costs(
    State(app): State<Shared>,
    Query(pairs): Pairs,
) -> Result<Json<BucketPage<CostResult>>, Rejection> {
    let asked = Asked::new(pairs);
    if asked.one("bucket_width").is_some_and(|width| width != "1d") {
        return Err(ApiError::invalid("bucket_width", "bucket_width is 1d here").into());
    }
    let has_prices = governance(&app)?.rules().have_prices();
    let mut found = found(&app, asked, Width::Day, COST_DAYS).await?;
    if !has_prices {
        found.buckets.iter_mut().for_each(|bucket| bucket.results.clear());
    }
    Ok(Json(page(found, |row| CostResult {
        object: "organization.costs.result",
        amount: CostAmount { value: row.micro_usd as f64 / 1e6, currency: "usd" },
        line_item: row.model,
        project_id: row.project,
        api_key_id: row.key,
        quantity: Some(row.charged_tokens),
    })))
}

/// What was used, as far as it is asked for.
async fn found(
    app: &App,
    asked: Asked,
    width: Width,
    (limit, limit_max): (usize, usize),
) -> Result<Usage, ApiError> {
    let start = asked.number("start_time")?.ok_or(ApiError::Missing { param: "start_time" })?;
    let end = asked.number("end_time")?.unwrap_or_else(|| now().saturating_add(1));
    let limit = asked.limit((limit, limit_max))?;
    let group_by = asked.list("group_by").map(grouping).collect::<Result<Vec<_>, _>>()?;
    let start_ms = match asked.one("page") {
        Some(page) => {
            page.parse().map_err(|_| ApiError::invalid("page", "page is not one of a page before"))?
        }
        None => millis(start),
    };
    read(app, move |journal, _| {
        let (keys, models) =
            (asked.list("api_key_ids").collect::<Vec<_>>(), asked.list("models").collect::<Vec<_>>());
        let projects: Vec<&str> = asked.list("project_ids").collect();
        let flattened: Vec<Grouping> = group_by.iter().flatten().copied().collect();
        journal.usage(&UsageQuery {
            start_ms,
            end_ms: millis(end),
            width,
            group_by: &flattened,
            keys: &keys,
            models: &models,
            projects: &projects,
            limit,
        })
    })
    .await
}

/// What results are to be apart by; None for what all have alike.
fn grouping(name: &str) -> Result<Option<Grouping>, ApiError> {
    Ok(Some(match name {
        "api_key_id" => Grouping::Key,
        "model" | "line_item" => Grouping::Model,
        "project_id" => Grouping::Project,
        "user_id" | "batch" | "service_tier" => return Ok(None),
        _ => {
            let message = "group_by is any of project_id, api_key_id, model, line_item, user_id, batch and service_tier";
            return Err(ApiError::invalid("group_by", message));
        }
    }))
}

fn page<T>(found: Usage, result: impl Fn(UsageRow) -> T) -> BucketPage<T> {
    let bucket = |bucket: Bucket| TimeBucket {
        object: "bucket",
        start_time: seconds(bucket.start_ms),
        end_time: seconds(bucket.end_ms),
        results: bucket.results.into_iter().map(&result).collect(),
    };
    BucketPage {
        object: "page",
        has_more: found.next_ms.is_some(),
        next_page: found.next_ms.map(|next| next.to_string()),
        data: found.buckets.into_iter().map(bucket).collect(),
    }
}

/// `GET /v1/organization/audit_logs`.
pub(crate) async fn audit_logs(
    State(app): State<Shared>,
    Query(pairs): Pairs,
) -> Result<Json<AuditLogList>, Rejection> {
    let asked = Asked::new(pairs);
    let limit = asked.limit(LISTED)?;
    let query = audit_log::Bounds::of(&asked)?;
    let records = read(&app, move |journal, _| {
        let (actors, projects): (Vec<&str>, Vec<&str>) =
            (asked.list("actor_ids").collect(), asked.list("project_ids").collect());
        journal.entries(&EntryQuery {
            events: &query.events,
            actors: &actors,
            tenants: &projects,
            from_ms: query.from_ms,
            until_ms: query.until_ms,
            // The newest come first, so what is behind one is older.
            after: query.before,
            before: query.after,
            newest_first: true,
            limit: limit + 1,
        })
    })
    .await?;
    let has_more = records.len() > limit;
    let data: Vec<_> = records.into_iter().take(limit).map(audit_log::told).collect();
    let id =
        |log: Option<&gptoss_api::wire::organization::audit_logs::AuditLog>| log.map(|log| log.id.clone());
    let (first_id, last_id) = (id(data.first()), id(data.last()));
    Ok(Json(AuditLogList { object: "list", data, first_id, last_id, has_more }))
}

/// `GET /v1/organization/admin_api_keys`.
pub(crate) async fn keys(
    State(app): State<Shared>,
    Query(pairs): Pairs,
) -> Result<Json<AdminKeyList>, Rejection> {
    let asked = Asked::new(pairs);
    let (limit, is_ascending) = asked.bounds(LISTED, "asc")?;
    let (data, has_more) = read(&app, move |journal, rules| {
        let mut keys: Vec<&Key> = rules.keys().iter().collect();
        if !is_ascending {
            keys.reverse();
        }
        let from = asked.one("after").and_then(|id| keys.iter().position(|key| key.id == id));
        let rest = keys.iter().skip(from.map_or(0, |from| from + 1));
        let has_more = rest.len() > limit;
        let told = rest.take(limit).map(|key| admin_key(journal, key)).collect::<Result<Vec<_>, _>>()?;
        Ok((told, has_more))
    })
    .await?;
    let id = |key: Option<&AdminKey>| key.map(|key| key.id.clone());
    let (first_id, last_id) = (id(data.first()), id(data.last()));
    Ok(Json(AdminKeyList { object: "list", data, first_id, last_id, has_more }))
}

/// `GET /v1/organization/admin_api_keys/{id}`.
pub(crate) async fn key(
    State(app): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<AdminKey>, Rejection> {
    let asked = id.clone();
    let found = read(&app, move |journal, rules| {
        let key = rules.keys().iter().find(|key| key.id == asked);
        key.map(|key| admin_key(journal, key)).transpose()
    });
    found.await?.map(Json).ok_or_else(|| ApiError::NotFound { what: "key", id }.into())
}

/// `POST /v1/organization/admin_api_keys`.
pub(crate) async fn create_key() -> Rejection {
    Rejection(unchanging("made with `gptoss key new`"))
}

/// `DELETE /v1/organization/admin_api_keys/{id}`.
pub(crate) async fn delete_key() -> Rejection {
    Rejection(unchanging("revoked with `gptoss key revoke`"))
}

fn unchanging(how: &str) -> ApiError {
    let message = format!("keys stand in the file of the rules and are {how}; then send the server SIGHUP");
    ApiError::Invalid { param: None, message }
}

/// `GET /v1/organization/projects/{id}/rate_limits`.
pub(crate) async fn rate_limits(
    State(app): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<ProjectRateList>, Rejection> {
    let rules = governance(&app)?.rules();
    let rate = |key: &Key| ProjectRate {
        object: "project.rate_limit",
        id: format!("rl-{}", key.id),
        model: "*".to_owned(),
        max_requests_per_1_minute: key.limits.rpm.unwrap_or(UNLIMITED),
        max_tokens_per_1_minute: key.limits.tpm.unwrap_or(UNLIMITED),
    };
    let data: Vec<ProjectRate> = rules.keys().iter().filter(|key| key.name == id).map(rate).collect();
    if data.is_empty() {
        return Err(ApiError::NotFound { what: "project", id }.into());
    }
    let of = |rate: Option<&ProjectRate>| rate.map(|rate| rate.id.clone());
    let (first_id, last_id) = (of(data.first()), of(data.last()));
    Ok(Json(ProjectRateList { object: "list", data, first_id, last_id, has_more: false }))
}

fn admin_key(journal: &Journal, key: &Key) -> Result<AdminKey, JournalError> {
    let actors = [key.id.as_str()];
    let last = journal.entries(&EntryQuery {
        actors: &actors,
        newest_first: true,
        limit: 1,
        ..EntryQuery::default()
    })?;
    let created_at = key.created_at.unwrap_or(0);
    let role = if key.has(Scope::Admin) { "owner" } else { "member" };
    Ok(AdminKey {
        object: "organization.admin_api_key",
        id: key.id.clone(),
        name: key.name.clone(),
        redacted_value: format!("sk-gptoss-{}-***", key.id),
        created_at,
        expires_at: [key.expires_at, key.revoked_at].into_iter().flatten().min(),
        last_used_at: last.first().map(|record| seconds(record.at_ms)),
        owner: KeyOwner {
            kind: "service_account",
            object: "organization.service_account",
            id: key.name.clone(),
            name: key.name.clone(),
            created_at,
            role,
        },
        x_scopes: key.scopes.iter().map(|scope| scope.name()).collect(),
    })
}

/// The rules and their journal.
///
/// Errors: `NotOffered`, when there are none.
fn governance(app: &App) -> Result<&Arc<Governance>, ApiError> {
    let missing = || ApiError::NotOffered {
        path: "/v1/organization".to_owned(),
        why: "it is read from the journal of the operator's rules, and the server has none (--govern FILE).",
    };
    app.keys.governance().ok_or_else(missing)
}

/// Reads the journal when everything that came before is written.
async fn read<T: Send + 'static>(
    app: &App,
    work: impl FnOnce(&Journal, &Rules) -> Result<T, JournalError> + Send + 'static,
) -> Result<T, ApiError> {
    let governance = Arc::clone(governance(app)?);
    governance.flush().await;
    let work = move || {
        let rules = governance.rules();
        work(governance.journal(), &rules).map_err(|error| ApiError::State { problem: error.to_string() })
    };
    let failed = |error: tokio::task::JoinError| ApiError::Internal { problem: error.to_string() };
    tokio::task::spawn_blocking(work).await.map_err(failed)?
}

fn millis(seconds: u64) -> i64 {
    i64::try_from(seconds.saturating_mul(1000)).unwrap_or(i64::MAX)
}

fn seconds(millis: i64) -> u64 {
    millis.div_euclid(1000).max(0).unsigned_abs()
}
