# The two commands of a fresh machine: `make demo` and `make test`. Python 3.11+ with venv is all they need.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
# One process more than there are cores, since tests wait for other processes and for the disk; four at most.
TESTERS = $(shell $(PYTHON) -c "import os; print(min(4, (os.cpu_count() or 1) + 1))")

# Modules are compiled once, not again by each of the processes that the tests start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test check suite docs bench clean

demo: $(STAMP)
	$(BIN)/cristae demo

test: check suite

check: $(STAMP)
	$(BIN)/ruff check src tests benchmarks docs notebooks
	$(BIN)/ruff format --check src tests benchmarks docs notebooks
	$(BIN)/mypy
	$(BIN)/lint-imports

suite: $(STAMP)
	$(BIN)/python -m pytest -n $(TESTERS) --dist loadfile -m "not slow and not gpu"

docs: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(STAMP)
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv build dist

# torch comes first and pinned: an unpinned torch pulls gigabytes of CUDA on machines without a GPU.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $(STAMP)
