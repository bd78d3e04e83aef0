# Everything a newcomer or CI does: install, run, test, check.
#
#   make run PYTHON=python3.13          the Python to use; else the first that will do
#   make run TORCH=torch==2.6.0         another torch
#   make run TORCH_INDEX=ADDRESS        where pip looks for torch: PyTorch's install page has the
#                                       address of each CPU and CUDA build
PYTHON ?=
TORCH ?= torch==2.13.0
TORCH_INDEX ?=
BIN := .venv/bin
READY := .venv/installed-dev

.PHONY: install run test test-rooms test-whole test-latest check lint docs bench lock dist
install: .venv/installed

run: install
	$(BIN)/celltrain run
	@echo 'Here celltrain is $(BIN)/celltrain: $(BIN)/celltrain --help says what else it does.'

test: $(READY)
	OMP_NUM_THREADS=1 $(MAKE) --jobs=2 test-rooms test-whole

# side by side, a core each: the rooms of the package, and the package as a whole
test-rooms: $(READY)
	$(BIN)/python -m pytest tests/*/

test-whole: $(READY)
	$(BIN)/python -m pytest tests/test_*.py

# before a release: the newest of everything, in an environment of its own
LATEST_TORCH ?= torch
test-latest:
	PYTHON='$(PYTHON)' sh scripts/make_venv.sh .venv-latest
	.venv-latest/bin/python scripts/install_torch.py '$(LATEST_TORCH)' $(TORCH_INDEX)
	.venv-latest/bin/python -m pip install --quiet '$(LATEST_TORCH)' hatchling -e '.[dev]'
	.venv-latest/bin/python -m pip list
	$(MAKE) test READY= BIN=.venv-latest/bin

check: lint test

lint: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: .venv/installed-dev
	$(BIN)/python scripts/docs.py
	$(BIN)/sphinx-build -W --keep-going --quiet --builder html docs site
	@echo 'site/index.html is the first page.'

bench: .venv/installed-bench
	for name in aggregate step roofline memory largest plasticity overhead data startup; do \
		$(BIN)/python scripts/bench.py $$name || exit 1; \
	done

# wheel and sdist in dist/, as an index would take them
dist: .venv-tools/installed
	rm -rf dist
	.venv-tools/bin/pyproject-build --outdir dist .
	.venv-tools/bin/twine check --strict dist/*
	.venv-tools/bin/check-wheel-contents dist/*.whl

# The newest versions that go together, with the hashes of all their files, for every Python from
# 3.11 on and every platform; torch is TORCH's.
LOCK = .venv-tools/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 \
	--generate-hashes --annotation-style line --custom-compile-command 'make lock' \
	--no-emit-package torch --constraints .venv-tools/torch.txt --group build pyproject.toml
lock: .venv-tools/installed
	echo '$(TORCH)' > .venv-tools/torch.txt
	$(LOCK) --extra dev --output-file lock/test.txt
	$(LOCK) --no-emit-package triton --constraints lock/test.txt --output-file lock/run.txt

.venv-tools/installed:
	PYTHON='$(PYTHON)' sh scripts/make_venv.sh .venv-tools
	.venv-tools/bin/python -m pip install --quiet build check-wheel-contents twine uv
	touch $@

$(BIN)/python:
	@PYTHON='$(PYTHON)' sh scripts/make_venv.sh .venv

# What is locked, then torch, which finds all it needs but its CUDA libraries, then celltrain, built
# by what is locked: nothing changes under the user from one day to the next.
define installed
	@echo 'Installing what lock/$(1).txt lists: $(2) to download.'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes \
		-r lock/$(1).txt
	@$(BIN)/python scripts/install_torch.py '$(TORCH)' $(TORCH_INDEX)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation \
		--no-deps -e .
	touch $@
endef

.venv/installed: lock/run.txt pyproject.toml | $(BIN)/python
	$(call installed,run,40 MB)

.venv/installed-dev: lock/test.txt pyproject.toml | $(BIN)/python
	$(call installed,test,330 MB)
	touch .venv/installed

.venv/installed-bench: .venv/installed-dev
	$(BIN)/python -m pip install --quiet --no-build-isolation -e '.[bench]'
	touch $@
