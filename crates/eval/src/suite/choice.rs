//! Items whose answer is the letter of a choice: MMLU, MMLU-Pro, GPQA.

use super::{ItemPart, Maker, needed};
use crate::choices::{LETTERS, letter_key, lettered, options};
use crate::key::{LetterKey, LetterRule};
use crate::random::PythonRandom;
use crate::row::{Row, column, text};
use crate::{Ask, Key, Recipe};

/// Worked answers before a question of MMLU-Pro.
const SHOTS: usize = 5;

/// A row of MMLU in any of its three forms.
pub fn mmlu(maker: &Maker<'_>, row: &Row) -> Result<ItemPart, String> {
    let question = needed(row, &["question"])?;
    let options = options(row)?;
    let key = letter_key(row, options, maker.letter_rule(LetterRule::SimpleEvals))?;
    let ask = Ask::user(simple_evals_prompt(&question, &key.options));
    Ok(ItemPart { group: text(row, &["subject", "category"]), question, ask, key: Key::Letter(key) })
}

/// A row of MMLU-Pro, also one of its recorded runs.
pub fn mmlu_pro(maker: &Maker<'_>, row: &Row) -> Result<ItemPart, String> {
    let question = needed(row, &["question"])?;
    let key = letter_key(row, mmlu_pro_options(row)?, maker.letter_rule(LetterRule::MmluPro))?;
    let category = text(row, &["category", "subject"]);
    let mut prompt = format!(
        "The following are multiple choice questions (with answers) about {}. Think step by step and then finish \
         your answer with \"the answer is (X)\" where X is the correct letter choice.\n\n",
        category.as_deref().unwrap_or("various subjects")
    );
    let is_of_category = |shot: &&Row| text(shot, &["category", "subject"]) == category;
    for shot in maker.options.shots.iter().filter(is_of_category).take(SHOTS) {
        let worked = needed(shot, &["cot_content"])?;
        let worked = worked.replace("A: Let's think step by step.", "Answer: Let's think step by step.");
        let options = mmlu_pro_options(shot)?;
        prompt
            .push_str(&format!("{}{worked}\n\n", mmlu_pro_question(&needed(shot, &["question"])?, &options)));
    }
    prompt.push_str(&mmlu_pro_question(&question, &key.options));
    prompt.push_str("Answer: Let's think step by step.");
    Ok(ItemPart { group: category, question, ask: Ask::user(prompt), key: Key::Letter(key) })
}

/// A row's choices without those that only fill up to ten.
fn mmlu_pro_options(row: &Row) -> Result<Vec<String>, String> {
    Ok(options(row)?.into_iter().filter(|option| option != "N/A").collect())
}

fn mmlu_pro_question(question: &str, options: &[String]) -> String {
    let options: String = lettered(options).map(|(letter, option)| format!("{letter}. {option}\n")).collect();
    format!("Question:\n{question}\nOptions:\n{options}")
}

/// A row of GPQA; its choices stand in a permutation that is drawn for each repeat.
pub fn gpqa(maker: &Maker<'_>, row: &Row, random: &mut PythonRandom) -> Result<ItemPart, String> {
    let group = text(row, &["high_level_domain", "subdomain"]);
    let question = needed(row, &["question", "problem"])?;
    let rule = maker.letter_rule(match maker.options.recipe {
        Recipe::GptOss => LetterRule::Abcd,
        Recipe::SimpleEvals => LetterRule::SimpleEvalsGpqa,
        Recipe::Mlperf => LetterRule::Mlperf,
    });
    let right = ["correct_answer"];
    if text(row, &right).is_none() && column(row, &["options", "choices", "a"]).is_some() {
        // A file whose choices stand in an order already.
        let key = letter_key(row, options(row)?, rule)?;
        let ask = Ask::user(gpqa_prompt(maker.options.recipe, &question, &key.options));
        return Ok(ItemPart { group, question, ask, key: Key::Letter(key) });
    }
    let right = needed(row, &right)?;
    let mut choices = vec![right.clone()];
    for number in 1..=3 {
        choices.push(needed(row, &[&format!("incorrect_answer_{number}")])?);
    }
    let permuted: Vec<String> = random.sample(4, 4).into_iter().map(|place| choices[place].clone()).collect();
    // The first that equals the right one, as the references look for it.
    let place = permuted.iter().position(|choice| *choice == right).unwrap_or_default();
    let ask = Ask::user(gpqa_prompt(maker.options.recipe, &question, &permuted));
    let key = LetterKey { answer: char::from(LETTERS[place]), options: permuted, rule };
    Ok(ItemPart { group, question, ask, key: Key::Letter(key) })
}

fn gpqa_prompt(recipe: Recipe, question: &str, options: &[String]) -> String {
    if recipe == Recipe::SimpleEvals {
        return simple_evals_prompt(question, options);
    }
    let options: Vec<String> =
        lettered(options).map(|(letter, option)| format!("({letter}) {option}")).collect();
    format!(
        "{question}\n\n{}\n\nExpress your final answer as the corresponding option 'A', 'B', 'C', or 'D'.",
        options.join("\n")
    )
}

fn simple_evals_prompt(question: &str, options: &[String]) -> String {
    let letters: String = lettered(options).map(|(letter, _)| letter).collect();
    let options: Vec<String> =
        lettered(options).map(|(letter, option)| format!("{letter}) {option}")).collect();
    format!(
        "Answer the following multiple choice question. The last line of your response should be of the following \
         format: 'Answer: $LETTER' (without quotes) where LETTER is one of {letters}. Think step by step before \
         answering.\n\n{question}\n\n{}",
        options.join("\n")
    )
}
