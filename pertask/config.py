"""pertask.yml: the sources to ingest, how GPU bills are shared out, limits, schedule, alerts, report.

``load_config`` checks the whole file and raises one ConfigError that lists every problem with its line and column.
"""

from __future__ import annotations

import glob
import re
import sys
import zoneinfo
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    ValidationError,
    field_validator,
)
from pydantic_core import PydanticCustomError

from ingest.buckets import SCHEME, Bucket, split_address
from ingest.formats import FORMATS, MAPPING
from pertask.errors import ConfigError, did_you_mean
from pertask.home import Home

if TYPE_CHECKING:
    from ingest.runner import IngestRequest

__all__ = [
    "Alerts",
    "Allocation",
    "Config",
    "ConfigError",
    "Limits",
    "Publishing",
    "Report",
    "Schedule",
    "Source",
    "TokenConvention",
    "Undelivered",
    "holds_files",
    "load_config",
]

_WORDS = {
    "string_type": "a text is expected",
    "bool_type": "true or false is expected",
    "model_type": "keys and values are expected, as in {key: value}",
    "dict_type": "keys and values are expected, as in {key: value}",
    "float_type": "a number is expected",
    "int_type": "a whole number is expected",
    "tuple_type": "a list is expected, as in [row_count, volume]",
    "missing": "this key is needed",
    "string_too_short": "this must not be empty",
    **dict.fromkeys(
        ("datetime_type", "datetime_parsing", "datetime_from_date_parsing"),
        "a time is expected, such as 2026-08-19T00:00:00Z",
    ),
}
"""Pydantic's error types in words for people; its own message is kept for the others."""

_TIME_OF_DAY = "%H:%M"

Text = Annotated[str, Field(strict=True, min_length=1)]
Ratio = Annotated[float, Field(strict=True, ge=0, le=1)]

DATA_CHECKS = ("row_count", "null_ratio", "range", "categories", "volume")
"""Checks that fail for what the data are like, and warn unless ``limits.blocking`` names them."""


def _absent_is_empty(value: object) -> object:
    """A key with nothing after it, as when every line below is a comment."""
    return {} if value is None else value


def _problem(text: str) -> PydanticCustomError:
    # Braces in the text would be taken for placeholders.
    return PydanticCustomError("pertask", "{text}", {"text": text})


def _is_a_zone(value: str) -> str:
    if value not in zoneinfo.available_timezones():
        raise _problem(f"{value!r} is no time zone. Use an IANA name, such as Asia/Kolkata.")
    return value


def _is_a_region(value: str) -> str:
    if not re.fullmatch(r"[\w .:/-]+", value):
        raise _problem(f"{value!r} is no region. Letters, digits, spaces and . : / - _ may be in its name.")
    return value


Zone = Annotated[Text, AfterValidator(_is_a_zone)]
Region = Annotated[Text, AfterValidator(_is_a_region)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TokenConvention(_Model):
    """What a log's token totals contain; a part that is not said keeps the format's own convention."""

    input_includes_cached: StrictBool | None = None
    output_includes_reasoning: StrictBool | None = None


class Source(_Model):
    """One source.

    Attributes:
        path: file, folder or glob, relative to the home; or s3://bucket/ and an object, folder or glob in it.
        format: name of a format, ``auto`` or ``mapping``.
        mapping: the mapping file, relative to the home; for format ``mapping`` only.
        delivered_at: when the vendor delivered, if not at the files' own times; without an offset it is in time_zone.
        time_zone: IANA zone of times that carry no offset.
        token_convention: what the token totals contain, where the source differs from its format.
        precedence: which source a call is costed from that stands in two; 1 goes first.
        stale_after_hours: how long it may deliver nothing, or nothing newer, before an alert says so; None for ever.
        endpoint: https://host[:port] of the store that the bucket is in, if it is not AWS's.
        region: the bucket's region; default: AWS_REGION, else us-east-1.
    """

    path: Text
    format: Text = "auto"
    mapping: Text | None = Field(default=None, validate_default=True)
    time_zone: Zone = "UTC"
    delivered_at: datetime | None = None
    token_convention: TokenConvention | None = None
    precedence: Annotated[int, Field(strict=True, ge=1)] | None = None
    stale_after_hours: Annotated[int, Field(strict=True, ge=1)] | None = None
    endpoint: Text | None = None
    region: Text | None = None

    @field_validator("path")
    @classmethod
    def _is_a_place(cls, value: str) -> str:
        if "://" in value:
            try:
                split_address(value)
            except ValueError as error:
                raise _problem(str(error)) from error
        return value

    @field_validator("endpoint")
    @classmethod
    def _is_an_endpoint(cls, value: str | None, info: Any) -> str | None:
        if value is None:
            return None
        if "@" in value:
            # Not quoted: what stands before the @ may be a secret.
            raise _problem("credentials do not belong here. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead.")
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
            raise _problem(f"{value!r} is no endpoint. Write it as https://host or https://host:port.")
        return cls._belongs_to_a_bucket(value, info)

    @field_validator("region")
    @classmethod
    def _is_a_region(cls, value: str | None, info: Any) -> str | None:
        if value is not None and not re.fullmatch(r"[A-Za-z0-9-]+", value):
            raise _problem(f"{value!r} is no region. Write it as eu-west-1.")
        return value if value is None else cls._belongs_to_a_bucket(value, info)

    @staticmethod
    def _belongs_to_a_bucket(value: str, info: Any) -> str:
        if not info.data.get("path", SCHEME).startswith(SCHEME):
            raise _problem("this is for a bucket, and the path here does not begin with s3://")
        return value

    @field_validator("format")
    @classmethod
    def _is_known(cls, value: str) -> str:
        known = ("auto", *FORMATS, MAPPING)
        if value not in known:
            raise _problem(f"{value!r} is no format.{did_you_mean(value, known)}")
        return value

    @field_validator("mapping")
    @classmethod
    def _belongs_to_the_format(cls, value: str | None, info: Any) -> str | None:
        format_name = info.data.get("format")
        if value is None and format_name == MAPPING:
            raise _problem("format mapping needs `mapping: <file>`, the file that says what the columns are")
        if value is not None and format_name is not None and format_name != MAPPING:
            raise _problem(f"a mapping file is for `format: mapping`, and the format here is {format_name}")
        return value

    @field_validator("delivered_at")
    @classmethod
    def _has_an_offset(cls, value: datetime | None, info: Any) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            value = value.replace(tzinfo=zoneinfo.ZoneInfo(info.data.get("time_zone", "UTC")))
        # A plain datetime: YAML's own kind carries more than the moment.
        return datetime.fromtimestamp(value.timestamp(), UTC)

    @field_validator("token_convention")
    @classmethod
    def _is_not_the_mappings(cls, value: TokenConvention | None, info: Any) -> TokenConvention | None:
        if value is not None and info.data.get("format") == MAPPING:
            raise _problem("the token convention of a mapped source stands in its mapping file")
        return value

    def bucket(self, name: str, home: Home) -> Bucket | None:
        """The bucket that this source is in; None when it is in local files."""
        if not self.path.startswith(SCHEME):
            return None
        return Bucket(name, self.path, home.buckets, self.endpoint, self.region)

    def local_path(self, name: str, home: Home) -> Path:
        """The file, folder or glob that ingest reads: of a bucket, its mirror."""
        bucket = self.bucket(name, home)
        return bucket.path if bucket else home.root / self.path

    def request(self, name: str, home: Home) -> IngestRequest:
        """What to ingest of this source."""
        from ingest.runner import IngestRequest

        convention = self.token_convention
        return IngestRequest(
            source=name,
            path=self.local_path(name, home),
            format=self.format,
            mapping_path=home.root / self.mapping if self.mapping else None,
            delivered_at=self.delivered_at,
            time_zone=self.time_zone,
            token_convention=(
                (convention.input_includes_cached, convention.output_includes_reasoning) if convention else None
            ),
            bucket=self.bucket(name, home),
        )


class Limits(_Model):
    """How much may go wrong before a run says so.

    Attributes:
        quarantined_ratio: share of the rows newly read by a run that may be quarantined, 0 to 1.
        row_count_change_ratio: share of its usual rows that a day of a source may lack, above 0, below 1; it may
            have as many times more: 0.5 is half to twice.
        null_ratio_change: by how much the share of rows without a value may be above its usual, 0 to 1.
        category_share_change: by how much a value's share of a source's rows may move, 0 to 1.
        mart_drop_ratio: share of a mart's last published rows that may be gone, 0 to 1.
        blocking: checks of the data that keep a run from publishing, instead of warning.
    """

    quarantined_ratio: Ratio = 0.01
    row_count_change_ratio: Annotated[float, Field(strict=True, gt=0, lt=1)] = 0.5
    null_ratio_change: Ratio = 0.1
    category_share_change: Ratio = 0.3
    mart_drop_ratio: Ratio = 0.1
    blocking: tuple[Text, ...] = ()

    @field_validator("blocking")
    @classmethod
    def _are_checks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in DATA_CHECKS:
                raise _problem(f"{name!r} is no check that can be made to block.{did_you_mean(name, DATA_CHECKS)}")
        return value


class Allocation(_Model):
    """How GPU bills are shared out; a change recomputes everything.

    Attributes:
        weights: what the calls in flight on a GPU share its active dollars by: ``time`` or ``tokens``.
        output_token_weight: how many tokens of uncached input an output token weighs, where tokens decide.
        idle: who carries idle dollars in fully_loaded_cost_usd: the calls of the same GPU and day ``by_use`` or
            ``even``, or nobody but the ``owner`` of the GPU.
        gpu_share_of_node_ratio: share of a machine's price that its GPUs carry, above 0, up to 1.
    """

    weights: Literal["time", "tokens"] = "time"
    output_token_weight: Annotated[int, Field(strict=True, ge=1, le=100)] = 2
    idle: Literal["by_use", "even", "owner"] = "by_use"
    gpu_share_of_node_ratio: Annotated[float, Field(strict=True, gt=0, le=1)] = 1

    def variables(self) -> dict[str, str | float]:
        """The dbt variables that these settings are."""
        return {
            "allocation_weights": self.weights,
            "allocation_output_token_weight": self.output_token_weight,
            "allocation_idle": self.idle,
            "gpu_share_of_node_ratio": self.gpu_share_of_node_ratio,
        }


class Schedule(_Model):
    """When the graph runs by itself.

    Attributes:
        daily_at: time of day (UTC) of the daily run, HH:MM.
        open_bill_days: how many days after a month's end its bill may still change; the weekly run recomputes the
            months that are open.
    """

    daily_at: Annotated[str, Field(strict=True, min_length=1)] = "02:15"
    open_bill_days: Annotated[int, Field(strict=True, ge=0, le=180)] = 10

    @field_validator("daily_at")
    @classmethod
    def _is_a_time(cls, value: str) -> str:
        try:
            datetime.strptime(value, _TIME_OF_DAY)
        except ValueError:
            raise _problem(f"{value!r} is no time of day. Write it as 02:15; it is UTC.") from None
        return value

    def cron(self, days: str) -> str:
        """Cron expression of the daily time on some days of the week, such as ``1-6``."""
        moment = datetime.strptime(self.daily_at, _TIME_OF_DAY)
        return f"{moment.minute} {moment.hour} * * {days}"


class Publishing(_Model):
    """What becomes of publications.

    Attributes:
        keep: how many to keep, the current one included; ``pertask publish --rollback`` goes back to the one before.
    """

    keep: Annotated[int, Field(strict=True, ge=1, le=1000)] = 7


class Alerts(_Model):
    """When the webhook of PERTASK_ALERT_WEBHOOK is told; its URL is a secret and stands in no file.

    Attributes:
        idle_usd_per_day: idle dollars of a day above which an alert is sent, USD; None for no such alert.
        repeat_hours: after how long a condition that lasts is told again.
        publication_stale_after_hours: how old the publication may be.
    """

    idle_usd_per_day: Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)] | None = None
    repeat_hours: Annotated[int, Field(strict=True, ge=1)] = 20
    publication_stale_after_hours: Annotated[int, Field(strict=True, ge=1)] = 48


class Report(_Model):
    """How the report shows what is published.

    Attributes:
        currency: USD, INR or GBP; amounts are converted at each day's published rate.
        time_zones: IANA zone by region, for sites of your own; those of the large clouds are known.
    """

    currency: Literal["USD", "INR", "GBP"] = "USD"
    time_zones: Annotated[dict[Region, Zone], BeforeValidator(_absent_is_empty)] = {}


@dataclass(frozen=True)
class Undelivered:
    """A configured source whose path holds no file yet; of a bucket, its address."""

    source: str
    path: Path | str


class Config(_Model):
    """A checked pertask.yml; without the file, no sources and the default limits."""

    sources: Annotated[dict[Text, Source], BeforeValidator(_absent_is_empty)] = {}
    allocation: Annotated[Allocation, BeforeValidator(_absent_is_empty)] = Allocation()
    limits: Annotated[Limits, BeforeValidator(_absent_is_empty)] = Limits()
    schedule: Annotated[Schedule, BeforeValidator(_absent_is_empty)] = Schedule()
    publication: Annotated[Publishing, BeforeValidator(_absent_is_empty)] = Publishing()
    alerts: Annotated[Alerts, BeforeValidator(_absent_is_empty)] = Alerts()
    report: Annotated[Report, BeforeValidator(_absent_is_empty)] = Report()

    def requests(self, home: Home) -> list[IngestRequest]:
        """What to ingest, in the order of the file; a source that has delivered nothing yet is left out.

        A mart without one of its sources is a normal state, so an absent path fails nothing: ``undelivered`` names it.
        What a bucket holds shows only when it is fetched, so it is always asked for.
        """
        absent = {undelivered.source for undelivered in self.undelivered(home)}
        requests = [source.request(name, home) for name, source in self.sources.items()]
        return [request for request in requests if request.bucket or request.source not in absent]

    def precedences(self) -> dict[str, int]:
        """The place of each source when a call stands in two, from 1: by precedence, then by the order of the file."""
        names = sorted(self.sources, key=lambda name: self.sources[name].precedence or sys.maxsize)
        return {name: place for place, name in enumerate(names, 1)}

    def undelivered(self, home: Home) -> list[Undelivered]:
        """The sources whose path holds no file yet; of a bucket, as far as it was fetched."""
        return [
            Undelivered(name, source.path if source.bucket(name, home) else home.root / source.path)
            for name, source in self.sources.items()
            if not holds_files(source.local_path(name, home))
        ]


def holds_files(path: Path) -> bool:
    """Whether ingest would find a file; like it, this passes over names that start with . or _ inside a folder."""
    if path.is_dir():
        return any(
            found.is_file() and not any(part[0] in "._" for part in found.relative_to(path).parts)
            for found in path.rglob("*")
        )
    return path.exists() or any(Path(name).is_file() for name in glob.iglob(str(path), recursive=True))


def load_config(home: Home, *, with_mappings: bool = True) -> Config:
    """Read and check a home's pertask.yml and the mapping files that it names.

    Args:
        home: the home.
        with_mappings: whether to check the mapping files too; who reads no delivery can save the time.

    Raises:
        ConfigError: the file or a mapping is wrong; the message has a line for each problem, with its place.
    """
    path = home.config_file
    if not path.exists():
        return Config()
    document = _parse(path)
    try:
        config = Config.model_validate(document)
    except ValidationError as error:
        raise ConfigError("\n".join(_lines(path, document, error))) from error
    problems = list(_mapping_problems(home, document, config)) if with_mappings else []
    if problems:
        raise ConfigError("\n".join(problems))
    return config


def _parse(path: Path) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        document = YAML(typ="rt").load(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start}).") from error
    except MarkedYAMLError as error:
        mark = error.problem_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise ConfigError(f"{path}{where}: not valid YAML: {(error.problem or '').splitlines()[0]}.") from error
    except YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(f"{path}:1:1: keys and values are expected: {', '.join(Config.model_fields)}.")
    return document


def _lines(path: Path, document: Any, error: ValidationError) -> Iterator[str]:
    for problem in sorted(error.errors(), key=lambda problem: _position(document, problem["loc"])):
        loc = problem["loc"]
        is_unknown = problem["type"] == "extra_forbidden"
        line, column = _position(document, loc, on_key=is_unknown)
        if is_unknown:
            text = f"there is no such key.{did_you_mean(str(loc[-1]), _keys_at(loc[:-1]))}"
        else:
            text = _WORDS.get(problem["type"], problem["msg"])
        name = ".".join(str(part) for part in loc)
        yield f"{path}:{line}:{column}: {name}: {text}"


def _keys_at(loc: tuple) -> list[str]:
    """The keys that may stand at a place of the file."""
    model: type[BaseModel] = {
        "allocation": Allocation,
        "limits": Limits,
        "publication": Publishing,
        "schedule": Schedule,
        "alerts": Alerts,
        "report": Report,
        "sources": TokenConvention if "token_convention" in loc[2:] else Source,
    }.get(loc[0] if loc else "", Config)
    return list(model.model_fields)


def _position(document: Any, loc: tuple[Hashable, ...], *, on_key: bool = False) -> tuple[int, int]:
    """Line and column, from 1, of a value, or of its key; of the nearest key above where it is not written."""
    found = above = (0, 0)
    node = document
    for number, part in enumerate(loc, 1):
        try:
            if isinstance(node, list):
                key = value = node.lc.item(part)
            else:
                key, value = node.lc.key(part), node.lc.value(part)
            node = node[part]
        except (AttributeError, KeyError, IndexError, TypeError):
            found = above
            break
        above = key
        found = key if node is None or (on_key and number == len(loc)) else value
    return found[0] + 1, found[1] + 1


def _mapping_problems(home: Home, document: Any, config: Config) -> Iterator[str]:
    """A mapping is configuration: its errors show before any file is read."""
    for name, source in config.sources.items():
        if source.mapping is None:
            continue
        from ingest.errors import IngestError
        from ingest.mapping import load_mapping

        if not (home.root / source.mapping).is_file():
            line, column = _position(document, ("sources", name, "mapping"))
            yield (
                f"{home.config_file}:{line}:{column}: sources.{name}.mapping: there is no file "
                f"{home.root / source.mapping}. Paths are relative to the home."
            )
            continue
        try:
            load_mapping(home.root / source.mapping)
        except IngestError as error:
            yield str(error)
