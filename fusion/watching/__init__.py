"""A run seen from outside: what it writes of itself, and who shows it."""
