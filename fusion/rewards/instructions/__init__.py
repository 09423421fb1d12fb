"""Instructions that a program can check ("no commas", "at least 300 words"), by family; see `checks`."""
