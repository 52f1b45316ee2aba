"""Anthropic's cost report: cents as decimal text, and what its dimensions mean."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal

import pytest

from tests.python.ingest.formats.test_anthropic_usage import bucket, page, usage
from tests.python.ingest.formats.test_openai_usage import QUARANTINE, write_json
from tests.python.ingest.helpers import MARKER, assert_nowhere, bring, write_lines


def cost(amount: object = "123.78912", currency: object = "USD", **changes: object) -> dict:
    """A result of the cost report, as an ungrouped report has it."""
    return {
        "amount": amount,
        "currency": currency,
        "cost_type": None,
        "token_type": None,
        "model": None,
        "service_tier": None,
        "context_window": None,
        "description": None,
        "workspace_id": None,
        **changes,
    }


@pytest.fixture
def one_cost(tmp_path, lake_rows):
    """Ingest one result and return the named columns of its row."""

    def columns(names: str, *values: object, **changes: object) -> tuple:
        result = bring(tmp_path, write_json(tmp_path / "costs.json", page(bucket(cost(*values, **changes)))))
        assert result.format == "anthropic_costs"
        assert result.rows_loaded == 1, lake_rows("quarantined_rows", "column_name, reason")
        return lake_rows("vendor_costs", names)[0]

    return columns


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        ("123.78912", Decimal("1.2378912")),
        ("123", Decimal("1.23")),
        ("0.0000000001", Decimal("0.000000000001")),
        ("98765432109876.0123456789", Decimal("987654321098.760123456789")),
        ("0", Decimal(0)),
        # a credit
        ("-250.5", Decimal("-2.505")),
        # a number has the unit of the field all the same
        (123.78912, Decimal("1.2378912")),
        (5, Decimal("0.05")),
    ],
)
def test_an_amount_is_in_cents_and_exact(one_cost, amount, expected):
    assert one_cost("amount, currency", amount) == (expected, "USD")


@pytest.mark.parametrize(
    ("currency", "expected"),
    [
        ("usd", (Decimal("1.50"), "USD")),
        ("EUR", (Decimal("1.50"), "EUR")),
        # the smallest unit of a yen is a yen, and of a dinar a thousandth
        ("JPY", (Decimal(150), "JPY")),
        ("KWD", (Decimal("0.15"), "KWD")),
    ],
)
def test_another_currency_has_its_own_smallest_unit(one_cost, currency, expected):
    assert one_cost("amount, currency", "150", currency) == expected


@pytest.mark.parametrize(
    ("token_type", "expected"),
    [
        ("uncached_input_tokens", "uncached_input_tokens"),
        ("output_tokens", "output_tokens"),
        ("cache_read_input_tokens", "cache_read_tokens"),
        ("cache_creation.ephemeral_5m_input_tokens", "cache_write_5m_tokens"),
        ("cache_creation.ephemeral_1h_input_tokens", "cache_write_1h_tokens"),
        ("something_new", "something_new"),
        (None, None),
    ],
)
def test_token_types_in_the_lakes_words(one_cost, token_type, expected):
    assert one_cost("token_type", token_type=token_type) == (expected,)


def test_what_a_report_by_description_says(one_cost):
    found = one_cost(
        "provider, cost_date, model, line_item, cost_type, service_tier, context_tier, project_id",
        model="claude-sonnet-4-5",
        description="Claude Sonnet 4.5 Usage - Input Tokens",
        cost_type="tokens",
        service_tier="batch",
        context_window="200k-1M",
        workspace_id="wrkspc_1",
    )
    assert found == (
        "anthropic",
        date(2026, 8, 1),
        "claude-sonnet-4-5",
        "Claude Sonnet 4.5 Usage - Input Tokens",
        "tokens",
        "batch",
        "200k-1M",
        "wrkspc_1",
    )


@pytest.mark.parametrize("cost_type", ["tokens", "web_search", "code_execution", None])
def test_a_cost_that_is_not_of_tokens_has_no_model(one_cost, cost_type):
    assert one_cost("cost_type, model, project_id", cost_type=cost_type) == (cost_type, None, None)


def test_a_day_is_a_utc_day_in_any_zone_of_the_source(tmp_path, lake_rows):
    buckets = [bucket(cost(), start="2026-08-01T00:00:00Z"), bucket(cost(), start="2026-08-02T05:30:00+05:30")]
    bring(tmp_path, write_json(tmp_path / "costs.json", page(*buckets)), time_zone="America/Los_Angeles")

    assert lake_rows("vendor_costs", "cost_date") == [(date(2026, 8, 1),), (date(2026, 8, 2),)]


def test_costs_and_usage_are_told_apart(tmp_path):
    # The cost report has the usage report's names as values.
    costs = write_json(tmp_path / "costs.json", page(bucket(cost(token_type="uncached_input_tokens"))))
    counts = write_json(tmp_path / "usage.json", page(bucket(usage())))

    assert bring(tmp_path, costs).format == "anthropic_costs"
    assert bring(tmp_path, counts).format == "anthropic_usage"
    assert "this is not anthropic_usage" in bring(tmp_path, costs, "anthropic_usage").message
    assert "this is not anthropic_costs" in bring(tmp_path, counts, "anthropic_costs").message


@pytest.mark.parametrize("shape", ["page", "list", "lines", "buckets"])
def test_pages_in_every_shape(tmp_path, lake_rows, shape):
    buckets = [bucket(cost("100")), bucket(), bucket(cost("200"), start="2026-08-02T00:00:00Z")]
    pages = [page(*buckets[:2], has_more=True), page(buckets[2])]
    path = {
        "page": lambda: write_json(tmp_path / "costs.json", page(*buckets)),
        "list": lambda: write_json(tmp_path / "costs.json", pages),
        "lines": lambda: write_lines(tmp_path / "costs.jsonl", [json.dumps(one) for one in pages]),
        "buckets": lambda: write_json(tmp_path / "costs.json", buckets),
    }[shape]()
    result = bring(tmp_path, path)

    assert (result.format, result.rows_loaded, result.message) == ("anthropic_costs", 2, "")
    assert lake_rows("vendor_costs", "cost_date, amount") == [(date(2026, 8, 1), 1), (date(2026, 8, 2), 2)]


def test_a_last_page_that_says_that_more_follow(tmp_path):
    result = bring(tmp_path, write_json(tmp_path / "costs.json", page(bucket(cost()), has_more=True)))

    assert result.rows_loaded == 1
    assert result.message.startswith("costs.json: the last page says that more follow (has_more)")


def test_a_report_without_any_result(tmp_path):
    result = bring(tmp_path, write_json(tmp_path / "costs.json", page(bucket(), bucket())), "anthropic_costs")
    assert (result.state, result.rows_read) == ("committed", 0)


def test_the_same_result_has_the_same_id_in_every_file_and_twins_survive(tmp_path, lake_rows):
    twins = page(bucket(cost(), cost()))
    bring(tmp_path, write_json(tmp_path / "a.json", twins))
    bring(tmp_path, write_lines(tmp_path / "b.jsonl", [json.dumps(twins)]))

    ids = [line_id for (line_id,) in lake_rows("vendor_costs", "line_id")]
    assert (len(ids), len(set(ids))) == (4, 2)


@pytest.mark.parametrize(
    ("wrong", "column", "reason"),
    [
        (cost("12 cents"), "amount", "not a number"),
        (cost("1e25"), "amount", "not a number"),
        (cost(None), "amount", "missing"),
        (cost(""), "amount", "missing"),
        (cost("1", None), "currency", "missing"),
        (usage(), None, "not a result of the cost report"),
        (None, None, "not a result of a report"),
    ],
)
def test_a_wrong_result_costs_itself_only(tmp_path, lake_rows, wrong, column, reason):
    path = write_json(tmp_path / "costs.json", page(bucket(cost(), wrong, cost("2"))))
    result = bring(tmp_path, path, "anthropic_costs")

    assert (result.rows_read, result.rows_loaded, result.rows_quarantined) == (3, 2, 1)
    assert lake_rows("quarantined_rows", QUARANTINE) == [(2, column, reason)]


def test_a_wrong_time_costs_its_bucket_only(tmp_path, lake_rows):
    buckets = [bucket(cost()), bucket(cost(), start="someday"), bucket(cost(), start=None)]
    result = bring(tmp_path, write_json(tmp_path / "costs.json", page(*buckets)))

    assert (result.rows_loaded, result.rows_quarantined) == (1, 2)
    assert lake_rows("quarantined_rows", QUARANTINE) == [(2, "cost_date", "not a date"), (3, "cost_date", "missing")]


def test_half_a_document_is_one_quarantined_row_and_nothing_of_it_is_stored(tmp_path, lake_rows):
    good = json.dumps(page(bucket(cost(secret=MARKER))), indent=2)
    result = bring(tmp_path, write_lines(tmp_path / "costs.json", [good[:-20]]))
    bring(tmp_path, write_json(tmp_path / "other.json", page(bucket(cost(secret=MARKER), cost(MARKER)))))

    assert (result.state, result.rows_read, result.rows_quarantined) == ("committed", 1, 1)
    assert lake_rows("quarantined_rows", "file_name, reason") == [
        ("costs.json", "not valid JSON"),
        ("other.json", "not a number"),
    ]
    assert_nowhere(tmp_path / "lake")
