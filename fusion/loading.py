"""One thread at a time loads models and tokenizers.

transformers fills its names lazily, and a second thread that imports from it meanwhile does not find them ("cannot
import name 'AutoTokenizer'"): seen with transformers 5.19 when two steps of a run started at once.
"""

from __future__ import annotations

import threading

LOADING = threading.RLock()
"""Held while names are imported from transformers and a model or tokenizer is read."""
