"""The page's colours can be read in both schemes, and its charts' colours told from what they stand on."""

from __future__ import annotations

import csv
import re
import zoneinfo
from pathlib import Path

import pytest

import publish.report

FOLDER = Path(publish.report.__file__).parent


def palettes() -> dict[str, dict[str, str]]:
    light, dark = re.findall(r":root \{(.*?)\}", (FOLDER / "page.css").read_text(), re.DOTALL)
    return {
        name: dict(re.findall(r"--([\w-]+): (#\w{6});", text)) for name, text in {"light": light, "dark": dark}.items()
    }


def contrast(one: str, other: str) -> float:
    """WCAG 2: (lighter + 0.05) / (darker + 0.05) of the relative luminances."""

    def luminance(colour: str) -> float:
        channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
        linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_the_measure_is_right():
    assert round(contrast("#000000", "#ffffff"), 2) == 21
    assert round(contrast("#777777", "#ffffff"), 2) == 4.48


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(scheme):
    palette = palettes()[scheme]
    pairs = [(text, back) for text in ("text", "text-soft", "link") for back in ("page", "card", "code-back")]
    for text, back in [*pairs, ("warn", "warn-back"), ("link", "warn-back")]:
        assert contrast(palette[text], palette[back]) >= 4.5, (text, back)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_marks_of_charts_stand_out_from_the_card(scheme):
    palette = palettes()[scheme]
    for mark in ("work", "idle", "unknown", "calls", "other", "tax"):
        assert contrast(palette[mark], palette["card"]) >= 3, mark
    heat = [palette[f"heat-{step}"] for step in range(6)]
    steps = [contrast(colour, palette["card"]) for colour in heat]
    assert steps == sorted(steps), "more is further from the background"


def test_both_schemes_name_the_same_colours_and_the_charts_use_no_others():
    light, dark = palettes().values()
    assert set(light) == set(dark)
    used = set(re.findall(r"var\(--([\w-]+)\)", (FOLDER / "charts.py").read_text() + (FOLDER / "page.py").read_text()))
    assert used <= set(light)


def test_every_region_has_a_zone_that_exists():
    with open(FOLDER / "region_zones.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["region"] for row in rows}) == len(rows)
    assert {row["time_zone"] for row in rows} <= zoneinfo.available_timezones()
