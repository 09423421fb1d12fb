"""What a command's errors become: one message, and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from fusion.errors import ConfigError, FusionError


def guarded(body: Callable[[], int]) -> int:
    """Run a command; turn its errors into one message and an exit code."""
    try:
        return body()
    except ConfigError as error:
        print(f"refused: {error}", file=sys.stderr)
        return 2
    except FusionError as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; everything committed is kept, the same command resumes", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        from fusion.location import FULL, no_space

        if error.errno not in FULL:
            raise
        print(f"failed: {no_space(error.filename or os.getcwd())}", file=sys.stderr)
        return 1
