"""Runs programs that models wrote against tests, so that neither the machine nor the verdict is theirs to change.

Three processes. The host (`session`) starts the others and trusts neither. The *guest* (`guest`) is a fresh bubblewrap
sandbox for each program: no network, namespaces of its own, a read-only Python, an empty folder in memory, limits. The
*judge* (`judge`) runs the tests in a sandbox of its own and forks for each case; it reaches the program only by
messages (`wire`), in which values travel and code does not. So the tests, the expected answers and the verdict are
never in a process that the program can reach: it cannot print a pass, patch `assert`, or return an object that equals
everything.

What remains possible: a program may know the tests (from its prompt) and return their answers by rote; where tests
compare two objects of the program's own classes, the program's `__eq__` decides; Python's process is bounded by rlimits
and not by a cgroup, so that memory is bounded for each process (times their number), not for all together; and the
kernel is shared: a hole in it is a hole in every namespace.
"""
