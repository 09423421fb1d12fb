"""Explicit fusion: token distributions of sources, carried over to a target's vocabulary (FuseLLM, FuseChat)."""
