"""Resource links: which names mean the same machine, and when. CSV (JSON lines and Parquet do as well).

The bill says ``i-0abc``, the GPU exporter a host name, the gateway a URL: a row of this file ties two or more of them
together for a span of time. An empty ``valid_from`` or ``valid_to`` leaves that end open.
"""

from __future__ import annotations

from ingest.reading import Head, Reader, identifier
from ingest.rows import Extract

NAME = "resource_links"
VERSION = 3
CONTRACTS = ("resource_links",)
DELIVERY = "file"
REPLACES_PERIOD = False

IDENTITIES = {
    # contract column: the names it has in files, the first one that has a value
    "hostname": ("hostname", "host"),
    "node_name": ("node_name", "node"),
    "gpu_uuid": ("gpu_uuid", "uuid"),
    "resource_id": ("resource_id", "instance_id"),
    "deployment_id": ("deployment_id",),
    "api_base": ("api_base",),
}
VALIDITY = {"valid_from": ("valid_from",), "valid_to": ("valid_to",)}

_OTHER_TABLES = {
    "replica_id",
    "loaded_at",
    "sampled_at",
    "event",
    "request_id",
    "call_id",
    "started_at",
    "billedcost",
    "task_id",
}
"""Columns that say a file is about something else, whatever identities it holds."""


def sniff(head: Head) -> bool:
    """Whether the file has at least two identities and nothing that happens to them."""
    columns = {name.lower() for name in head.columns}
    identities = [name for name, names in IDENTITIES.items() if columns.intersection(names)]
    return head.kind != "json" and len(identities) >= 2 and not columns & _OTHER_TABLES


def read(reader: Reader) -> list[Extract]:
    """The file's rows as identity pairs."""
    fields = {**IDENTITIES, **VALIDITY}
    rows = reader.rows([name for names in fields.values() for name in names], known=())
    columns = {column: _first(names) for column, names in fields.items()}
    known = " + ".join(f"cast({columns[name]} is not null as integer)" for name in IDENTITIES)
    problem = f"case when {known} < 2 then '|fewer than two names to link' end"
    return [Extract(contract="resource_links", rows=rows, columns=columns, problem=problem)]


def _first(names: tuple[str, ...]) -> str:
    values = ", ".join(f"nullif(trim({identifier(name)}), '')" for name in names)
    return f"coalesce({values}, null)"
