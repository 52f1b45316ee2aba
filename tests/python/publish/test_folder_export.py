"""Parquet and CSV folders: the rows of the published file, read by other libraries; replaced whole or not at all."""

from __future__ import annotations

import csv
import json
import os
import resource
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from pertask.cli import cli
from pertask.errors import ExportError, QueryError, TargetError
from pertask.home import Home
from publish.exports.folders import export_folder
from tests.python.publish.published_files import FORMULAS, TASK_COLUMNS, make_published, rows_of


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_published(tmp_path / "it's a home")


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def files_of(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_parquet_holds_the_published_rows_exactly(home):
    done = export_folder(home, "parquet")
    folder = home.published / "exports" / "parquet"
    assert (done.place, done.mart_count) == (str(folder), 3)
    assert files_of(folder) == [
        "_export.json",
        "core/dim_teams.parquet",
        "core/fct_tasks.parquet",
        "quality/findings.parquet",
    ]
    table = pq.read_table(folder / "core" / "fct_tasks.parquet")
    assert table.schema.field("cost_usd").type == pa.decimal128(38, 12)
    assert table.schema.field("started_at").type == pa.timestamp("us", tz="UTC")
    assert table.schema.metadata[b"description"].decode() == "One row per task: what it's cost."
    naive = [
        {**row, "started_at": row["started_at"] and row["started_at"].replace(tzinfo=None)} for row in table.to_pylist()
    ]
    assert [tuple(row.values()) for row in naive] == rows_of(home, "core.fct_tasks")
    assert pq.read_table(folder / "quality" / "findings.parquet").num_rows == 0


def test_csv_holds_every_digit_iso_times_and_nulls_apart_from_empty_texts(home):
    export_folder(home, "csv")
    path = home.published / "exports" / "csv" / "core" / "fct_tasks.csv"
    found = read_csv(path)
    expected = rows_of(home, "core.fct_tasks")
    assert len(found) == len(expected)
    for row, (task_id, _, day, moment, attempts, tokens, cost, ratio, is_cut) in zip(found, expected, strict=True):
        assert row["task_id"] == task_id
        assert row["started_date"] == (day.isoformat() if day else "")
        assert row["started_at"] == (f"{moment.isoformat()}Z" if moment else "")
        assert [row["attempt_count"], row["tokens"]] == [
            "" if value is None else str(value) for value in (attempts, tokens)
        ]
        assert (Decimal(row["cost_usd"]) if row["cost_usd"] else None) == cost
        assert (float(row["success_ratio"]) if row["success_ratio"] else None) == ratio
        assert row["is_cut"] == {True: "true", None: ""}[is_cut]
    assert datetime.fromisoformat(found[0]["started_at"]) == datetime(2026, 8, 19, 23, 59, 59, 123456, tzinfo=UTC)
    back = duckdb.execute(
        f"select task_type is null from read_csv('{str(path).replace(chr(39), 2 * chr(39))}', "
        "all_varchar = true, allow_quoted_nulls = false) where task_id in ('t8', 'none')"
    ).fetchall()
    assert back == [(False,), (True,)]


def test_csv_texts_are_no_formulas_and_numbers_stay_numbers(home):
    export_folder(home, "csv")
    found = read_csv(home.published / "exports" / "csv" / "core" / "fct_tasks.csv")
    texts = [row[0] for row in rows_of(home, "core.fct_tasks", "task_type")]
    written = [row["task_type"] for row in found]
    assert [text for text in written if text.startswith(("=", "+", "-", "@", "\t", "\r"))] == []
    assert written == [f"'{text}" if text in FORMULAS else text or "" for text in texts]
    assert "-0.000000000001" in {row["cost_usd"] for row in found}


def test_the_folder_describes_itself(home):
    export_folder(home, "csv", names=["core.fct_tasks"])
    facts = json.loads((home.published / "exports" / "csv" / "_export.json").read_text(encoding="utf-8"))
    assert (facts["published_at"], facts["build_id"]) == ("2026-08-20T02:03:04.500000Z", "20260820T020000-abc123")
    [mart] = facts["marts"]
    assert (mart["name"], mart["file"], mart["row_count"]) == ("core.fct_tasks", "core/fct_tasks.csv", 18)
    assert {column["name"]: column["description"] for column in mart["columns"]} == {
        name: text for name, (_, text) in TASK_COLUMNS.items()
    }


def test_a_folder_is_replaced_whole(home):
    folder = Path(export_folder(home, "parquet").place)
    export_folder(home, "parquet", names=["core.dim_teams"])
    assert files_of(folder) == ["_export.json", "core/dim_teams.parquet"]
    assert [path.name for path in folder.parent.iterdir()] == ["parquet"]


def test_a_failure_leaves_the_old_folder(home, monkeypatch):
    folder = Path(export_folder(home, "csv").place)
    before = {name: (folder / name).read_bytes() for name in files_of(folder)}

    def full(*arguments: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("publish.exports.folders._describe", full)
    with pytest.raises(ExportError, match=r"was not written: .*No space left.* What was there stays as it was\."):
        export_folder(home, "csv")
    assert {name: (folder / name).read_bytes() for name in files_of(folder)} == before
    assert [path.name for path in folder.parent.iterdir()] == ["csv"]


def test_a_rename_that_fails_puts_the_old_folder_back(home, monkeypatch):
    folder = Path(export_folder(home, "csv").place)
    rename = os.rename

    def fails_for_the_new_one(source: Path, target: Path) -> None:
        if target == folder and not str(source).endswith(".before"):
            raise PermissionError(13, "Permission denied")
        rename(source, target)

    monkeypatch.setattr("os.rename", fails_for_the_new_one)
    with pytest.raises(ExportError, match="Permission denied"):
        export_folder(home, "csv", names=["core.dim_teams"])
    assert len(files_of(folder)) == 4


def test_a_folder_that_a_killed_export_put_aside_comes_back(home, monkeypatch):
    folder = Path(export_folder(home, "csv").place)
    folder.rename(folder.with_name(".csv.before"))
    monkeypatch.setattr("publish.exports.folders._describe", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_folder(home, "csv")
    assert len(files_of(folder)) == 4


@pytest.mark.parametrize("export_format", ["parquet", "csv", "xlsx"])
def test_a_disk_that_is_full_loses_nothing(tmp_path, export_format):
    """A limit on the size of files stands for the disk."""
    home = make_published(tmp_path, tasks=200_000)
    old = run(home, "export", export_format, "--mart", "core.dim_teams")
    assert old.returncode == 0, old.stderr
    exports = home.published / "exports"
    before = {name: (exports / name).read_bytes() for name in files_of(exports)}
    done = run(
        home, "export", export_format, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000,) * 2)
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "was not written" in done.stderr
    assert "What was there stays as it was." in done.stderr
    assert "Traceback" not in done.stderr
    assert {name: (exports / name).read_bytes() for name in files_of(exports)} == before


def run(home: Home, *arguments: str, **options: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "pertask", *arguments],
        env={**os.environ, "PERTASK_HOME": str(home.root)},
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def test_a_folder_that_is_no_export_is_not_touched(home, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "cat.jpg").write_bytes(b"cat")
    with pytest.raises(ExportError, match="holds files that are no export"):
        export_folder(home, "csv", output=photos)
    with pytest.raises(ExportError, match="is no folder"):
        export_folder(home, "csv", output=photos / "cat.jpg")
    assert files_of(photos) == ["cat.jpg"]


@pytest.mark.parametrize("place", ["my_pivot.xlsx", "core/notes.csv", "new/folder/cat.jpg"])
def test_what_people_put_into_an_export_is_not_lost(home, place):
    folder = Path(export_folder(home, "csv").place)
    (folder / "empty").mkdir()
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    (folder / place).write_bytes(b"mine")
    before = {name: (folder / name).read_bytes() for name in files_of(folder)}
    with pytest.raises(TargetError, match=rf"holds files that are no export of pertask's: {place}\. .*move them"):
        export_folder(home, "csv", names=["core.dim_teams"])
    assert {name: (folder / name).read_bytes() for name in files_of(folder)} == before
    (folder / place).unlink()
    export_folder(home, "csv", names=["core.dim_teams"])
    assert files_of(folder) == ["_export.json", "core/dim_teams.csv"]


def test_a_link_in_an_export_is_not_lost_either(home, tmp_path):
    folder = Path(export_folder(home, "csv").place)
    (tmp_path / "elsewhere").mkdir()
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TargetError, match=r"no export of pertask's: link\."):
        export_folder(home, "csv")


def test_a_file_that_comes_while_the_export_runs_is_not_lost(home):
    folder = Path(export_folder(home, "csv").place)
    with pytest.raises(TargetError, match=r"late\.txt"):
        export_folder(home, "csv", on_mart=lambda mart: (folder / "late.txt").write_text("mine"))
    assert (folder / "late.txt").read_text() == "mine"
    assert [path.name for path in folder.parent.iterdir()] == ["csv"]


def test_many_foreign_files_are_counted_and_a_broken_list_lists_nothing(home):
    folder = Path(export_folder(home, "csv", names=["core.dim_teams"]).place)
    for number in range(7):
        (folder / f"{number}.txt").touch()
    with pytest.raises(TargetError, match=r"0\.txt, 1\.txt, 2\.txt, 3\.txt, 4\.txt and 2 more\."):
        export_folder(home, "csv")
    (folder / "_export.json").write_text("[]")
    with pytest.raises(TargetError, match=r"4\.txt and 4 more\."):
        export_folder(home, "csv")


def test_a_target_that_cannot_be_written_is_said(home):
    with pytest.raises(ExportError, match="/proc/none/csv: was not written"):
        export_folder(home, "csv", output=Path("/proc/none/csv"))


def test_an_unknown_mart_is_told_with_the_nearest(home):
    with pytest.raises(QueryError, match=r"there is no mart core\.fct_task\. Did you mean core\.fct_tasks\?"):
        export_folder(home, "csv", names=["core.fct_task"])
    assert not (home.published / "exports").exists()
    with pytest.raises(QueryError, match=r"there is no mart main\.publication\."):
        export_folder(home, "csv", names=["main.publication"])


def test_without_a_publication_it_says_what_to_do(tmp_path):
    with pytest.raises(QueryError, match="nothing is published yet"):
        export_folder(Home(tmp_path), "parquet")


def test_the_command_says_what_it_wrote(home, monkeypatch):
    monkeypatch.setenv("PERTASK_HOME", str(home.root))
    done = CliRunner().invoke(cli, ["export", "csv", "--mart", "core.dim_teams", "--mart", "core.fct_tasks"])
    assert done.exit_code == 0, done.output
    assert done.output.splitlines() == [
        "core.dim_teams: 2 rows",
        "core.fct_tasks: 18 rows",
        f"wrote {home.published / 'exports' / 'csv'}: 2 marts, 20 rows",
    ]
    assert CliRunner().invoke(cli, ["export", "csv", "--mart", "fct_tasks"]).exit_code == 2
