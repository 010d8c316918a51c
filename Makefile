# The two commands: `make demo` and `make test`. Python >= 3.11 and make are all that is needed.
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test clean

demo: .venv/installed
	$(BIN)/gradlab train lenet5

test: .venv/tested
	bash .ci/run

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(INSTALL) --editable .
	touch $@

.venv/tested: .venv/installed
	$(INSTALL) --editable '.[all,dev]'
	touch $@

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
