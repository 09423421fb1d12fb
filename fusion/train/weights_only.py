"""Checkpoints are read as weights: tensors, plain values, and the few classes that are named here.

DeepSpeed unpickles what lies in its checkpoints, and a pickle may run anything: who can write to the store would run
programs on the machines that train.
"""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Iterator
from contextlib import contextmanager

from fusion.errors import ArtifactError

FORCED = {"TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "0"}
"""Heard by every `torch.load`, whatever its caller asks for."""


@contextmanager
def weights_only(place: str) -> Iterator[None]:
    """For the block, no `torch.load` of this process runs what a file says; `place` of the checkpoints: for messages.

    Raises:
        ArtifactError: a file holds something else.
    """
    import torch
    from deepspeed.runtime.fp16.loss_scaler import LossScaler
    from deepspeed.runtime.zero.config import ZeroStageEnum
    from deepspeed.utils.tensor_fragment import fragment_address

    before = {name: os.environ.get(name) for name in FORCED}
    os.environ.update(FORCED)
    try:
        with torch.serialization.safe_globals([LossScaler, ZeroStageEnum, fragment_address]):
            yield
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        raise ArtifactError(
            f"the newest checkpoint in {place} holds more than weights{f' ({named[1]})' if named else ''}; it is not "
            "loaded, for that may run any program. Find out who writes there; remove it to go on from the one before"
        ) from error
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
