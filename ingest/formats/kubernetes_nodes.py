"""Kubernetes nodes as links: ``kubectl get nodes -o json``, or one node alone.

The bill says ``i-0abc``, the GPU exporter a host name or the node's: a node knows both. Each node gives one row per
host name that it goes by (the label ``kubernetes.io/hostname``; the addresses Hostname, InternalDNS and ExternalDNS),
with its own name and the resource that ``spec.providerID`` names, as the bill names it:

- AWS ``aws:///ap-south-1a/i-0abc``: the instance, ``i-0abc``.
- Google ``gce://project/zone/name``: the instance's global name, ``//compute.googleapis.com/.../instances/<number>``,
  whose number stands in the annotation that GKE puts on a node; without it the instance's name. The project is left out
  when it is stored, as a bill has the project's number for it.
- Azure ``azure:///subscriptions/...``: the path in lower case, as it comes in several spellings. A machine of a uniform
  scale set (``.../virtualmachinescalesets/<set>/virtualmachines/0``) is billed as its set, so it links to the set.
- Others, such as ``oci://`` and bare metal: what stands behind ``://``, leading slashes left out.

A node without a provider's id still ties its names together. A link holds from the node's creation and has no end: a
later list without the node does not end it, as a list may be of some nodes only. A machine's id never comes back, and a
host name that does belongs to the node that was created last. IP addresses are left out.
"""

from __future__ import annotations

import re

from ingest.reading import Head, Reader
from ingest.rows import Extract

NAME = "kubernetes_nodes"
VERSION = 2
CONTRACTS = ("resource_links",)
DELIVERY = "file"
REPLACES_PERIOD = False

_NODE = {
    "kind": "VARCHAR",
    "metadata": {"name": "VARCHAR", "creationTimestamp": "VARCHAR", "labels": "JSON", "annotations": "JSON"},
    "spec": {"providerID": "VARCHAR"},
    "status": {"addresses": [{"type": "VARCHAR", "address": "VARCHAR"}]},
}


def sniff(head: Head) -> bool:
    """Whether the document is of Kubernetes, and its first object a node."""
    kinds = re.findall(r'"kind"\s*:\s*"(\w+)"', head.text)
    is_node = "Node" in kinds[:2] or "NodeList" in kinds[:1]
    return head.kind == "json" and is_node and re.search(r'"apiVersion"\s*:\s*"v1"', head.text) is not None


def read(reader: Reader) -> list[Extract]:
    """The nodes' names as identity pairs."""
    rows = reader.rows(
        ("kind", "apiVersion"),
        nested={"items": [_NODE], **{name: keys for name, keys in _NODE.items() if name != "kind"}},
    )
    columns = {
        "hostname": "hostname",
        "node_name": "node_name",
        "resource_id": "resource_id",
        "valid_from": "node.metadata.creationTimestamp",
    }
    skip = "case when node is not null and node.kind != 'Node' then 'not a node' end"
    problem = """case
        when node.metadata.name is null then 'node_name|missing'
        when resource_id is null and hostname is not distinct from node_name then '|fewer than two names to link'
    end"""
    return [
        Extract(
            contract="resource_links",
            rows=_links(rows),
            columns=columns,
            skip=skip,
            problem=problem,
            is_unnested=True,
        )
    ]


def _links(rows: str) -> str:
    """SQL of one row per node and host name, in the order of the list."""
    own = "{kind: kind, metadata: metadata, spec: spec, status: status}"
    names = """list_distinct(list_filter(
        [json_extract_string(node.metadata.labels, '$."kubernetes.io/hostname"')] || list_transform(
            list_filter(
                coalesce(node.status.addresses, []),
                lambda one: one.type in ('Hostname', 'InternalDNS', 'ExternalDNS')
            ),
            lambda one: one.address
        ),
        lambda name: name != ''
    ))"""
    return f"""
        select
            * exclude (hostnames),
            unnest(case when len(hostnames) > 0 then hostnames else [node.metadata.name] end) as hostname
        from (
            select
                _file,
                _content,
                _broken,
                _line,
                node,
                node.metadata.name as node_name,
                {names} as hostnames,
                {_RESOURCE} as resource_id
            from (
                select *, unnest(coalesce(items, [{own}])) as node
                from ({rows})
            )
        )"""


_AFTER_SCHEME = "regexp_replace(node.spec.providerID, '^[a-z]+:/+', '')"
_GOOGLE_NUMBER = """nullif(
    json_extract_string(node.metadata.annotations, '$."container.googleapis.com/instance_id"'), ''
)"""
_RESOURCE = rf"""case
    when node.spec.providerID = '' then null
    when starts_with(node.spec.providerID, 'gce://') and {_GOOGLE_NUMBER} is not null then regexp_replace(
        node.spec.providerID, '^gce:/+([^/]+)/([^/]+)/.*$',
        '//compute.googleapis.com/projects/\1/zones/\2/instances/' || {_GOOGLE_NUMBER}
    )
    when regexp_matches(node.spec.providerID, '^(aws|gce)://') then regexp_extract(node.spec.providerID, '([^/]+)$', 1)
    when starts_with(node.spec.providerID, 'azure://') then regexp_replace(
        '/' || lower({_AFTER_SCHEME}), '(/virtualmachinescalesets/[^/]+)/virtualmachines/[^/]+$', '\1'
    )
    else {_AFTER_SCHEME}
end"""
