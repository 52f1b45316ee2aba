"""How much memory DuckDB takes before it goes to disk."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from pertask.memory import duckdb_limits, duckdb_memory


def test_a_connection_keeps_to_what_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERTASK_BUILD_MEMORY", "512MiB")
    with duckdb.connect(config=duckdb_limits(tmp_path / "spill")) as connection:
        settings = connection.execute("select current_setting('memory_limit'), current_setting('temp_directory')")
        assert settings.fetchall() == [("512.0 MiB", str(tmp_path / "spill"))]


def test_it_is_six_gibibytes_or_half_of_a_smaller_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PERTASK_BUILD_MEMORY", raising=False)
    monkeypatch.setattr("pertask.memory._CONTAINER_LIMITS", ())
    pages = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 24 * 2**30 // 4096}
    monkeypatch.setattr("os.sysconf", pages.__getitem__)
    assert duckdb_memory() == "6144MiB"
    pages["SC_PHYS_PAGES"] = 8 * 2**30 // 4096
    assert duckdb_memory() == "4096MiB"


def test_a_container_with_less_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PERTASK_BUILD_MEMORY", raising=False)
    limits = tmp_path / "memory.max", tmp_path / "absent"
    monkeypatch.setattr("pertask.memory._CONTAINER_LIMITS", limits)
    limits[0].write_text(f"{2**31}\n", encoding="ascii")
    assert duckdb_memory() == "1024MiB"
    limits[0].write_text("max\n", encoding="ascii")
    assert int(duckdb_memory().removesuffix("MiB")) > 1024
