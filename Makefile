# The commands of this project. Each makes and reuses .venv, so that a fresh machine needs Python 3.11 and make, nothing else.
PYTHON ?= python3
BIN = .venv/bin
MINUTES ?= 10
ARGS ?=

.PHONY: run test fuzz bench lint clean

# When you want text: a story by the bundled model. make run ARGS='MODEL -i "One day"' for another one.
run: .venv/run
	$(BIN)/python -m llama2_fast $(ARGS)

# Before every commit: all tests. make test ARGS='-k tokenizer' for some of them.
test: .venv/dev
	$(BIN)/python -m pytest $(ARGS)

# When you look for bugs: the fuzz tests with new inputs each time, for MINUTES.
fuzz: .venv/dev
	$(BIN)/python tests/fuzz/run.py --minutes $(MINUTES) $(ARGS)

# When you change what costs time: prompt and decode rate of both packages on models of several sizes.
bench: .venv/run
	$(BIN)/python tools/rates.py $(ARGS)

# Before every commit: format, lint and types.
lint: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# When something about .venv is odd.
clean:
	rm -rf .venv

.venv/run: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/dev: .venv/run
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@
