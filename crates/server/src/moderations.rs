//! `POST /v1/moderations`: the operator's policies over texts, in OpenAI's form.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use gptoss_api::wire::moderations::{
    CATEGORIES, Moderations, ModerationsRequest, ModerationsResult, PolicyFinding,
};
use gptoss_api::{ApiError, moderations};
use gptoss_guard::{Finding, Report};

use crate::body::Body;
use crate::guarding::{Asked, DEFAULT, Judged};
use crate::ids;
use crate::keys::Caller;
use crate::rejection::Rejection;
use crate::state::Shared;

/// Bytes of a text that are charged as one token: what judges read and say beside it is the operator's.
const TOKEN_BYTES: usize = 4;

/// The handler.
pub(crate) async fn create(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(request): Body<ModerationsRequest>,
) -> Result<Json<Moderations>, Rejection> {
    let why = "this server has no policies; its operator can start it with --guard";
    let guarding =
        app.guard.as_ref().ok_or_else(|| ApiError::NotOffered { path: "/v1/moderations".to_owned(), why })?;
    let texts = moderations::texts(&request)?;
    let policy = guarding.policy_of(request.model.as_deref(), "model")?;
    let entry = app.model(&caller, None)?;
    let model = request.model.unwrap_or_else(|| DEFAULT.to_owned());
    let whose = Judged {
        tenant: caller.tenant.clone(),
        is_background: caller.is_background,
        model: Some(app.lease(&caller, &entry).await?),
        asked: Arc::new(Asked { policy, ..Asked::default() }),
        // It is charged by its texts, below.
        bill: None,
        stays: caller.must_stay(),
    };
    let bytes = texts.iter().map(String::len).sum::<usize>();
    let (read, written) = (bytes / TOKEN_BYTES + 1, texts.len());
    if let Some(bill) = &caller.bill {
        bill.judges(&entry.served.name);
        bill.reserve_apart(read, Some(written)).await?;
    }
    let mut results = Vec::new();
    for text in texts {
        let report = guarding.score(&app.models, &text, &whose).await;
        if let Some(problem) = report.errors.first() {
            return Err(ApiError::Engine { problem: problem.clone() }.into());
        }
        results.push(result(report));
    }
    if let Some(bill) = &caller.bill {
        bill.computed(read, 0, written);
    }
    Ok(Json(Moderations { id: ids::random_dashed("modr"), model, results }))
}

/// What was found, with all of OpenAI's categories.
fn result(report: Report) -> ModerationsResult {
    let mut categories: BTreeMap<String, bool> = CATEGORIES.map(|name| (name.to_owned(), false)).into();
    let mut scores: BTreeMap<String, f64> = CATEGORIES.map(|name| (name.to_owned(), 0.0)).into();
    let flagged = report.is_flagged();
    let types = |name: &String| {
        let is_judged = report.scores.contains_key(name);
        (name.clone(), is_judged.then(|| "text".to_owned()).into_iter().collect())
    };
    categories.extend(report.flags);
    let category_applied_input_types = categories.keys().map(types).collect();
    scores.extend(report.scores);
    ModerationsResult {
        flagged,
        categories,
        category_scores: scores,
        category_applied_input_types,
        policies: report.findings.into_iter().map(told).collect(),
    }
}

fn told(finding: Finding) -> PolicyFinding {
    let Finding { name, score, verdict, .. } = finding;
    let (policy_category, rule_ids, confidence, rationale) = match verdict {
        Some(verdict) => (verdict.category, verdict.rule_ids, verdict.confidence, verdict.rationale),
        None => Default::default(),
    };
    PolicyFinding { policy: name, score, policy_category, rule_ids, confidence, rationale }
}
