"""What a GPU costs: by the table of nodes, which are paid for whole, unless something else is set."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from fusion.cluster_config import NodeType, Price
from fusion.config import composed, typed
from fusion.errors import ConfigError
from fusion.planning.step_forecast import StepForecast
from fusion.step import Placement
from tests.fusion.costs.test_meter import meter_in, run, words_step
from tests.fusion.planning.test_forecast import LARGE, QUICKSTART

CONF = Path(__file__).parents[3] / "conf"
TABLE = {
    "eight": NodeType(gpus=8, cpus=192, usd_per_hour=40.0, usd_per_hour_spot=16.0),
    "head": NodeType(cpus=8, usd_per_hour=0.5),
}


def price(**settings: object) -> Price:
    made = Price(**settings)  # type: ignore[arg-type]
    made.look_up(TABLE)
    return made


def test_a_node_says_what_its_gpus_cost_and_what_is_set_stays() -> None:
    listed, spot = price(node="eight", head="head"), price(node="eight", spot=True)
    assert (listed.usd_per_gpu_hour, listed.usd_per_hour) == (5.0, 0.5)
    assert spot.usd_per_gpu_hour == 2.0
    assert price(node="eight", usd_per_gpu_hour=3.0).usd_per_gpu_hour == 3.0


def test_nodes_are_paid_for_whole_and_single_gpus_are_not() -> None:
    whole, single = price(node="eight"), price(usd_per_gpu_hour=5.0)
    assert [whole.paid(gpus) * gpus for gpus in (1, 2, 8, 9)] == [8, 8, 8, 16]
    assert [single.paid(gpus) for gpus in (0, 1, 9)] == [1, 1, 1]
    two = StepForecast("responses/a", "f", gpu_hours=2.0, hours=1.0, gpus=2)
    assert (two.usd(whole), two.usd(single)) == (40.0, 10.0)


def test_a_run_on_a_part_of_a_node_pays_for_the_whole(tmp_path: Path) -> None:
    """A source of two GPUs has a node of eight for itself: 40 USD an hour, as all eight would cost."""
    meter = meter_in(tmp_path, price(node="eight"))
    started = time.monotonic()
    run(tmp_path, words_step(10, Placement(replicas=1, gpus=2)), meter)
    account = meter.account()
    (use,) = account.steps.values()
    assert account.total.gpu_seconds == pytest.approx(2 * use.used.seconds)
    assert account.total.usd == pytest.approx(40 * use.used.seconds / 3600)
    assert use.used.seconds <= time.monotonic() - started


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"node": "nine"}, r"cluster\.price\.node=nine is none of prices \(eight, head"),
        ({"node": "head", "spot": True}, r"type prices\.head\.usd_per_hour_spot="),
    ],
)
def test_what_has_no_price_is_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        price(**settings)


@pytest.mark.parametrize("cluster", ["aws", "gcp"])
def test_clusters_are_priced_by_the_table_and_as_large_as_its_nodes(cluster: str) -> None:
    config = typed(composed([*QUICKSTART, *LARGE, f"cluster={cluster}"]))
    node, told = config.prices[config.cluster.price.node], config.cluster
    assert told.price.usd_per_gpu_hour * node.gpus == node.usd_per_hour > node.usd_per_hour_spot > 0
    assert told.price.usd_per_hour == config.prices[told.price.head].usd_per_hour > 0
    assert (told.capacity.gpus / node.gpus) * node.cpus == told.capacity.cpus
    files = OmegaConf.load(CONF.parent / "cluster" / f"{cluster}.yaml").available_node_types
    assert files["gpu-8-spot"].resources == {"CPU": node.cpus, "GPU": node.gpus}
