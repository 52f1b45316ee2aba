"""LiteLLM's public price table of 2026-08-01 and its changes since 2025: every price, exact, told by hand again."""

from __future__ import annotations

import csv
import json
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from ingest.lake import Lake
from ingest.runner import IngestRequest, ingest

TABLE = "model_prices_and_context_window.json"
CHANGES = "price_changes_2025-02-06_to_2026-07-24.csv"
TAKEN = datetime(2026, 8, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def bring(tmp_path_factory: pytest.TempPathFactory):
    """Ingest a file into a lake of its own; returns its batch and its rows."""

    def bring(path: Path):
        lake = tmp_path_factory.mktemp("lake")
        [result] = ingest(lake, [IngestRequest("prices", path, delivered_at=TAKEN)])
        assert (result.state, result.format, result.rows_quarantined) == ("committed", "litellm_prices", 0)
        assert result.rows_read == result.rows_loaded + result.rows_skipped
        [batch] = Lake(lake).batches().values()
        with duckdb.connect() as connection:
            connection.execute("set TimeZone = 'UTC'")
            rows = connection.execute(
                f"""
                select origin, provider, model, component, usd_per_million, observed_at
                from read_parquet('{lake}/model_prices/**/*.parquet', union_by_name = true) order by all
                """
            ).fetchall()
        return batch, rows

    return bring


def test_every_price_of_the_table_is_its_text_times_a_million(real_data: Path, bring) -> None:
    path = real_data / "litellm_model_prices" / TABLE
    batch, rows = bring(path)
    table = json.loads(path.read_text(), parse_float=Decimal)
    for origin, provider, _, _, usd_per_million, observed_at in rows:
        key, place = origin.removeprefix("litellm ").rsplit(" ", 1)
        entry = table[key]
        assert (provider, observed_at) == (entry["litellm_provider"], TAKEN)
        if place.startswith("tiered_pricing["):
            step, place = place.removeprefix("tiered_pricing[").split("].")
            entry = entry["tiered_pricing"][int(step)]
        price = entry[place]
        if isinstance(price, dict):
            [price] = set(price.values())
        # the table holds floats with noise in the 17th digit
        assert usd_per_million == round(Decimal(price) * 10**6, 12), origin
    fields = [
        (key, field) for key, entry in table.items() for field in entry if "cost_per" in field or "token_cost" in field
    ]
    models_with_prices = {key for key, _ in fields}
    skipped = batch.counts["model_prices"].skip_reasons
    assert skipped["no price"] == sum(
        key not in models_with_prices and "tiered_pricing" not in table[key] for key in table
    )
    assert "a price key that is not known" not in skipped
    assert {origin.removeprefix("litellm ").rsplit(" ", 1)[0] for origin, *_ in rows} <= table.keys()
    assert len(rows) > 7500


def test_every_change_is_told_with_its_vendor(real_data: Path, bring) -> None:
    path = real_data / "litellm_model_prices" / CHANGES
    batch, rows = bring(path)
    with open(path, encoding="utf-8") as file:
        changes = list(csv.DictReader(file))
    skipped = batch.counts["model_prices"].skip_reasons
    assert skipped["the price was dropped"] == sum(not change["new"] for change in changes)
    values = sum(bool(change["new"]) + bool(change["old"]) for change in changes)
    assert len(rows) == values - skipped["the price stands there twice"]
    assert [origin for origin, provider, *_ in rows if provider is None] == []
    assert Counter(component for _, _, _, component, _, _ in rows).keys() == {
        "input",
        "output",
        "cache_read",
        "cache_write_5m",
        "reasoning",
    }
    novita = [row for row in rows if row[1] == "novita" and row[5].date() == datetime(2026, 1, 13).date()]
    assert max(usd for *_, usd, _ in novita) > 1000, "unit errors come in as they stood: they are judged later"
