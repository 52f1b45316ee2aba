"""The FOCUS file before the FinOps Foundation's own validator, in an environment of its own.

Its pins (numpy below 2, sqlglot below 19) rule out the project's environment, and PyPI has it for FOCUS 1.0 only: the
file is checked as far as 1.0 knows its columns. It ends with 0 even when rules fail, so its report is read.
"""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from ruamel.yaml import YAML

from pertask.home import Home
from publish.focus_export import export_focus
from tests.python.homes import SmallHome

pytestmark = pytest.mark.drill

# multimethod 2 has no `overload`, which its pandera imports.
PACKAGES = ("focus-validator==1.0.0", "multimethod<2")
EXPECTED = YAML(typ="safe").load(Path(__file__).with_name("focus_validator_expected.yml"))
CURRENCIES = Path("focus_validator") / "utils" / "currency_codes.csv"


@pytest.fixture(scope="module")
def validator() -> Path:
    """The validator's environment, made once in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pertask" / "focus-validator-1.0.0"
    if not (cache / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(cache)], check=True)
        done = subprocess.run(
            [str(cache / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", *PACKAGES],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            pytest.fail(f"{' '.join(PACKAGES)} cannot be installed here: {done.stderr.strip()[-300:]}")
        (cache / "complete").touch()
    return cache


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    small = SmallHome(tmp_path_factory.mktemp("focus_validator") / "home")
    small.deliver_all()
    small.run("run")
    with open(export_focus(Home(small.folder), "csv").path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def failures(validator: Path, folder: Path, rows: list[dict[str, str]]) -> set[str]:
    """Names of the rules that the rows break, as a FOCUS 1.0 file."""
    aliases, later = EXPECTED["aliases"], set(EXPECTED["later_columns"])
    assert later < set(rows[0])
    data = folder / "focus.csv"
    with open(data, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*(name for name in rows[0] if name not in later), *aliases])
        writer.writeheader()
        for row in rows:
            told = {name: value for name, value in row.items() if name not in later}
            # pandas takes an account id of digits for a number, which the validator then calls no text
            told["BillingAccountId"] = f"account {row['BillingAccountId']}"
            writer.writerow(told | {alias: row[name] for alias, name in aliases.items()})
    (folder / "overrides.yml").write_text(
        "overrides:\n" + "".join(f"  - {rule}\n" for rule in EXPECTED["overrides"]), encoding="utf-8"
    )
    # It looks for the list of currencies below the current folder.
    (folder / CURRENCIES.parent).mkdir(parents=True)
    [currencies] = validator.glob(f"lib/python*/site-packages/{CURRENCIES}")
    shutil.copy(currencies, folder / CURRENCIES)
    command = [str(validator / "bin" / "focus-validator"), "--data-file", data.name, "--validate-version", "1.0"]
    command += ["--override-file", "overrides.yml", "--output-type", "unittest", "--output-destination", "report.xml"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (folder / "report.xml").exists(), done.stdout + done.stderr
    cases = ElementTree.parse(folder / "report.xml").findall(".//testcase")
    assert len(cases) > 100, "the report has hardly any rules"
    return {
        case.attrib["name"].split(" ")[0]
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    }


def test_the_file_breaks_no_rule_but_those_expected(validator, rows, tmp_path):
    assert failures(validator, tmp_path, rows) == set(EXPECTED["failures"])


def spoil(column: str, value: str) -> Callable[[list[dict[str, str]]], list[dict[str, str]]]:
    return lambda rows: [{**row, column: value} if number == 3 else row for number, row in enumerate(rows)]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("PricingCategory", "Spot"),
        ("ServiceCategory", "GPUs"),
        ("CommitmentDiscountStatus", "Wasted"),
        ("BilledCost", ""),
        ("BillingCurrency", "DOLLAR"),
        ("Tags", "team=support"),
        ("ChargePeriodStart", "2026-08-19T00:00:00+05:30"),
    ],
)
def test_it_finds_a_fault_in_one_row(validator, rows, tmp_path, column, value):
    found = failures(validator, tmp_path, spoil(column, value)(rows))
    assert any(rule.startswith(column) for rule in found - set(EXPECTED["failures"])), found
