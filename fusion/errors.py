"""The errors a caller can act on.

Every message says what was found, where (dotted key, path, row key) and what to do. `assert` is for programmer
errors only; nothing in this project turns an exception into a value that means something else.
"""


class FusionError(Exception):
    """Base of all errors that are reported without a traceback."""


class ConfigError(FusionError):
    """A setting is wrong; nothing has been started (exit code 2)."""


class SchemaError(FusionError):
    """A table does not have the columns, types or unique keys that it must have."""


class ArtifactError(FusionError):
    """A stored artifact is missing, torn, corrupt, or held by another run."""


class PluginError(FusionError):
    """A plug-in file does not keep its contract."""


class StepFailed(FusionError):  # noqa: N818 what happened, as the contract names it
    """A step ended without a sealed artifact (exit code 1)."""


class EngineError(FusionError):
    """An engine cannot serve: it did not start, stalled, or died. Infrastructure, not data."""
