"""fusion: several strong language models into one compact model, on a Ray cluster, with one command.

Importing this package loads no engine and no training library; see README.md for the reading order.
"""

__version__ = "0.1.0"
