//! A request for a tuned model, read.

use crate::errors::ApiError;
use crate::generation::metadata::metadata;
use crate::limits::{SUFFIX_CHARS_MAX, TUNING_RANKS, TUNING_SEED_MAX, TUNING_TOKENS};
use crate::wire::fine_tuning::{
    AutoOr, Hyperparameters, TuningJob, TuningMethod, TuningMethodRequest, TuningOptions,
    TuningOptionsRequest, TuningRequest, TuningStatus,
};

use super::hyperparameters::checked;
use super::words::is_plain;

/// What may be trained of a model.
const SITES: [&str; 3] = ["attention", "experts", "tokens"];
/// What is trained of a model, unless a request says otherwise.
const USUAL_SITES: [&str; 2] = ["attention", "experts"];
/// Rank and scale of most recipes for gpt-oss.
const RANK: u32 = 8;
const ALPHA: f64 = 16.0;
/// Longest example, unless a request says otherwise. Units: tokens.
const TOKENS: u32 = 4096;

/// What the server gives a new job.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// Its id.
    pub id: String,
    /// The model's own name.
    pub model: String,
    /// Whose job it is.
    pub organization: String,
    /// The seed of a request that has none.
    pub seed: u32,
    /// Units: seconds since 1970.
    pub now: u64,
}

/// The job that a request makes, before its files are looked at.
///
/// Errors: by the name of the parameter.
pub fn job(request: TuningRequest, new: NewJob) -> Result<TuningJob, ApiError> {
    metadata(request.metadata.as_ref())?;
    let training_file = request.training_file.ok_or(ApiError::Missing { param: "training_file" })?;
    if request.integrations.is_some_and(|integrations| !integrations.is_empty()) {
        let why = "Nothing is sent to other services from here: read the job's events and its result file.";
        return Err(ApiError::unsupported("integrations", why));
    }
    let suffix = request.suffix.filter(|suffix| !suffix.is_empty());
    if suffix
        .as_deref()
        .is_some_and(|suffix| suffix.len() > SUFFIX_CHARS_MAX || !suffix.chars().all(is_plain))
    {
        let message = format!("suffix must be at most {SUFFIX_CHARS_MAX} letters, digits, '-', '_' and '.'");
        return Err(ApiError::invalid("suffix", message));
    }
    let seed = match request.seed {
        None => new.seed,
        Some(seed) => u32::try_from(seed)
            .ok()
            .filter(|seed| *seed <= TUNING_SEED_MAX)
            .ok_or_else(|| ApiError::invalid("seed", format!("seed must be from 0 to {TUNING_SEED_MAX}")))?,
    };
    let hyperparameters = hyperparameters(request.method, request.hyperparameters)?;
    Ok(TuningJob {
        id: new.id,
        object: "fine_tuning.job".to_owned(),
        created_at: new.now,
        error: None,
        estimated_finish: None,
        fine_tuned_model: None,
        finished_at: None,
        method: TuningMethod::of(hyperparameters.clone()),
        hyperparameters,
        integrations: None,
        metadata: request.metadata,
        model: new.model,
        organization_id: new.organization,
        result_files: Vec::new(),
        seed,
        status: TuningStatus::ValidatingFiles,
        trained_tokens: None,
        training_file,
        user_provided_suffix: suffix,
        validation_file: request.validation_file,
        gptoss: options(request.gptoss.unwrap_or_default())?,
    })
}

/// How is learned: with a beta by pairs of answers.
fn hyperparameters(
    said: Option<TuningMethodRequest>,
    older: Option<Hyperparameters>,
) -> Result<Hyperparameters, ApiError> {
    let said = said.unwrap_or_default();
    let is_dpo = match said.kind.as_deref() {
        None | Some("supervised") => false,
        Some("dpo") => true,
        Some("reinforcement") => {
            let why = "This server learns from examples, 'supervised' and 'dpo', and not by reinforcement.";
            return Err(ApiError::unsupported("method.type", why));
        }
        Some(_) => return Err(ApiError::invalid("method.type", "method.type must be supervised or dpo")),
    };
    if said.reinforcement.is_some_and(|reinforcement| !reinforcement.is_null()) {
        let why = "This server learns from examples, 'supervised' and 'dpo', alone.";
        return Err(ApiError::unsupported("method.reinforcement", why));
    }
    if is_dpo && said.supervised.is_some() {
        return Err(ApiError::invalid("method.supervised", "method.supervised does not belong to dpo"));
    }
    if !is_dpo && said.dpo.is_some() {
        return Err(ApiError::invalid("method.dpo", "method.dpo needs the method.type dpo"));
    }
    let (of_method, at) = match is_dpo {
        true => (said.dpo.and_then(|dpo| dpo.hyperparameters), "method.dpo.hyperparameters"),
        false => (
            said.supervised.and_then(|supervised| supervised.hyperparameters),
            "method.supervised.hyperparameters",
        ),
    };
    let hyperparameters = match of_method {
        Some(said) => checked(&said, at)?,
        None => checked(&older.unwrap_or_default(), "hyperparameters")?,
    };
    if !is_dpo && hyperparameters.beta.is_some() {
        return Err(ApiError::invalid(format!("{at}.beta"), "beta belongs to dpo"));
    }
    // What stands for dpo from here on.
    let or_auto = hyperparameters.beta.clone().or_else(|| Some(AutoOr::Word("auto".to_owned())));
    let beta = if is_dpo { or_auto } else { None };
    Ok(Hyperparameters { beta, ..hyperparameters })
}

fn options(said: TuningOptionsRequest) -> Result<TuningOptions, ApiError> {
    let within = |value: u32, param: &str, range: std::ops::RangeInclusive<u32>| {
        let (least, most) = (*range.start(), *range.end());
        let wrong = || ApiError::invalid(param, format!("{param} must be from {least} to {most}"));
        range.contains(&value).then_some(value).ok_or_else(wrong)
    };
    let rank = within(said.rank.unwrap_or(RANK), "gptoss.rank", TUNING_RANKS)?;
    let alpha = said.alpha.unwrap_or(ALPHA);
    if !(alpha > 0.0 && alpha.is_finite()) {
        return Err(ApiError::invalid("gptoss.alpha", "gptoss.alpha must be above 0"));
    }
    if said.qat.is_some_and(|share| share != 0.0) {
        let why = "Adapters are trained beside the experts as they are, and not for a merge into them.";
        return Err(ApiError::unsupported("gptoss.qat", why));
    }
    let sites = said.sites.unwrap_or_else(|| USUAL_SITES.map(str::to_owned).to_vec());
    if sites.is_empty() || sites.iter().any(|site| !SITES.contains(&site.as_str())) {
        let message = format!("gptoss.sites must be a list of {}", SITES.join(", "));
        return Err(ApiError::invalid("gptoss.sites", message));
    }
    Ok(TuningOptions {
        rank,
        alpha,
        sites,
        expert_rank: within(said.expert_rank.unwrap_or(rank), "gptoss.expert_rank", TUNING_RANKS)?,
        max_tokens: within(said.max_tokens.unwrap_or(TOKENS), "gptoss.max_tokens", TUNING_TOKENS)?,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The job of a request with these fields beside those that must be there.
    pub fn job(fields: &Value) -> Result<TuningJob, ApiError> {
        let mut body = json!({"model": "demo", "training_file": "file_1"});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let request = crate::body::parse(body.to_string().as_bytes())?;
        let new = NewJob {
            id: "ftjob-0123456789abcdef".into(),
            model: "demo".into(),
            organization: "a:team".into(),
            seed: 7,
            now: 5,
        };
        super::job(request, new)
    }

    #[test]
    fn what_is_not_said_is_chosen() {
        let made = serde_json::to_value(job(&json!({"suffix": "", "integrations": []})).unwrap()).unwrap();
        let auto = json!({"batch_size": "auto", "learning_rate_multiplier": "auto", "n_epochs": "auto"});
        assert_eq!(made["method"], json!({"type": "supervised", "supervised": {"hyperparameters": auto}}));
        assert_eq!((&made["hyperparameters"], &made["seed"]), (&auto, &json!(7)));
        assert_eq!(
            (&made["status"], &made["user_provided_suffix"]),
            (&json!("validating_files"), &Value::Null)
        );
        let expect = json!({
            "rank": 8, "alpha": 16.0, "sites": ["attention", "experts"], "expert_rank": 8,
            "max_tokens": 4096
        });
        assert_eq!(made["gptoss"], expect);
        let read: TuningJob = serde_json::from_value(made.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), made);
    }

    #[test]
    fn hyperparameters_stand_in_either_place() {
        let check = |fields: Value, expect: Value| {
            let made = serde_json::to_value(job(&fields).unwrap()).unwrap();
            assert_eq!(made["hyperparameters"]["n_epochs"], expect, "{fields}");
        };
        check(json!({"hyperparameters": {"n_epochs": 2}}), json!(2));
        let method = json!({"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 4}}});
        check(json!({"method": method}), json!(4));
        check(json!({"method": method, "hyperparameters": {"n_epochs": 2}}), json!(4));
        check(json!({"method": {"type": "supervised"}, "hyperparameters": {"n_epochs": 2}}), json!(2));
    }

    #[test]
    fn pairs_are_learned_by_a_beta() {
        let check = |hyperparameters: Value, beta: Value| {
            let method = json!({"type": "dpo", "dpo": {"hyperparameters": hyperparameters}});
            let made = serde_json::to_value(job(&json!({"method": method})).unwrap()).unwrap();
            assert_eq!(made["method"]["dpo"]["hyperparameters"]["beta"], beta, "{made}");
            assert_eq!((&made["hyperparameters"]["beta"], &made["method"]["type"]), (&beta, &json!("dpo")));
            assert!(made["method"].get("supervised").is_none(), "{made}");
            let read: TuningJob = serde_json::from_value(made.clone()).unwrap();
            assert_eq!(serde_json::to_value(read).unwrap(), made);
        };
        check(json!({"beta": 0.3, "n_epochs": 2}), json!(0.3));
        check(json!({"beta": "auto"}), json!("auto"));
        check(Value::Null, json!("auto"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let check = |fields: Value, param: &str, code: &str| {
            let error = job(&fields).unwrap_err().body().error;
            assert_eq!(
                (error.param.as_deref(), error.code.as_deref()),
                (Some(param), Some(code)),
                "{fields}"
            );
        };
        let invalid = "invalid_value";
        check(json!({"training_file": null}), "training_file", "missing_required_parameter");
        check(json!({"suffix": "x".repeat(65)}), "suffix", invalid);
        check(json!({"suffix": "a:b"}), "suffix", invalid);
        check(json!({"suffix": "a/b"}), "suffix", invalid);
        check(json!({"seed": -1}), "seed", invalid);
        check(json!({"seed": 2_147_483_648_u64}), "seed", invalid);
        check(json!({"metadata": {"k": "v".repeat(513)}}), "metadata", invalid);
        check(json!({"integrations": [{"type": "wandb"}]}), "integrations", "unsupported_parameter");
        let reinforcement = "reinforcement";
        check(json!({"method": {"type": reinforcement}}), "method.type", "unsupported_parameter");
        check(json!({"method": {reinforcement: {}}}), "method.reinforcement", "unsupported_parameter");
        check(json!({"method": {"dpo": {}}}), "method.dpo", invalid);
        check(json!({"method": {"type": "dpo", "supervised": {}}}), "method.supervised", invalid);
        let method = json!({"type": "dpo", "dpo": {"hyperparameters": {"beta": 3}}});
        check(json!({"method": method}), "method.dpo.hyperparameters.beta", invalid);
        let method = json!({"supervised": {"hyperparameters": {"beta": 0.1}}});
        check(json!({"method": method}), "method.supervised.hyperparameters.beta", invalid);
        check(json!({"method": {"type": "other"}}), "method.type", invalid);
        let method = json!({"supervised": {"hyperparameters": {"n_epochs": 0}}});
        check(json!({"method": method}), "method.supervised.hyperparameters.n_epochs", invalid);
        check(json!({"hyperparameters": {"n_epochs": 0}}), "hyperparameters.n_epochs", invalid);
        check(json!({"hyperparameters": {"n_epochs": []}}), "hyperparameters.n_epochs", invalid);
        for (field, value) in [
            ("rank", json!(0)),
            ("rank", json!(1025)),
            ("expert_rank", json!(0)),
            ("alpha", json!(0)),
            ("sites", json!([])),
            ("sites", json!(["router"])),
            ("max_tokens", json!(1)),
            ("rank", json!("eight")),
        ] {
            check(json!({"gptoss": {field: value}}), &format!("gptoss.{field}"), invalid);
        }
        check(json!({"gptoss": {"qat": 0.2}}), "gptoss.qat", "unsupported_parameter");
        assert!(job(&json!({"gptoss": {"qat": 0}})).is_ok());
        assert!(job(&json!({"seed": 2_147_483_647, "suffix": "x".repeat(64)})).is_ok());
        assert_eq!(job(&json!({"gptoss": {"rank": 4}})).unwrap().gptoss.expert_rank, 4);
    }
}
