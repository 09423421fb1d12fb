"""What a run uses, what it may use, and what it was expected to."""
