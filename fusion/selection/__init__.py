"""Rules that pick training rows from scored responses: one file each."""
