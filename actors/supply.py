"""What a cluster has, what is free of it, and what its autoscaler says: why somebody waits."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray

RPC_S = 5.0
SHOWN = ("GPU", "CPU")
SINGLE = "node_"
"""How Ray begins the name of a node's type where nobody starts nodes: each node is then a type of its own."""

Bundle = Mapping[str, float]
"""Resources that must be on one node, by Ray's names: {"GPU": 4, "CPU": 8}."""


@dataclass(frozen=True)
class Supply:
    """A cluster at one moment; `totals` and `free` have an entry a node."""

    totals: Sequence[Bundle] = ()
    free: Sequence[Bundle] = ()
    coming: tuple[tuple[str, int], ...] = ()
    """Node types that are being started, and how many."""
    is_elastic: bool = False
    """Whether something starts nodes on demand."""
    refused: Sequence[Bundle] = ()
    """What the autoscaler (v2) knows that no node type of it could hold."""
    failed: tuple[str, ...] = ()
    """Node types that could not be started lately, with the provider's reason."""

    def has(self, name: str) -> str:
        total, free = (sum(node.get(name, 0.0) for node in nodes) for nodes in (self.totals, self.free))
        return f"{free:g} of {total:g} {name}s"


def look() -> Supply:
    """The cluster that this process is connected to; two calls to its head.

    Raises:
        Exception: the head does not answer within five seconds.
    """
    from ray.core.generated.autoscaler_pb2 import GetClusterStatusReply, NodeStatus
    from ray.experimental.internal_kv import _internal_kv_get

    reply = GetClusterStatusReply()
    gcs = ray._raylet.GcsClient(address=ray.get_runtime_context().gcs_address)
    reply.ParseFromString(gcs.get_cluster_status(timeout_s=RPC_S))
    nodes = [node for node in reply.cluster_resource_state.node_states if node.status != NodeStatus.Value("DEAD")]
    said = reply.autoscaling_state  # empty unless autoscaler v2 runs; v1 leaves a report in the head's store
    coming = Counter({one.ray_node_type_name: one.count for one in said.pending_instance_requests})
    coming += Counter(one.ray_node_type_name for one in said.pending_instances)
    is_v2 = said.autoscaler_state_version > 0
    report = read_report(_internal_kv_get(ray._private.ray_constants.DEBUG_AUTOSCALING_STATUS))
    return Supply(
        totals=[dict(node.total_resources) for node in nodes],
        free=[dict(node.available_resources) for node in nodes],
        coming=tuple(sorted((coming + Counter(dict(report.coming))).items())),
        is_elastic=report.is_elastic or (is_v2 and _has_types([node.ray_node_type_name for node in nodes])),
        refused=_refused(said),
        failed=report.failed
        + tuple(f"{one.ray_node_type_name}: {one.reason}" for one in said.failed_instance_requests),
    )


def read_report(report: bytes | None) -> Supply:
    """What the report of an autoscaler v1 says: what it starts, what it could not start, whether it starts anything."""
    said = json.loads(report or b"{}").get("autoscaler_report") or {}
    coming = Counter(said.get("pending_launches") or {})
    coming += Counter(kind for _, kind, *_ in said.get("pending_nodes") or [])
    tried = ((said.get("node_availability_summary") or {}).get("node_availabilities") or {}).items()
    failed = {kind: one.get("unavailable_node_information") for kind, one in tried if not one.get("is_available", True)}
    return Supply(
        coming=tuple(sorted(coming.items())),
        is_elastic=bool(coming or failed) or _has_types([*(said.get("active_nodes") or {})]),
        failed=tuple(f"{kind}: {(info or {}).get('description', 'unavailable')}" for kind, info in failed.items()),
    )


def _has_types(names: Sequence[str]) -> bool:
    """Whether nodes are of types that somebody could start more of."""
    return any(name and not name.startswith(SINGLE) for name in names)


def _refused(said: Any) -> list[Bundle]:
    gangs = said.infeasible_gang_resource_requests
    requests = [*said.infeasible_resource_requests, *(request for gang in gangs for request in gang.requests)]
    chosen = [request for gang in gangs for one in gang.bundle_selectors for request in one.resource_requests]
    return [dict(request.resources_bundle) for request in (*requests, *chosen)]


def why(asked: Bundle, supply: Supply) -> str:
    """Why nobody gave `asked` yet."""
    if any(fits(asked, node) for node in supply.free):
        return "a node has room for it, where its process starts"
    if supply.coming:
        return "nodes are starting: " + ", ".join(f"{number} x {kind}" for kind, number in supply.coming)
    if any(fits(asked, one) and fits(one, asked) for one in supply.refused):
        return "no node type of this cluster could ever hold it"
    if any(fits(asked, node) for node in supply.totals):
        reason = "all nodes that could hold it are busy"
    elif not supply.is_elastic:
        return "no node could ever hold it, and nothing here starts other nodes"
    else:
        reason = "no node that is up could hold it"
    if supply.failed:
        return f"{reason}; the autoscaler was asked and failed: {'; '.join(supply.failed)}"
    return f"{reason}; the autoscaler was asked and starts none yet (ray status)" if supply.is_elastic else reason


def fits(asked: Bundle, node: Bundle) -> bool:
    """Whether a node with nothing on it could hold `asked`."""
    return all(node.get(name, 0.0) >= amount - 1e-6 for name, amount in asked.items())


def words(bundle: Bundle) -> str:
    """`4 GPUs and 8 CPUs`."""
    named = [name for name in (*SHOWN, *sorted(set(bundle) - {*SHOWN})) if bundle.get(name)]
    return " and ".join(f"{bundle[name]:g} {name}{'' if bundle[name] == 1 else 's'}" for name in named)
