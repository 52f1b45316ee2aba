"""A year and a half of changes to LiteLLM's price table (litellm_model_prices), replayed as observations.

A third of them correct a unit by a factor of 500 or more: none of the wrong prices may ever price a call, however much
of the log has been seen.
"""

from __future__ import annotations

import csv
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from tests.realdata.conftest import Home

LOG = "litellm_model_prices/price_changes_2025-02-06_to_2026-07-24.csv"
FACTOR = 500
PARTS = ("2025-06-01", "2025-10-18", "2026-01-13", "9999")
"""Where the log is cut: just before and just after the two largest corrections, and its end."""


def changes(real_data: Path) -> list[dict[str, str]]:
    with (real_data / LOG).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def is_unit_error(change: dict[str, str]) -> bool:
    if not change["old"] or not change["new"]:
        return False
    old, new = Decimal(change["old"]), Decimal(change["new"])
    return min(old, new) > 0 and max(old, new) >= FACTOR * min(old, new)


@pytest.fixture(scope="module")
def replayed(home: Home, real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[list[tuple]]:
    """The observations and what became of them, after each part of the log."""
    rows = changes(real_data)
    folder = tmp_path_factory.mktemp("log")
    found = []
    for number, end in enumerate(PARTS):
        start = PARTS[number - 1] if number else ""
        path = folder / f"part{number}.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(row for row in rows if start <= row["observed_at"] < end)
        home.run("prices", "import", path)
        home.build()
        with duckdb.connect(str(home.folder / "warehouse" / "pertask.duckdb"), read_only=True) as connection:
            found.append(
                connection.execute(
                    "select observed_at, model, component, usd_per_million, state, held_reason "
                    "from quality.price_observations"
                ).fetchall()
            )
            priced = connection.execute(
                "select max(unit_price_usd) * 1000000 from intermediate.int_prices "
                "where price_source = 'observation' and component in ('input', 'output', 'cache_read')"
            ).fetchone()
            assert priced[0] is None or priced[0] <= 500
    return found


def test_the_log_has_the_corrections_that_it_is_known_for(real_data):
    assert sum(is_unit_error(change) for change in changes(real_data)) == 231


def test_no_wrong_unit_is_ever_used(replayed, real_data):
    wrong = {
        Decimal(change["old"]) * 1_000_000
        for change in changes(real_data)
        if is_unit_error(change) and Decimal(change["old"]) > Decimal(change["new"])
    }
    assert min(wrong) >= 100
    for observations in replayed:
        used = {price for _, _, _, price, state, _ in observations if state == "used"}
        assert not {price for price in used if price in wrong}


def test_every_correction_is_flagged(replayed, real_data):
    held = {(model, component) for _, model, component, _, state, _ in replayed[-1] if state == "held"}
    components = {
        "input_cost_per_token": "input",
        "output_cost_per_token": "output",
        "cache_read_input_token_cost": "cache_read",
    }
    flagged = 0
    for change in changes(real_data):
        if is_unit_error(change) and change["field"] in components:
            name = change["model"]
            names = {name, name.split("/", 1)[-1]}
            assert any((candidate, components[change["field"]]) in held for candidate in names), change
            flagged += 1
    assert flagged == 231


def test_most_of_the_other_changes_are_used_or_not_needed(replayed):
    states = [state for *_, state, _ in replayed[-1]]
    assert states.count("held") < 0.45 * len(states)
    assert states.count("used") > 0.3 * len(states)
