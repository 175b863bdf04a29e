# The commands of this project. Each makes and reuses .venv, so that a fresh machine needs Python 3.11 and make, nothing else.
PYTHON ?= python3
BIN = .venv/bin
MINUTES ?= 10
TORCH ?= torch==2.13.0
ARGS ?=

# The tests start hundreds of processes: where Python is told to keep no bytecode, each would compile all modules anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help run test quick fuzz fuzz-files verify bench bounds-report planted-report mutants lint format train test-training \
	hooks clean
.DEFAULT_GOAL := help

# This list.
help:
	@awk '/^# / {text = text substr($$0, 2); next} /^[a-z-]+:/ && text {sub(/:.*/, ""); sub(/[.] .*/, ".", text); \
		printf "make %-15s%s\n", $$0, text} {text = ""}' Makefile

# When you want text: a story by the bundled model. make run ARGS='MODEL -i "One day"' for another one: a GGUF file, a folder
# of Hugging Face, a checkpoint of llama2.c.
run: .venv/run
	$(BIN)/python -m llama2_fast $(ARGS)

# Before every commit: the tests; LLAMA2_PLANTED=all plants all bugs. make test ARGS='-k tokenizer' for some of them.
test: .venv/dev
	$(BIN)/python -m pytest $(ARGS)

# Between two edits: lint, types, and the tests that matter for what has changed since main, in under 90 seconds.
# ARGS='--base HEAD~3' for what has changed since then, ARGS=--all for all unit tests.
quick: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python tests/quick.py $(ARGS)

# When you look for bugs: the fuzz tests with new inputs each time, for MINUTES, on all cores.
# LLAMA2_FUZZ_DB=redis://HOST:PORT shares what is found with other machines; HYPOTHESIS_PROFILE=regress make test replays it.
fuzz: .venv/dev
	$(BIN)/python tests/fuzz/run.py --minutes $(MINUTES) $(ARGS)

# When you change what reads files: their readers, by coverage, for MINUTES. It needs Linux on x86-64, as atheris does.
fuzz-files: .venv/dev
	$(BIN)/python tests/fuzz/coverage.py --minutes $(MINUTES) $(ARGS)

# When you change tests: the table of docs/planted-bugs.md, which test catches which bug, after how many examples.
planted-report: .venv/dev
	$(BIN)/python tests/meta/report.py $(ARGS)

# When you doubt the tests of a module: small mistakes made by rule. ARGS='--module kernels.py'; hours for all of them.
mutants: .venv/dev
	$(BIN)/python tests/meta/mutate.py $(ARGS)

# When the machine is new, or numpy, or you doubt it: is what it computes right here? ARGS=MODEL for another model.
verify: .venv/run
	$(BIN)/python -m llama2_fast verify $(ARGS)

# When you change a bound, or wonder what one could hide: how near honest kernels come to it with the worst inputs known.
bounds-report: .venv/dev
	$(BIN)/python tests/fuzz/tightness.py $(ARGS)

# When you change what costs time: load time, rates and memory of the bundled model, or of ARGS='--shape stories110M'.
bench: .venv/dev
	$(BIN)/python -m llama2_fast bench $(ARGS)

# Before every commit: format, lint and types.
lint: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# After an edit: format, mend what ruff can mend by itself, and list files and planted bugs in docs/ as they are.
format: .venv/dev
	$(BIN)/python tests/design_tree.py
	$(BIN)/python tests/meta/listing.py
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Once, when you begin: let git run the linters before each commit, and look at its message. No network is needed then.
hooks: .venv/dev
	$(BIN)/python -m pip install --quiet pre-commit
	$(BIN)/pre-commit install --hook-type pre-commit --hook-type commit-msg

# When you want to make the bundled model anew, in training/build: under an hour on two cores, and it can be interrupted.
train: .venv/train
	cd training && ../$(BIN)/python -m stories --seed 1 --count 100000 --out build/corpus
	cd training && ../$(BIN)/python tokenizer.py build/corpus --out build
	cd training && ../$(BIN)/python train.py build/corpus --tokenizer build/tok1024.model --out build
	cd training && ../$(BIN)/python evaluate.py build/model.v2.bin build/corpus --texts 100 --stories 10 --temperature 0.5

# When you change training/: its tests and types, with PyTorch.
test-training: .venv/train
	cd training && ../$(BIN)/mypy && ../$(BIN)/python -m pytest

# When something about .venv is odd.
clean:
	rm -rf .venv

.venv/run: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[jit,models]'
	touch $@

.venv/train: .venv/dev
	$(BIN)/python -m pip install --quiet '$(TORCH)'
	$(BIN)/python -m pip install --quiet --editable '.[dev,train]'
	touch $@

.venv/dev: .venv/run
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@
