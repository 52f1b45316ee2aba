"""The price book against LiteLLM's public price table of 2026-08-01.

Every price of the book that was in force that day equals the table, or `docs/price_book_differences.csv` says
why not; and every price the table has for a model of the book is in the book, or the same file says why not.
The file may name nothing that is not a difference.

The table is public data that is not part of this repository: PERTASK_REAL_DATA names the folder that holds
`litellm_model_prices/`; without it these tests are skipped.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
REAL_DATA = Path(os.environ.get("PERTASK_REAL_DATA", REPO.parent / "shared" / "data"))
TABLE = REAL_DATA / "litellm_model_prices" / "model_prices_and_context_window.json"
CHANGES = REAL_DATA / "litellm_model_prices" / "price_changes_2025-02-06_to_2026-07-24.csv"
AS_OF = "2026-08-01 00:00:00"
MILLION = Decimal(10) ** 6

pytestmark = pytest.mark.skipif(
    not TABLE.exists(), reason=f"LiteLLM's price table is not at {TABLE}; set PERTASK_REAL_DATA to its folder"
)

TOKEN_FIELDS = {
    "input_cost_per_token": "input",
    "cache_read_input_token_cost": "cache_read",
    "cache_creation_input_token_cost": "cache_write_5m",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "output_cost_per_token": "output",
    "output_cost_per_reasoning_token": "reasoning",
    "input_cost_per_audio_token": "audio_input",
    "output_cost_per_audio_token": "audio_output",
    "input_cost_per_image_token": "image_input",
    "output_cost_per_image_token": "image_output",
}
TIER_SUFFIXES = {"": "standard", "_batches": "batch", "_flex": "flex", "_priority": "priority"}
FIELD = re.compile(
    rf"(?P<base>{'|'.join(sorted(TOKEN_FIELDS, key=len, reverse=True))})"
    r"(_above_(?P<thousands>\d+)k_tokens)?(?P<tier>_batches|_flex|_priority)?"
)


@dataclass(frozen=True)
class Slot:
    """What one price is for."""

    provider: str
    model: str
    service_tier: str
    context_above_tokens: int
    component: str


@dataclass(frozen=True)
class Difference:
    """One difference between the book and the table; prices are USD per million units, None where absent."""

    kind: str
    slot: Slot
    book: Decimal | None = None
    table: Decimal | None = None


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@cache
def table() -> dict[str, dict]:
    return json.loads(TABLE.read_text(encoding="utf-8"), parse_float=Decimal)


@cache
def book() -> list[dict[str, str]]:
    return read_csv(REPO / "seeds" / "price_book.csv")


@cache
def listed() -> list[dict[str, str]]:
    return read_csv(REPO / "docs" / "price_book_differences.csv")


@cache
def aliases() -> dict[str, str]:
    return {row["provider_alias"]: row["provider"] for row in read_csv(REPO / "seeds" / "providers.csv")}


def slot_of(row: dict[str, str]) -> Slot:
    return Slot(row["provider"], row["model"], row["service_tier"], int(row["context_above_tokens"]), row["component"])


def in_force(row: dict[str, str], at: str = AS_OF) -> bool:
    return (not row["valid_from"] or row["valid_from"] <= at) and (not row["valid_to"] or at < row["valid_to"])


@cache
def table_key(provider: str, model: str) -> str | None:
    """LiteLLM's key of a model: `<provider>/<model>` under one of the provider's names, or the bare model."""
    names = [provider, *sorted(alias for alias, canonical in aliases().items() if canonical == provider)]
    for key in [*(f"{name}/{model}" for name in names), model]:
        entry = table().get(key)
        if entry and aliases().get(entry.get("litellm_provider", "")) == provider:
            return key
    return None


def table_prices(provider: str, model: str) -> tuple[dict[Slot, Decimal], set[str]]:
    """LiteLLM's prices of a model: (USD per million units by slot, cost fields that have no component)."""
    key = table_key(provider, model)
    entry = table()[key] if key else {}
    prices: dict[Slot, Decimal] = {}
    others: set[str] = set()
    for field, value in entry.items():
        if "cost" not in field and "pric" not in field:
            continue
        match = FIELD.fullmatch(field)
        if match:
            tier = TIER_SUFFIXES[match["tier"] or ""]
            slot = Slot(provider, model, tier, int(match["thousands"] or 0) * 1000, TOKEN_FIELDS[match["base"]])
            prices[slot] = Decimal(value) * MILLION
        elif field == "search_context_cost_per_query" and len(set(value.values())) == 1:
            prices[Slot(provider, model, "standard", 0, "web_search")] = Decimal(next(iter(value.values()))) * MILLION
        elif field == "input_cost_per_query":
            prices[Slot(provider, model, "standard", 0, "call")] = Decimal(value) * MILLION
        elif field == "output_cost_per_image" and "output_cost_per_image_token" not in entry:
            prices[Slot(provider, model, "standard", 0, "image")] = Decimal(value) * MILLION
        else:
            others.add(field)
    for slot, price in list(prices.items()):
        output = Slot(slot.provider, slot.model, slot.service_tier, slot.context_above_tokens, "output")
        if slot.component == "reasoning" and prices.get(output) == price:
            del prices[slot]
    return prices, others


@cache
def differences() -> list[Difference]:
    """Every difference between the book and the table on the day the table covers."""
    ours = {slot_of(row): Decimal(row["usd_per_million"]) for row in book() if in_force(row)}
    found: list[Difference] = []
    for provider, model in sorted({(row["provider"], row["model"]) for row in book()}):
        prices, others = table_prices(provider, model)
        mine = {slot: price for slot, price in ours.items() if (slot.provider, slot.model) == (provider, model)}
        for slot in mine.keys() | prices.keys():
            if slot not in prices:
                found.append(Difference("not_in_litellm", slot, book=mine[slot]))
            elif slot not in mine:
                found.append(Difference("not_in_price_book", slot, table=prices[slot]))
            elif mine[slot] != prices[slot]:
                found.append(Difference("value", slot, book=mine[slot], table=prices[slot]))
        found += [Difference("not_carried", Slot(provider, model, "", 0, field)) for field in others]
    return found


def rule_breaks() -> list[Difference]:
    """Rows that break what nearly every model keeps: output >= input, and a 1 h cache write = 2 x input."""
    periods: dict[tuple, dict[str, Decimal]] = defaultdict(dict)
    for row in book():
        slot = slot_of(row)
        period = (slot.provider, slot.model, slot.service_tier, slot.context_above_tokens, row["valid_from"])
        periods[period][slot.component] = Decimal(row["usd_per_million"])
    found = []
    for (provider, model, tier, context, _), prices in periods.items():
        if "input" in prices and "output" in prices and prices["output"] < prices["input"]:
            slot = Slot(provider, model, tier, context, "output")
            found.append(Difference("output_below_input", slot, book=prices["output"]))
        if "cache_write_1h" in prices and prices["cache_write_1h"] != 2 * prices.get("input", Decimal(0)):
            slot = Slot(provider, model, tier, context, "cache_write_1h")
            found.append(Difference("write_1h_not_twice_input", slot, book=prices["cache_write_1h"]))
    return found


def inferred() -> list[Difference]:
    """Rows whose price was worked out from others rather than read."""
    return [Difference("inferred", slot_of(row)) for row in book() if row["origin"].endswith("(inferred)")]


def _states(written: str, price: Decimal | None) -> bool:
    return not written or (price is not None and Decimal(written) == price)


def explains(entry: dict[str, str], difference: Difference) -> bool:
    """Whether a line of the differences file is about this difference; `*` stands for any value."""
    slot = difference.slot
    return (
        entry["difference"] == difference.kind
        and entry["provider"] in ("*", slot.provider)
        and entry["model"] in ("*", slot.model)
        and entry["service_tier"] in ("*", slot.service_tier)
        and entry["context_above_tokens"] in ("*", str(slot.context_above_tokens))
        and entry["component"] in ("*", slot.component)
        and _states(entry["price_book_usd_per_million"], difference.book)
        and _states(entry["litellm_usd_per_million"], difference.table)
    )


def all_differences() -> list[Difference]:
    return [*differences(), *rule_breaks(), *inferred()]


def test_every_difference_is_listed() -> None:
    missing = [item for item in all_differences() if not any(explains(entry, item) for entry in listed())]
    assert not missing, "not in docs/price_book_differences.csv:\n" + "\n".join(map(str, missing))


def test_every_listed_difference_is_real() -> None:
    stale = [entry for entry in listed() if not any(explains(entry, item) for item in all_differences())]
    assert not stale, "no such difference any more:\n" + "\n".join(map(str, stale))


def test_every_listed_difference_has_a_reason() -> None:
    assert all(entry["reason"].strip() for entry in listed())


def test_changed_values_state_both_prices() -> None:
    lines = [entry for entry in listed() if entry["difference"] == "value"]
    assert all(entry["price_book_usd_per_million"] and entry["litellm_usd_per_million"] for entry in lines)


def test_the_book_covers_the_models_people_use() -> None:
    models = {(row["provider"], row["model"]) for row in book()}
    assert len(models) >= 60
    assert len({provider for provider, _ in models}) >= 10


def test_ended_prices_from_the_change_log_are_in_the_change_log() -> None:
    """A row that cites the change log has ended, and holds the value that the log saw replaced that day."""
    fields = {component: field for field, component in TOKEN_FIELDS.items()}
    log = {(row["observed_at"][:10], row["model"], row["field"]): row["old"] for row in read_csv(CHANGES)}
    checked = 0
    for row in book():
        match = re.fullmatch(r"litellm change log (\d{4}-\d\d-\d\d)", row["origin"])
        if not match:
            continue
        slot = slot_of(row)
        field = fields[slot.component]
        if slot.context_above_tokens:
            field += f"_above_{slot.context_above_tokens // 1000}k_tokens"
        keys = {table_key(slot.provider, slot.model), f"{slot.provider}/{slot.model}", slot.model}
        old = [log[(match[1], key, field)] for key in keys if (match[1], key, field) in log]
        assert Decimal(row["usd_per_million"]) in [Decimal(value) * MILLION for value in old], row
        assert row["valid_to"], f"a replaced price must end: {row}"
        checked += 1
    assert checked >= 40


def test_unit_errors_never_enter() -> None:
    """No price moves by a factor of 500 from one period to the next."""
    prices: dict[Slot, list[Decimal]] = defaultdict(list)
    for row in sorted(book(), key=lambda row: row["valid_from"]):
        prices[slot_of(row)].append(Decimal(row["usd_per_million"]))
    for slot, history in prices.items():
        for before, after in pairwise(history):
            assert before > 0 and after > 0 and max(before / after, after / before) < 500, slot
