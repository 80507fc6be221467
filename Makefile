# The environment is .venv; every target makes it when it is missing or out of date.

EVENTS ?=
QUEUE ?=
WORKERS ?= 8
PYTHON ?=
export PYTHON
PY := .venv/bin/python
CODE := notification queues workers examples tests
PIP := $(PY) -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help install run test lint servers bench soak clean

help: ## show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  make run EVENTS=path.ndjson QUEUE=url WORKERS=n"

install: .venv/.installed ## set up .venv with the project in it

run: .venv/.installed ## run the example shop over its events, or over EVENTS
	@$(PY) -m examples.replay $(if $(EVENTS),"$(EVENTS)") $(if $(QUEUE),--queue "$(QUEUE)") --workers $(WORKERS)

test: lint servers ## install what the tests need, lint, type-check, test
	$(PY) -m pytest -n 4 --dist worksteal -m "not soak"

lint: .venv/.installed-test ## ruff, mypy --strict, pyright
	$(PY) -m ruff check $(CODE)
	$(PY) -m ruff format --check $(CODE)
	$(PY) -m mypy --strict
	$(PY) -m pyright

servers: .venv/.installed-test
	@for script in .ci/redis .ci/kafka; do if [ -x $$script ]; then $$script; fi; done

bench: .venv/.installed-test ## throughput, latency, and the cost of each stage
	$(PY) -m tests.benchmarks throughput
	$(PY) -m tests.benchmarks latency
	$(PY) -m tests.benchmarks micro

soak: .venv/.installed-test servers ## the fault scenarios at full size; takes a while
	$(PY) -m pytest -m soak --timeout 7200

clean: ## remove .venv, caches and builds; run/, with its queue, stays
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The newest Python from 3.11 on. A stamp says which pyproject.toml was installed.
.venv/bin/python:
	@for python in "$$PYTHON" python3.14 python3.13 python3.12 python3.11 python3 python; do \
		command -v "$$python" >/dev/null 2>&1 || continue; \
		"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
		echo "setting up .venv with $$("$$python" --version)"; \
		"$$python" -m venv --clear .venv && exit 0; \
		rm -rf .venv; \
		echo "$$python can't make an environment; on Debian and Ubuntu: apt install $$(basename "$$python")-venv" >&2; \
	done; \
	echo "Python 3.11 or later is needed; install it, or say where it is: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; \
	exit 1

.venv/.installed: pyproject.toml | .venv/bin/python
	@echo "installing the project"
	@$(PIP) --editable .
	@touch $@

.venv/.installed-test: pyproject.toml | .venv/bin/python
	@echo "installing the project and what its tests need"
	@$(PIP) --editable '.[test]'
	@touch $@ .venv/.installed
