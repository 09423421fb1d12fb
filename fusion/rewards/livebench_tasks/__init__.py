"""The tasks of LiveBench (arXiv 2406.19314), by category: what a reply answers, and how much of that is right.

A task is a pure function of a reply and the gold answer. It returns a value from 0 to 1, None where the reply states no
answer, and raises `BadReference` where the gold answer cannot be read. The rules are those by which LiveBench judged
while its release of 2024-08-31 was the newest (github.com/LiveBench/LiveBench, livebench/process_results).
"""
