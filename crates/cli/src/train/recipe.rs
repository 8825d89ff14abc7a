//! Everything that decides the numbers of a run, but its data and its base.

use anyhow::Result;
use gptoss_checkpoint::ExpertFormat;
use gptoss_harmony::{Control, Vocab};
use gptoss_kernels::Pool;
use gptoss_train::{
    Course, LowRankTuning, Network, OptimizerSettings, RunIdentity, Schedule, Trained, Trainer, Tuning,
    Weights, base_checksum, data_checksum,
};
use serde_json::{Map, Value, json};

use crate::args::{SiteArg, TrainArgs};
use crate::failure::usage;
use crate::model_source::Opened;

use super::rows::Rows;

/// Learning rates of published recipes for gpt-oss.
const RATE_LOW_RANK: f64 = 2e-4;
const RATE_FULL: f64 = 2e-5;
/// A tenth, because pairs of answers are told apart long before a text is learned.
const RATE_OF_PAIRS: f64 = 0.1;
/// What a nat of a pair's margin counts, as the method's authors have it.
const BETA: f64 = 0.1;
/// What the uneven use of experts weighs where routers are trained on texts; the demo was trained with it.
const BALANCE: f64 = 0.01;
/// Texts from which one epoch is enough.
const TEXTS_ENOUGH: usize = 1000;
/// Epochs where there are fewer.
const EPOCHS_OF_FEW: u64 = 3;

/// Everything that decides the numbers of a run.
pub struct Recipe {
    /// What is trained.
    pub tuning: Tuning,
    /// Most rows that go through the model together.
    pub tokens: usize,
    /// The learning rate of every step.
    pub schedule: Schedule,
    /// The texts of every step.
    pub course: Course,
    /// Of the first pairs and of the order of texts.
    pub seed: u64,
    /// Where pairs of answers are learned: what a nat of a margin counts.
    pub beta: Option<f64>,
    /// What the uneven use of experts weighs, 0 for nothing.
    pub balance: f64,
    /// With quantization-aware training: the base's format of experts, and the share of the steps, the last
    /// ones, that see it.
    pub quantized: Option<(ExpertFormat, f64)>,
    alpha: f64,
    rank: usize,
    weight_decay: f64,
}

impl Recipe {
    /// Fills in what the user did not say.
    ///
    /// Errors: sites of which none holds anything, a beta where there are no pairs, a balance where there
    /// are, quantization-aware training of what cannot be merged.
    pub fn of(args: &TrainArgs, rows: &Rows, opened: &Opened, vocab: &Vocab) -> Result<Recipe> {
        let steps = &args.steps;
        let epochs = if rows.num_train() >= TEXTS_ENOUGH { 1 } else { EPOCHS_OF_FEW };
        let course = Course {
            texts: rows.conversations().to_vec(),
            epochs: steps.epochs.map_or(epochs, u64::from),
            batch: steps.batch as usize,
            seed: steps.seed,
            steps_max: steps.max_steps.map_or(u64::from(u32::MAX), u64::from),
        };
        if steps.beta.is_some() && !rows.are_pairs() {
            return Err(usage("--beta is for pairs of answers, and the rows are none"));
        }
        if args.tuning.balance.is_some() && rows.are_pairs() {
            return Err(usage("--balance is for texts, and the rows are pairs of answers"));
        }
        let is_tied = opened.checkpoint.config().tie_word_embeddings;
        let has_tokens = !args.tuning.full && args.tuning.sites.contains(&SiteArg::Tokens);
        if is_tied && has_tokens && args.tuning.qat.is_some() {
            return Err(usage(
                "--qat trains what a merge makes, and `tokens` cannot be merged into this model, whose embedding \
                 and head are one tensor\nleave `tokens` out of --sites, or do without --qat",
            ));
        }
        let beta = rows.are_pairs().then(|| steps.beta.unwrap_or(BETA));
        let rate = if args.tuning.full { RATE_FULL } else { RATE_LOW_RANK };
        let rate = steps.lr.unwrap_or(if beta.is_some() { RATE_OF_PAIRS * rate } else { rate });
        let schedule = Schedule::new(rate, course.steps());
        let warmup_steps = steps.warmup.map_or(schedule.warmup_steps, u64::from);
        Ok(Recipe {
            tuning: tuning(args, vocab)?,
            tokens: (steps.tokens as usize).min(opened.checkpoint.config().max_position_embeddings),
            schedule: Schedule { warmup_steps, ..schedule },
            course,
            seed: steps.seed,
            beta,
            balance: if args.tuning.full && beta.is_none() {
                args.tuning.balance.unwrap_or(BALANCE)
            } else {
                0.0
            },
            quantized: args.tuning.qat.map(|share| (opened.checkpoint.expert_format(), share)),
            alpha: args.tuning.alpha,
            rank: usize::from(args.tuning.rank),
            weight_decay: steps.weight_decay,
        })
    }

    /// What is trained of some weights, and the pass through them.
    pub fn network<'a>(&self, weights: &'a Weights) -> (Network<'a>, Trained) {
        let (mut network, trained) = weights.network(&self.tuning, self.seed);
        network.stored = self.quantized.map(|(format, _)| format);
        (network, trained)
    }

    /// Before the first step.
    pub fn trainer<'a>(&self, pool: &'a Pool, network: &'a Network<'a>, trained: Trained) -> Trainer<'a> {
        let steps = self.course.steps();
        let share = self.quantized.map_or(1.0, |(_, share)| share);
        Trainer::new(pool, network, trained, self.optimizer(), self.tokens)
            .with_balance(self.balance)
            .stored_from(steps_before(steps, share))
    }

    /// Whose states the run's are.
    ///
    /// Errors: the base's files.
    pub fn identity(&self, rows: &Rows, opened: &Opened) -> Result<RunIdentity> {
        Ok(RunIdentity {
            data: data_checksum(rows.train_texts().into_iter().chain(rows.valid_texts())),
            base: base_checksum(&opened.checkpoint)?,
            recipe: self.to_json(),
        })
    }

    /// How AdamW goes.
    pub fn optimizer(&self) -> OptimizerSettings {
        let weight_decay = self.weight_decay;
        OptimizerSettings { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay, norm_max: 1.0 }
    }

    /// All of it by name: what a state is compared with before a run goes on.
    pub fn to_json(&self) -> Map<String, Value> {
        let optimizer = self.optimizer();
        let mut recipe = json!({
            "learning_rate": self.schedule.peak,
            "learning_rate_end": self.schedule.floor,
            "warmup_steps": self.schedule.warmup_steps,
            "texts": self.course.num_texts(),
            "steps": self.course.steps(),
            "epochs": self.course.epochs,
            "batch": self.course.batch,
            "tokens": self.tokens,
            "seed": self.seed,
            "beta1": optimizer.beta1,
            "beta2": optimizer.beta2,
            "eps": optimizer.eps,
            "weight_decay": optimizer.weight_decay,
            "clip": optimizer.norm_max,
        });
        // States from before texts of a conversation came together had another order of them.
        if self.course.texts.iter().any(|texts| *texts > 1) {
            recipe["conversations"] = json!(self.course.texts.len());
        }
        if let Some(beta) = self.beta {
            recipe["beta"] = json!(beta);
        }
        if let Some((format, share)) = self.quantized {
            recipe["quantization_aware"] = json!(format.name());
            recipe["quantization_aware_share"] = json!(share);
        }
        match &self.tuning {
            Tuning::Full => {
                recipe["method"] = json!("full");
                // States from before there was one have none, and go on with 0.
                if self.balance != 0.0 {
                    recipe["balance"] = json!(self.balance);
                }
            }
            Tuning::LowRank(tuning) => {
                recipe["method"] = json!("lora");
                recipe["rank"] = json!(self.rank);
                recipe["alpha"] = json!(self.alpha);
                recipe["attention_rank"] = json!(tuning.attention_rank);
                recipe["expert_rank"] = json!(tuning.expert_rank);
                recipe["token_rows"] = json!(tuning.tokens);
            }
        }
        recipe.as_object().cloned().unwrap_or_default()
    }
}

/// The steps that see the weights as they are, before a share of all that does not: at least one is left.
fn steps_before(steps: u64, share: f64) -> u64 {
    steps.saturating_sub((steps as f64 * share).ceil() as u64)
}

fn tuning(args: &TrainArgs, vocab: &Vocab) -> Result<Tuning> {
    if args.tuning.full {
        return Ok(Tuning::Full);
    }
    let (sites, rank) = (&args.tuning.sites, usize::from(args.tuning.rank));
    let is_site = |site: SiteArg| sites.contains(&site);
    if args.tuning.expert_rank.is_some() && !is_site(SiteArg::Experts) {
        return Err(usage("--expert-rank is the rank of the experts, which --sites leaves out"));
    }
    let mut tokens: Vec<u32> = match is_site(SiteArg::Tokens) {
        true => Control::ALL.map(|control| vocab.control(control)).to_vec(),
        false => Vec::new(),
    };
    tokens.sort_unstable();
    tokens.dedup();
    let expert_rank = args.tuning.expert_rank.map_or(rank, usize::from);
    Ok(Tuning::LowRank(LowRankTuning {
        attention_rank: is_site(SiteArg::Attention).then_some(rank),
        expert_rank: is_site(SiteArg::Experts).then_some(expert_rank),
        scale: (args.tuning.alpha / rank as f64) as f32,
        tokens,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_share_of_the_steps_is_a_step() {
        for (steps, share, before) in [(4, 1.0, 0), (4, 0.5, 2), (5, 0.5, 2), (3, 0.01, 2), (1, 1e-9, 0)] {
            assert_eq!(steps_before(steps, share), before, "{steps} {share}");
        }
    }
}
