"""Anthropic's usage report: disjoint counts, and every shape in which pages are saved."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from tests.python.ingest.formats.test_openai_usage import QUARANTINE, write_json
from tests.python.ingest.helpers import MARKER, assert_nowhere, bring, write_lines

COUNTS = (
    "uncached_input_tokens, cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens, output_text_tokens, "
    "reasoning_tokens, web_search_count, request_count"
)


def usage(**changes: object) -> dict:
    """A result of the usage report, as an ungrouped report has it."""
    return {
        "uncached_input_tokens": 1500,
        "cache_creation": {"ephemeral_1h_input_tokens": 1000, "ephemeral_5m_input_tokens": 500},
        "cache_read_input_tokens": 200,
        "output_tokens": 700,
        "server_tool_use": {"web_search_requests": 10},
        "api_key_id": None,
        "workspace_id": None,
        "model": None,
        "service_tier": None,
        "context_window": None,
        **changes,
    }


def bucket(*results: dict, start: object = "2026-08-01T00:00:00Z", end: object = "2026-08-02T00:00:00Z") -> dict:
    """A time bucket of a report."""
    return {"starting_at": start, "ending_at": end, "results": list(results)}


def page(*buckets: dict, has_more: bool = False) -> dict:
    """A page of a report."""
    return {"data": list(buckets), "has_more": has_more, "next_page": "page_2" if has_more else None}


@pytest.fixture
def one_result(tmp_path, lake_rows):
    """Ingest one result and return the named columns of its row."""

    def columns(names: str, **changes: object) -> tuple:
        result = bring(tmp_path, write_json(tmp_path / "usage.json", page(bucket(usage(**changes)))))
        assert result.format == "anthropic_usage"
        assert result.rows_loaded == 1, lake_rows("quarantined_rows", "column_name, reason")
        return lake_rows("vendor_usage", names)[0]

    return columns


def test_the_counts_are_disjoint(one_result):
    # The whole input is 1500 + 200 + 500 + 1000; nothing is taken out of anything.
    assert one_result(COUNTS) == (1500, 200, 500, 1000, 700, None, 10, None)


def test_more_from_the_cache_than_fresh_is_normal(one_result):
    assert one_result(COUNTS, cache_read_input_tokens=9_000_000)[:2] == (1500, 9_000_000)


def test_what_an_older_report_lacks_is_null_and_not_zero(one_result):
    changes = {"cache_creation": None, "server_tool_use": None, "cache_read_input_tokens": None}
    assert one_result(COUNTS, **changes) == (1500, None, None, None, 700, None, None, None)


@pytest.mark.parametrize("tier", ["standard", "batch", "priority", "priority_on_demand", "flex", "flex_discount", None])
def test_service_tiers_keep_their_names(one_result, tier):
    assert one_result("service_tier", service_tier=tier) == (tier,)


@pytest.mark.parametrize("window", ["0-200k", "200k-1M", None])
def test_the_context_window_is_the_context_tier(one_result, window):
    assert one_result("context_tier", context_window=window) == (window,)


def test_model_and_workspace(one_result):
    found = one_result("provider, model, project_id", model="claude-sonnet-4-5", workspace_id="wrkspc_1")
    assert found == ("anthropic", "claude-sonnet-4-5", "wrkspc_1")


def test_the_default_workspace_and_an_ungrouped_report_are_null(one_result):
    assert one_result("model, project_id") == (None, None)


def test_buckets_of_a_minute_an_hour_and_another_offset(tmp_path, lake_rows):
    buckets = [
        bucket(usage(), start="2026-08-01T10:00:00Z", end="2026-08-01T10:01:00Z"),
        bucket(usage(), start="2026-08-01T11:00:00+00:00", end="2026-08-01T12:00:00+00:00"),
        bucket(usage(), start="2026-08-01T19:00:00-05:00", end="2026-08-01T20:00:00-05:00"),
    ]
    bring(tmp_path, write_json(tmp_path / "usage.json", page(*buckets)), time_zone="Asia/Kolkata")

    assert lake_rows("vendor_usage", "started_at, ended_at") == [
        (datetime(2026, 8, 1, 10, tzinfo=UTC), datetime(2026, 8, 1, 10, 1, tzinfo=UTC)),
        (datetime(2026, 8, 1, 11, tzinfo=UTC), datetime(2026, 8, 1, 12, tzinfo=UTC)),
        (datetime(2026, 8, 2, 0, tzinfo=UTC), datetime(2026, 8, 2, 1, tzinfo=UTC)),
    ]


@pytest.mark.parametrize("shape", ["page", "list", "lines", "buckets"])
def test_pages_in_every_shape(tmp_path, lake_rows, shape):
    buckets = [bucket(usage(model="a")), bucket(), bucket(usage(model="b"), start="2026-08-01T12:00:00Z")]
    pages = [page(*buckets[:2], has_more=True), page(buckets[2])]
    path = {
        "page": lambda: write_json(tmp_path / "usage.json", page(*buckets)),
        "list": lambda: write_json(tmp_path / "usage.json", pages),
        "lines": lambda: write_lines(tmp_path / "usage.jsonl", [json.dumps(one) for one in pages]),
        "buckets": lambda: write_json(tmp_path / "usage.json", buckets),
    }[shape]()
    result = bring(tmp_path, path)

    assert (result.format, result.rows_loaded, result.message) == ("anthropic_usage", 2, "")
    assert lake_rows("vendor_usage", "model, uncached_input_tokens") == [("a", 1500), ("b", 1500)]


def test_a_last_page_that_says_that_more_follow(tmp_path):
    result = bring(tmp_path, write_json(tmp_path / "usage.json", page(bucket(usage()), has_more=True)))

    assert result.rows_loaded == 1
    assert result.message.startswith("usage.json: the last page says that more follow (has_more)")


def test_a_report_without_any_result(tmp_path):
    result = bring(tmp_path, write_json(tmp_path / "usage.json", page(bucket(), bucket())))
    assert (result.state, result.format, result.rows_read) == ("committed", "anthropic_usage", 0)


def test_the_same_result_has_the_same_id_in_every_file_and_twins_survive(tmp_path, lake_rows):
    # The two differ only in what is not read: a key.
    twins = page(bucket(usage(api_key_id="a"), usage(api_key_id="b"), usage(), usage()))
    bring(tmp_path, write_json(tmp_path / "a.json", twins))
    bring(tmp_path, write_lines(tmp_path / "b.jsonl", [json.dumps(twins)]))

    ids = [line_id for (line_id,) in lake_rows("vendor_usage", "line_id")]
    assert (len(ids), len(set(ids))) == (8, 4)


@pytest.mark.parametrize(
    ("wrong", "column", "reason"),
    [
        (usage(uncached_input_tokens=-1), "uncached_input_tokens", "negative"),
        (usage(output_tokens="many"), "output_text_tokens", "not a whole number"),
        (usage(cache_read_input_tokens=0.5), "cache_read_tokens", "not a whole number"),
        (usage(server_tool_use={"web_search_requests": -2}), "web_search_count", "negative"),
        ({"amount": "1", "currency": "USD"}, None, "not a result of the usage report"),
        (17, None, "not a result of a report"),
    ],
)
def test_a_wrong_result_costs_itself_only(tmp_path, lake_rows, wrong, column, reason):
    result = bring(tmp_path, write_json(tmp_path / "usage.json", page(bucket(usage(), wrong, usage(model="b")))))

    assert (result.rows_read, result.rows_loaded, result.rows_quarantined) == (3, 2, 1)
    assert lake_rows("quarantined_rows", QUARANTINE) == [(2, column, reason)]


@pytest.mark.parametrize(
    ("times", "column", "reason"),
    [
        ({"start": None}, "started_at", "missing"),
        ({"start": 1785542400}, "started_at", "not a time"),
        ({"end": "2026-07-31T00:00:00Z"}, "ended_at", "before started_at"),
    ],
)
def test_a_wrong_time_costs_its_bucket_only(tmp_path, lake_rows, times, column, reason):
    result = bring(tmp_path, write_json(tmp_path / "usage.json", page(bucket(usage()), bucket(usage(), **times))))

    assert (result.rows_loaded, result.rows_quarantined) == (1, 1)
    assert lake_rows("quarantined_rows", QUARANTINE) == [(2, column, reason)]


def test_broken_lines_and_half_a_document(tmp_path, lake_rows):
    good = json.dumps(page(bucket(usage(api_key_id=MARKER))))
    bring(tmp_path, write_lines(tmp_path / "usage.jsonl", [good, good[:90], '{"type": "error"}']))
    bring(tmp_path, write_lines(tmp_path / "usage.json", [json.dumps(page(bucket(usage())), indent=2)[:-20]]))

    assert lake_rows("vendor_usage", "count(*)") == [(1,)]
    assert lake_rows("quarantined_rows", "file_name, line_number, reason") == [
        ("usage.json", 1, "not valid JSON"),
        ("usage.jsonl", 2, "not valid JSON"),
        ("usage.jsonl", 3, "not a page of a report"),
    ]


def test_ids_of_keys_and_accounts_are_never_stored(tmp_path):
    secrets = {"api_key_id": MARKER, "account_id": MARKER, "service_account_id": MARKER, "inference_geo": MARKER}
    path = write_json(tmp_path / "usage.json", page(bucket(usage(**secrets), usage(output_tokens=MARKER))))
    result = bring(tmp_path, path)

    assert (result.rows_loaded, result.rows_quarantined) == (1, 1)
    assert_nowhere(tmp_path / "lake")
