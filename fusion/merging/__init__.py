"""Merging: checkpoints of one architecture into one, in weight space. One method a file; see `fusion.merging.base`."""
