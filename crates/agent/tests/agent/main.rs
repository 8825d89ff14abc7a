//! The loop with a scripted model: what it is told, what it does to files, and where it stops.

#[path = "../../../server/tests/api/scripted.rs"]
mod scripted;

mod bench;
mod browse;
mod repair;

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bench::{Bench, FINAL, call_of, patch_of};
use gptoss_agent::{Action, AgentEnd, AgentEvent, Budget, CallStatus, Decision, Ending, Host, Toolbox, run};
use gptoss_harmony::{FunctionTool, Message, Role};

const FIX: &str = "*** Update File: a.py\n-x = 1\n+x = 2";

fn approve(_: &Action) -> Decision {
    Decision::Approve
}

fn results(ending: &Ending) -> Vec<String> {
    ending.messages.iter().filter(|message| message.author.role == Role::Tool).map(Message::text).collect()
}

#[test]
fn a_patch_is_applied_and_the_turn_after_it_answers() {
    let bench = Bench::new(&[&patch_of(FIX), FINAL]);
    fs::write(bench.folder().join("a.py"), "x = 1\n").unwrap();
    let mut events = Vec::new();
    let ending = bench.run(Budget::default(), &mut approve, &mut |event| events.push(event));
    assert_eq!((ending.end, ending.answer.as_deref()), (AgentEnd::Answer, Some("Done.")));
    assert_eq!(fs::read_to_string(bench.folder().join("a.py")).unwrap(), "x = 2\n");
    let roles: Vec<Role> = ending.messages.iter().map(|message| message.author.role).collect();
    assert_eq!(roles, [Role::Assistant, Role::Tool, Role::Assistant]);
    assert_eq!(ending.messages[1].text(), "Done!");
    assert_eq!(ending.messages[1].author.name.as_deref(), Some("functions.apply_patch"));
    assert_eq!(ending.messages[1].channel.as_deref(), Some("commentary"));
    assert_eq!(ending.usage.steps, 2);
    let prompts = bench.prompts();
    assert_eq!(ending.usage.prompt_tokens, bench.prompt_tokens());
    assert!(prompts[0].contains("type apply_patch = (_: string) => any;"), "{}", prompts[0]);
    assert!(prompts[0].contains("*** Begin Patch") && prompts[0].contains("Repair it."), "{}", prompts[0]);
    assert!(
        prompts[1].contains(
            "<|start|>functions.apply_patch to=assistant<|channel|>commentary<|message|>Done!<|end|>"
        ),
        "{}",
        prompts[1]
    );
    let calls: Vec<&AgentEvent> = events
        .iter()
        .filter(|event| !matches!(event, AgentEvent::Turn(_) | AgentEvent::TurnEnded(_)))
        .collect();
    let [
        AgentEvent::TurnStarted,
        AgentEvent::CallStarted { number: 0, action },
        AgentEvent::CallEnded { number: 0, status, .. },
        AgentEvent::TurnStarted,
    ] = calls[..]
    else {
        panic!("{calls:?}")
    };
    assert_eq!(*status, CallStatus::Completed);
    assert!(
        matches!(action, Action::FileChange { changes, diff } if changes[0].0 == "a.py" && diff.contains("+x = 2"))
    );
}

#[test]
fn a_patch_that_does_not_fit_is_answered_and_nobody_is_asked() {
    let wrong = patch_of("*** Update File: a.py\n-y = 1\n+y = 2");
    let bench = Bench::new(&[&wrong, &call_of("apply_patch", "{}"), &patch_of(FIX), FINAL]);
    fs::write(bench.folder().join("a.py"), "x = 1\n").unwrap();
    let mut asked = 0;
    let mut approve = |_: &Action| {
        asked += 1;
        Decision::Approve
    };
    let ending = bench.run(Budget::default(), &mut approve, &mut |_| {});
    let results = results(&ending);
    assert!(results[0].contains("a.py") && results[0].contains("y = 1"), "{}", results[0]);
    assert!(results[1].contains("holds no patch"), "{}", results[1]);
    assert_eq!((results[2].as_str(), asked), ("Done!", 1));
}

#[test]
fn what_is_declined_is_not_done_and_the_model_reads_why() {
    let bench = Bench::new(&[&patch_of(FIX), FINAL]);
    fs::write(bench.folder().join("a.py"), "x = 1\n").unwrap();
    let mut events = Vec::new();
    let mut decline = |_: &Action| Decision::Decline { reason: "Not today.".to_owned() };
    let ending = bench.run(Budget::default(), &mut decline, &mut |event| events.push(event));
    assert_eq!(results(&ending), ["Not today."]);
    assert_eq!(fs::read_to_string(bench.folder().join("a.py")).unwrap(), "x = 1\n");
    assert!(!events.iter().any(|event| matches!(event, AgentEvent::CallStarted { .. })));
    assert!(
        events
            .iter()
            .any(|event| matches!(event, AgentEvent::CallEnded { status: CallStatus::Declined, .. }))
    );
}

#[test]
fn a_call_that_waits_for_approval_is_where_the_next_run_begins() {
    let bench = Bench::new(&[&patch_of(FIX), FINAL]);
    fs::write(bench.folder().join("a.py"), "x = 1\n").unwrap();
    let ending = bench.run(Budget::default(), &mut |_| Decision::Wait, &mut |_| {});
    assert!(matches!(&ending.end, AgentEnd::Approval(call) if call.name == "apply_patch"));
    assert_eq!(fs::read_to_string(bench.folder().join("a.py")).unwrap(), "x = 1\n");
    let mut task = bench.task(Budget::default());
    task.conversation.messages.extend(ending.messages);
    let ending = bench.run_task(task, &AtomicBool::new(false), &mut approve, &mut |_| {});
    assert_eq!((ending.end, ending.usage.steps), (AgentEnd::Answer, 1));
    assert_eq!(fs::read_to_string(bench.folder().join("a.py")).unwrap(), "x = 2\n");
}

#[test]
fn a_function_of_the_callers_is_given_back_and_the_run_goes_on_behind_its_result() {
    let bench = Bench::new(&[&call_of("look", "{\"key\":1}"), &patch_of(FIX), FINAL]);
    fs::write(bench.folder().join("a.py"), "x = 1\n").unwrap();
    let mut task = bench.task(Budget::default());
    let look = FunctionTool { name: "look".to_owned(), description: "Looks.".to_owned(), parameters: None };
    let developer = gptoss_harmony::DeveloperContent::default()
        .with_instructions("Be quick.")
        .with_function_tools(vec![look]);
    task.conversation.messages.insert(1, Message::developer(developer));
    let never = AtomicBool::new(false);
    let ending = bench.run_task(task.clone(), &never, &mut approve, &mut |_| {});
    let AgentEnd::Call(call) = &ending.end else { panic!("{:?}", ending.end) };
    assert_eq!((call.name.as_str(), call.arguments.as_str()), ("look", "{\"key\":1}"));
    assert!(bench.prompts()[0].contains("Be quick.\n\nEdit files"), "{}", bench.prompts()[0]);
    task.conversation.messages.extend(ending.messages);
    task.conversation.messages.push(Message::tool_result("functions.look", "{}"));
    let ending = bench.run_task(task, &never, &mut approve, &mut |_| {});
    assert_eq!(ending.end, AgentEnd::Answer);
}

#[test]
fn a_tool_that_is_not_there_is_answered() {
    let bench = Bench::new(&[&call_of("delete_everything", "{}"), FINAL]);
    let ending = bench.run(Budget::default(), &mut approve, &mut |_| {});
    assert_eq!(results(&ending), ["There is no tool delete_everything."]);
    assert_eq!(ending.end, AgentEnd::Answer);
}

#[test]
fn budgets_end_a_run_between_turns_and_within_them() {
    let again = call_of("nothing", "{}");
    let check = |budget: Budget, expected: AgentEnd, steps: usize| {
        let bench = Bench::new(&[&again]);
        let ending = bench.run(budget, &mut approve, &mut |_| {});
        assert_eq!((&ending.end, ending.usage.steps), (&expected, steps), "{budget:?}");
        assert_eq!(results(&ending).len(), steps.min(ending.messages.len() / 2));
    };
    check(Budget { steps_max: 3, ..Budget::default() }, AgentEnd::Steps, 3);
    check(Budget { steps_max: 0, ..Budget::default() }, AgentEnd::Steps, 0);
    check(Budget { time_max: Some(Duration::ZERO), ..Budget::default() }, AgentEnd::Time, 0);
    check(Budget { tokens_max: Some(4), ..Budget::default() }, AgentEnd::Tokens, 1);
    let bench = Bench::new(&[&again]);
    let ending = bench.run(Budget { tokens_max: Some(30), ..Budget::default() }, &mut approve, &mut |_| {});
    assert_eq!((ending.end, ending.usage.completion_tokens), (AgentEnd::Tokens, 30));
    assert!(ending.usage.steps > 1);
}

#[test]
fn a_cancel_ends_a_turn_in_its_middle() {
    let bench = Bench::slow(&[FINAL], Duration::from_millis(200));
    let cancel = AtomicBool::new(false);
    let begun = Instant::now();
    let mut on_event = |event| {
        if matches!(event, AgentEvent::TurnStarted) {
            cancel.store(true, Ordering::Relaxed);
        }
    };
    let ending = bench.run_task(bench.task(Budget::default()), &cancel, &mut approve, &mut on_event);
    assert_eq!(ending.end, AgentEnd::Cancelled);
    assert!(ending.answer.is_none(), "{begun:?}");
}

/// A server's threads may take turns at a run.
#[test]
fn a_run_can_move_between_threads() {
    fn is_send(_: &impl Send) {}
    let bench = Bench::new(&[FINAL]);
    let (toolbox, cancel) = (Toolbox::default(), AtomicBool::new(false));
    let host = Host { cancel: &cancel, on_event: |_| {}, approve };
    is_send(&run(bench.assistant(), &toolbox, bench.task(Budget::default()), host));
}
