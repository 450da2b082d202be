# Potstill. The two commands of a fresh machine are `make demo` and `make test`; both install what they need into .venv.
# Python ≥ 3.11 and make are all they ask for; PYTHON=python3.12 chooses one.

VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help

help:  ## Show this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.worker: pyproject.toml tools/install.sh
	@PYTHON="$(PYTHON)" tools/install.sh $(VENV) worker
	@touch $@

$(VENV)/.dev: pyproject.toml tools/install.sh
	@PYTHON="$(PYTHON)" tools/install.sh $(VENV) dev
	@touch $@ $(VENV)/.worker

install: $(VENV)/.dev  ## Install everything, development parts included, into .venv.

demo: $(VENV)/.worker  ## Train a teacher, distil a student, pull and use it: the whole path, in about a minute.
	@$(BIN)/potstill demo

demo-text: $(VENV)/.worker  ## The same with text: docstrings of Python's own library, and what they are about.
	@$(BIN)/potstill demo --text

serve: $(VENV)/.worker  ## Run the service here until Ctrl-C.
	@$(BIN)/potstill up

test: $(VENV)/.dev  ## Run the tests. TESTS=tests/engine narrows them.
ifdef TESTS
	@$(BIN)/python -m pytest $(TESTS) -q
else
	@tools/test.sh $(BIN)
endif

lint: $(VENV)/.dev  ## Style, types and the import table.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: $(VENV)/.dev  ## Put the code in order.
	@$(BIN)/ruff check --fix -q .
	@$(BIN)/ruff format -q .

docs: $(VENV)/.dev  ## Write docs/reference from the code.
	@$(BIN)/python tools/reference.py

fuzz: $(VENV)/.dev  ## Send the API what its document allows and forbids, for FUZZ_SECONDS (600) on each database.
	@FUZZ_SECONDS=$(or $(FUZZ_SECONDS),600) FUZZ_SEED=$(or $(FUZZ_SEED),$$(date +%s)) $(BIN)/python -m pytest tests/api/test_api_fuzz.py -q -rP --timeout 0

bench: $(VENV)/.dev  ## Measure the service: submission to first step, the API's size, training throughput, checkpoints.
	@$(BIN)/python -m benchmarks

bench-compare: $(VENV)/.dev  ## Hold the ratios measured last against those of a revision: SINCE=HEAD.
	@$(BIN)/python -m benchmarks.compare $(or $(SINCE),HEAD)

bench-gpu: $(VENV)/.dev  ## Distil language models on a GPU beside the Trainer and TRL: PEERS=their Python. Without a GPU it says so.
	@$(BIN)/python -m benchmarks.gpu $(if $(PEERS),--peers $(PEERS))

$(VENV)/.bench: pyproject.toml tools/install.sh
	@PYTHON="$(PYTHON)" tools/install.sh $(VENV) bench
	@touch $@ $(VENV)/.dev $(VENV)/.worker

results: $(VENV)/.bench  ## Run the comparisons of docs/results.md that are missing, and write the page. Needs POTSTILL_TEST_DATA.
	@$(BIN)/python -m benchmarks.results

chaos: $(VENV)/.dev  ## Break it on purpose for as long as you like; resumable. CHAOS="--minutes 30" narrows it.
	@$(BIN)/python -m pytest -q tests/chaos/test_chaos_torchrun.py
	@$(BIN)/python tests/chaos/run.py $(CHAOS); found=$$?; $(BIN)/python tests/chaos/run.py --table && exit $$found

clean:  ## Remove .venv and caches.
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

.PHONY: help install demo demo-text serve test lint format docs fuzz bench bench-compare bench-gpu results chaos clean
