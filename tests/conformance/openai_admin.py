"""The official SDK's admin client: usage, costs, the audit, keys and rates of a server under rules."""

import contextlib
import hashlib
import pathlib
import tempfile
import time

import openai

import servers

TEAM, ADMIN, POOR = "sk-gptoss-team-secret", "sk-gptoss-admin-secret", "sk-gptoss-poor-secret"


def _key(name, secret, more):
    digest = hashlib.sha256(secret.encode()).hexdigest()
    return f'[[keys]]\nname = "{name}"\nid = "{name}"\nhash = "sha256:{digest}"\n{more}\n'


RULES = (
    "[prices.demo]\ninput = 1.0\noutput = 4.0\n"
    + _key("team", TEAM, 'scopes = ["infer", "raw_reasoning"]\nrpm_limit = 600\ntpm_limit = 1_000_000')
    + _key("admin", ADMIN, 'scopes = ["admin"]')
    + _key("poor", POOR, "max_budget = { tokens = 10 }")
)


@contextlib.contextmanager
def governed():
    with tempfile.TemporaryDirectory() as folder:
        rules = pathlib.Path(folder) / "rules.toml"
        rules.write_text(RULES)
        with servers.demo("--govern", str(rules), "--state-dir", str(pathlib.Path(folder) / "state")) as base:
            yield base


def client(base, key):
    return openai.OpenAI(base_url=base + "/v1", api_key=key, admin_api_key=key, max_retries=2, timeout=120)


def check_what_collectors_read():
    with governed() as base:
        team = client(base, TEAM)
        raw = team.chat.completions.with_raw_response.create(
            model="demo", messages=[{"role": "user", "content": "What is 27 + 58?"}], seed=1, max_tokens=200)
        usage = raw.parse().usage
        assert raw.headers["x-ratelimit-limit-requests"] == "600", raw.headers
        assert raw.headers["x-ratelimit-limit-tokens"] == "1000000" and "x-ratelimit-reset-tokens" in raw.headers
        organization = client(base, ADMIN).admin.organization
        start = int(time.time()) - 3600
        buckets = organization.usage.completions(
            start_time=start, bucket_width="1h", group_by=["project_id", "model"], project_ids=["team"]).data
        results = [result for bucket in buckets for result in bucket.results]
        assert [(r.project_id, r.model, r.num_model_requests) for r in results] == [("team", "demo", 1)], results
        assert (results[0].input_tokens, results[0].output_tokens) == (usage.prompt_tokens, usage.completion_tokens)
        costs = [r for bucket in organization.usage.costs(start_time=start).data for r in bucket.results]
        dollars = (usage.prompt_tokens + 4 * usage.completion_tokens) / 1e6
        assert len(costs) == 1 and abs(costs[0].amount.value - dollars) < 1e-9, costs
        logs = list(organization.audit_logs.list(limit=2))
        kinds = [log.type for log in logs]
        assert kinds.count("request") >= 3 and kinds[-2:] == ["rules.loaded", "server.started"], kinds
        asked = [log for log in logs if log.actor.api_key and log.actor.api_key.id == "team"]
        assert len(asked) == 1 and asked[0].project.name == "team", asked
        keys = list(organization.admin_api_keys.list(limit=1))
        assert [key.name for key in keys] == ["team", "admin", "poor"], keys
        assert organization.admin_api_keys.retrieve("team").last_used_at >= start
        rates = list(organization.projects.rate_limits.list_rate_limits("team"))
        assert [(rate.max_requests_per_1_minute, rate.max_tokens_per_1_minute) for rate in rates] == [(600, 1_000_000)]
        return f"{len(logs)} links of the audit"


def check_a_key_without_the_scope_is_refused():
    with governed() as base:
        try:
            client(base, TEAM).admin.organization.admin_api_keys.list()
            raise AssertionError("a key without the scope admin")
        except openai.PermissionDeniedError as error:
            assert error.code == "permission_denied", error
        try:
            client(base, ADMIN).models.list()
            client(base, ADMIN).chat.completions.create(model="demo", messages=[{"role": "user", "content": "hi"}])
            raise AssertionError("a key without the scope infer")
        except openai.PermissionDeniedError as error:
            assert "infer" in error.message, error


def check_a_spent_budget_is_not_tried_again():
    with governed() as base:
        begun = time.monotonic()
        try:
            client(base, POOR).chat.completions.create(
                model="demo", messages=[{"role": "user", "content": "hi"}], max_tokens=50)
            raise AssertionError("a budget of ten tokens")
        except openai.RateLimitError as error:
            assert error.code == "insufficient_quota" and error.response.headers["x-should-retry"] == "false", error
        logs = client(base, ADMIN).admin.organization.audit_logs.list(actor_ids=["poor"]).data
        assert len(logs) == 1, f"{len(logs)} tries in {time.monotonic() - begun:.1f} s"
