"""What the sample company is made of: its calendar, its prices, its people and its machines.

Everything that more than one workload needs to agree on stands here, and nothing here is random.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

import numpy as np

FULL_DAYS = 60
FULL_START = date(2026, 7, 15)
MINIMUM_DAYS = 4
PRICE_CUT = date(2026, 8, 21)
"""The day on which gpt-5.6-sol became cheaper; every sample contains it, with days on both sides."""

INDIA = ZoneInfo("Asia/Kolkata")
LONDON = ZoneInfo("Europe/London")

SECOND_MS = 1_000
DAY_MS = 86_400 * SECOND_MS

SHARED_PREFIX_TOKENS = 8_000


@dataclass(frozen=True)
class Model:
    """A model as the gateway calls it and as the price book knows it.

    Attributes:
        name: the price book's name.
        provider: LiteLLM's ``custom_llm_provider``.
        sent: what stands in the log's ``model``.
        prices: USD per million tokens of (input, cache read, cache write 5 min, cache write 1 h, output); None where
            the vendor has no such price.
        later: the same from ``PRICE_CUT`` on, where they changed.
    """

    name: str
    provider: str
    sent: str
    prices: tuple[str | None, ...] | None = None
    later: tuple[str | None, ...] | None = None


FLAGSHIP = "gpt-5.6-sol"
SMALL = "gpt-5-mini"
SONNET = "claude-sonnet-4-5"
HAIKU = "claude-haiku-4-5"
FLASH = "gemini-3-flash-preview"
EMBEDDING = "text-embedding-3-large"
EXPERIMENTAL = "acme-experimental-1"
LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
RERANKER = "BAAI/bge-reranker-v2-m3"
QWEN = "Qwen/Qwen2.5-14B-Instruct"

MODELS = {
    model.name: model
    for model in (
        Model(
            FLAGSHIP,
            "openai",
            FLAGSHIP,
            ("5.00", "0.50", "6.25", None, "30.00"),
            ("4.00", "0.40", "5.00", None, "20.00"),
        ),
        Model(SMALL, "openai", SMALL, ("0.25", "0.025", None, None, "2.00")),
        Model(SONNET, "anthropic", SONNET, ("3.00", "0.30", "3.75", "6.00", "15.00")),
        Model(HAIKU, "anthropic", HAIKU, ("1.00", "0.10", "1.25", "2.00", "5.00")),
        Model(FLASH, "gemini", f"gemini/{FLASH}", ("0.50", "0.05", None, None, "3.00")),
        Model(EMBEDDING, "openai", EMBEDDING, ("0.13", None, None, None, "0")),
        Model(EXPERIMENTAL, "openai", EXPERIMENTAL),
        Model(LLAMA, "hosted_vllm", f"hosted_vllm/{LLAMA}"),
        Model(RERANKER, "hosted_vllm", f"hosted_vllm/{RERANKER}"),
        Model(QWEN, "hosted_vllm", f"hosted_vllm/{QWEN}"),
    )
}

API_BASES = {
    "openai": "https://api.openai.com/v1/",
    "anthropic": "https://api.anthropic.com/",
    "gemini": "https://generativelanguage.googleapis.com/",
}

TEAM_ALIASES = {"cx-blr": "support", "fraud-uk": "fraud"}
"""What the gateway's keys call a team -> what the company calls it; written to company/aliases.csv."""

TASK_TYPE_ALIASES = {"re-embed": "re_embedding"}

TEAMS = {
    "support": "Customer support",
    "fraud": "Fraud operations",
    "search": "Search and data",
    "research": "Research",
    "platform": "Platform engineering",
}


@dataclass(frozen=True)
class World:
    """The calendar and the size of one sample.

    Attributes:
        days: how many days of history, from 4 to 60.
        scale: multiplies the number of tasks; the fleets do not shrink.
        seed: of every random stream.
    """

    days: int
    scale: float
    seed: int

    def __post_init__(self) -> None:
        if not MINIMUM_DAYS <= self.days <= FULL_DAYS:
            raise ValueError(f"days is {self.days}; the sample company has {MINIMUM_DAYS} to {FULL_DAYS} days.")
        if not 0 < self.scale <= 10:
            raise ValueError(f"scale is {self.scale}; give a number above 0 and up to 10.")

    @cached_property
    def dates(self) -> list[date]:
        """The UTC days of the sample; shorter samples lie around the price cut."""
        full_days_before = (PRICE_CUT - FULL_START).days
        start = PRICE_CUT - timedelta(days=round(full_days_before * self.days / FULL_DAYS))
        return [start + timedelta(days=number) for number in range(self.days)]

    @property
    def first_date(self) -> date:
        """The first UTC day."""
        return self.dates[0]

    @property
    def end_date(self) -> date:
        """The day after the last UTC day."""
        return self.dates[-1] + timedelta(days=1)

    @property
    def months(self) -> list[date]:
        """First days of the billing months that the sample overlaps."""
        return sorted({day.replace(day=1) for day in self.dates})

    def day_at(self, share: float) -> date:
        """The day that lies ``share`` (0 to 1) of the way through the sample."""
        return self.dates[min(self.days - 1, int(self.days * share))]

    @property
    def caching_on(self) -> datetime:
        """When the support assistant's prefix caching was switched on (UTC)."""
        return midnight(self.day_at(0.35)) + timedelta(hours=6)

    @property
    def late_day(self) -> date:
        """The day whose London gateway log arrived three days late."""
        return self.day_at(0.25)

    @property
    def repeated_day(self) -> date:
        """The day whose Bengaluru gateway log was delivered twice, the second time under another name."""
        return self.day_at(0.40)

    @property
    def malformed_day(self) -> date:
        """The day whose Bengaluru gateway log has broken lines."""
        return self.day_at(0.55)

    @property
    def gap_day(self) -> date:
        """The day on which Mumbai's GPU exporter was down for some hours."""
        return self.day_at(0.70)

    @property
    def gap_hours(self) -> tuple[int, int]:
        """UTC hours [from, to) of the exporter's outage."""
        return (8, 13)

    @property
    def restated_day(self) -> date:
        """The August day that is in the first delivery of the bills and gone from the second."""
        return max(PRICE_CUT - timedelta(days=2), self.first_date)

    @property
    def label_renamed_day(self) -> date:
        """The day from which Mumbai's exporter writes ``hostname`` instead of ``Hostname``."""
        return self.day_at(0.5)

    def random(self, name: str) -> np.random.Generator:
        """A random stream of its own for each part, so that a change in one leaves the others alone."""
        return np.random.default_rng([self.seed, zlib.crc32(name.encode())])

    def growth(self, day: date) -> float:
        """How much more the company asks of its models, once they are cheaper."""
        return min(1.6, 1.0 + 0.03 * max(0, (day - PRICE_CUT).days))

    def tasks_on(self, day: date, base: float, *, least: int, weekend: float = 0.55, grows: bool = True) -> int:
        """How many tasks start on a day: the base count by weekday, growth and scale, and never below ``least``."""
        weekday_share = weekend if day.weekday() >= 5 else 1.0
        return max(least, round(base * weekday_share * (self.growth(day) if grows else 1.0) * self.scale))


def midnight(day: date) -> datetime:
    """The start of a UTC day."""
    return datetime.combine(day, time(), UTC)


def epoch_ms(moment: datetime | date) -> int:
    """Milliseconds since 1970 of a UTC moment, or of the start of a UTC day."""
    if not isinstance(moment, datetime):
        moment = midnight(moment)
    return round(moment.timestamp()) * SECOND_MS


def offset_seconds(zone: ZoneInfo, day: date) -> int:
    """How far a zone is ahead of UTC on a day."""
    return int(datetime.combine(day, time(12), zone).utcoffset().total_seconds())
