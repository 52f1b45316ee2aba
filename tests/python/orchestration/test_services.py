"""deploy/ and docs/operate.md: the services start as the units say, are reached from this machine only, and exist."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import click
import pytest
import yaml

from orchestration.lib.instance import prepare_dagster
from pertask.cli import cli
from pertask.config import Config
from pertask.home import Home

REPOSITORY = Path(__file__).parents[3]
DEPLOY = REPOSITORY / "deploy"
UNITS = {path.stem: path for path in (DEPLOY / "systemd").glob("*.service")}
COMPOSE = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text())["services"]
PAGE = (REPOSITORY / "docs" / "operate.md").read_text(encoding="utf-8")
PROGRAM, HOME = "/opt/pertask", "/srv/pertask"
SERVICES = {"code": "pertask-code", "web": "pertask-web", "daemon": "pertask-daemon"}
SECONDS = 60


def unit(name: str) -> dict[str, str]:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str
    parser.read_string(UNITS[name].read_text())
    return {**parser["Unit"], **parser["Service"]}


def command(name: str) -> list[str]:
    """What a unit starts, with this machine's program in the place of the installed one."""
    words = shlex.split(unit(name)["ExecStart"])
    executable = Path(sys.executable).with_name(Path(words[0]).name)
    return [str(executable), *(word.replace(PROGRAM, str(REPOSITORY)) for word in words[1:])]


def value_of(words: list[str], option: str) -> str:
    return words[words.index(option) + 1]


def test_units_and_compose_start_the_same() -> None:
    for service, name in SERVICES.items():
        started = [word.removeprefix(f"{PROGRAM}/") for word in shlex.split(unit(name)["ExecStart"])[1:]]
        composed = [str(word) for word in COMPOSE[service]["command"]][1:]
        # inside a container the port is reached through its own network; what is published decides
        assert [word.replace("0.0.0.0", "127.0.0.1") for word in composed] == started


def test_only_this_machine_reaches_the_ui() -> None:
    words = command("pertask-web")
    assert value_of(words, "--host") == "127.0.0.1"
    assert "--read-only" in words
    ports = {name: service.get("ports", []) for name, service in COMPOSE.items()}
    assert ports == {"code": [], "web": [f"127.0.0.1:{value_of(words, '--port')}:3000"], "daemon": []}
    assert value_of(command("pertask-code"), "--socket").startswith("/run/pertask/")


def test_only_the_code_server_has_the_secrets() -> None:
    with_secrets = {name for name in UNITS if "EnvironmentFile" in unit(name)}
    assert with_secrets == {"pertask-code", "pertask-run"}
    assert {name for name, service in COMPOSE.items() if "env_file" in service} == {"code"}


@pytest.mark.parametrize("name", sorted(UNITS))
def test_a_unit_may_write_the_home_and_nothing_else(name: str) -> None:
    settings = unit(name)
    home = Home(Path(HOME))
    assert (settings["User"], settings["ProtectSystem"], settings["NoNewPrivileges"]) == ("pertask", "strict", "true")
    runs = name in ("pertask-code", "pertask-run")
    assert settings["ReadWritePaths"] == str(home.root if runs else home.dagster)
    assert f"PERTASK_HOME={home.root}" in settings["Environment"].split()
    if name != "pertask-run":
        assert f"DAGSTER_HOME={home.dagster}" in settings["Environment"].split()
        assert settings["AssertPathExists"] == str(home.dagster / "dagster.yaml")
    assert "Documentation" in settings
    assert (REPOSITORY / settings["Documentation"].removeprefix(f"file://{PROGRAM}/")).is_file()


def test_a_stop_waits_for_the_run_under_way() -> None:
    settings = unit("pertask-code")
    # only the code server is told to stop, not the run, which is its child
    assert (settings["KillMode"], settings["TimeoutStopSec"]) == ("mixed", "900")
    assert COMPOSE["code"]["stop_grace_period"] == "15m"
    assert unit("pertask-daemon")["PartOf"] == "pertask-code.service"


def test_all_meet_at_one_socket() -> None:
    [location] = yaml.safe_load((DEPLOY / "workspace.yaml").read_text())["load_from"]
    assert location["grpc_server"]["socket"] == value_of(command("pertask-code"), "--socket")
    assert unit("pertask-code")["RuntimeDirectory"] == "pertask"
    for name in ("pertask-web", "pertask-daemon"):
        assert value_of(command(name), "--workspace") == str(DEPLOY / "workspace.yaml")


def test_the_image_has_the_python_of_the_lock_file() -> None:
    text = (DEPLOY / "compose" / "Containerfile").read_text()
    [version] = re.findall(r"^FROM python:(3\.\d+)-", text, re.MULTILINE)
    needed = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["requires-python"]
    assert needed == f">={version}"
    assert f"/usr/local/bin/python{version}" in text
    assert "uv sync --locked" in text
    assert re.search(r"^USER pertask$", text, re.MULTILINE)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not on this machine")
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    for path in (DEPLOY / "systemd").iterdir():
        text = path.read_text().replace(f"{PROGRAM}/.venv/bin", str(Path(sys.executable).parent))
        (tmp_path / path.name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *sorted(map(str, tmp_path.iterdir()))],
        capture_output=True,
        text=True,
        check=False,
    )
    complaints = [line for line in done.stderr.splitlines() if "pertask" in line]
    assert (done.returncode, complaints) == (0, []), done.stderr


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen, int]]:
    """The UI, started as its unit does, but on a free port."""
    home = Home(tmp_path_factory.mktemp("web"))
    prepare_dagster(home)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = command("pertask-web")
    words[words.index("--port") + 1] = str(port)
    environment = {**os.environ, "PERTASK_HOME": str(home.root), "DAGSTER_HOME": str(home.dagster)}
    with subprocess.Popen(
        words, cwd=REPOSITORY, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield process, port
        finally:
            process.terminate()


def ask(url: str, body: dict | None = None) -> dict:
    data = json.dumps(body).encode() if body else None
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def test_the_ui_answers_on_this_machine_only_and_changes_nothing(web: tuple[subprocess.Popen, int]) -> None:
    process, port = web
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            told = ask(f"http://127.0.0.1:{port}/server_info")
            break
        except OSError:
            assert process.poll() is None, "it ended"
            assert time.monotonic() < deadline, "it does not answer"
            time.sleep(0.2)
    assert "dagster_webserver_version" in told
    assert listeners(process.pid) == {("127.0.0.1", port)}

    query = {"query": "{ instance { info } }"}
    assert "telemetry" in json.dumps(ask(f"http://127.0.0.1:{port}/graphql", query))
    change = {"query": 'mutation { reloadRepositoryLocation(repositoryLocationName: "x") { __typename } }'}
    answer = ask(f"http://127.0.0.1:{port}/graphql", change)
    assert answer["data"]["reloadRepositoryLocation"]["__typename"] == "UnauthorizedError"


def listeners(process_id: int) -> set[tuple[str, int]]:
    """Address and port of each TCP socket that a process listens on, from Linux's own tables."""
    opened = set()
    for path in Path(f"/proc/{process_id}/fd").iterdir():
        with suppress(FileNotFoundError):  # the process may close a file while it is listed
            opened.add(os.readlink(path))
    found = set()
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in opened:
                address, port = fields[1].split(":")
                words = [bytes.fromhex(address[at : at + 8])[::-1] for at in range(0, len(address), 8)]
                found.add((socket.inet_ntop(family, b"".join(words)), int(port, 16)))
    return found


def test_telemetry_is_off(tmp_path: Path) -> None:
    home = Home(tmp_path)
    prepare_dagster(home)
    assert yaml.safe_load((home.dagster / "dagster.yaml").read_text())["telemetry"] == {"enabled": False}


def test_every_file_that_the_page_names_exists() -> None:
    named = set(re.findall(r"\b(?:deploy|docs)/[\w./-]+\w", PAGE)) | {
        f"docs/{name}" for name in re.findall(r"\]\((\w[\w-]*\.md)", PAGE)
    }
    # the reader's own, which must not get into a commit
    named.remove("deploy/compose/secrets.env")
    assert "secrets.env" in (REPOSITORY / ".gitignore").read_text().split()
    assert {name for name in named if not (REPOSITORY / name).exists()} == set()
    units = set(re.findall(r"pertask-\w+\.(?:service|timer)", PAGE))
    assert units
    assert {name for name in units if not (DEPLOY / "systemd" / name).exists()} == set()
    services = set(re.findall(r"\bpertask-(?:code|web|daemon|run)\b", PAGE))
    assert services == set(UNITS)


def test_every_place_in_the_home_that_the_page_names_is_one() -> None:
    home = Home(Path(HOME))
    places = {path for name in dir(Home) if isinstance(getattr(Home, name), property) for path in [getattr(home, name)]}
    named = {
        Path(HOME) / name.rstrip("/")
        for name in re.findall(r"`((?:lake|warehouse|published|landing|company)(?:/[\w./-]*)?)`", PAGE)
    }
    assert len(named) > 8
    known = places | {home.root / "mappings", home.warehouse / "lock", home.lake / "_ledger", home.dagster / "history"}
    known |= {home.dagster / "storage", home.dagster / "schedules", home.dagster / "dagster.yaml"}
    assert {place for place in named if place not in known} == set()


def test_every_command_of_the_page_exists() -> None:
    said = re.findall(r"(?:^|[\s`/])pertask ((?:[a-z]+\b ?)+)((?:--[\w-]+ ?)*)", PAGE, re.MULTILINE)
    used = [(words.split(), options.split()) for words, options in said if words.split()[0] in cli.commands]
    assert len(used) > 8
    for words, options in used:
        found: click.Command = cli
        for word in words:
            if not isinstance(found, click.Group) or word not in found.commands:
                break
            found = found.commands[word]
        known = {flag for parameter in found.params for flag in (*parameter.opts, *parameter.secondary_opts)}
        assert set(options) <= known, words
    for word in re.findall(r"`pertask (\w+)", PAGE):
        assert word in cli.commands


def test_every_key_of_the_page_exists() -> None:
    keys = re.findall(r"`(\w+)\.(\w+)`", PAGE)
    known = {
        (section, key)
        for section, field in Config.model_fields.items()
        if hasattr(field.annotation, "model_fields")
        for key in field.annotation.model_fields
    }
    wanted = {pair for pair in keys if pair[0] in Config.model_fields}
    assert wanted
    assert wanted <= known
