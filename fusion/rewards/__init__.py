"""Reward models and verifiers: one file each; the file's config dataclass is the plug-in."""
