# Each target creates .venv from setup.cfg on first use; nothing else is needed but Python 3.11+.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUFF_RULES := E,F,W,I,B,UP,SIM,RUF,PIE,PT,C4,RET
RUFF := $(BIN)/ruff check --line-length 100 --target-version py311 --select $(RUFF_RULES) --ignore PT012 --per-file-ignores '__init__.pyi:I001'
PACKAGES := greenroom.actors greenroom.transport greenroom.storage

.PHONY: demo test chaos bench bench-ray bench-npm agents lint clean

$(VENV)/.run: setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "greenroom needs Python 3.11 or newer")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[cli]'
	touch $@

$(VENV)/.test: $(VENV)/.run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@

$(VENV)/.bench: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	touch $@

$(VENV)/.ray: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[ray]'
	touch $@

$(VENV)/.lint: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[lint]'
	touch $@

demo: $(VENV)/.run
	$(BIN)/python examples/demo.py

test: $(VENV)/.test
	$(BIN)/python -m pytest

chaos: $(VENV)/.test
	$(BIN)/python -m pytest -m chaos --timeout 3600

bench: $(VENV)/.bench
	$(BIN)/python -m pytest -m bench --timeout 3600 -s

bench-ray: $(VENV)/.ray
	$(BIN)/python -m pytest -m ray --timeout 3600 -s

bench-npm: $(VENV)/.test
	$(BIN)/python -m pytest -m bench_npm --timeout 3600 -s

agents: $(VENV)/.test
	$(BIN)/python -m pytest -m agents --timeout 3600

lint: $(VENV)/.lint
	$(RUFF) .
	rm -rf $(VENV)/wheel && $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(VENV)/wheel .
	cd $(VENV)/wheel && MYPYPATH=. ../bin/python -m mypy --config-file ../../setup.cfg $(addprefix -p ,$(PACKAGES))

clean:
	rm -rf $(VENV) build dist *.egg-info
