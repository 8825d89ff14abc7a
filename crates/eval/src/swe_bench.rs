//! SWE-bench: a patch of a repository, by what the tests say with it.
//!
//! Two lists of tests come with an issue: those that a right patch makes pass, and those that pass before it
//! and have to go on doing so. A patch is right when all of the first pass and none of the second fails; a
//! test that the log does not name has failed. **Source**: `swebench/harness/grading.py` of 5.0.2 and its
//! readers of pytest's and of Django's logs.

use std::collections::BTreeMap;

use crate::{Figure, Judgement, Judges, Outcome, Part, PatchKey, Response, TestStatus, TestsEnd};

/// The rule of a patch that is right.
const RESOLVED: &str = "resolved";
/// What is told of a patch whose tests did not pass. Units: characters.
const DETAIL_CHARS_MAX: usize = 1000;
/// Files of a patch of tests that hold no tests, by the ends of their names.
const NO_TESTS: [&str; 11] =
    [".json", ".png", ".csv", ".txt", ".md", ".jpg", ".jpeg", ".pkl", ".yml", ".yaml", ".toml"];

/// Whose words a log is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TestLog {
    /// Those of `pytest -rA`.
    #[default]
    Pytest,
    /// Those of `python -m unittest -v`, which are Django's too.
    Unittest,
}

impl TestLog {
    /// What became of each test, by its name in the log. Of a test that is named twice the last counts.
    pub fn read(self, log: &str) -> BTreeMap<String, TestStatus> {
        match self {
            TestLog::Pytest => log.lines().filter_map(pytest_line).collect(),
            TestLog::Unittest => unittest(log),
        }
    }
}

/// `PASSED tests/test_a.py::test_b`, `FAILED tests/test_a.py::test_b - AssertionError`.
fn pytest_line(line: &str) -> Option<(String, TestStatus)> {
    let mut words = line.split_whitespace();
    let status = match words.next().filter(|word| line.starts_with(word))? {
        "PASSED" | "XFAIL" => TestStatus::Passed,
        "FAILED" | "ERROR" => TestStatus::Failed,
        "SKIPPED" => TestStatus::Skipped,
        _ => return None,
    };
    let name = words.find(|word| *word != "-" || status != TestStatus::Failed)?;
    // How many were skipped for one reason, and no name.
    let number = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or_default();
    let is_count = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    (status != TestStatus::Skipped || !is_count).then(|| (name.to_owned(), status))
}

/// `test_b (tests.A.test_b) ... ok`, which a test may say on a line of its own.
fn unittest(log: &str) -> BTreeMap<String, TestStatus> {
    let mut statuses = BTreeMap::new();
    let mut begun = None;
    for line in log.lines().map(str::trim) {
        if let Some((name, _)) = line.split_once(" ... ") {
            begun = Some(name);
        }
        let passed = [" ... ok", " ... OK", " ...  OK"].iter().find_map(|end| line.strip_suffix(end));
        let second = |head: &str| line.strip_prefix(head)?.split_whitespace().next();
        let before =
            |end: &str| line.ends_with(end).then(|| line.split_once(end)).flatten().map(|(name, _)| name);
        let found = [
            (passed, TestStatus::Passed),
            (line.split_once(" ... skipped").map(|(name, _)| name), TestStatus::Skipped),
            (before(" ... FAIL"), TestStatus::Failed),
            (second("FAIL:"), TestStatus::Failed),
            (before(" ... ERROR"), TestStatus::Failed),
            (second("ERROR:"), TestStatus::Failed),
            (begun.filter(|_| line.starts_with("ok")), TestStatus::Passed),
        ];
        let found = found.into_iter().filter_map(|(name, status)| Some((name?.to_owned(), status)));
        statuses.extend(found);
    }
    statuses
}

/// The files of a patch, as they are called behind it.
pub fn files_of(patch: &str) -> Vec<&str> {
    let file =
        |line: &'_ str| -> Option<usize> { line.starts_with("diff --git a/").then_some(line.rfind(" b/")?) };
    patch.lines().filter_map(|line| file(line).map(|at| &line[at + 3..])).collect()
}

/// The files of a patch of tests that a runner of tests is to be given.
pub fn test_files(patch: &str) -> Vec<&str> {
    let holds_tests = |file: &&str| !NO_TESTS.iter().any(|end| file.ends_with(end));
    files_of(patch).into_iter().filter(holds_tests).collect()
}

/// Holds a patch to its tests.
pub fn judge(key: &PatchKey, response: &Response, judges: &Judges<'_>) -> Judgement {
    let Some(test) = judges.test else {
        return Judgement::error("tests are not run here: say where the repositories are");
    };
    let patch = &response.response;
    if patch.trim().is_empty() {
        return Judgement::without(Outcome::NoAnswer);
    }
    match test(key, patch) {
        TestsEnd::NotRun(why) => Judgement::error(why),
        TestsEnd::NoPatch(why) => {
            Judgement { detail: Some(last(&why)), ..Judgement::found(patch, false, "does not apply") }
        }
        TestsEnd::Ran { statuses, code, log } => judged(key, patch, (&statuses, code), &log),
    }
}

fn judged(
    key: &PatchKey,
    patch: &str,
    (statuses, code): (&BTreeMap<String, TestStatus>, Option<i32>),
    log: &str,
) -> Judgement {
    // A patch can say that tests passed; a command that fails and tells of no failure is not believed.
    let is_odd = code != Some(0) && !statuses.values().any(|status| *status == TestStatus::Failed);
    let why_void = match code {
        None => Some("out of time"),
        Some(_) if statuses.is_empty() => Some("no test ran"),
        Some(_) if is_odd => Some("ends in failure without one"),
        Some(_) => None,
    };
    let seen = |name: &String| status(statuses, name).filter(|_| why_void.is_none());
    let part = |name: &String, passed: bool| Part { name: name.clone(), passed };
    let to_pass: Vec<Part> =
        key.fail_to_pass.iter().map(|name| part(name, seen(name) == Some(TestStatus::Passed))).collect();
    // What is skipped now is not broken.
    let is_kept = |name| matches!(seen(name), Some(TestStatus::Passed | TestStatus::Skipped));
    let to_keep: Vec<Part> = key.pass_to_pass.iter().map(|name| part(name, is_kept(name))).collect();
    let figure = |name: &'static str, parts: &[Part]| Figure {
        name: name.into(),
        value: parts.iter().filter(|part| part.passed).count() as f64,
        of: parts.len() as f64,
    };
    let figures = vec![figure("fail_to_pass", &to_pass), figure("pass_to_pass", &to_keep)];
    let all = |parts: &[Part]| parts.iter().all(|part| part.passed);
    let rule = why_void.unwrap_or(match (all(&to_pass), all(&to_keep)) {
        (true, true) => RESOLVED,
        (true, false) => "breaks tests",
        (false, _) => "not resolved",
    });
    let is_right = rule == RESOLVED;
    let parts = to_pass.into_iter().chain(to_keep).collect();
    let detail = (!is_right).then(|| last(log));
    Judgement { parts, figures, detail, ..Judgement::found(patch, is_right, rule) }
}

/// What became of a test. Names that the published lists cut within their brackets are those of all tests
/// that begin so, where these went alike.
fn status(statuses: &BTreeMap<String, TestStatus>, name: &str) -> Option<TestStatus> {
    if let Some(status) = statuses.get(name) {
        return Some(*status);
    }
    let count = |bracket: char| name.chars().filter(|c| *c == bracket).count();
    if count('[') <= count(']') {
        return None;
    }
    let mut alike = statuses.range(name.to_owned()..).take_while(|(other, _)| other.starts_with(name));
    let (_, first) = alike.next()?;
    let is_passed = |status: &TestStatus| *status == TestStatus::Passed;
    alike.all(|(_, status)| is_passed(status) == is_passed(first)).then_some(*first)
}

fn last(text: &str) -> String {
    let text = text.trim_end();
    let from = text.char_indices().rev().nth(DETAIL_CHARS_MAX - 1).map_or(0, |(at, _)| at);
    text[from..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    use TestStatus::{Failed, Passed, Skipped};

    fn statuses(pairs: &[(&str, TestStatus)]) -> BTreeMap<String, TestStatus> {
        pairs.iter().map(|(name, status)| ((*name).to_owned(), *status)).collect()
    }

    #[test]
    fn logs_of_pytest() {
        let log = "= short test summary info =\nPASSED tests/a.py::test_a[1 - 2]\nPASSED tests/a.py::test_b\n\
                   FAILED tests/a.py::test_c - AssertionError: no\nXFAIL tests/a.py::test_d - later\n\
                   SKIPPED [1] tests/a.py:3: not here\nSKIPPED tests/a.py::test_e\nERROR tests/b.py\nPASSED\n\
                   PASSED [100%]\n PASSED tests/c.py::test_a\n= 2 passed in 0.1s =\n";
        let expect = [
            ("[100%]", Passed),
            ("tests/a.py::test_a[1", Passed),
            ("tests/a.py::test_b", Passed),
            ("tests/a.py::test_c", Failed),
            ("tests/a.py::test_d", Passed),
            ("tests/a.py::test_e", Skipped),
            ("tests/b.py", Failed),
        ];
        assert_eq!(TestLog::Pytest.read(log), statuses(&expect));
    }

    #[test]
    fn logs_of_unittest() {
        let log = "test_a (t.A) ... ok\ntest_b (t.A) ... FAIL\ntest_c (t.A) ... skipped 'x'\n\
                   test_d (t.A) ... it says\nok\ntest_e (t.A) ... ERROR\nERROR: test_e (t.A)\nRan 5 tests\n";
        let expect = [
            ("test_a (t.A)", Passed),
            ("test_b (t.A)", Failed),
            ("test_c (t.A)", Skipped),
            ("test_d (t.A)", Passed),
            ("test_e", Failed),
            ("test_e (t.A)", Failed),
        ];
        assert_eq!(TestLog::Unittest.read(log), statuses(&expect));
    }

    #[test]
    fn a_name_that_was_cut_is_that_of_all_that_begin_so() {
        let seen =
            statuses(&[("t[a b]", Passed), ("t[a c]", Passed), ("t[b d]", Passed), ("t[b e]", Failed)]);
        assert_eq!(status(&seen, "t[a"), Some(Passed));
        assert_eq!(status(&seen, "t[b"), None);
        assert_eq!(status(&seen, "t"), None);
        assert_eq!(status(&seen, "t[b e]"), Some(Failed));
    }

    #[test]
    fn the_files_of_a_patch_of_tests() {
        let patch = "diff --git a/tests/t.py b/tests/t.py\n--- a/tests/t.py\n+++ b/tests/t.py\n@@ -1 +1 @@\n-a\n+b\n\
                     diff --git a/old name.py b/new name.py\ndiff --git a/data.json b/data.json\n";
        assert_eq!(files_of(patch), ["tests/t.py", "new name.py", "data.json"]);
        assert_eq!(test_files(patch), ["tests/t.py", "new name.py"]);
    }

    #[test]
    fn each_end_has_its_column() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let key =
            PatchKey { fail_to_pass: names(&["a"]), pass_to_pass: names(&["b", "c"]), ..PatchKey::default() };
        let judged = |patch: &str, end: TestsEnd| {
            let response = Response { response: patch.to_owned(), ..Response::default() };
            let test = |_: &PatchKey, _: &str| end.clone();
            judge(&key, &response, &Judges { test: Some(&test), ..Judges::default() })
        };
        let ran = |pairs: &[(&str, TestStatus)], code| TestsEnd::Ran {
            statuses: statuses(pairs),
            code,
            log: "log".to_owned(),
        };
        let all = [("a", Passed), ("b", Passed), ("c", Skipped)];
        let right = judged("p", ran(&all, Some(0)));
        assert_eq!((right.outcome, right.score, right.detail), (Outcome::Correct, 1.0, None));
        let other = [("a", Passed), ("b", Passed), ("c", Passed), ("d", Failed)];
        assert_eq!(judged("p", ran(&other, Some(1))).outcome, Outcome::Correct);
        for (pairs, code, rule) in [
            (&[("a", Passed), ("b", Passed)][..], Some(0), "breaks tests"),
            (&[("a", Passed), ("b", Passed), ("c", Failed)], Some(1), "breaks tests"),
            (&[("b", Passed), ("c", Passed)], Some(0), "not resolved"),
            (&[("a", Skipped), ("b", Passed), ("c", Passed)], Some(0), "not resolved"),
            (&all, Some(1), "ends in failure without one"),
            (&all, None, "out of time"),
            (&[], Some(2), "no test ran"),
        ] {
            let wrong = judged("p", ran(pairs, code));
            assert_eq!((wrong.outcome, wrong.rule.as_deref()), (Outcome::Wrong, Some(rule)), "{pairs:?}");
            assert_eq!(wrong.detail.as_deref(), Some("log"));
        }
        assert_eq!(judged(" \n", ran(&[], Some(0))).outcome, Outcome::NoAnswer);
        assert_eq!(judged("p", TestsEnd::NoPatch("why".into())).rule.as_deref(), Some("does not apply"));
        assert_eq!(judged("p", TestsEnd::NotRun("why".into())).outcome, Outcome::Error);
    }
}
