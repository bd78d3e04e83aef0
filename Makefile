# Everything a newcomer or CI does: install, run, test, check.
PYTHON ?= python3.11
TORCH ?= torch==2.13.0
BIN := .venv/bin

.PHONY: install run test test-rooms test-whole check lint docs bench
install: .venv/installed

run: install
	$(BIN)/celltrain run

test: .venv/installed-dev
	OMP_NUM_THREADS=1 $(MAKE) --jobs=2 test-rooms test-whole

# side by side, a core each: the rooms of the package, and the package as a whole
test-rooms: .venv/installed-dev
	$(BIN)/python -m pytest tests/*/

test-whole: .venv/installed-dev
	$(BIN)/python -m pytest tests/test_*.py

check: lint test

lint: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: .venv/installed-dev
	$(BIN)/python scripts/docs.py

bench: .venv/installed-bench
	for name in aggregate step roofline memory largest plasticity overhead data startup; do \
		$(BIN)/python scripts/bench.py $$name || exit 1; \
	done

.venv/installed-bench: .venv/installed-dev
	$(BIN)/python -m pip install --quiet -e '.[bench]'
	touch $@

# torch first and pinned, so that the environment does not change under the user
.venv/torch:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet '$(TORCH)'
	touch $@

.venv/installed: .venv/torch pyproject.toml
	$(BIN)/python -m pip install --quiet -e .
	touch $@

.venv/installed-dev: .venv/torch pyproject.toml
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	touch $@ .venv/installed
