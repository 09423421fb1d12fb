"""Training objectives: one file each; the file's config dataclass is the plug-in."""
