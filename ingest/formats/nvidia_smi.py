"""nvidia-smi's own log: ``nvidia-smi --query-gpu=timestamp,uuid,name,... --format=csv -l 1``.

One row per GPU and query. It is read with its header (not ``noheader``), which may come again where logs were joined:

- Utilisation is percent, memory MiB, power watts, with the unit behind the value or without it (``nounits``).
- ``[N/A]``, ``[Not Supported]`` and whatever else stands in brackets mean "no data"; so does a row that has nothing
  else, which is skipped and counted. On a GPU that is cut into MIG slices the utilisation is such.
- ``utilization.gpu`` is the time in which any kernel ran; ``utilization.memory`` is not the same as DRAM activity, and
  is not read.
- Times are of the host's clock and carry no zone: the source's ``time_zone`` says which. Where that zone sets its
  clocks back, the two hours of one name are taken for the same.
- The host is not in the log. Where a folder names it, as ``host=node-7/``, it is that; else it is null, and the GPU's
  uuid links the samples. A log without uuid needs a host: its GPUs are known by host and index, as ``node-7:0``.
- The interval is the most frequent distance between two rows of a GPU, to a tenth of a second, as the loop drifts by
  some milliseconds (to a millisecond below a tenth); 60 seconds where no GPU has two rows.
"""

from __future__ import annotations

from ingest.errors import IngestError
from ingest.formats import telemetry
from ingest.reading import Head, Reader, identifier, literal
from ingest.rows import Extract

NAME = "nvidia_smi"
VERSION = 1
CONTRACTS = ("gpu_samples",)
DELIVERY = "file"
REPLACES_PERIOD = False

_FIELDS = {
    # our name: the fields of a query that carry it, the first one that has a value
    "moment": ("timestamp",),
    "uuid": ("uuid", "gpu_uuid"),
    "gpu_index": ("index",),
    "model": ("name", "gpu_name"),
    "gpu_util": ("utilization.gpu [%]", "utilization.gpu"),
    "fb_used_mib": ("memory.used [MiB]", "memory.used"),
    "power_watts": ("power.draw [W]", "power.draw", "power.draw.average [W]", "power.draw.instant [W]"),
}
_MEASURED = ("gpu_util", "fb_used_mib", "power_watts")
_COLUMNS = tuple(name for names in _FIELDS.values() for name in names)
_HOSTS = ("host", "hostname", "node")
"""What a folder may call the host."""


def sniff(head: Head) -> bool:
    """Whether the header has a time, a GPU and something that nvidia-smi measures, under its own names."""
    columns = {name.lower() for name in head.columns}
    has = {name for name, fields in _FIELDS.items() if columns.intersection(field.lower() for field in fields)}
    return head.kind == "csv" and "moment" in has and bool(has & {"uuid", "gpu_index"}) and bool(has & {*_MEASURED})


def read(reader: Reader) -> list[Extract]:
    """The log's rows as GPU samples.

    Raises:
        IngestError: nothing says which GPU the rows of a log are of.
    """
    hosts = []
    for head in reader.heads:
        named = telemetry.named_in_path(head.path)
        host = next((named[name] for name in _HOSTS if named.get(name)), None)
        if host is None and not {"uuid", "gpu_uuid"}.intersection(name.lower() for name in head.columns):
            raise IngestError(
                f"{head.path}: no column uuid, and no folder names the host. Query uuid as well, or put the log into a "
                "folder such as host=node-7."
            )
        hosts.append(f"when {literal(head.path)} then {literal(host) if host else 'null'}")
    columns = {
        "gpu_uuid": "gpu",
        "hostname": "host",
        "sampled_at": "coalesce(cast(sampled_at as varchar), moment)",
        "interval_seconds": "step",
        "gpu_model": "model",
        "gpu_util": _number("gpu_util", "round({} / 100, 12)"),
        "fb_used_bytes": _number("fb_used_mib", "cast(round({} * 1048576) as bigint)"),
        "power_watts": _number("power_watts", "{}"),
    }
    skip = f"""case
        when moment = 'timestamp' then 'header that comes again'
        when {" and ".join(f"{name} is null" for name in _MEASURED)} then 'no data (nothing was measured)'
    end"""
    return [Extract(contract="gpu_samples", rows=_samples(reader, hosts), columns=columns, skip=skip)]


def _number(name: str, converted: str) -> str:
    """SQL of a number in the column's unit; the text itself where it is none."""
    return f"coalesce(cast({converted.format(f'try_cast({name} as double)')} as varchar), {name})"


def _samples(reader: Reader, hosts: list[str]) -> str:
    """SQL of the log's rows: what each says of which GPU, and for how long.

    A record of this log is one line, so a row's line is its place after the header.
    """
    fields = ",\n".join(f"{_first(*names)} as {name}" for name, names in _FIELDS.items())
    host = f"case _file {' '.join(hosts)} end" if hosts else "cast(null as varchar)"
    distances = """
        select _file, case when distance < 0.1 then round(distance, 3) else round(distance, 1) end as seconds
        from (
            select
                _file,
                (epoch_us(sampled_at) - lag(epoch_us(sampled_at)) over (partition by _file, gpu order by sampled_at))
                / 1000000 as distance
            from timed
        )"""
    return f"""
        with numbered as materialized (
            select *, row_number() over () as place
            from ({reader.rows(_COLUMNS, known=_KNOWN)})
        ),

        fields as (
            select
                _file,
                _content,
                _broken,
                place - min(place) over (partition by _file) + 2 as _line,
                {host} as host,
{fields}
            from numbered
        ),

        timed as materialized (
            select
                *,
                coalesce(uuid, host || ':' || gpu_index) as gpu,
                cast(try_strptime(moment, ['%Y/%m/%d %H:%M:%S.%g', '%Y/%m/%d %H:%M:%S']) as timestamptz) as sampled_at
            from fields
        ),

        steps as ({telemetry.most_frequent(distances)}
        )

        select timed.*, cast(coalesce(steps.seconds, {telemetry.DEFAULT_STEP_SECONDS}) as varchar) as step
        from timed
        left join steps on timed._file = steps._file"""


def _first(*names: str) -> str:
    """SQL of the first of some fields that has a value, without its unit."""
    bare = (f"trim(regexp_replace({identifier(name)}, '\\s*(%|MiB|W)\\s*$', ''))" for name in names)
    values = ", ".join(f"case when not regexp_matches({text}, '^\\[.*\\]$|^N/A$|^$') then {text} end" for text in bare)
    return f"coalesce({values}, null)"


_KNOWN = (
    "count",
    "driver_version",
    "memory.free [MiB]",
    "memory.total [MiB]",
    "mig.mode.current",
    "pci.bus_id",
    "power.limit [W]",
    "pstate",
    "temperature.gpu",
    "temperature.memory",
    "utilization.memory [%]",
)
