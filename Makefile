# Thin on purpose: the checks themselves are in noxfile.py.

PYTHONS ?= python3 python3.13 python3.12 python3.11 python3.14 python3.15
SOURCES := pyproject.toml setup.py README.md $(shell find microbatch -type f -not -name '*.pyc')
NOX := .venv-nox/bin/nox

.PHONY: help demo test coverage sanitized lint types docs bench conformance clean

help:
	@echo "make demo    see it work: installs into .venv and runs the demonstration"
	@echo "make test    run the tests on each Python found, from 3.11 to 3.15"
	@echo "make coverage  run them on 3.11, 3.12 and 3.13, and see that they reach every line"
	@echo "make sanitized  attack the core with hostile code, under sanitizers, on 3.11, 3.13 and 3.14"
	@echo "make lint    check style, layers, changelog and packaging"
	@echo "make types   run mypy, pyright and stubtest"
	@echo "make docs    build the documentation and run its code"
	@echo "make bench   run the benchmarks on each Python found"
	@echo "make conformance  put failure probes to microbatch and its peers (needs a package index)"
	@echo "make clean   remove all that these made"

demo: .venv/.installed
	.venv/bin/microbatch demo

test: $(NOX)
	$(NOX) -s tests

coverage: $(NOX)
	$(NOX) --error-on-missing-interpreters -s measured coverage

sanitized lint types docs bench conformance: $(NOX)
	$(NOX) -s $@

clean:
	rm -rf .venv .venv-nox .nox .conformance build dist *.egg-info site .coverage .coverage.*
	rm -rf .benchmarks .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -exec rm -rf {} +

# The first suitable Python makes the environment; none is an error that says so.
define make_environment
@for python in $(PYTHONS); do \
	if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
		echo "$$python -m venv $(1)"; exec $$python -m venv --clear $(1); \
	fi; \
done; \
echo "microbatch needs Python 3.11 or newer; tried: $(PYTHONS)." >&2; \
echo "python3 is: $$(python3 --version 2>&1). Name another: make PYTHONS=/path/to/python" >&2; \
exit 1
endef

.venv/.installed: $(SOURCES)
	$(call make_environment,.venv)
	rm -rf build
	.venv/bin/python -m pip install --quiet '.[demo]'
	@touch $@

$(NOX): pyproject.toml
	$(call make_environment,.venv-nox)
	.venv-nox/bin/python -m pip install --quiet 'nox>=2025.5'
	@touch $@
