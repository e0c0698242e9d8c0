# Each target sets up what it needs, in .venv; a second run starts at once.

PYTHONS := python3.13 python3.12 python3.11 python3
BIN := .venv/bin

.DEFAULT_GOAL := test
.NOTPARALLEL:
.PHONY: test demo format lint fuzz kills bench clean

# What a change must pass.
test: .venv/dev lint
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# The main job from start to end, in the sandbox: no token, no network.
demo: .venv/runtime
	$(BIN)/useapi-mcp demo

format: .venv/dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# The property tests, with far more examples.
fuzz: .venv/dev
	$(BIN)/python -m pytest -p tests.hypothesis_profiles --hypothesis-profile=fuzz $(FUZZ)

# Rounds of processes killed at any moment: nothing may be submitted twice.
kills: .venv/dev
	$(BIN)/python -m tests.kills

bench: .venv/dev
	@for benchmark in benchmarks/*.py; do $(BIN)/python $$benchmark || exit 1; done

clean:
	rm -rf .venv build dist htmlcov .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A Python counts when it runs (a name alone may be a shim), is new enough and can make a venv.
.venv/made:
	@rm -rf .venv
	@for python in $(PYTHONS); do \
		if $$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			echo "Making .venv with $$($$python --version)"; \
			$$python -m venv .venv && touch $@ && exit 0; \
		fi; \
	done; \
	echo "Python 3.11 or newer, with its venv module, was not found (looked for: $(PYTHONS))." >&2; \
	exit 1

# A registry may fail for a moment: an install is tried three times.
define install
@for try in 1 2 3; do \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt $(1) && exit 0; \
	echo "The install failed, try $$try of 3." >&2; \
	sleep $$((try * 2)); \
done; exit 1
endef

.venv/runtime: .venv/made pyproject.toml constraints.txt
	$(call install,--editable .)
	@touch $@

# --group needs a newer pip than Python 3.11 brings.
.venv/dev: .venv/made pyproject.toml constraints.txt
	$(call install,--upgrade pip)
	$(call install,--editable . --group dev)
	@touch .venv/runtime $@
