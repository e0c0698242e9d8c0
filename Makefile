# Each target sets up what it needs, in .venv; a second run starts at once.

PYTHONS := python3.13 python3.12 python3.11 python3 python
CONSTRAINTS := constraints.txt
IMAGE := useapi-mcp
PACKAGES :=
ANSWERS := 100000
STEPS := 200000
MINUTES := 20
ROUNDS := 100
PARALLEL := -n 4 --dist worksteal
BIN := .venv/$(if $(filter Windows_NT,$(OS)),Scripts,bin)

.DEFAULT_GOAL := test
.NOTPARALLEL:
.PHONY: test unit demo format lint fuzz offsets kills bench viewer bundle interop conformance packages image examples clean

# What a change must pass.
test: .venv/dev lint
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(PARALLEL)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# The tests alone: `make unit CONSTRAINTS=.ci/lowest.txt` runs them on the lowest versions.
unit: .venv/dev
	$(BIN)/python -m pytest $(PARALLEL)

# The main job from start to end, in the sandbox: no token, no network.
demo: .venv/runtime
	$(BIN)/useapi-mcp demo

format: .venv/dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/zizmor --offline --quiet .github
	$(BIN)/mypy

# Answers of the vendor, mutated; answers that are meant to hurt, with what they cost in memory; the
# property tests, with far more examples; and the money machine, for so many STEPS or MINUTES, with
# the seeds it takes (`SEED=7` begins with that one). About an hour.
fuzz: .venv/dev
	$(BIN)/python -m tests.stress.fuzz_money --steps $(STEPS) --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))
	$(BIN)/python -m tests.support.corpora
	$(BIN)/python -m tests.stress.fuzz_responses $(ANSWERS)
	$(BIN)/python -m tests.stress.hostile_bodies
	$(BIN)/python -m pytest -p tests.support.hypothesis_profiles --hypothesis-profile=fuzz $(FUZZ)

# The wire broken at every byte of a paid request and of its answer, in three ways.
offsets: .venv/dev
	$(BIN)/python -m tests.stress.test_byte_offsets

# Processes killed at any moment, ROUNDS of each way to die: nothing may be submitted twice.
kills: .venv/dev
	$(BIN)/python -m tests.stress.kills --rounds $(ROUNDS)

bench: .venv/dev
	@for benchmark in benchmarks/*.py; do $(BIN)/python $$benchmark || exit 1; done

# The page in the chat, in a real browser; `CASES=pointer` runs those with that word in their name.
viewer: .venv/runtime .viewer/made
	@chromium=$$($(find_chromium)) || { $(install_chromium); chromium=$$($(find_chromium)); } || exit 1; \
	CHROMIUM=$$chromium PYTHON=$(BIN)/python node tests/viewer/run.mjs $(CASES)

find_chromium := command -v "$${CHROMIUM:-chromium}" || command -v chromium-browser || command -v google-chrome
install_chromium := if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && apt-get install -y -qq chromium; \
	else \
		echo "No Chromium was found: install it, or set CHROMIUM to its path." >&2; exit 1; \
	fi

# The one-file install for desktop hosts, in build/; needs Node.js.
bundle: .venv/made
	$(BIN)/python mcpb/build.py

# Clients that others wrote, over stdio and HTTP; `CLIENT=TypeScript` runs those with that in their name.
interop: .venv/dev
	$(BIN)/python -m tests.interop $(CLIENT)

# The protocol's own suite, in both of its versions, and its tasks scenarios.
conformance: .venv/dev
	$(BIN)/python -m tests.conformance

# Every package is built, unpacked elsewhere and started; `PACKAGES=wheel` makes that one.
packages: .venv/dev
	$(BIN)/python -m tests.packaging.packages $(PACKAGES)

# README's code for agent frameworks runs, with a stand-in for the model.
examples: .venv/dev
	$(BIN)/python -m tests.packaging.readme_examples

# The container's image, which must become healthy; needs a container engine.
image:
	docker build --tag $(IMAGE) .
	@container=$$(docker run --detach --rm --env USEAPI_SANDBOX=true --env USEAPI_HTTP_TOKEN=a-try $(IMAGE)) || exit 1; \
	for try in $$(seq 60); do \
		state=$$(docker inspect --format '{{.State.Health.Status}}' $$container); \
		[ "$$state" = healthy ] && break; \
		sleep 1; \
	done; \
	docker logs $$container; \
	docker stop $$container; \
	echo "$(IMAGE) is $$state"; \
	[ "$$state" = healthy ]

clean:
	rm -rf .venv .interop .viewer build dist htmlcov .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
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
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS) $(1) && exit 0; \
	echo "The install failed, try $$try of 3." >&2; \
	sleep $$((try * 2)); \
done; exit 1
endef

.venv/runtime: .venv/made pyproject.toml $(CONSTRAINTS)
	$(call install,--editable .)
	@touch $@

.viewer/made: tests/viewer/package.json
	@command -v npm >/dev/null || { echo "Node.js 20 or newer, with npm, is needed." >&2; exit 1; }
	mkdir -p .viewer
	cp tests/viewer/package.json .viewer/
	npm install --prefix .viewer --no-audit --no-fund --no-package-lock --ignore-scripts --loglevel=error
	@touch $@

# --group needs a newer pip than Python 3.11 brings.
.venv/dev: .venv/made pyproject.toml $(CONSTRAINTS)
	$(call install,--upgrade pip)
	$(call install,--editable . --group dev)
	@touch .venv/runtime $@
