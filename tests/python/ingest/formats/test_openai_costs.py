"""OpenAI's cost report: exact amounts, and what a line item says of model and token type."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal

import pytest

from tests.python.ingest.formats.test_openai_usage import DAY, QUARANTINE, START, bucket, page, usage, write_json
from tests.python.ingest.helpers import MARKER, assert_nowhere, bring, write_lines


def cost(value: object = 0.06, currency: object = "usd", **changes: object) -> dict:
    """A result of the cost report."""
    return {
        "object": "organization.costs.result",
        "amount": {"value": value, "currency": currency},
        "line_item": None,
        "project_id": None,
        **changes,
    }


@pytest.fixture
def one_cost(tmp_path, lake_rows):
    """Ingest one result and return the named columns of its row."""

    def columns(names: str, *values: object, **changes: object) -> tuple:
        result = bring(tmp_path, write_json(tmp_path / "costs.json", page(bucket(cost(*values, **changes)))))
        assert result.format == "openai_costs"
        assert result.rows_loaded == 1, lake_rows("quarantined_rows", "column_name, reason")
        return lake_rows("vendor_costs", names)[0]

    return columns


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.06, Decimal("0.06")),
        (12, Decimal(12)),
        (3.5e-7, Decimal("0.00000035")),
        # a sum of floats: dust below the lake's twelve decimals goes
        (0.12744000000000002, Decimal("0.12744")),
        # text, as newer answers have it, is exact to the last decimal
        ("1234567890.123456789012", Decimal("1234567890.123456789012")),
        ("0.8958740000000000000000000000000", Decimal("0.895874")),
        ("0E-6176", Decimal(0)),
        # a credit
        (-5.25, Decimal("-5.25")),
    ],
)
def test_an_amount_is_in_whole_currency_and_exact(one_cost, value, expected):
    assert one_cost("amount, currency", value) == (expected, "USD")


def test_a_currency_is_in_capitals_and_not_taken_for_dollars(one_cost):
    assert one_cost("amount, currency", 1.5, "eur") == (Decimal("1.5"), "EUR")


@pytest.mark.parametrize(
    ("line_item", "expected"),
    [
        ("gpt-4o-2024-08-06, input", ("gpt-4o-2024-08-06", "uncached_input_tokens", "tokens")),
        ("gpt-4o-2024-08-06, cached input", ("gpt-4o-2024-08-06", "cache_read_tokens", "tokens")),
        ("gpt-4o-2024-08-06, output", ("gpt-4o-2024-08-06", "output_tokens", "tokens")),
        ("gpt-5.6-terra, cache writes", ("gpt-5.6-terra", "cache_write_5m_tokens", "tokens")),
        ("gpt-image-1 image, output", ("gpt-image-1", "image_output_tokens", "tokens")),
        ("gpt-image-1 image, input", ("gpt-image-1", "image_input_tokens", "tokens")),
        ("gpt-image-2-2026-04-21 text, input", ("gpt-image-2-2026-04-21", "uncached_input_tokens", "tokens")),
        ("gpt-4o-audio-preview audio, output", ("gpt-4o-audio-preview", "audio_output_tokens", "tokens")),
        ("gpt-image-1 image, cached input", ("gpt-image-1", "cache_read_tokens", "tokens")),
        ("ft-gpt-4o-2024-08-06, input", ("ft-gpt-4o-2024-08-06", "uncached_input_tokens", "tokens")),
        # older reports: the name as people write it, and no comma
        ("GPT-4o mini cached input", ("gpt-4o-mini", "cache_read_tokens", "tokens")),
        ("GPT-4o mini input", ("gpt-4o-mini", "uncached_input_tokens", "tokens")),
        # a model and nothing else
        ("whisper", ("whisper", None, None)),
        ("text-embedding-3-small", ("text-embedding-3-small", None, None)),
        # what names no model
        ("Image models", (None, None, None)),
        ("web search tool calls | gpt-4o", (None, None, None)),
        ("assistants api | file search", (None, None, None)),
        ("Code interpreter sessions", (None, None, None)),
        ("Credit, promotional input", (None, None, None)),
        (None, (None, None, None)),
        ("", (None, None, None)),
    ],
)
def test_model_and_token_type_where_the_line_item_says_them(one_cost, line_item, expected):
    found = one_cost("line_item, model, token_type, cost_type", line_item=line_item)
    assert found == (line_item or None, *expected)


def test_a_day_is_a_utc_day_in_any_zone_of_the_source(tmp_path, lake_rows):
    path = write_json(tmp_path / "costs.json", page(bucket(cost()), bucket(cost(), start=START - DAY, end=START)))
    bring(tmp_path, path, time_zone="America/Los_Angeles")

    assert lake_rows("vendor_costs", "cost_date, provider, project_id") == [
        (date(2026, 7, 31), "openai", None),
        (date(2026, 8, 1), "openai", None),
    ]


def test_a_project_is_kept(one_cost):
    assert one_cost("project_id, service_tier, context_tier", project_id="proj_1") == ("proj_1", None, None)


def test_costs_and_usage_are_told_apart(tmp_path):
    costs = write_json(tmp_path / "costs.json", page(bucket(cost())))
    counts = write_json(tmp_path / "usage.json", page(bucket(usage())))

    assert bring(tmp_path, costs).format == "openai_costs"
    assert bring(tmp_path, counts).format == "openai_usage"
    assert "this is not openai_usage" in bring(tmp_path, costs, "openai_usage").message
    assert "this is not openai_costs" in bring(tmp_path, counts, "openai_costs").message


def test_a_report_without_any_result(tmp_path):
    result = bring(tmp_path, write_json(tmp_path / "costs.json", page(bucket(), bucket())), "openai_costs")
    assert (result.state, result.rows_read) == ("committed", 0)


def test_a_last_page_that_says_that_more_follow(tmp_path):
    pages = [json.dumps(page(bucket(cost()), has_more=number == 1)) for number in range(2)]
    result = bring(tmp_path, write_lines(tmp_path / "costs.jsonl", pages))

    assert result.rows_loaded == 2
    assert result.message.startswith("costs.jsonl: the last page says that more follow (has_more)")


def test_the_same_result_has_the_same_id_in_every_file_and_twins_survive(tmp_path, lake_rows):
    twins = page(bucket(cost(), cost()))
    bring(tmp_path, write_json(tmp_path / "a.json", twins))
    bring(tmp_path, write_lines(tmp_path / "b.jsonl", [json.dumps(twins)]))

    ids = [line_id for (line_id,) in lake_rows("vendor_costs", "line_id")]
    assert (len(ids), len(set(ids))) == (4, 2)


@pytest.mark.parametrize(
    ("wrong", "column", "reason"),
    [
        (cost("1.2.3"), "amount", "not a number"),
        (cost(1e30), "amount", "not a number"),
        (cost(None), "amount", "missing"),
        (cost(1, None), "currency", "missing"),
        ({"object": "organization.costs.result", "amount": 5}, "amount", "missing"),
        (usage(), None, "not a result of the cost report"),
        (["text"], None, "not a result of a report"),
    ],
)
def test_a_wrong_result_costs_itself_only(tmp_path, lake_rows, wrong, column, reason):
    path = write_json(tmp_path / "costs.json", page(bucket(cost(), wrong, cost(2))))
    result = bring(tmp_path, path, "openai_costs")

    assert (result.rows_read, result.rows_loaded, result.rows_quarantined) == (3, 2, 1)
    assert lake_rows("quarantined_rows", QUARANTINE) == [(2, column, reason)]


@pytest.mark.parametrize(("start", "reason"), [(None, "missing"), ("noon", "not a date"), (START * 1000, "not a date")])
def test_a_wrong_time_costs_its_bucket_only(tmp_path, lake_rows, start, reason):
    result = bring(tmp_path, write_json(tmp_path / "costs.json", page(bucket(cost()), bucket(cost(), start=start))))

    assert (result.rows_loaded, result.rows_quarantined) == (1, 1)
    assert lake_rows("quarantined_rows", QUARANTINE) == [(2, "cost_date", reason)]


def test_half_a_document_is_one_quarantined_row(tmp_path, lake_rows):
    text = json.dumps(page(bucket(cost(api_key_id=MARKER))), indent=2)
    result = bring(tmp_path, write_lines(tmp_path / "costs.json", [text[:-20]]))

    assert (result.state, result.rows_read, result.rows_quarantined) == ("committed", 1, 1)
    assert lake_rows("quarantined_rows", "reason") == [("not valid JSON",)]
    assert_nowhere(tmp_path / "lake")


def test_what_is_not_read_is_not_stored(tmp_path):
    secrets = {"api_key_id": MARKER, "organization_id": MARKER, "project_name": MARKER, "quantity": MARKER}
    result = bring(tmp_path, write_json(tmp_path / "costs.json", page(bucket(cost(**secrets), cost(MARKER)))))

    assert (result.rows_loaded, result.rows_quarantined) == (1, 1)
    assert_nowhere(tmp_path / "lake")
