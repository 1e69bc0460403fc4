"""`python -m benchmarks`, which is `make bench`."""

from benchmarks.rounds import main

main()
