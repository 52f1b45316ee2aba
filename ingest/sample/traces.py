"""Shapes taken from published traces: how long prompts and answers are, when requests come, how busy GPUs are.

The numbers are quantiles and hourly shares computed from public data (named beside each); no row of that data is here.
"""

from __future__ import annotations

from datetime import date
from zoneinfo import ZoneInfo

import numpy as np

from ingest.sample.world import SECOND_MS, World, epoch_ms, offset_seconds

LEVELS = (0.0, 0.01, 0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95, 0.99, 1.0)

# Azure LLM inference trace 2023 (Azure/AzurePublicDataset, CC-BY-4.0): tokens of a request and of its answer.
AZURE_CONVERSATION_INPUT = (2, 42, 191, 367, 397, 1027, 1236, 4077, 4087, 4125, 14050)
AZURE_CONVERSATION_OUTPUT = (7, 16, 38, 49, 78, 117, 395, 425, 453, 605, 1000)
AZURE_CODE_INPUT = (3, 18, 76, 149, 580, 1468, 2722, 5009, 7082, 7436, 7437)
AZURE_CODE_OUTPUT = (6, 6, 6, 7, 9, 13, 23, 54, 85, 240, 1899)
# Mooncake conversation trace (kvcache-ai/Mooncake, Apache-2.0): long contexts.
MOONCAKE_INPUT = (891, 894, 901, 973, 2397, 7323, 15796, 28121, 40992, 89869, 124847)
MOONCAKE_OUTPUT = (1, 3, 9, 24, 158, 356, 477, 607, 713, 1169, 2000)

# ServeGen, deepseek-r1 (alibaba/ServeGen, Apache-2.0): requests in each hour of a day over the mean hour.
SERVEGEN_HOURS = (
    0.787, 1.010, 2.355, 1.878, 0.361, 0.319, 0.298, 0.235, 0.234, 0.528, 0.537, 0.566,
    0.399, 0.798, 1.029, 0.859, 0.961, 0.579, 0.875, 0.689, 1.687, 2.510, 3.730, 0.779,
)  # fmt: skip
_TROUGH_HOUR, _LOCAL_TROUGH_HOUR = 7, 3

# Alibaba GenAI 2026 (alibaba/clusterdata), GPU duty cycle of serving pods in percent: half of all samples are 0.
DUTY_LEVELS = (0.0, 0.50, 0.55, 0.60, 0.65, 0.70, 0.75, 0.80, 0.85, 0.90, 0.95, 0.97, 0.98, 0.99, 1.0)
DUTY_PERCENT = (0.0, 0.0, 1.1, 7.3, 11.2, 15.0, 18.5, 22.4, 24.7, 27.5, 37.3, 51.7, 65.7, 84.3, 99.5)


def lengths(random: np.random.Generator, quantiles: tuple[int, ...], count: int, *, most: int = 60_000) -> np.ndarray:
    """Token counts that follow a trace's quantiles, interpolated between them and cut at ``most``."""
    drawn = np.interp(random.random(count), LEVELS, quantiles)
    return np.minimum(np.rint(drawn), most).astype(np.int64)


def local_hours() -> np.ndarray:
    """Share of a day's requests in each local hour, with the quiet hours at night."""
    shares = np.roll(SERVEGEN_HOURS, _LOCAL_TROUGH_HOUR - _TROUGH_HOUR)
    return shares / shares.sum()


def arrivals(
    world: World,
    random: np.random.Generator,
    zone: ZoneInfo,
    counts: list[int],
    *,
    closed_hours: tuple[int, int] | None = None,
) -> np.ndarray:
    """When tasks start: milliseconds since 1970, sorted within each UTC day, by the local hour's share.

    Args:
        world: gives the days.
        random: the stream to draw from.
        zone: whose hours of the day count.
        counts: tasks of each day.
        closed_hours: local hours [from, to) in which nothing comes.
    """
    shares = local_hours()
    if closed_hours:
        shares = np.where((np.arange(24) >= closed_hours[0]) & (np.arange(24) < closed_hours[1]), 0, shares)
        shares = shares / shares.sum()
    days = []
    for day, count in zip(world.dates, counts, strict=True):
        days.append(np.sort(_day_arrivals(world, random, zone, day, shares, count)))
    return np.concatenate(days) if days else np.empty(0, np.int64)


def _day_arrivals(
    world: World, random: np.random.Generator, zone: ZoneInfo, day: date, shares: np.ndarray, count: int
) -> np.ndarray:
    hours = random.choice(24, size=count, p=shares)
    local_ms = hours * 3_600 * SECOND_MS + random.integers(0, 3_600 * SECOND_MS, count)
    utc_ms = (local_ms - offset_seconds(zone, day) * SECOND_MS) % (86_400 * SECOND_MS)
    if day == world.dates[-1]:
        # What starts in the last minutes of the sample would run out of it.
        utc_ms = np.where(utc_ms < (23 * 3_600 + 1_800) * SECOND_MS, utc_ms, utc_ms - 12 * 3_600 * SECOND_MS)
    return epoch_ms(day) + utc_ms
