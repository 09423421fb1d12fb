"""Where the accounts of a run are kept: runs/<name>/spent/."""

from __future__ import annotations

from fusion import location
from fusion.config import Config, priced_endpoints
from fusion.costs.endpoints import EndpointBill
from fusion.costs.meter import Meter


def spent_folder(config: Config) -> str:
    return location.join(config.runs, config.name, "spent")


def meter_of(config: Config) -> Meter:
    """A run's meter, which counts on from earlier runs of the same name.

    Raises:
        ArtifactError: what an earlier run wrote down cannot be read.
    """
    bill = EndpointBill(priced_endpoints(config))
    return Meter(config.cluster.price, config.budget, spent_folder(config), bill)
