"""The snapshot: what counts, what a newer bill replaced, and what changed since the last successful build."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingest.errors import LakeError
from ingest.ledger import Batch, BillKey
from ingest.runner import IngestRequest, ingest
from ingest.snapshot import accept_snapshot, superseded_keys, write_snapshot
from tests.python.conftest import spend_log_row, write_json_lines
from tests.python.ingest.helpers import bill_line, write_csv

TEAMS = pa.schema(
    [("team", pa.string()), ("owner", pa.string()), ("valid_from", pa.date32()), ("valid_to", pa.date32())]
)


class Home:
    """A lake, its snapshots and its seeds in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lake = folder / "lake"
        self.seeds = folder / "seeds"
        self.seeds.mkdir()
        self.teams: list[dict] = []

    def ingest(self, *paths: Path, **options: object) -> None:
        ingest(self.lake, [IngestRequest("gateway", path, **options) for path in paths])

    def snapshot(self, **options: object) -> dict[str, list[dict]]:
        """Write a snapshot and return its tables."""
        write_snapshot(
            self.lake,
            self.folder / "snapshot",
            self.folder / "last",
            {"teams": pa.Table.from_pylist(self.teams, schema=TEAMS)},
            self.seeds,
            **{"full_refresh": False, "previous_unfinished": False, **options},
        )
        return {path.stem: pq.read_table(path).to_pylist() for path in (self.folder / "snapshot").glob("*.parquet")}

    def accept(self) -> None:
        accept_snapshot(self.folder / "snapshot", self.folder / "last")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def changes(tables: dict[str, list[dict]], table: str = "files") -> dict[str, str]:
    return {str(row.get("usage_date") or row["batch_id"]): row["change"] for row in tables[table]}


def test_only_what_came_since_the_last_build_is_changed(home):
    home.ingest(write_json_lines(home.folder / "a.jsonl", [spend_log_row("r1", "2026-08-01T10:00:00")]))
    assert changes(home.snapshot()) == {"2026-08-01": "added"}
    home.accept()
    assert changes(home.snapshot()) == {"2026-08-01": "same"}
    home.ingest(write_json_lines(home.folder / "b.jsonl", [spend_log_row("r2", "2026-08-02T10:00:00")]))
    assert changes(home.snapshot()) == {"2026-08-01": "same", "2026-08-02": "added"}


def test_a_build_that_failed_leaves_the_changes_for_the_next(home):
    home.ingest(write_json_lines(home.folder / "a.jsonl", [spend_log_row("r1")]))
    home.snapshot()
    assert changes(home.snapshot()) == {"2026-08-01": "added"}


def test_a_batch_read_another_way_shows_its_old_files_as_removed(home):
    path = write_json_lines(home.folder / "a.jsonl", [spend_log_row("r1", "2026-08-01T01:00:00")])
    home.ingest(path)
    home.snapshot()
    home.accept()
    home.ingest(path, time_zone="Asia/Kolkata")
    tables = home.snapshot()

    assert changes(tables) == {"2026-07-31": "added", "2026-08-01": "removed"}
    removed = next(row["path"] for row in tables["files"] if row["change"] == "removed")
    assert (home.lake / removed).exists(), "the old rows say which dates and tasks to touch"


def test_an_edited_company_row_touches_its_dates_before_and_after_the_edit(home):
    home.teams = [{"team": "support", "owner": "Asha", "valid_from": date(2026, 8, 1), "valid_to": date(2026, 9, 1)}]
    home.snapshot()
    home.accept()
    home.teams = [{"team": "support", "owner": "Asha", "valid_from": date(2026, 8, 1), "valid_to": date(2026, 8, 20)}]
    ranges = [(row["valid_from"], row["valid_to"]) for row in home.snapshot()["changed_ranges"]]

    assert ranges == [(date(2026, 8, 1), date(2026, 8, 20)), (date(2026, 8, 1), date(2026, 9, 1))]


def test_an_edited_seed_row_touches_its_dates_and_an_undated_seed_every_date(home):
    pl.DataFrame({"model": ["a"], "usd": ["1"], "valid_from": ["2026-08-01"], "valid_to": [None]}).write_csv(
        home.seeds / "price_book.csv"
    )
    pl.DataFrame({"alias": ["a"], "provider": ["b"]}).write_csv(home.seeds / "providers.csv")
    home.snapshot()
    home.accept()
    assert home.snapshot()["changed_ranges"] == []

    text = (home.seeds / "price_book.csv").read_text()
    (home.seeds / "price_book.csv").write_text(text.replace("a,1", "a,2"))
    (home.seeds / "providers.csv").write_text("alias,provider\na,c\n")
    assert home.snapshot()["changed_ranges"] == [
        {"reason": "seed_price_book", "valid_from": date(2026, 8, 1), "valid_to": None},
        {"reason": "seed_providers", "valid_from": None, "valid_to": None},
    ]


def test_requested_dates_are_a_range_of_their_own(home):
    tables = home.snapshot(extra_dates=(date(2026, 8, 1), date(2026, 8, 3)))
    assert tables["changed_ranges"] == [
        {"reason": "requested", "valid_from": date(2026, 8, 1), "valid_to": date(2026, 8, 4)}
    ]


def test_further_tables_are_frozen_and_touch_no_date(home):
    table = pa.table({"source": ["gateway"], "precedence": [1]})
    assert home.snapshot(tables={"sources": table})["sources"] == [{"source": "gateway", "precedence": 1}]
    home.accept()
    other = pa.table({"source": ["gateway"], "precedence": [2]})
    tables = home.snapshot(tables={"sources": other})
    assert (tables["sources"], tables["changed_ranges"]) == ([{"source": "gateway", "precedence": 2}], [])
    assert "sources" not in home.snapshot()


def test_an_edited_price_of_the_company_touches_its_dates(home):
    schema = pa.schema(
        [("usd_per_million", pa.decimal128(18, 6)), ("valid_from", pa.date32()), ("valid_to", pa.date32())]
    )

    def snapshot(price: str) -> list[dict]:
        row = {"usd_per_million": Decimal(price), "valid_from": date(2026, 8, 1), "valid_to": date(2026, 9, 1)}
        prices = pa.Table.from_pylist([row], schema=schema)
        write_snapshot(
            home.lake, home.folder / "snapshot", home.folder / "last", {"prices": prices}, home.seeds, False, False
        )
        return pq.read_table(home.folder / "snapshot" / "changed_ranges.parquet").to_pylist()

    snapshot("1")
    home.accept()
    assert snapshot("1.000000") == []
    assert snapshot("1.000001") == [
        {"reason": "company_prices", "valid_from": date(2026, 8, 1), "valid_to": date(2026, 9, 1)}
    ]


def bill(name: str, delivered: int, *periods: int, source: str = "aws", account: str = "1") -> Batch:
    keys = tuple(
        BillKey(account, datetime(2026, month, 1, tzinfo=UTC), date(2026, month, 1), date(2026, month, 28))
        for month in periods
    )
    delivered_at = datetime(2026, 9, delivered, tzinfo=UTC)
    return Batch(name, "x", source, "focus", 1, "", delivered_at, delivered_at, (), (), {}, True, keys)


def lost(*batches: Batch) -> set[tuple[str, int]]:
    pairs = superseded_keys({batch.batch_id: batch for batch in batches})
    return {(batch.batch_id, key.billing_period_start.month) for batch, key in pairs}


def test_a_newer_bill_replaces_only_the_periods_it_contains():
    assert lost(bill("old", 1, 7, 8), bill("new", 2, 8)) == {("old", 8)}


def test_newer_means_delivered_later_whatever_the_order_of_ingest():
    assert lost(bill("a", 5, 8), bill("b", 2, 8), bill("c", 3, 8)) == {("b", 8), ("c", 8)}


def test_a_tie_goes_to_the_greater_batch_id():
    assert lost(bill("a", 1, 8), bill("b", 1, 8)) == {("a", 8)}


def test_another_source_or_account_replaces_nothing():
    assert lost(bill("a", 1, 8), bill("b", 2, 8, source="gcp"), bill("c", 3, 8, account="2")) == set()


def test_batches_that_commit_after_the_snapshot_wait_for_the_next(home):
    home.ingest(write_json_lines(home.folder / "a.jsonl", [spend_log_row("r1", "2026-08-01T10:00:00")]))
    tables = home.snapshot()
    home.ingest(write_json_lines(home.folder / "b.jsonl", [spend_log_row("r2", "2026-08-02T10:00:00")]))

    assert changes(tables) == {"2026-08-01": "added"}
    home.accept()
    assert changes(home.snapshot()) == {"2026-08-01": "same", "2026-08-02": "added"}


def test_a_listed_part_that_is_missing_stops_the_snapshot_and_leaves_the_last_one(home):
    home.ingest(write_json_lines(home.folder / "a.jsonl", [spend_log_row("r1")]))
    before = home.snapshot()["meta"]
    (part,) = (home.lake / "llm_calls").rglob("usage_date=*/*.parquet")
    part.unlink()

    with pytest.raises(LakeError, match=rf"{part.name}.*missing. Restore it, or remove _ledger"):
        home.snapshot()
    assert pq.read_table(home.folder / "snapshot" / "meta.parquet").to_pylist() == before


def deliver_bill(home: Home, name: str, delivered: int, **line: object) -> None:
    path = write_csv(home.folder / name / "part.csv", [bill_line(**line)])
    home.ingest(path.parent, delivered_at=datetime(2026, 9, delivered, tzinfo=UTC))


def superseded(tables: dict[str, list[dict]]) -> list[tuple]:
    return sorted((str(row["billing_period_start"].date()), row["change"]) for row in tables["superseded"])


def test_a_replaced_period_is_told_once_and_again_when_it_comes_back(home):
    deliver_bill(home, "first", 1, BilledCost="1")
    assert superseded(home.snapshot()) == []
    home.accept()
    deliver_bill(home, "second", 2, BilledCost="2")
    assert superseded(home.snapshot()) == [("2026-08-01", "added")]
    home.accept()
    assert superseded(home.snapshot()) == [("2026-08-01", "same")]
    home.accept()
    # the first bill comes again: its rows count again, the second's no longer
    deliver_bill(home, "first", 3, BilledCost="1")
    tables = home.snapshot()
    assert superseded(tables) == [("2026-08-01", "added"), ("2026-08-01", "removed")]
    assert sorted(row["change"] for row in tables["files"]) == ["added", "same"]


def test_a_bill_of_several_accounts_loses_only_what_the_newer_one_holds(home):
    rows = [bill_line(BillingAccountId="1"), bill_line(BillingAccountId="2")]
    home.ingest(
        write_csv(home.folder / "both" / "part.csv", rows).parent, delivered_at=datetime(2026, 9, 1, tzinfo=UTC)
    )
    deliver_bill(home, "one", 2, BillingAccountId="2", BilledCost="7")

    assert [row["billing_account_id"] for row in home.snapshot()["superseded"]] == ["2"]


def test_accounting_of_each_batch_and_contract(home):
    home.ingest(
        write_json_lines(
            home.folder / "a.jsonl", [spend_log_row("r1"), spend_log_row("r2", prompt_tokens=-1), spend_log_row("r3")]
        )
    )
    (batch,) = home.snapshot()["batches"]
    counts = [batch[name] for name in ("rows_read", "rows_loaded", "rows_quarantined", "rows_skipped")]
    assert counts == [3, 2, 1, 0]
    assert (batch["contract"], batch["file_names"], batch["file_count"]) == ("llm_calls", "a.jsonl", 1)
    assert (batch["min_date"], batch["max_date"]) == (date(2026, 8, 1), date(2026, 8, 1))


def test_a_full_refresh_sees_everything_as_new(home):
    home.ingest(write_json_lines(home.folder / "a.jsonl", [spend_log_row("r1")]))
    home.snapshot()
    home.accept()
    tables = home.snapshot(full_refresh=True)

    assert changes(tables) == {"2026-08-01": "added"}
    assert tables["meta"][0]["is_full_refresh"]
