# Needs Python 3.11 or newer and make; everything else goes into .venv.
#   make            execute the notebooks, redraw the figures, set report/report.pdf
#   make FRESH=1    the same, with the runs of notebooks 01 to 05 trained again, but for grokking_slow,
#                   ablation_two_layers, the trials, and what 05 asks beyond the recipe ("How surely?",
#                   "Where else?"): two hours on two cores, by estimate
#   make html       the notebooks and an index as web pages in html/, which need no network
#   make test       lint, and all tests: some eleven minutes on two cores
#   make quick      what one runs while writing: all tests but the slow ones, in a minute or so
#   make lint       style, imports between the rooms of lib, types
#   make chaos      200 tiny runs on a Slurm of their own, under 100 kills (root, slurm-wlm, munge)
#   make bench      timings                  make clean   remove .venv, pages and caches
PYTHON ?= python3
BIN := .venv/bin
export OMP_NUM_THREADS := 1

report: notebooks
	$(BIN)/python -m lib.report

notebooks: .venv/installed
	$(if $(FRESH),$(BIN)/python -m lib.train all --fresh)
	$(BIN)/python -m lib.notebooks

html: .venv/installed
	$(BIN)/python -m lib.notebooks --html

test: .venv/installed-dev lint
	$(BIN)/python -m pytest --numprocesses 3 --dist loadgroup tests

quick: .venv/installed-dev
	$(BIN)/python -m pytest --numprocesses 2 --dist loadgroup -m "not slow" tests

lint: .venv/installed-dev
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --quiet --check .
	@told=$$($(BIN)/lint-imports --no-logo) || { echo "$$told"; exit 1; }
	$(BIN)/mypy

bench: .venv/installed
	$(BIN)/python -m bench.table
	$(BIN)/python -m bench.step
	$(BIN)/python -m bench.generate
	$(BIN)/python -m bench.language

chaos: .venv/installed-dev
	$(BIN)/python -m bench.chaos

.venv/installed: requirements.txt constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed, this is " + sys.version)'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements.txt --constraint constraints.txt
	touch $@

.venv/installed-dev: requirements-dev.txt .venv/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements-dev.txt --constraint constraints.txt
	touch $@

clean:
	rm -rf .venv html .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis $$(find . -name __pycache__ -not -path './.venv/*')

.PHONY: report notebooks html test quick lint bench chaos clean
