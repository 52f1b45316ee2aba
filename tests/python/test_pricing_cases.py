"""Calls whose cost other projects worked out or were billed, priced by the product's whole path: log, ingest, build.

``pricing_cases.csv`` holds facts and figures from public threads and tests of LiteLLM, Helicone, OpenLIT, tokencost and
oh-my-pi (``source_ref``), gathered in autumn 2026: disjoint token counts, prices in USD per million, the cost in USD. A
plan of ``usd_per_million`` reads ``<service tier>><tokens above which it holds>[@<hours in UTC>] <component>=<price>``.
Where a case is about a boundary or a tier, the plans beside it are those of its sibling cases or follow the multipliers
in ``notes``, so that the call decides which one holds. Counts that no price of the source concerns are left out
(``scope``). Prices that the source does not have stay missing. Figures that their own source doubts are not here.

Every case has a model of its own, and is written as each format that can say it.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import combinations
from pathlib import Path

import duckdb
import pytest

from pertask.home import Home
from tests.python.building import build, ingest_sources
from tests.python.conftest import spend_log_row, write_json_lines

EXACT = Decimal("0.000000001")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
COUNTS = (
    *("uncached", "cache_read", "cache_write_5m", "cache_write_1h", "output", "reasoning"),
    *("audio_input", "audio_output", "image_output", "web_search"),
)


@dataclass(frozen=True)
class Price:
    """A row of company/prices.csv, without provider and model."""

    component: str
    usd_per_million: str
    service_tier: str = "standard"
    above: int = 0
    rule: str = ">"
    counts: str = "input"
    hours: str = ""


@dataclass(frozen=True)
class Call:
    """One call: disjoint counts, and what it has to cost."""

    name: str
    model: str
    prices: tuple[Price, ...]
    expected_usd: Decimal
    provider: str = "openai"
    service_tier: str = "standard"
    at: datetime = NOON
    is_inclusive: bool = True
    count: dict[str, int] = field(default_factory=dict)

    def __getattr__(self, name: str) -> int:
        if name in COUNTS:
            return self.count.get(name, 0)
        raise AttributeError(name)

    @property
    def input(self) -> int:
        """All input, cached or not."""
        return self.uncached + self.cache_read + self.cache_write_5m + self.cache_write_1h + self.audio_input

    @property
    def all_output(self) -> int:
        """All output, reasoning or not."""
        return self.output + self.reasoning + self.audio_output + self.image_output


def _plans(text: str) -> Iterable[Price]:
    for plan in text.split("; "):
        name, *prices = plan.split(" ")
        tier, above, hours = re.fullmatch(r"(\w+)>(\d+)@?(.*)", name).groups()
        for price in prices:
            component, usd = price.split("=")
            yield Price(component, usd, tier, int(above), hours=hours)


def _cases() -> list[Call]:
    with open(Path(__file__).with_name("pricing_cases.csv"), encoding="utf-8", newline="") as file:
        return [
            Call(
                name=row["case_id"],
                model=re.sub(r"[^a-z0-9.]+", "-", row["model"]).strip("-") + f"-{row['case_id']}".lower(),
                provider=row["provider"],
                service_tier=row["service_tier"],
                prices=tuple(_plans(row["usd_per_million"])),
                expected_usd=Decimal(row["expected_usd"]),
                is_inclusive=row["input_includes_cache"] == "yes",
                count={name: int(row[name]) for name in COUNTS if row[name] != "0"},
            )
            for row in csv.DictReader(file)
        ]


# Formats: how each says the same call


def _litellm_usage(call: Call) -> dict:
    return {
        "service_tier": None if call.service_tier == "standard" else call.service_tier,
        "prompt_tokens_details": {
            "cached_tokens": call.cache_read,
            "audio_tokens": call.audio_input,
            "cache_creation_tokens": call.cache_write_5m + call.cache_write_1h,
            "cache_creation_token_details": {
                "ephemeral_5m_input_tokens": call.cache_write_5m,
                "ephemeral_1h_input_tokens": call.cache_write_1h,
            },
        },
        "completion_tokens_details": {
            "reasoning_tokens": call.reasoning,
            "audio_tokens": call.audio_output,
            "image_tokens": call.image_output,
        },
        "server_tool_use": {"web_search_requests": call.web_search},
    }


def _spend_log(call: Call, **usage: object) -> dict:
    return spend_log_row(
        f"spend-{call.name}",
        call.at.strftime("%Y-%m-%dT%H:%M:%S"),
        model=call.model,
        custom_llm_provider=call.provider,
        prompt_tokens=call.input,
        completion_tokens=call.all_output,
        usage={**_litellm_usage(call), **usage},
    )


def _payload(call: Call) -> dict:
    return {
        "id": f"payload-{call.name}",
        "trace_id": f"trace-of-payload-{call.name}",
        "litellm_call_id": f"call-of-payload-{call.name}",
        "call_type": "acompletion",
        "status": "success",
        "custom_llm_provider": call.provider,
        "saved_cache_cost": 0.0,
        "startTime": call.at.timestamp(),
        "endTime": call.at.timestamp() + 2,
        "completionStartTime": call.at.timestamp() + 1,
        "model": call.model,
        "prompt_tokens": call.input,
        "completion_tokens": call.all_output,
        "response_cost": 0.0,
        "metadata": {"user_api_key_hash": None, "usage_object": _litellm_usage(call)},
        "hidden_params": {"model_id": None},
        "model_parameters": {},
    }


def _helicone(call: Call) -> dict | None:
    """Knows one kind of cache write, and neither images nor searches."""
    if call.cache_write_1h or call.image_output or call.web_search:
        return None
    return {
        "request_id": f"helicone-{call.name}",
        "response_id": f"helicone-answer-{call.name}",
        "request_created_at": call.at.strftime("%Y-%m-%d %H:%M:%S.000"),
        "response_created_at": call.at.strftime("%Y-%m-%d %H:%M:%S.900"),
        "latency": 900,
        "status": 200,
        "provider": call.provider,
        "model": call.model,
        "prompt_tokens": call.uncached + call.audio_input,
        "prompt_cache_read_tokens": call.cache_read,
        "prompt_cache_write_tokens": call.cache_write_5m,
        "prompt_audio_tokens": call.audio_input,
        "completion_tokens": call.output + call.audio_output,
        "completion_audio_tokens": call.audio_output,
        "reasoning_tokens": call.reasoning,
        "properties": {"service-tier": call.service_tier},
        "cost": 0,
    }


_LANGFUSE_KEYS = {
    "uncached": "input",
    "cache_read": "input_cached_tokens",
    "cache_write_5m": "input_cache_creation_5m",
    "cache_write_1h": "input_cache_creation_1h",
    "audio_input": "input_audio",
    "output": "output",
    "reasoning": "output_reasoning_tokens",
    "audio_output": "output_audio",
    "image_output": "output_image",
    "web_search": "web_search_requests",
}


def _langfuse(call: Call) -> dict:
    usage = {key: getattr(call, name) for name, key in _LANGFUSE_KEYS.items() if getattr(call, name)}
    return {
        "id": f"langfuse-{call.name}",
        "trace_id": f"langfuse-trace-{call.name}",
        "project_id": "p1",
        "type": "GENERATION",
        "parent_observation_id": "",
        "start_time": call.at.strftime("%Y-%m-%d %H:%M:%S.000000"),
        "end_time": call.at.strftime("%Y-%m-%d %H:%M:%S.900000"),
        "name": "chat",
        "level": "DEFAULT",
        "metadata": {"ls_provider": call.provider, "service_tier": call.service_tier},
        "provided_model_name": call.model,
        "usage_details": {"input": 0, "output": 0, **usage, "total": call.input + call.all_output + call.web_search},
        "cost_details": {},
        "total_cost": None,
    }


def _otlp(call: Call, number: int) -> dict | None:
    """Has no names for audio, images and searches."""
    if call.audio_input or call.audio_output or call.image_output or call.web_search:
        return None
    texts = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": call.provider,
        "gen_ai.request.model": call.model,
        "openai.response.service_tier": "default" if call.service_tier == "standard" else call.service_tier,
    }
    counts = {
        "gen_ai.usage.input_tokens": call.input,
        "gen_ai.usage.output_tokens": call.all_output,
        "gen_ai.usage.cache_read.input_tokens": call.cache_read,
        "gen_ai.usage.cache_creation.input_tokens": call.cache_write_5m + call.cache_write_1h,
        "gen_ai.usage.cache_creation.ephemeral_1h_input_tokens": call.cache_write_1h,
        "gen_ai.usage.reasoning.output_tokens": call.reasoning,
    }
    start = int(call.at.timestamp()) * 10**9
    span = {
        "traceId": f"{number:032x}",
        "spanId": f"{number:016x}",
        "parentSpanId": "",
        "name": "chat",
        "kind": 3,
        "startTimeUnixNano": str(start),
        "endTimeUnixNano": str(start + 10**9),
        "attributes": [
            *({"key": key, "value": {"stringValue": text}} for key, text in texts.items()),
            *({"key": key, "value": {"intValue": str(count)}} for key, count in counts.items()),
        ],
        "status": {},
    }
    return {"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [{"scope": {}, "spans": [span]}]}]}


def _in_house(call: Call, *, is_inclusive: bool) -> dict:
    return {
        "id": call.name,
        "begun": call.at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "vendor": call.provider,
        "model": call.model,
        "tier": call.service_tier,
        "in": call.input if is_inclusive else call.uncached + call.audio_input,
        "out": call.all_output - (0 if is_inclusive else call.reasoning),
        **{name: getattr(call, name) for name in COUNTS if name not in ("uncached", "output")},
    }


_MAPPING = """\
contract: llm_calls
format: jsonl
token_convention: {{input_includes_cached: {is_inclusive}, output_includes_reasoning: {is_inclusive}}}
columns:
  call_id: id
  started_at: begun
  provider: vendor
  model: model
  service_tier: tier
  input_tokens: in
  output_tokens: out
  cache_read_tokens: cache_read
  cache_write_5m_tokens: cache_write_5m
  cache_write_1h_tokens: cache_write_1h
  reasoning_tokens: reasoning
  audio_input_tokens: audio_input
  audio_output_tokens: audio_output
  image_output_tokens: image_output
  web_search_count: web_search
"""
WRITERS: dict[str, Callable[[Call, int], dict | None]] = {
    "litellm_spend_logs": lambda call, _: _spend_log(call),
    "litellm_payload": lambda call, _: _payload(call),
    "otlp": _otlp,
    "helicone": lambda call, _: _helicone(call),
    "langfuse": lambda call, _: _langfuse(call),
    "inclusive_mapping": lambda call, _: _in_house(call, is_inclusive=True),
    "exclusive_mapping": lambda call, _: _in_house(call, is_inclusive=False),
}


# Calls at a boundary: no more than data decides on which side of it they are

_BASE = {"input": "1", "cache_read": "0.1", "cache_write_5m": "1.25", "output": "2"}
# cache writes are left at the base price
_ABOVE = {"input": "2", "cache_read": "0.2", "output": "3"}
_SIZES = (199_999, 200_000, 200_001, 272_000, 272_001)


def _at_boundary(above: int, rule: str, counts: str, size: int) -> Call:
    """A call of which ``counts`` is ``size``; what is not counted is far above the boundary, where it can be."""
    count = {
        "input": {"uncached": size - 1500, "cache_read": 1000, "cache_write_5m": 500},
        "uncached_input": {"uncached": size, "cache_read": 900_000, "cache_write_5m": 500},
        "cache_read": {"uncached": 900_000, "cache_read": size, "cache_write_5m": 500},
    }[counts] | {"output": 1000}
    is_above = size >= above if rule == ">=" else size > above
    holds = _BASE | (_ABOVE if is_above else {})
    component = {"uncached": "input"}
    expected = sum(Decimal(holds[component.get(name, name)]) * number for name, number in count.items())
    return Call(
        name=f"{counts} of {size} {rule} {above}",
        model=f"boundary-{counts}-{'from' if rule == '>=' else 'above'}-{above}",
        prices=(
            *(Price(name, usd) for name, usd in _BASE.items()),
            *(Price(name, usd, above=above, rule=rule, counts=counts) for name, usd in _ABOVE.items()),
        ),
        expected_usd=expected / 10**6,
        count=count,
    )


BOUNDARIES = [
    _at_boundary(above, rule, counts, size)
    for above in (200_000, 272_000)
    for rule in (">", ">=")
    for counts in ("input", "uncached_input", "cache_read")
    for size in _SIZES
]

_OWN_STEP = (
    *(Price(name, usd) for name, usd in {"input": "2", "cache_read": "0.2", "output": "12"}.items()),
    *(Price(name, usd, above=200_000, rule=">=") for name, usd in {"input": "4", "output": "18"}.items()),
    Price("cache_read", "0.4", above=200_000, rule=">=", counts="cache_read"),
)
# Helicone's rule for Gemini on Vertex: the price of cached tokens goes by the cached tokens alone.
VERTEX = [
    Call(name, "vertex-own-step", _OWN_STEP, Decimal(usd), "vertex_ai", count={"uncached": 250_000, **count})
    for name, usd, count in (
        ("cached below the step", "1.726", {"cache_read": 30_000, "output": 40_000}),
        ("cached at the step", "1.8", {"cache_read": 200_000, "output": 40_000}),
        ("cached just below the step", "1.7599998", {"cache_read": 199_999, "output": 40_000}),
    )
]

_NIGHT = (Price("output", "2"), Price("output", "1", hours="16:30-00:30"))
HOURS = [
    Call(
        f"at {at}",
        "night",
        _NIGHT,
        Decimal(usd),
        at=datetime.fromisoformat(f"2026-01-01T{at}+00:00"),
        count={"output": 100},
    )
    for at, usd in (
        ("00:00:00", "0.0001"),
        ("00:29:59", "0.0001"),
        ("00:30:00", "0.0002"),
        ("12:00:00", "0.0002"),
        ("16:29:59", "0.0002"),
        ("16:30:00", "0.0001"),
        ("23:59:59", "0.0001"),
    )
]

CASES = _cases()
# 100 tokens of input that are said to contain 400 cached ones.
(MALFORMED,) = [case for case in CASES if case.name == "C051"]
PLAIN = [case for case in CASES if case is not MALFORMED]
# What real rows of a spend log have besides.
ODD_USAGE = {
    # the total says 0, its parts do not
    "C089": {
        "prompt_tokens_details": {
            "cache_creation_tokens": 0,
            "cache_creation_token_details": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 200},
        }
    },
    # images among the cached tokens
    "C090": {"prompt_tokens_details": {"cached_tokens": 90, "image_tokens": 80}},
}


def _write_home(home: Home) -> None:
    """Prices, configuration and a delivery of every source."""
    prices = {
        (call.provider, call.model, price): None
        for call in (*CASES, *BOUNDARIES, *VERTEX, *HOURS)
        for price in call.prices
    }
    home.company.mkdir(parents=True)
    with open(home.company / "prices.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        names = "service_tier,context_above_tokens,context_rule,context_counts,daily_from,daily_to,component"
        writer.writerow(["provider", "model", *names.split(","), "usd_per_million"])
        for provider, model, price in prices:
            hours = price.hours.split("-") if price.hours else ["", ""]
            place = [price.service_tier, price.above, price.rule, price.counts, *hours, price.component]
            writer.writerow([provider, model, *place, price.usd_per_million])
    sources = {
        **{name: f"format: {name}" for name in WRITERS if not name.endswith("mapping")},
        **{name: f"format: mapping, mapping: {name}.yml" for name in WRITERS if name.endswith("mapping")},
        "odd": "format: litellm_spend_logs",
        "malformed": "format: litellm_spend_logs",
        "declared": "format: litellm_spend_logs, token_convention: {input_includes_cached: false}",
    }
    lines = [f"  {name}: {{path: landing/{name}, {how}}}\n" for name, how in sources.items()]
    home.config_file.write_text("sources:\n" + "".join(lines), encoding="utf-8")
    for name, is_inclusive in (("inclusive_mapping", "true"), ("exclusive_mapping", "false")):
        (home.root / f"{name}.yml").write_text(_MAPPING.format(is_inclusive=is_inclusive), encoding="utf-8")
    calls = [*PLAIN, *BOUNDARIES, *VERTEX, *HOURS]
    deliveries = {
        name: [row for number, call in enumerate(calls, 1) if (row := write(call, number))]
        for name, write in WRITERS.items()
    }
    odd = {case.name: case for case in CASES if case.name in ODD_USAGE}
    deliveries["odd"] = [_spend_log(replace(case, name=f"odd-{name}"), **ODD_USAGE[name]) for name, case in odd.items()]
    for source in ("malformed", "declared"):
        row = _spend_log(replace(MALFORMED, name=f"{source}-{MALFORMED.name}"))
        deliveries[source] = [row | {"prompt_tokens": 100}]
    for name, rows in deliveries.items():
        file = "observations.jsonl" if name == "langfuse" else "calls.jsonl"
        write_json_lines(home.landing / name / file, rows)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with all calls in it, built once."""
    home = Home(tmp_path_factory.mktemp("pricing"))
    _write_home(home)
    ingest_sources(home)
    build(home)
    return home


@pytest.fixture(scope="module")
def attempts(home: Home) -> dict[tuple, dict]:
    """Every attempt, by source, model, start, input and output."""
    with duckdb.connect(str(home.warehouse_file), read_only=True) as connection:
        answer = connection.execute("select * from core.fct_call_attempts")
        names = [column[0] for column in answer.description]
        rows = [dict(zip(names, row, strict=True)) for row in answer.fetchall()]
    return {_key(row["source"], row): row for row in rows}


def _key(source: str, row: dict) -> tuple:
    counts = (row["input_tokens"] or 0, row["cache_read_tokens"] or 0, row["output_tokens"] or 0)
    return source, row["logged_model"], row["started_at"], *(int(count) for count in counts)


def _found(attempts: dict[tuple, dict], source: str, call: Call) -> dict:
    row = {
        "logged_model": call.model,
        "started_at": call.at.replace(tzinfo=None),
        "input_tokens": call.input,
        "cache_read_tokens": call.cache_read,
        "output_tokens": call.all_output,
    }
    return attempts[_key(source, row)]


def _own_formats(call: Call) -> list[str]:
    """The vendors' formats whose convention is the one in which the source reports the call."""
    names = ("litellm_spend_logs", "litellm_payload", "otlp") if call.is_inclusive else ("helicone", "langfuse")
    return [name for name in names if WRITERS[name](call, 1)]


@pytest.mark.parametrize("case", PLAIN, ids=lambda case: case.name)
def test_case(attempts: dict[tuple, dict], case: Call):
    formats = _own_formats(case)
    assert formats
    for name in formats:
        found = _found(attempts, name, case)
        assert found["cost_basis"] == "metered", found["unpriced_reason"]
        assert abs(found["cost_usd"] - case.expected_usd) <= EXACT, name


@pytest.mark.parametrize("pair", list(combinations(WRITERS, 2)), ids=" and ".join)
def test_two_reports_of_one_call_cost_the_same(attempts: dict[tuple, dict], pair: tuple[str, str]):
    both = [call for call in (*PLAIN, *BOUNDARIES, *VERTEX, *HOURS) if all(WRITERS[name](call, 1) for name in pair)]
    assert len(both) > 100
    costs = {call.name: [_found(attempts, name, call)["cost_usd"] for name in pair] for call in both}
    assert {name: cost for name, cost in costs.items() if cost[0] is None or cost[0] != cost[1]} == {}


@pytest.mark.parametrize("call", [*BOUNDARIES, *VERTEX, *HOURS], ids=lambda call: call.name)
def test_boundary(attempts: dict[tuple, dict], call: Call):
    assert _found(attempts, "litellm_spend_logs", call)["cost_usd"] == call.expected_usd


def test_a_price_that_stands_in_for_a_missing_one_is_marked(attempts: dict[tuple, dict]):
    found = {case.name for case in PLAIN if _found(attempts, "litellm_spend_logs", case)["is_price_estimated"]}
    assert found == {"C052", "C056", "C084"}


@pytest.mark.parametrize("name", ODD_USAGE)
def test_odd_usage(attempts: dict[tuple, dict], name: str):
    (case,) = [case for case in CASES if case.name == name]
    assert abs(_found(attempts, "odd", case)["cost_usd"] - case.expected_usd) <= EXACT


def test_cached_above_input_is_quarantined(home: Home, attempts: dict[tuple, dict]):
    assert not [key for key in attempts if key[0] == "malformed"]
    with duckdb.connect(str(home.warehouse_file), read_only=True) as connection:
        rows = connection.execute("select source, column_name, reason from quality.quarantined_rows").fetchall()
    assert rows == [("malformed", "cache_read_tokens", "cached above input")]


def test_cached_above_input_is_beside_it_where_the_source_is_declared_so(attempts: dict[tuple, dict]):
    (found,) = [row for key, row in attempts.items() if key[0] == "declared"]
    assert found["cache_read_cost_usd"] + found["cache_write_cost_usd"] == MALFORMED.expected_usd
    # the 100 tokens of the input are fresh ones then, at $3 a million: the source's own figure cuts them off
    assert found["cost_usd"] == MALFORMED.expected_usd + 100 * Decimal("0.000003")
