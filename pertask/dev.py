"""Dagster's UI and daemon on this machine, over the home's own history of runs."""

from __future__ import annotations

import os
import subprocess
import sys

from orchestration.lib.instance import prepare_dagster
from pertask.home import Home


def serve(home: Home) -> int:
    """Run the UI on 127.0.0.1 until it is stopped; returns its exit code."""
    prepare_dagster(home)
    command = [sys.executable, "-m", "dagster", "dev", "-m", "orchestration.definitions", "-h", "127.0.0.1"]
    environment = {**os.environ, "PERTASK_HOME": str(home.root), "DAGSTER_HOME": str(home.dagster)}
    try:
        return subprocess.run(command, env=environment, check=False).returncode
    except KeyboardInterrupt:
        # Ctrl-C is how one leaves it; Dagster got it too and has shut down.
        return 0
