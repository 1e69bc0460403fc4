# A newcomer needs two commands: `make demo` and `make test`. Both install first what is missing.

SHELL := /bin/bash
PATH := $(CURDIR)/.venv/bin:$(PATH)
export PATH
# Where this is set, as in many containers, every process that starts would compile PyTorch's and libp2p's sources again.
unexport PYTHONDONTWRITEBYTECODE

# Tests that run at a time: one more than there are cores, since many wait for processes and deadlines; eight at most,
# since some start several processes of their own.
JOBS ?= $(shell cores=$$(nproc 2>/dev/null || echo 2); echo $$((cores < 8 ? cores + 1 : 8)))
# More arguments for the program that a target starts: make demo ARGS="--sites 6", make test-fast ARGS="-k merge"
ARGS ?=

.NOTPARALLEL:
.PHONY: help setup demo test test-fast lint type contracts pytest bench faults format clean distclean

help:  ## list what can be made
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

setup:  ## install everything that is missing
	@scripts/setup

demo: setup  ## train four sites on this machine, end to end
	swarm-node demo $(ARGS)

test: setup  ## run every check: lint, types, contracts, tests with coverage
	@scripts/run-all lint type contracts pytest

lint: setup  ## check style and format
	ruff check .
	ruff format --check .

type: setup  ## check types, strictly
	mypy

contracts: setup  ## rebuild the contracts, compare with the artifacts on record, run their tests
	python -m contracts.check

pytest: setup  ## run all tests and report coverage
	pytest -n $(JOBS) --dist loadgroup --cov --cov-report=term $(ARGS)

test-fast: setup  ## run the tests that take seconds
	pytest -n $(JOBS) --dist loadgroup -m "not slow" $(ARGS)

bench: setup  ## measure rounds and transfers
	python -m benchmarks $(ARGS)

faults: setup  ## let each fault strike in each phase of a round, and write the table of what came of it
	python -m tests.faults.fault_table docs/faults.md

format: setup  ## put code into the format that lint asks for
	ruff check --fix .
	ruff format .

clean:  ## remove reports, build results and caches
	rm -rf build dist htmlcov .coverage* *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis contracts/out contracts/cache
	find contracts docker examples ledger node swarm tests benchmarks -name __pycache__ -not -path '*/node_modules/*' -prune -exec rm -rf {} +

distclean: clean  ## remove the environment too
	rm -rf .venv .setup.log contracts/node_modules
