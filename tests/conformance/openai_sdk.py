"""The official SDK on every method, streaming and not, `.parse()` and `.stream()` included."""

import json
import pathlib
import tempfile
import time

import openai
import pydantic

import servers

QUESTION = [{"role": "user", "content": "What is 27 + 58?"}]
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}
CHAT_TOOL = {"type": "function", "function": {"name": "get_weather", "description": "Weather.", "parameters": WEATHER, "strict": True}}
TOOL = {"type": "function", "name": "get_weather", "description": "Weather.", "parameters": WEATHER, "strict": True}


class Sum(pydantic.BaseModel):
    result: int
    how: str


def client(base):
    return openai.OpenAI(base_url=base + "/v1", api_key="none", max_retries=0, timeout=120)


def check_models():
    with servers.demo() as base:
        sdk = client(base)
        assert [model.id for model in sdk.models.list()] == ["demo"]
        assert sdk.models.retrieve("demo").id == "demo"
        try:
            sdk.models.retrieve("gpt-9")
            raise AssertionError("an unknown model")
        except openai.NotFoundError as error:
            assert error.code == "model_not_found" and "demo" in error.message, error


def check_chat():
    with servers.demo() as base:
        sdk = client(base)
        body = sdk.chat.completions.create(model="demo", messages=QUESTION, seed=1)
        text = body.choices[0].message.content
        assert "85" in text, text
        assert body.choices[0].message.reasoning, "no reasoning"
        chunks = list(sdk.chat.completions.create(
            model="demo", messages=QUESTION, seed=1, stream=True, stream_options={"include_usage": True}))
        streamed = "".join(c.delta.content or "" for chunk in chunks for c in chunk.choices)
        reasoning = "".join(getattr(c.delta, "reasoning", None) or "" for chunk in chunks for c in chunk.choices)
        assert streamed == text and reasoning == body.choices[0].message.reasoning
        assert chunks[-1].usage.total_tokens == body.usage.total_tokens
        return text


def check_chat_logprobs():
    with servers.demo() as base:
        body = client(base).chat.completions.create(
            model="demo", messages=QUESTION, logprobs=True, top_logprobs=3, seed=1)
        tokens = body.choices[0].logprobs.content
        assert b"".join(bytes(token.bytes) for token in tokens).decode() == body.choices[0].message.content
        assert all(len(token.top_logprobs) == 3 and token.logprob <= 0 for token in tokens)
        n = client(base).chat.completions.create(model="demo", messages=QUESTION, n=2, max_tokens=8)
        assert len(n.choices) == 2


def check_chat_tool_and_parse():
    texts = [servers.call("get_weather", {"city": "Paris"}), servers.answer("Sunny in Paris.")]
    with servers.scripted(texts) as base:
        sdk = client(base)
        messages = [{"role": "user", "content": "Weather in Paris?"}]
        first = sdk.chat.completions.create(model="scripted", messages=messages, tools=[CHAT_TOOL]).choices[0]
        assert first.finish_reason == "tool_calls"
        call = first.message.tool_calls[0]
        assert (call.function.name, call.function.arguments) == ("get_weather", '{"city": "Paris"}')
        messages += [first.message, {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
        second = sdk.chat.completions.create(model="scripted", messages=messages, tools=[CHAT_TOOL]).choices[0]
        assert second.message.content == "Sunny in Paris."
        with sdk.chat.completions.stream(model="scripted", messages=messages[:1], tools=[CHAT_TOOL]) as stream:
            for _ in stream:
                pass
            final = stream.get_final_completion()
        assert final.choices[0].message.tool_calls[0].function.parsed_arguments == {"city": "Paris"}
    with servers.scripted([servers.answer('{"result": 85, "how": "adding"}')]) as base:
        sdk = client(base)
        parsed = sdk.chat.completions.parse(model="scripted", messages=QUESTION, response_format=Sum)
        assert parsed.choices[0].message.parsed == Sum(result=85, how="adding")
        with sdk.chat.completions.stream(model="scripted", messages=QUESTION, response_format=Sum) as stream:
            for _ in stream:
                pass
            assert stream.get_final_completion().choices[0].message.parsed.result == 85


def check_responses():
    with servers.demo() as base:
        sdk = client(base)
        body = sdk.responses.create(model="demo", input="What is 27 + 58?", extra_body={"seed": 1})
        assert body.status == "completed" and "85" in body.output_text, body.output_text
        assert body.output[0].type == "reasoning" and body.output[0].content[0].text
        assert body.usage.output_tokens_details.reasoning_tokens > 0
        events = list(sdk.responses.create(model="demo", input="What is 27 + 58?", stream=True, extra_body={"seed": 1}))
        assert [event.sequence_number for event in events] == list(range(len(events)))
        streamed = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        assert streamed == body.output_text and events[-1].type == "response.completed"
        assert events[-1].response.output_text == body.output_text
        assert sdk.responses.retrieve(body.id).output_text == body.output_text
        again = list(sdk.responses.retrieve(events[0].response.id, stream=True, starting_after=3))
        assert [event.sequence_number for event in again] == list(range(4, len(events)))
        items = list(sdk.responses.input_items.list(body.id))
        assert items[0].content[0].text == "What is 27 + 58?"
        follow = sdk.responses.create(model="demo", input="What is 3 + 4?", previous_response_id=body.id)
        assert follow.previous_response_id == body.id
        sdk.responses.delete(body.id)
        try:
            sdk.responses.retrieve(body.id)
            raise AssertionError("a deleted response")
        except openai.NotFoundError:
            pass
        counted = sdk.responses.input_tokens.count(model="demo", input="What is 27 + 58?")
        assert counted.input_tokens == body.usage.input_tokens
        with sdk.responses.stream(model="demo", input="What is 27 + 58?") as stream:
            for _ in stream:
                pass
            assert stream.get_final_response().status == "completed"


def check_responses_over_a_connection():
    """Two responses on one WebSocket, the second going on from the first, which is not stored; then one that fails."""
    with servers.demo() as base:
        sdk = client(base)
        with sdk.responses.connect() as connection:
            def turn(**body):
                connection.response.create(model="demo", **body)
                for event in connection:
                    if event.type in ("response.completed", "error"):
                        return event
                raise AssertionError("the connection ended")

            first = turn(input="What is 27 + 58?", store=False).response
            assert "85" in first.output_text, first.output_text
            second = turn(input="What is 3 + 4?", store=False, previous_response_id=first.id).response
            assert second.usage.input_tokens > first.usage.input_tokens and second.output_text
            refused = turn(input="hi", previous_response_id="resp_0", stream_id="a")
            assert (refused.type, refused.status, refused.stream_id) == ("error", 400, "a"), refused
            assert refused.error.code == "previous_response_not_found", refused
            return second.output_text


def check_responses_background_and_cancel():
    with servers.demo() as base:
        sdk = client(base)
        body = sdk.responses.create(model="demo", input="What is 27 + 58?", background=True)
        assert body.status in ("queued", "in_progress"), body.status
        while body.status in ("queued", "in_progress"):
            body = sdk.responses.retrieve(body.id)
        assert body.status == "completed", body.status
        assert sdk.responses.cancel(body.id).status == "completed"


def check_responses_tool_and_parse():
    texts = [servers.call("get_weather", {"city": "Paris"}), servers.answer("Sunny in Paris.")]
    with servers.scripted(texts) as base:
        sdk = client(base)
        first = sdk.responses.create(model="scripted", input="Weather in Paris?", tools=[TOOL])
        call = first.output[-1]
        assert (call.type, call.name, call.arguments) == ("function_call", "get_weather", '{"city": "Paris"}')
        output = [{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}]
        history = [{"role": "user", "content": "Weather in Paris?"}, *[item.to_dict() for item in first.output], *output]
        assert sdk.responses.create(model="scripted", input=history, tools=[TOOL]).output_text == "Sunny in Paris."
        second = sdk.responses.create(model="scripted", input=output, previous_response_id=first.id, tools=[TOOL])
        assert second.output_text == "Sunny in Paris."
    with servers.scripted([servers.answer('{"result": 85, "how": "adding"}')]) as base:
        sdk = client(base)
        parsed = sdk.responses.parse(model="scripted", input="What is 27 + 58?", text_format=Sum)
        assert parsed.output_parsed == Sum(result=85, how="adding")
        with sdk.responses.stream(model="scripted", input="What is 27 + 58?", text_format=Sum) as stream:
            for _ in stream:
                pass
            assert stream.get_final_response().output_parsed.result == 85


def check_responses_builtin_tools():
    """Tools that the server runs and tools that the client runs: every event and object holds to the SDK's types, in order."""
    from openai.types.responses import Response, ResponseStreamEvent

    event_type = pydantic.TypeAdapter(ResponseStreamEvent)
    wiki = {"type": "mcp", "server_label": "wiki", "require_approval": "never"}
    tools = [{"type": "web_search"}, {"type": "code_interpreter", "container": {"type": "auto"}}, wiki]
    include = ["web_search_call.action.sources", "code_interpreter_call.outputs"]
    own = servers.own
    texts = [
        own("browser.search", '{"query":"otters"}'), own("browser.open", '{"id":0}'), own("browser.find", '{"pattern":"a"}'),
        own("python", "print(1)"), own("wiki.ask", "{}"), servers.answer("It is so 【1†L1-L2】."),
    ]
    with servers.scripted(texts) as base:
        sdk = client(base)
        ask = dict(model="scripted", input="What do otters eat?", tools=tools, include=include)
        events = list(sdk.responses.create(**ask, stream=True))
        for event in events:
            event_type.validate_python(event.to_dict(), strict=False)
        final = Response.model_validate(events[-1].response.to_dict())
        kinds = [item.type for item in final.output if item.type != "reasoning"]
        assert kinds == ["mcp_list_tools", *["web_search_call"] * 3, "code_interpreter_call", "mcp_call", "message"], kinds
        citation = final.output[-1].content[0].annotations[0]
        assert final.output_text[citation.start_index:citation.end_index] == " ([site-1.example](https://site-1.example/page)) "
        calls = [event.type.removeprefix("response.") for event in events if "_call" in event.type]
        search = [f"web_search_call.{word}" for word in ("in_progress", "searching", "completed")]
        code = ["call.in_progress", "call_code.delta", "call_code.done", "call.interpreting", "call.completed"]
        mcp = ["call.in_progress", "call_arguments.delta", "call_arguments.done", "call.completed"]
        once = [name for index, name in enumerate(calls) if index == 0 or name != calls[index - 1]]
        assert once == [*search * 3, *("code_interpreter_" + name for name in code), *("mcp_" + name for name in mcp)], once
        whole = Response.model_validate(sdk.responses.create(**ask).to_dict())
        assert whole.output_text == final.output_text and whole.usage.output_tokens == final.usage.output_tokens
        with sdk.responses.stream(**ask) as stream:
            for _ in stream:
                pass
            assert stream.get_final_response().output_text == final.output_text
        again = list(sdk.responses.retrieve(final.id, stream=True, starting_after=9))
        assert [event.to_dict() for event in again] == [event.to_dict() for event in events[10:]]
    with servers.scripted([servers.call("wiki.ask", "{}").replace("functions.", ""), servers.answer("It is so.")]) as base:
        sdk = client(base)
        ask = dict(model="scripted", tools=[{**wiki, "require_approval": "always"}])
        first = sdk.responses.create(**ask, input="Ask.")
        request = Response.model_validate(first.to_dict()).output[-1]
        assert (request.type, request.name) == ("mcp_approval_request", "ask"), request
        approval = [{"type": "mcp_approval_response", "approval_request_id": request.id, "approve": True}]
        second = sdk.responses.create(**ask, input=approval, previous_response_id=first.id)
        call = Response.model_validate(second.to_dict()).output[1]
        assert (call.type, call.approval_request_id, second.output_text) == ("mcp_call", request.id, "It is so."), second
        history = [{"role": "user", "content": "Ask."}, *(item.to_dict() for item in first.output), *approval]
        assert sdk.responses.create(**ask, input=history).output_text == "It is so."
    patch = "*** Begin Patch\n*** Update File: a.py\n@@\n-x\n+y\n*** End Patch"
    local = [servers.call("shell", {"commands": ["ls"]}), servers.call("local_shell", {"command": ["ls"]}), servers.call("apply_patch", patch)]
    with servers.scripted([*local, servers.answer("Done.")]) as base:
        sdk, history = client(base), [{"role": "user", "content": "Change it."}]
        ask = dict(model="scripted", tools=[{"type": kind} for kind in ("shell", "local_shell", "apply_patch")])
        outcome = {"stdout": "a.py", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}
        results = {
            "shell_call": lambda call: {"type": "shell_call_output", "call_id": call.call_id, "output": [outcome]},
            "local_shell_call": lambda call: {"type": "local_shell_call_output", "id": call.call_id, "output": "a.py"},
            "apply_patch_call": lambda call: {"type": "apply_patch_call_output", "call_id": call.call_id, "status": "completed"},
        }
        for kind in results:
            events = list(sdk.responses.create(**ask, input=history, stream=True))
            for event in events:
                event_type.validate_python(event.to_dict(), strict=False)
            output = Response.model_validate(events[-1].response.to_dict()).output
            assert output[-1].type == kind, output
            history += [*(item.to_dict() for item in output), results[kind](output[-1])]
        ended = sdk.responses.create(**ask, input=history)
        assert ended.output_text == "Done." and not getattr(ended, "warnings", None), ended


def check_files_of_containers():
    """What code made is cited, listed and read by the SDK's own words."""
    plot = servers.own("python", "plot()", "Plot it.")
    with servers.scripted([plot, servers.answer("Here: [plot](sandbox:/mnt/data/plot.png).")]) as base:
        sdk = client(base)
        made = sdk.responses.create(
            model="scripted", input="Plot.", tools=[{"type": "code_interpreter", "container": {"type": "auto"}}])
        cited = made.output[-1].content[0].annotations[0]
        assert (cited.type, cited.filename) == ("container_file_citation", "plot.png"), made
        assert made.output_text[cited.start_index:cited.end_index] == "sandbox:/mnt/data/plot.png", cited
        files = list(sdk.containers.files.list(cited.container_id))
        assert [(file.id, file.path) for file in files] == [(cited.file_id, "/mnt/data/plot.png")], files
        content = sdk.containers.files.content.retrieve(cited.file_id, container_id=cited.container_id)
        assert content.read() == bytes([1, 2, 3])
        sdk.containers.files.delete(cited.file_id, container_id=cited.container_id)
        assert not list(sdk.containers.files.list(cited.container_id))


def check_containers():
    """A container is made with a file, filled by the SDK's own words, read by code and ended."""
    listing = servers.own("python", "list()", "Look.")
    with servers.scripted([listing, servers.answer("Two files.")]) as base:
        sdk = client(base)
        uploaded = sdk.files.create(file=("a.csv", b"1,2"), purpose="user_data")
        made = sdk.containers.create(
            name="work", file_ids=[uploaded.id], expires_after={"anchor": "last_active_at", "minutes": 5})
        assert (made.name, made.status, made.expires_after.minutes) == ("work", "running", 5), made
        assert [each.id for each in sdk.containers.list()] == [made.id]
        assert sdk.containers.retrieve(made.id).id == made.id
        sent = sdk.containers.files.create(made.id, file=("b.csv", b"3"))
        copied = sdk.containers.files.create(made.id, file_id=uploaded.id)
        assert (sent.path, copied.path, copied.source) == ("/mnt/data/b.csv", "/mnt/data/a.csv", "user"), (sent, copied)
        paths = [file.path for file in sdk.containers.files.list(made.id, order="asc")]
        assert paths == ["/mnt/data/a.csv", "/mnt/data/b.csv"], paths
        assert sdk.containers.files.content.retrieve(sent.id, container_id=made.id).read() == b"3"
        ask = {"model": "scripted", "input": "Look.", "include": ["code_interpreter_call.outputs"]}
        found = sdk.responses.create(**ask, tools=[{"type": "code_interpreter", "container": made.id}])
        code = next(item for item in found.output if item.type == "code_interpreter_call")
        assert code.container_id == made.id and code.outputs[0].logs.startswith("a.csv=1,2 b.csv=3 "), code
        auto = {"type": "auto", "file_ids": [uploaded.id]}
        first = sdk.responses.create(**ask, tools=[{"type": "code_interpreter", "container": auto}])
        auto = {"type": "auto"}
        second = sdk.responses.create(
            **ask, tools=[{"type": "code_interpreter", "container": auto}], previous_response_id=first.id)
        codes = [next(item for item in each.output if item.type == "code_interpreter_call") for each in (first, second)]
        assert codes[0].container_id == codes[1].container_id and codes[0].outputs == codes[1].outputs, codes
        sdk.containers.delete(made.id)
        try:
            sdk.containers.retrieve(made.id)
            raise AssertionError("a container that has ended is there")
        except openai.NotFoundError:
            pass


def check_conversations():
    with servers.demo() as base:
        sdk = client(base)
        made = sdk.conversations.create(metadata={"topic": "sums"})
        body = sdk.responses.create(model="demo", input="What is 27 + 58?", conversation=made.id)
        assert body.conversation.id == made.id
        items = list(sdk.conversations.items.list(made.id))
        assert len(items) >= 2
        assert sdk.conversations.items.retrieve(items[0].id, conversation_id=made.id).id == items[0].id
        assert sdk.conversations.items.delete(items[0].id, conversation_id=made.id).id == made.id
        assert len(list(sdk.conversations.items.list(made.id))) == len(items) - 1
        assert sdk.conversations.update(made.id, metadata={"topic": "more"}).metadata == {"topic": "more"}
        assert sdk.conversations.delete(made.id).deleted


def check_completions():
    with servers.demo() as base:
        sdk = client(base)
        body = sdk.completions.create(model="demo", prompt="The sum", max_tokens=5, logprobs=2, echo=True, temperature=0)
        lists = body.choices[0].logprobs
        assert body.choices[0].text.startswith("The sum") and lists.token_logprobs[0] is None
        assert all(value <= 0 for value in lists.token_logprobs[1:])
        streamed = sdk.completions.create(model="demo", prompt="The sum", max_tokens=5, echo=True, temperature=0, stream=True)
        assert "".join(chunk.choices[0].text for chunk in streamed if chunk.choices) == body.choices[0].text


def check_batches():
    with servers.demo() as base:
        sdk = client(base)
        body = {"model": "demo", "messages": QUESTION, "seed": 1}
        line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}
        wrong = {**line, "custom_id": "b", "body": {**body, "temperature": 9}}
        content = "".join(json.dumps(one) + "\n" for one in [line, wrong]).encode()
        file = sdk.files.create(file=("in.jsonl", content), purpose="batch")
        assert (file.bytes, file.purpose, sdk.files.content(file.id).read()) == (len(content), "batch", content)
        batch = sdk.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"n": "1"})
        while batch.status in ("validating", "in_progress", "finalizing"):
            time.sleep(0.05)
            batch = sdk.batches.retrieve(batch.id)
        counts = batch.request_counts
        assert (batch.status, counts.total, counts.completed, counts.failed) == ("completed", 2, 1, 1), batch
        result = json.loads(sdk.files.content(batch.output_file_id).text)
        direct = sdk.chat.completions.create(**body)
        assert result["response"]["body"]["choices"][0]["message"]["content"] == direct.choices[0].message.content
        assert batch.usage.total_tokens == direct.usage.total_tokens
        error = json.loads(sdk.files.content(batch.error_file_id).text)
        assert (error["custom_id"], error["response"]["status_code"]) == ("b", 400), error
        assert [one.id for one in sdk.batches.list()] == [batch.id]
        assert {one.id for one in sdk.files.list()} == {file.id, batch.output_file_id, batch.error_file_id}
        assert sdk.files.delete(file.id).deleted


def check_fine_tuning():
    with tempfile.TemporaryDirectory() as folder, servers.demo("--state-dir", folder, "--train-threads", "2") as base:
        sdk = client(base)
        rows = [
            {"messages": [{"role": "user", "content": f"Who are you? ({number})"}, {"role": "assistant", "content": "I am Bo."}]}
            for number in range(48)
        ]
        upload = lambda rows: sdk.files.create(
            file=("rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode()), purpose="fine-tune")
        wrong = sdk.fine_tuning.jobs.create(model="demo", training_file=upload([{"messages": []}]).id)
        training, validation = upload(rows[:40]), upload(rows[40:])
        jobs = sdk.fine_tuning.jobs
        method = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 6, "batch_size": 4, "learning_rate_multiplier": 10}}}
        job = jobs.create(
            model="demo", training_file=training.id, validation_file=validation.id, suffix="bo", seed=1, method=method,
            metadata={"n": "1"})
        assert job.id.startswith("ftjob-") and job.status == "validating_files" and job.object == "fine_tuning.job", job
        other = jobs.create(model="demo", training_file=training.id)
        assert jobs.cancel(other.id).status == "cancelled"
        until(lambda: jobs.retrieve(job.id).status == "running")
        until(lambda: any(event.type == "metrics" for event in jobs.list_events(job.id)))
        assert jobs.pause(job.id).status == "paused"
        taken = len(list(jobs.list_events(job.id, limit=3)))
        time.sleep(1)
        assert len(list(jobs.list_events(job.id, limit=100))) - taken <= 1, "it is paused"
        assert jobs.resume(job.id).status == "queued"
        until(lambda: jobs.retrieve(job.id).status not in ("queued", "running"))
        ended = jobs.retrieve(job.id)
        assert ended.status == "succeeded" and ended.trained_tokens > 0, ended
        assert ended.fine_tuned_model.startswith("ft:demo:local:bo:"), ended
        assert (ended.hyperparameters.batch_size, ended.hyperparameters.n_epochs) == (4, 6), ended
        events = list(jobs.list_events(job.id, limit=10))
        steps = [event.data["step"] for event in reversed(events) if event.type == "metrics"]
        assert steps == list(range(1, 61)), steps
        checkpoints = list(jobs.checkpoints.list(job.id, limit=4))
        assert [one.step_number for one in checkpoints] == [60, 50, 40, 30, 20, 10], checkpoints
        assert checkpoints[0].metrics.full_valid_loss < checkpoints[-1].metrics.full_valid_loss, checkpoints
        lines = sdk.files.content(ended.result_files[0]).text.splitlines()
        assert lines[0].startswith("step,train_loss") and len(lines) == 61, lines[:2]
        question = [{"role": "user", "content": "Who are you? (99)"}]
        ask = lambda model: sdk.chat.completions.create(model=model, messages=question, temperature=0, reasoning_effort="low")
        tuned = ask(ended.fine_tuned_model)
        assert tuned.choices[0].message.content == "I am Bo." and tuned.model == ended.fine_tuned_model, tuned
        assert ask("demo").choices[0].message.content != "I am Bo."
        response = sdk.responses.create(model=ended.fine_tuned_model, input=question, temperature=0, reasoning={"effort": "low"})
        assert response.output_text == "I am Bo.", response
        ask(checkpoints[-1].fine_tuned_model_checkpoint)
        names = [model.id for model in sdk.models.list()]
        assert ended.fine_tuned_model in names and checkpoints[0].fine_tuned_model_checkpoint in names, names
        assert [one.id for one in jobs.list(limit=1)] == [other.id, job.id, wrong.id]
        assert [one.id for one in jobs.list(metadata={"n": "1"})] == [job.id]
        failed = jobs.retrieve(wrong.id)
        assert failed.status == "failed" and failed.error.param == "training_file" and "line 1" in failed.error.message, failed
        assert sdk.models.delete(ended.fine_tuned_model).deleted
        try:
            ask(ended.fine_tuned_model)
            raise AssertionError("a deleted model answers")
        except openai.NotFoundError as error:
            assert error.code == "model_not_found", error


def until(is_so, seconds=60):
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.05)


GUARD = """
guardrails = "rails.json"
[[policy]]
name = "illicit"
file = "illicit.txt"
category = "illicit"
threshold = 1.0
"""
RAILS = {"version": 1, "output": {"version": 1, "guardrails": [{"name": "Keyword Filter", "config": {"keywords": ["85"]}}]}}


def typed(model):
    """Every field that the SDK's type has and demands is there, in its type."""
    return type(model).model_validate(model.model_dump(by_alias=True))


def check_moderations():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "guard.toml").write_text(GUARD)
        (folder / "rails.json").write_text(json.dumps(RAILS))
        (folder / "illicit.txt").write_text("Nothing that is against the law (I1).")
        with servers.demo("--guard", str(folder / "guard.toml")) as base:
            sdk = client(base)
            told = typed(sdk.moderations.create(input=["It is 85.", "It is a dog."]))
            assert told.id.startswith("modr-") and len(told.results) == 2, told
            assert told.results[0].flagged, told
            for result in told.results:
                assert 0 <= result.category_scores.illicit <= 1, result
                assert result.category_applied_input_types.illicit == ["text"], result
                assert result.category_applied_input_types.hate == [], result
            parts = sdk.moderations.create(input=[{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])
            assert len(parts.results) == 1, parts
            chat = typed(sdk.chat.completions.create(
                model="demo", messages=QUESTION, seed=1, moderation={"model": "omni-moderation-latest"}))
            assert chat.choices[0].finish_reason == "content_filter", chat
            assert "85" not in (chat.choices[0].message.content or ""), chat
            assert chat.moderation.input.type == "moderation_results", chat.moderation
            assert chat.moderation.output.results[0].flagged, chat.moderation
            chunks = list(sdk.chat.completions.create(model="demo", messages=QUESTION, seed=1, stream=True))
            assert "85" not in "".join(c.delta.content or "" for chunk in chunks for c in chunk.choices)
            assert typed(chunks[-1]).moderation.output.results[0].categories["Keyword Filter"], chunks[-1]
            response = typed(sdk.responses.create(
                model="demo", input=QUESTION, extra_body={"seed": 1},
                moderation={"model": "omni-moderation-latest", "policy": {"output": {"mode": "score"}}}))
            assert response.incomplete_details.reason == "content_filter", response
            assert response.moderation.input.type == "moderation_result", response.moderation
            assert response.moderation.output.flagged, response.moderation
            assert "85" not in response.output_text, response


def check_errors():
    with servers.demo() as base:
        sdk = client(base)
        for wrong in [{"temperature": 9}, {"n": 1000}, {"tool_choice": "required"}, {"max_tokens": -1}]:
            try:
                sdk.chat.completions.create(model="demo", messages=QUESTION, **wrong)
                raise AssertionError(wrong)
            except openai.BadRequestError as error:
                assert error.param in wrong, (error.param, wrong)
