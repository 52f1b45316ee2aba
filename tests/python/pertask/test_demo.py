"""What the demo reads out of the published marts."""

from __future__ import annotations

import pytest

from pertask.demo import report_findings, share, unit_cost
from pertask.screen import Screen
from publish.publication import publish
from tests.python.publish.warehouses import make_warehouse


def test_the_findings_are_ratios_of_sums(tmp_path, capsys):
    home = make_warehouse(tmp_path / "home")
    publish(home)
    report_findings(home, Screen())
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "ticket 4 1.00 0.2500 0.4500" in lines
    assert "alert 1 - - -" in lines
    assert "Failed attempts: 0.25 of 1.00 USD of calls (25.0%)" in lines
    assert "Idle GPUs: 10.00 of 21.00 USD of GPU time (47.6%); 1.00 USD more have no samples and stay unknown" in lines
    assert "priced 66.7% 2 of 3" in lines
    assert f"export PERTASK_HOME={home.root}" in lines


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "-"),
        (0, "0.000"),
        (1234.5678, "1,235"),
        (12.34567, "12.35"),
        (0.25, "0.2500"),
        (0.000123456, "0.0001235"),
        (9.9999, "10.00"),
    ],
)
def test_a_unit_cost_has_four_significant_figures(value, expected):
    assert unit_cost(value) == expected


@pytest.mark.parametrize(("part", "whole"), [(None, 1), (1, None), (1, 0)])
def test_a_share_that_is_not_defined_is_not_shown(part, whole):
    assert share(part, whole) == ""
