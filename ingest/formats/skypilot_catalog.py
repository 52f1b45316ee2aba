"""SkyPilot's catalogue of machines, ``catalogs/<version>/<cloud>/vms.csv``: what a GPU costs an hour, by region.

What the fields mean, and where they mislead:

- ``Price`` (on demand) and ``SpotPrice`` are USD for an hour of the whole machine; each becomes a quote of its own for
  one of its ``AcceleratorCount`` GPUs, exact to 1e-12 USD.
- A price that is not there is not free: it makes no quote and is counted. Some machines have no price on demand at all.
- Machines without a GPU are skipped. So are rows without a machine: some clouds list the GPU apart from the machine
  that it needs, so that its price is not what the GPU costs.
- The cloud is the name of the folder of ``vms.csv``; of a file of another name, what its name begins with.
- The file does not tell its date: its quotes were seen when it was delivered.
- ``AcceleratorName`` is SkyPilot's own name of the GPU and says its memory. The vendor's name in ``GpuInfo`` (a Python
  dict as text; ``GpuInfoName`` in extracts) does not, and may change from row to row of one machine and zone. Such a
  machine stands there twice, with one price on demand; staging makes one quote of it and tells how often it is listed.
- On RunPod a name without ``SXM`` beside one with it is the PCIe card (SkyPilot's sky/provision/runpod/utils.py).
- ``AvailabilityZone`` is AWS's zone id (``use1-az1``), the same place for every account. Bills have zone names
  (``us-east-1a``), which each account has in an order of its own: the two must not be matched. So the zone is only part
  of the origin, and quotes are by region.
"""

from __future__ import annotations

from ingest.reading import Head, Reader, literal
from ingest.rows import Extract

NAME = "skypilot_catalog"
VERSION = 1
CONTRACTS = ("gpu_quotes",)
DELIVERY = "file"
REPLACES_PERIOD = False
IS_OBSERVATION = True

_COLUMNS = (
    "InstanceType",
    "AcceleratorName",
    "AcceleratorCount",
    "Price",
    "SpotPrice",
    "Region",
    "AvailabilityZone",
)
_LEFT_OUT = (
    "vCPUs",
    "MemoryGiB",
    "GpuInfo",
    "GpuInfoName",
    "GpuMemMiB",
    "Arch",
    "LocalDiskType",
    "LocalDiskSize",
    "LocalDiskCount",
)
_NEEDED = {"instancetype", "acceleratorname", "acceleratorcount", "price", "spotprice", "region"}
_TOO_LARGE = 1_000_000_000
"""USD an hour that no machine costs."""


def sniff(head: Head) -> bool:
    """Whether the file has the columns of every cloud's catalogue."""
    return head.kind != "json" and {name.lower() for name in head.columns} >= _NEEDED


def read(reader: Reader) -> list[Extract]:
    """The catalogue's prices as quotes, two for each row."""
    rows = "\nunion all\n".join(_quotes(reader, head) for head in reader.heads) or _quotes(reader, None)
    return [
        Extract(
            contract="gpu_quotes",
            rows=rows,
            columns={**_FIELDS, "seen_at": literal(reader.options.observed_at or "")},
            skip=_SKIP,
            problem=_PROBLEM,
            is_unnested=True,
        )
    ]


def _quotes(reader: Reader, head: Head | None) -> str:
    """SQL of two rows for each row of a file: its price on demand and on spot."""
    heads = [head] if head else []
    headers = 1 if head and head.kind == "csv" else 0
    return f"""
        select
            * exclude (quote),
            quote.purchase_mode as purchase_mode,
            nullif(trim(quote.amount), '') as amount,
            try_cast(quote.amount as decimal(38, 12)) as machine_usd,
            try_cast(AcceleratorCount as decimal(18, 6)) as gpus
        from (
            select
                * exclude (_line),
                coalesce(_line, {headers} + row_number() over ()) as _line,
                {literal(_cloud(head) if head else "")} as cloud,
                {literal(_place(head) if head else "")} as place,
                unnest([
                    {{purchase_mode: 'on_demand', amount: Price}},
                    {{purchase_mode: 'spot', amount: SpotPrice}}
                ]) as quote
            from ({reader.rows(_COLUMNS, known=_LEFT_OUT, heads=heads)})
        )"""


def _cloud(head: Head) -> str:
    """Whose machines the file lists."""
    name = head.path.name.split(".")[0]
    return (head.path.resolve().parent.name if name == "vms" else name.split("_")[0]).lower()


def _place(head: Head) -> str:
    """How a quote's origin names the file."""
    return f"{_cloud(head)}/{head.path.name}" if head.path.name.startswith("vms.") else head.path.name


_SKIP = """case
    when _broken is not null then null
    when AcceleratorName is null then 'a machine without a GPU'
    when InstanceType is null then 'a GPU without its machine'
    when amount is null and purchase_mode = 'on_demand' then 'no price on demand'
    when amount is null then 'no spot price'
end"""

_PROBLEM = f"""case
    when coalesce(gpus, 0) <= 0 then 'AcceleratorCount|not a number above 0'
    when machine_usd >= {_TOO_LARGE} then 'low_usd_per_gpu_hour|too large for a price'
end"""

# In whole numbers of 1e-12 USD, twice the price by twice the GPUs: so half can be added, to round once, half up.
_GPU_USD = """cast(
    (2 * cast(machine_usd * 1000000000000 as hugeint) * 1000000 + cast(gpus * 1000000 as hugeint))
    // (2 * cast(gpus * 1000000 as hugeint))
    as decimal(38, 0)) * cast(0.000000000001 as decimal(12, 12))"""

_PCIE_CARDS = "when 'A100-80GB' then 'A100-PCIE-80GB' when 'H100' then 'H100-PCIE'"

_FIELDS = {
    "gpu_model": f"case when cloud = 'runpod' then case AcceleratorName {_PCIE_CARDS} else AcceleratorName end "
    "else AcceleratorName end",
    "provider": "cloud",
    "region": "Region",
    "purchase_mode": "purchase_mode",
    # what is no price stays as it is, for the check of all columns
    "low_usd_per_gpu_hour": f"""case
        when gpus > 0 and machine_usd between 0 and {_TOO_LARGE} then cast({_GPU_USD} as varchar)
        else amount end""",
    "quote_status": "'quote'",
    "origin": "concat_ws(' ', 'SkyPilot', place, InstanceType, AvailabilityZone)",
}
