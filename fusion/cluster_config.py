"""How a run reaches Ray: a cluster of its own on this machine, or one that is there.

Nothing here bears identity: two runs that differ only in it are the same experiment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fusion.choice import Choice
from fusion.errors import ConfigError
from fusion.step import Capacity, Placement

SOCKET_PATH_LIMIT = 40
"""Characters of a temporary folder; Ray appends up to 67 and Unix sockets end at 107."""


@dataclass(kw_only=True)
class RayConfig:
    """Which Ray, and how much of it this run may take."""

    address: str | None = None
    """null: start Ray in this process's name and end it with the run; `auto` or `host:port`: join one that is there."""
    num_cpus: int = 6
    """Logical CPUs of a Ray started here. More than there are cores: light actors otherwise wait for each other."""
    num_gpus: int | None = None
    """GPUs of a Ray started here; null: those that Ray finds."""
    cpu_share: float = 0.1
    """Logical CPUs a worker asks of Ray for each of its threads. 1 on a cluster, where Ray places workers by it; small
    on one machine, where the runner has counted already and a worker that waits for a CPU would wait for ever."""
    temp_dir: str | None = None
    """Folder of Ray's sessions and logs, at most 40 characters; null: Ray's own, /tmp/ray. Used when starting Ray."""
    object_store_gib: float = 0.25
    """Shared memory of a Ray started here. Keys and receipts travel through it, never text, so little is enough."""
    allow_open_head: str | None = None
    """host:port of the dashboard of a head that takes jobs without a token, to join it all the same; `*`: any.
    Of a head without a dashboard: its own."""
    resource_wait_s: float = 1800.0
    """How long a worker may wait for nodes with free GPUs. A guess: twice what autoscalers take for a GPU node."""

    metrics_port: int | None = None
    """Port at which a Ray started here shows its metrics to Prometheus (cluster/README.md); null: any free one."""

    def __post_init__(self) -> None:
        if self.address is not None and self.address.startswith("ray://"):
            raise ConfigError(
                f"cluster.ray.address is {self.address}: a run's driver must live inside the cluster, because it "
                "reads streams of Ray Data. Submit it there: ray job submit ... -- fusion run ..."
            )
        if self.temp_dir is not None and len(self.temp_dir) > SOCKET_PATH_LIMIT:
            raise ConfigError(
                f"cluster.ray.temp_dir is {len(self.temp_dir)} characters long ({self.temp_dir}); Ray puts sockets "
                f"there, whose paths are limited: take a folder of at most {SOCKET_PATH_LIMIT} characters"
            )
        if self.metrics_port is not None and not 0 < self.metrics_port < 65536:
            raise ConfigError(f"cluster.ray.metrics_port must be null or in 1 to 65535, got {self.metrics_port}")
        for name, low in (("num_cpus", 1), ("cpu_share", 0.001), ("object_store_gib", 0.08), ("resource_wait_s", 1)):
            if getattr(self, name) < low:
                raise ConfigError(f"cluster.ray.{name} must be at least {low}, got {getattr(self, name)}")


@dataclass(kw_only=True)
class NodeType:
    """A machine that is brought up, and billed, whole. `conf/prices.yaml` lists some."""

    gpus: int = 0
    cpus: int = 0
    usd_per_hour: float = 0.0
    """On demand."""
    usd_per_hour_spot: float = 0.0
    """While nobody else wants it; 0: it is not to be had so, or not known."""


@dataclass(kw_only=True)
class Price:
    """What the machines cost while they run; for forecasts. 0: not known."""

    node: str = ""
    """Which of `prices` nodes with GPUs are, each paid for whole; empty: GPUs are paid for one by one."""
    head: str = ""
    """Which of `prices` the head is."""
    spot: bool = False
    """Whether `node` is on spot."""
    usd_per_gpu_hour: float = 0.0
    """A GPU with its share of the node; 0: filled in by `node`."""
    usd_per_hour: float = 0.0
    """What runs from the first moment to the last; 0: filled in by `head`."""
    gpus_per_node: int = 1
    """Paid for together. Filled in by `node`."""

    def __post_init__(self) -> None:
        for name, low in (("usd_per_gpu_hour", 0), ("usd_per_hour", 0), ("gpus_per_node", 1)):
            if getattr(self, name) < low:
                raise ConfigError(f"cluster.price.{name} must be at least {low}, got {getattr(self, name)}")

    def look_up(self, prices: Mapping[str, NodeType]) -> None:
        """Fill in what `node` and `head` cost; what is set stays.

        Raises:
            ConfigError: one of them is not listed, or has no such price.
        """
        if self.node:
            usd = self._listed("node", prices, self.spot)
            self.gpus_per_node = max(1, prices[self.node].gpus)
            self.usd_per_gpu_hour = self.usd_per_gpu_hour or usd / self.gpus_per_node
        if self.head:
            self.usd_per_hour = self.usd_per_hour or self._listed("head", prices, spot=False)

    def _listed(self, key: str, prices: Mapping[str, NodeType], spot: bool) -> float:
        name = getattr(self, key)
        if name not in prices:
            raise ConfigError(f"cluster.price.{key}={name} is none of prices ({', '.join(prices)}; conf/prices.yaml)")
        price = "usd_per_hour_spot" if spot else "usd_per_hour"
        usd = float(getattr(prices[name], price))
        if not usd:
            raise ConfigError(f"cluster.price.{key}={name} has no such price; type prices.{name}.{price}=...")
        return usd

    def usd(self, gpu_hours: float, hours: float) -> float:
        return gpu_hours * self.usd_per_gpu_hour + hours * self.usd_per_hour

    def paid(self, gpus: int) -> float:
        """What is paid for GPUs of which so many are held at one time, as a multiple of them: nodes are whole."""
        return -(-gpus // self.gpus_per_node) * self.gpus_per_node / gpus if gpus else 1.0


class RuntimeKind(Choice):
    """Where workers live."""

    RAY = "ray"
    IN_PROCESS = "in_process"


class Layout(Choice):
    """Who says how sources and judges lie over the GPUs."""

    GIVEN = "given"
    PLANNED = "planned"


@dataclass(kw_only=True)
class ClusterConfig:
    """Where a run runs, and how much of it at a time."""

    runtime: RuntimeKind = RuntimeKind.RAY
    ray: RayConfig = field(default_factory=RayConfig)
    capacity: Capacity = field(default_factory=Capacity)
    price: Price = field(default_factory=Price)
    layout: Layout = Layout.GIVEN
    """GIVEN: as the pools say. PLANNED: each source that has no pool of its own name asks for what `fusion plan` finds
    best for it, and each reward that a model gives for the GPUs that are left; of the pool of their kind they keep what
    is not layout."""
    pools: dict[str, Placement | None] = field(default_factory=dict)
    """Placement by name of a model or reward (`gemma3_270m`), or by kind of step (responses, rewards, verifiers,
    logprobs, checkpoint); the name wins; null: as if it were not there."""

    def placement(self, kind: str, name: str) -> Placement:
        """Where a step of this kind, for this model or reward, runs."""
        return self.pools.get(name) or self.pools.get(kind) or Placement()

    def is_fixed(self, name: str) -> bool:
        """Whether a plan must take the workers of a source or reward as they are set."""
        return self.layout is Layout.PLANNED and self.pools.get(name) is not None
