"""OpenMetrics and Prometheus's older text format, with metrics of GPU exporters and model servers.

A file is what an exporter answers on ``/metrics``, what ``/federate`` answers, or what ``promtool tsdb
dump-openmetrics`` writes: one line a sample. What metrics and labels mean is said in ``ingest.formats.telemetry``. Of
the text:

- Times are seconds in OpenMetrics, which ends with ``# EOF``, and milliseconds in the older format. Seconds in a file
  that has no ``# EOF`` are quarantined: most likely its end is cut off.
- Samples without a time are taken at the time of the delivery (``--delivered-at``, else the file's own time), and the
  file says so. Then a file holds one scrape: a series that comes twice fails it.
- The same text at another time is another scrape, so a file that is delivered again with another time is read again.
- A scrape of one server does not say whose it is. Labels that the samples lack may stand in the folders above the file,
  as ``pod=llama-0/`` or ``instance=10.0.0.5:8000/``.
- A sample stands for the most frequent distance between two samples of a series, or 60 seconds where no series has two.
- Exemplars are left out; so are histograms, and whatever else is not read, by the metric's name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from ingest.errors import IngestError
from ingest.formats import telemetry
from ingest.reading import Head, Reader, literal
from ingest.rows import Extract

NAME = "openmetrics"
VERSION = 1
CONTRACTS = telemetry.CONTRACTS
DELIVERY = "file"
REPLACES_PERIOD = False
IS_OBSERVATION = True

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_TEXT = r'"(?:[^"\\]|\\.)*"'
_LABELS = rf"\{{\s*(?:(?:{_NAME}\s*=\s*{_TEXT}|{_TEXT}(?:\s*=\s*{_TEXT})?)\s*(?:,\s*)?)*\}}"
_SAMPLE = rf"^\s*(?:({_NAME})?\s*({_LABELS})\s*|({_NAME})\s+)(\S+)(?:\s+([^\s#]\S*))?\s*(?:#.*)?$"
_LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"'
_FIRST_MILLISECONDS = 100_000_000_000
"""Milliseconds of the year 1973; as seconds, the year 5138."""


def sniff(head: Head) -> bool:
    """Whether the text begins with a comment that describes a metric, or with a sample."""
    if head.kind == "parquet":
        return False
    first = head.text.lstrip().split("\n", 1)[0].rstrip("\r")
    if re.match(rf"#\s*(HELP|TYPE|UNIT)\s+{_NAME}(\s|$)", first):
        return True
    found = re.match(_SAMPLE, first)
    return bool(found and found[2] and (found[1] or '__name__="' in found[2]) and _is_number(found[4]))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def read(reader: Reader) -> list[Extract]:
    """The files' lines as samples of GPUs and of model servers.

    Raises:
        IngestError: a file holds several scrapes that carry no time.
    """
    if not reader.heads:
        return telemetry.nothing(reader)
    lines, series, files = (f"{reader.catalog}.openmetrics_{name}" for name in ("lines", "series", "files"))
    connection = reader.connection
    connection.execute(f"create or replace table {lines} as {_lines(reader)}")
    connection.execute(f"create or replace table {series} as {_series(reader, lines)}")
    connection.execute(f"create or replace table {files} as {_files(lines, series)}")
    _tell(reader, files)
    return [
        telemetry.extract(name, _samples(reader, lines, files, telemetry.series_of(name, f"from {series}")))
        for name in telemetry.contracts_of(connection, f"from {series}")
    ]


def _lines(reader: Reader) -> str:
    """SQL of one row per sample's line, split into its parts, and per end of a scrape (``is_end``)."""
    parts = "['name', 'label_text', 'bare_name', 'text', 'time']"
    return "\nunion all\n".join(
        f"""
        select
            {literal(head.path)} as _file,
            line_number as _line,
            line as _content,
            line = '# EOF' as is_end,
            unnest(regexp_extract(line, {literal(_SAMPLE)}, {parts}))
        from (
            select row_number() over () as line_number, trim(line, ' \t\r\ufeff') as line from {reader.lines(head)}
        )
        where line = '# EOF' or (line != '' and not starts_with(line, '#'))"""
        for head in reader.heads
    )


def _series(reader: Reader, lines: str) -> str:
    """SQL of one row per series of a file: its metric, and its labels, with those of the folders where it has none."""
    folders = " ".join(
        f"when {literal(head.path)} then {_map(telemetry.named_in_path(head.path))}" for head in reader.heads
    )
    return f"""
        select
            *,
            row_number() over () as place,
            bool_or(list_has_any(map_keys(labels), {_list(telemetry.OWN_LABELS)})) over (partition by _file)
                as is_relabelled
        from (
            select
                * exclude (names, texts),
                map_concat(case _file {folders} end, try(map(names, list_transform(texts, {_UNESCAPED})))) as labels,
                coalesce(nullif(name, ''), nullif(bare_name, ''), labels['__name__']) as metric
            from (
                select distinct
                    _file,
                    name,
                    label_text,
                    bare_name,
                    regexp_extract_all(label_text, {literal(_LABEL)}, 1) as names,
                    regexp_extract_all(label_text, {literal(_LABEL)}, 2) as texts
                from {lines}
                where not is_end
            )
        )"""


_UNESCAPED = r"""lambda one: case when contains(one, '\') then
    replace(replace(replace(replace(one, '\\', chr(1)), '\n', chr(10)), '\"', '"'), chr(1), '\') else one end"""


def _list(texts: Iterable[str]) -> str:
    """SQL of a list of texts."""
    return f"cast([{', '.join(map(literal, texts))}] as varchar[])"


def _map(labels: dict[str, str]) -> str:
    """SQL of a map of texts."""
    return f"map({_list(labels)}, {_list(labels.values())})"


_SAME_SERIES = " and ".join(f"lines.{name} = series.{name}" for name in ("_file", "name", "label_text", "bare_name"))


def _files(lines: str, series: str) -> str:
    """SQL of one row per file.

    ``is_openmetrics``: its times are seconds. ``step``: seconds between two samples of a series, null where none has
    two times. ``is_timeless``: some sample carries no time. ``repeated_line``: where a series comes again without one.
    """
    return f"""
        with ends as (
            select _file, bool_or(is_end) as is_openmetrics
            from {lines}
            group by _file
        ),

        samples as (
            select
                lines._file,
                lines._line,
                lines.time = '' as is_timeless,
                try_cast(lines.time as decimal(18, 3)) as time,
                row_number() over (partition by lines._file, series.place order by lines._line) as occurrence,
                series.place
            from {lines} as lines
            inner join {series} as series on {_SAME_SERIES}
            where list_contains({_list(telemetry.METRICS)}, series.metric)
        ),

        times as (
            select
                _file,
                bool_or(is_timeless) as is_timeless,
                min(case when is_timeless and occurrence > 1 then _line end) as repeated_line
            from samples
            group by _file
        ),

        steps as ({
        telemetry.most_frequent(
            "select _file, time - lag(time) over (partition by _file, place order by time) as seconds from samples"
        )
    }
        )

        select
            ends._file,
            ends.is_openmetrics,
            cast(case when ends.is_openmetrics then steps.seconds else steps.seconds / 1000 end as varchar) as step,
            times.is_timeless,
            times.repeated_line
        from ends
        left join times on ends._file = times._file
        left join steps on ends._file = steps._file"""


def _tell(reader: Reader, files: str) -> None:
    """Note which files carry no times, or no step.

    Raises:
        IngestError: a series comes again without a time.
    """
    observed = f"{reader.options.observed_at:%Y-%m-%d %H:%M:%S} UTC"
    for file, step, is_timeless, line in reader.connection.execute(
        f"select _file, step, is_timeless, repeated_line from {files} where is_timeless is not null"
    ).fetchall():
        if line is not None:
            raise IngestError(
                f"{file}:{line}: the same series comes again and carries no time, so the file holds several scrapes. "
                "Save each scrape in a file of its own, or with times (promtool tsdb dump-openmetrics, /federate)."
            )
        if is_timeless:
            reader.tell(Path(file), f"samples without a time are taken at the time of the delivery, {observed}")
        if step is None:
            seconds = telemetry.DEFAULT_STEP_SECONDS
            reader.tell(Path(file), f"no series has two times, so each sample is taken to stand for {seconds} seconds")


def _samples(reader: Reader, lines: str, files: str, series: str) -> str:
    """SQL of one row per sample of some series."""
    observed_at = literal(reader.options.observed_at.timestamp())
    return f"""
        select
            lines._file,
            lines._line,
            lines._content,
            case
                when lines.text = '' then 'not a sample of a metric'
                when not files.is_openmetrics and abs(try_cast(lines.time as double)) < {_FIRST_MILLISECONDS}
                    then 'seconds in a file without # EOF; its end may be cut off'
            end as _broken,
            lines.text,
            case
                when lines.time = '' then {observed_at}
                when files.is_openmetrics then lines.time
                else cast(try_cast(lines.time as double) / 1000 as varchar)
            end as seconds,
            coalesce(files.step, '{telemetry.DEFAULT_STEP_SECONDS}') as step,
            series.* exclude (_file, name, label_text, bare_name, place)
        from {lines} as lines
        inner join ({series}) as series on {_SAME_SERIES}
        inner join {files} as files on lines._file = files._file
        where not lines.is_end"""
