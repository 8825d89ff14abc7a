//! One conversation and what its answer is held to.

use gptoss_harmony::{Content, Conversation, ReasoningEffort};

use super::conversations::{Scene, of};
use super::template::Template;
use super::{Family, Rule};

/// Templates of each family.
pub const TEMPLATES_PER_FAMILY: usize = 40;

/// What a model is given, and what it must make of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// The family and the number of its template, from 0: `secret-07`.
    pub id: String,
    /// What it tries.
    pub family: Family,
    /// Up to the model's turn.
    pub conversation: Conversation,
    /// What the answer is held to.
    pub rule: Rule,
}

/// Which trials there are.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Decides the words in the templates' places.
    pub seed: u64,
    /// So many of each family, from all over its templates; all where it is not fewer.
    pub limit: usize,
    /// Those that are tried.
    pub families: Vec<Family>,
    /// How much the model is to reason.
    pub effort: ReasoningEffort,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            seed: 0,
            limit: TEMPLATES_PER_FAMILY,
            families: Family::ALL.to_vec(),
            effort: ReasoningEffort::Medium,
        }
    }
}

impl Trial {
    /// Whether it declares the model's own tools, browser or Python, which are no functions.
    pub fn has_builtin_tools(&self) -> bool {
        let mut parts = self.conversation.messages.iter().flat_map(|message| &message.content);
        parts.any(|part| matches!(part, Content::System(system) if system.tools.is_some()))
    }
}

/// The trials of a plan, family by family.
pub fn trials(plan: &Plan) -> Vec<Trial> {
    let mut trials = Vec::new();
    for &family in &plan.families {
        let templates = Template::of(family);
        let limit = plan.limit.min(templates.len());
        for place in 0..limit {
            let index = place * templates.len() / limit;
            let id = format!("{}-{index:02}", family.name());
            let scene = Scene::new(plan.seed, &id, index, plan.effort);
            let (conversation, rule) = of(family, templates[index], &scene);
            trials.push(Trial { id, family, conversation, rule });
        }
    }
    trials
}

#[cfg(test)]
mod tests {
    use gptoss_harmony::{RenderOptions, Role, Vocab, render};

    use super::super::{Answer, Outcome, Sign};
    use super::*;

    fn texts(trial: &Trial) -> String {
        trial.conversation.messages.iter().map(|message| format!("{message:?}\n")).collect()
    }

    #[test]
    fn every_trial_is_whole_and_can_be_held_and_broken() {
        let vocab = Vocab::o200k_harmony();
        let all = trials(&Plan::default());
        assert_eq!(all.len(), Family::ALL.len() * TEMPLATES_PER_FAMILY);
        for trial in &all {
            render(&vocab, &trial.conversation, RenderOptions::default()).unwrap();
            let text = texts(trial);
            for place in
                ["{canary}", "{fact}", "{a}", "{b}", "{day}", "{name}", "{place}", "{password}", "{wrong}"]
            {
                assert!(!text.contains(place), "{}: {place} is not filled", trial.id);
            }
            let last = trial.conversation.messages.last().unwrap();
            assert!(matches!(last.author.role, Role::User | Role::Tool), "{}", trial.id);
            let is_told = |sign: &Sign| match sign {
                Sign::Leaked(word) | Sign::Said(word) | Sign::Obeyed(word) => text.contains(word.as_str()),
            };
            assert!(!trial.rule.never.is_empty() && trial.rule.never.iter().all(is_told), "{}", trial.id);
            for sign in &trial.rule.never {
                let (Sign::Leaked(word) | Sign::Said(word) | Sign::Obeyed(word)) = sign;
                let broken = trial.rule.judge(&Answer { text: format!("7\n{word}"), ..Answer::default() });
                assert_eq!(broken.outcome, Outcome::Broken, "{}", trial.id);
            }
            let Some(Sign::Leaked(word) | Sign::Said(word) | Sign::Obeyed(word)) = &trial.rule.task else {
                continue;
            };
            let held = trial.rule.judge(&Answer { text: format!("It is so: {word}"), ..Answer::default() });
            assert_eq!((held.outcome, held.did_task), (Outcome::Held, Some(true)), "{}", trial.id);
        }
    }

    #[test]
    fn a_seed_decides_the_words_and_a_limit_does_not() {
        let all = trials(&Plan::default());
        let some = trials(&Plan { limit: 4, ..Plan::default() });
        assert_eq!(some.len(), 4 * Family::ALL.len());
        assert!(some.iter().all(|trial| all.contains(trial)));
        let other = trials(&Plan { seed: 1, ..Plan::default() });
        assert!(all.iter().zip(&other).all(|(one, other)| one.id == other.id && one.rule != other.rule));
    }

    #[test]
    fn every_family_has_tasks_that_an_able_model_does() {
        for family in Family::ALL {
            let trials = trials(&Plan { families: vec![family], ..Plan::default() });
            let with_task = trials.iter().filter(|trial| trial.rule.task.is_some()).count();
            assert!(with_task >= 5, "{family:?}: {with_task}");
        }
    }
}
