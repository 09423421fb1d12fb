"""Engines that answer prompts: one file each; the file's config dataclass is the plug-in."""
