"""Where exports may go: never over what is not an export, whatever --output says."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pertask.cli import cli
from pertask.home import Home
from tests.python.publish.published_files import make_published

SUFFIXES = {"focus": ".csv", "xlsx": ".xlsx", "hyper": ".hyper", "csv": "", "parquet": ""}
FORMATS = list(SUFFIXES)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    home = make_published(tmp_path / "home")
    home.config_file.write_text("sources: {}\n", encoding="utf-8")
    monkeypatch.setenv("PERTASK_HOME", str(home.root))
    return home


def export(output_format: str, output: Path, *options: str) -> Result:
    return CliRunner().invoke(cli, ["export", output_format, "--output", str(output), *options])


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("place", ["published/pertask.duckdb", "pertask.yml", "published/costs", "landing/new"])
def test_nothing_in_the_home_is_written_over(home, output_format, place):
    before = contents(home.root)
    for output in (home.root / place, (home.root / place).with_suffix(SUFFIXES[output_format])):
        done = export(output_format, output)
        assert (done.exit_code, type(done.exception)) == (2, SystemExit), done.output
        assert done.output.startswith(f"{output}: ")
    assert contents(home.root) == before


@pytest.mark.parametrize("output_format", ["xlsx", "csv"])
@pytest.mark.parametrize("place", [".", "published", "published/exports"])
def test_the_folders_of_the_home_are_no_targets(home, output_format, place):
    done = export(output_format, home.root / place)
    assert done.exit_code == 2 or "it is a folder" in done.output, done.output
    assert not (home.root / place / "_export.json").exists()


@pytest.mark.parametrize("output_format", ["xlsx", "csv"])
def test_links_do_not_lead_into_the_home(home, tmp_path, output_format):
    suffix = SUFFIXES[output_format]
    (tmp_path / "door").symlink_to(home.root)
    (home.root / "landing").mkdir()
    inside = tmp_path / "door" / "landing" / f"new{suffix}"
    link_in, link_out, circle = (tmp_path / f"{name}{suffix}" for name in ("in", "out", "circle"))
    link_in.symlink_to(home.root / "landing" / f"new{suffix}")
    link_from_home = home.root / f"out{suffix}"
    link_from_home.symlink_to(link_out)
    circle.symlink_to(circle)
    for output in (inside, link_in, link_from_home, tmp_path / "home" / "published" / ".." / f"x{suffix}"):
        done = export(output_format, output)
        assert done.exit_code == 2, done.output
        assert f"exports go to {home.exports} alone" in done.output
    assert link_from_home.is_symlink()
    assert type(export(output_format, circle).exception) in (SystemExit, type(None))


@pytest.mark.parametrize(("output_format", "name"), [("xlsx", "costs.csv"), ("xlsx", "costs"), ("focus", "b.parquet")])
def test_a_name_of_another_format_is_refused(home, tmp_path, output_format, name):
    (tmp_path / name).write_bytes(b"mine")
    done = export(output_format, tmp_path / name)
    assert done.exit_code == 2
    assert f"this export is a {SUFFIXES[output_format]} file. Give --output a name that ends in" in done.output
    assert (tmp_path / name).read_bytes() == b"mine"


def test_an_earlier_export_is_replaced(home, tmp_path):
    for output in (home.exports / "july.xlsx", tmp_path / "July.XLSX"):
        for _ in range(2):
            done = export("xlsx", output, "--mart", "core.dim_teams")
            assert done.exit_code == 0, done.output
        assert output.read_bytes().startswith(b"PK")


def test_exports_may_be_a_link_to_another_disk(home, tmp_path):
    (tmp_path / "disk").mkdir()
    home.exports.symlink_to(tmp_path / "disk")
    for output in (home.exports / "here", tmp_path / "disk" / "there"):
        done = export("csv", output)
        assert done.exit_code == 0, done.output
