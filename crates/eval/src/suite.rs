//! The items of a benchmark, made of a file's rows by a recipe.

mod checked;
mod choice;
mod graded;
mod mathematics;
mod refusal;

use std::collections::HashSet;

use crate::key::LetterRule;
use crate::part::ItemPart;
use crate::random::PythonRandom;
use crate::row::{IDS, Row, column, text};
use crate::{Error, Item, Recipe, Spec, Task};

/// Most items, repeats counted.
pub const ITEMS_MAX: usize = 2_000_000;

/// What a suite is made with.
#[derive(Debug, Clone, Default)]
pub struct SuiteOptions {
    /// Whose prompts and permutations.
    pub recipe: Recipe,
    /// How often each row is asked; 0 is once.
    pub repeats: u32,
    /// Most rows; they are drawn as the recipe's reference draws them.
    pub limit: Option<usize>,
    /// Another rule for letters than the task's.
    pub letter_rule: Option<LetterRule>,
    /// Numbers count after the official mark alone.
    pub strict_number: bool,
    /// Rows whose worked answers stand before each question of MMLU-Pro, five of its category.
    pub shots: Vec<Row>,
    /// A grader's prompt in the place of ours.
    pub grader_prompt: Option<String>,
}

/// The items of a benchmark.
#[derive(Debug, Clone)]
pub struct Suite {
    /// Which benchmark.
    pub task: Task,
    /// Its name, or a specification's.
    pub name: String,
    /// Whose prompts.
    pub recipe: Recipe,
    /// Rows that are asked.
    pub num_rows: usize,
    /// How often each.
    pub repeats: u32,
    /// One repeat of all rows after the other.
    pub items: Vec<Item>,
    /// What its reader should know of the file.
    pub notes: Vec<String>,
    /// The file's own ids where they are not the items', as they are not all different.
    pub file_ids: Vec<String>,
}

impl Suite {
    /// The suite of a named task.
    ///
    /// Errors: a row lacks what the task needs; there are too many.
    pub fn new(task: Task, rows: Vec<Row>, options: &SuiteOptions) -> Result<Suite, Error> {
        let rows = if task == Task::Bfcl { checked::join_wanted(rows) } else { rows };
        Suite::build(task, task.name().to_owned(), rows, options, |maker, row, random| match task {
            Task::Mmlu => choice::mmlu(maker, row),
            Task::MmluPro => choice::mmlu_pro(maker, row),
            Task::Gpqa => choice::gpqa(maker, row, random),
            Task::Aime => mathematics::aime(maker, row, random),
            Task::Gsm8k => mathematics::gsm8k(maker, row),
            Task::SimpleQa => graded::simple_qa(maker, row),
            Task::HealthBench => graded::health_bench(maker, row),
            Task::XsTest => refusal::xs_test(row),
            Task::HumanEval => checked::human_eval(row),
            Task::IfEval => checked::if_eval(row),
            Task::Bfcl => checked::bfcl(row),
            Task::SweBench => checked::swe_bench(row),
            Task::Own => Err(format!("{task} has no reader of rows here")),
        })
    }

    /// The suite of a specification of one's own.
    ///
    /// Errors: as [`Suite::new`].
    pub fn own(spec: &Spec, rows: Vec<Row>, options: &SuiteOptions) -> Result<Suite, Error> {
        Suite::build(Task::Own, spec.name.clone(), rows, options, |_, row, _| spec.part(row))
    }

    fn build(
        task: Task,
        name: String,
        rows: Vec<Row>,
        options: &SuiteOptions,
        part: impl Fn(&Maker<'_>, &Row, &mut PythonRandom) -> Result<ItemPart, String>,
    ) -> Result<Suite, Error> {
        let repeats = options.repeats.max(1);
        let (ids, file_ids) = ids(&rows);
        let mut notes = Vec::new();
        if !file_ids.is_empty() {
            notes.push(
                "ids are the numbers of the rows, from 0: those of the file are not all different".to_owned(),
            );
        }
        let mut numbered: Vec<(usize, Row)> = rows.into_iter().enumerate().collect();
        let mut random = PythonRandom::new(0);
        if let Some(limit) = options.limit.filter(|limit| *limit < numbered.len()) {
            let chosen = match options.recipe {
                Recipe::Mlperf => (0..limit).collect(),
                _ => random.sample(numbered.len(), limit),
            };
            numbered = chosen.into_iter().map(|index| numbered[index].clone()).collect();
        }
        if numbered.len().saturating_mul(repeats as usize) > ITEMS_MAX {
            return Err(Error::Unreadable(format!(
                "{} rows asked {repeats} times are more than {ITEMS_MAX} items",
                numbered.len()
            )));
        }
        let maker = Maker { options, records_first: is_local_run(task, numbered.first()) };
        if maker.records_first {
            notes.push("rows hold `generated_text`: letters are found by MMLU-Pro's first pattern alone, as its local runs are scored".to_owned());
        }
        let mut items = Vec::with_capacity(numbered.len() * repeats as usize);
        for repeat in 0..repeats {
            for (number, row) in &numbered {
                let part = part(&maker, row, &mut random)
                    .map_err(|message| Error::Row { row: number + 1, message })?;
                items.push(Item {
                    id: ids[*number].clone(),
                    repeat,
                    group: part.group,
                    question: part.question,
                    ask: part.ask,
                    key: part.key,
                });
            }
        }
        Ok(Suite {
            task,
            name,
            recipe: options.recipe,
            num_rows: numbered.len(),
            repeats,
            items,
            notes,
            file_ids,
        })
    }
}

/// What items are made with.
struct Maker<'a> {
    options: &'a SuiteOptions,
    /// Rows are a run of MMLU-Pro's local script.
    records_first: bool,
}

impl Maker<'_> {
    fn letter_rule(&self, own: LetterRule) -> LetterRule {
        self.options.letter_rule.unwrap_or(if self.records_first { LetterRule::MmluProFirst } else { own })
    }
}

fn is_local_run(task: Task, first: Option<&(usize, Row)>) -> bool {
    task == Task::MmluPro && first.is_some_and(|(_, row)| column(row, &["generated_text"]).is_some())
}

/// The rows' own ids, or their numbers where those are not all different; then also those of the file.
fn ids(rows: &[Row]) -> (Vec<String>, Vec<String>) {
    let ids: Vec<String> = rows.iter().map(|row| text(row, &IDS).unwrap_or_default()).collect();
    let distinct: HashSet<&String> = ids.iter().filter(|id| !id.is_empty()).collect();
    if distinct.len() == ids.len() {
        return (ids, Vec::new());
    }
    let numbers = (0..rows.len()).map(|number| number.to_string()).collect();
    let has_ids = !distinct.is_empty();
    (numbers, if has_ids { ids } else { Vec::new() })
}

/// A text that the row must have.
fn needed(row: &Row, names: &[&str]) -> Result<String, String> {
    text(row, names).ok_or_else(|| {
        let there: Vec<&str> = row.keys().map(String::as_str).take(12).collect();
        format!("it has no column `{}`; it has {}", names.join("` or `"), there.join(", "))
    })
}

#[cfg(test)]
mod tests;
