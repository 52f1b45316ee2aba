"""Measured commands: their children's work and memory count, and a failed one says what it printed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest


@pytest.fixture
def measuring(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3] / "bench"))
    import measuring

    yield measuring
    sys.modules.pop("measuring")


def test_a_childs_processor_and_memory_count(measuring, tmp_path):
    child = "import time; block = bytearray(300_000_000); sum(range(8_000_000)); time.sleep(1); print('done')"
    parent = (
        f"import subprocess, sys; block = bytearray(300_000_000); subprocess.run([sys.executable, '-c', {child!r}])"
    )
    usage = measuring.measure([sys.executable, "-c", parent], environment={}, log=tmp_path / "log")
    assert usage.output == "done\n"
    assert usage.seconds > 1
    assert usage.cpu_seconds > 0.05
    # both blocks at one time, which no single process has
    assert usage.peak_gib > 0.5


def test_a_failed_command_says_what_it_printed(measuring, tmp_path):
    with pytest.raises(measuring.CommandFailed, match="no such luck"):
        measuring.measure(
            [sys.executable, "-c", "raise SystemExit('no such luck')"], environment={}, log=tmp_path / "log"
        )
