"""``pertask status``: what it says of a home that holds nothing, deliveries, or a publication."""

from __future__ import annotations

import io
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from ingest.errors import LakeError
from ingest.runner import IngestRequest, ingest
from pertask.errors import QueryError
from pertask.home import Home
from pertask.screen import wide_console
from pertask.status import print_status
from publish.publication import publish
from tests.python.conftest import spend_log_row, write_json_lines
from tests.python.publish.warehouses import BUILD_ID, make_warehouse


def status(home: Home) -> list[str]:
    """The lines, their runs of spaces made one."""
    out = io.StringIO()
    print_status(home, wide_console(out))
    return [" ".join(line.split()) for line in out.getvalue().splitlines()]


def deliver(home: Home, source: str, name: str, rows: list[dict], delivered_at: datetime | None = None) -> None:
    path = write_json_lines(home.landing / source / name, rows)
    [result] = ingest(home.lake, [IngestRequest(source, path, delivered_at=delivered_at)])
    assert result.state == "committed", result.message


def test_an_empty_home_is_told_so_and_stays_empty(tmp_path):
    lines = status(Home(tmp_path))
    assert "Deliveries: none yet" in lines
    assert "Publication: none yet" in lines
    assert not [line for line in lines if line.startswith(("Sources", "Quarantine", "Coverage", "Provisional"))]
    assert list(tmp_path.iterdir()) == []


def test_a_lake_of_an_older_version_is_looked_at_and_not_changed(tmp_path):
    home = Home(tmp_path)
    deliver(home, "gateway", "calls.jsonl", [spend_log_row("r1")])
    shutil.rmtree(home.lake / "serving_samples")
    assert any("calls.jsonl" in line for line in status(home))
    assert not (home.lake / "serving_samples").exists()


def test_deliveries_sources_and_quarantine(tmp_path):
    home = Home(tmp_path)
    home.config_file.write_text("sources: {gateway: {path: landing/gateway}, later: {path: landing/later}}")
    yesterday = datetime.now(UTC) - timedelta(days=1)
    start = yesterday.strftime("%Y-%m-%dT%H:%M:%S")
    first, second = datetime(2026, 8, 2, tzinfo=UTC), datetime(2026, 8, 4, tzinfo=UTC)
    deliver(home, "gateway", "a.jsonl", [spend_log_row("a"), spend_log_row("b", prompt_tokens=-1)], first)
    deliver(home, "gateway", "b.jsonl", [spend_log_row("c", start), spend_log_row("d", prompt_tokens=-2)], second)
    deliver(home, "old", "c.jsonl", [spend_log_row("e", "2020-01-01T00:00:00")], first)

    lines = status(home)

    assert "Deliveries: 3 in the lake" in lines
    newest_first = [line.split()[2:] for line in lines if line.endswith(".jsonl") and "litellm" in line]
    assert newest_first == [
        ["old", "litellm_spend_logs", "1", "0", "0", "c.jsonl"],
        ["gateway", "litellm_spend_logs", "1", "1", "0", "b.jsonl"],
        ["gateway", "litellm_spend_logs", "1", "1", "0", "a.jsonl"],
    ]
    sources = lines[lines.index("Sources") + 3 :][:3]
    old_age = (datetime.now(UTC).date() - datetime(2020, 1, 1).date()).days
    assert sources == [
        f"old 2026-08-02 2020-01-01 {old_age:,}",
        f"gateway 2026-08-04 {yesterday.date()} 1",
        "later nothing yet",
    ]
    assert "Quarantine: 2 rows" in lines
    assert "gateway llm_calls input_tokens negative 2 2026-08-02 2026-08-04 a.jsonl:2" in lines


def test_only_the_last_deliveries_are_listed(tmp_path):
    home = Home(tmp_path)
    for number in range(12):
        deliver(home, "gateway", f"{number}.jsonl", [spend_log_row(f"call-{number}")])
    lines = status(home)
    assert "Deliveries: 12 in the lake" in lines
    assert [line.split()[-1] for line in lines if ".jsonl" in line] == [f"{n}.jsonl" for n in range(11, 1, -1)]
    assert "Quarantine: empty" in lines


def test_publication_coverage_and_provisional_days(tmp_path):
    home = make_warehouse(tmp_path / "home")
    done = publish(home)
    deliver(home, "gateway", "a.jsonl", [spend_log_row("a")])

    lines = status(home)

    assert f"Publication: {done.published_at:%Y-%m-%d %H:%M} UTC, build {BUILD_ID}" in lines
    assert "5 marts, 12 rows, as of 2026-08-20 02:00 UTC" in lines
    assert "deliveries since its build: 1; pertask run publishes them." in lines
    assert lines[lines.index("Coverage of calls") + 3 :][:3] == [
        "priced 66.7% 2 of 3",
        "with team 100.0% 4 of 4",
        "with task id 75.0% 3 of 4",
    ]
    assert "2 days from 2026-08-20 to 2026-08-21, 11.00 USD as estimated" in lines


def test_what_another_version_published_is_told_so(tmp_path):
    home = Home(tmp_path)
    home.published.mkdir()
    with duckdb.connect(str(home.published_file)) as connection:
        connection.execute("create table publication as select 1 as build_id")
    assert status(home)[-1] == "Publication: by another version of pertask; pertask publish replaces it"


@pytest.mark.parametrize(
    ("path", "content", "error"),
    [
        ("lake/_ledger/x.json", b"{}", LakeError),
        ("published/pertask.duckdb", b"no database" * 1000, QueryError),
    ],
)
def test_what_cannot_be_read_is_an_error_and_not_an_empty_home(tmp_path, path, content, error):
    file: Path = tmp_path / path
    os.makedirs(file.parent)
    file.write_bytes(content)
    with pytest.raises(error, match=file.name):
        status(Home(tmp_path))
