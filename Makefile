# Each target sets up what it needs, in .venv; a second run starts at once.

PYTHONS := python3.14 python3.13 python3.12 python3.11 python3 python
CONSTRAINTS := constraints.txt
IMAGE := useapi-mcp
PARALLEL := -n 3 --dist worksteal
BIN := .venv/$(if $(filter Windows_NT,$(OS)),Scripts,bin)

# What a slow target is given: `make kills ROUNDS=25`, `make interop CLIENT=TypeScript`.
ROUNDS := 100
ROLLS := 1
STEPS := 200000
MINUTES := 20
SEED :=
ANSWERS := 100000
CLIENT :=
CASES :=
PACKAGES :=
SINCE :=
ONLY :=
NAMES :=
REPLICAS := 3
BY :=
DATABASE :=

# Bytecode is kept: else each worker, and each process a test starts, compiles everything again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help test check lint types unit format demo bench \
	offsets kills replicas callers rolling mutants money answers hostile properties fuzz \
	conformance interop oauth viewer packages examples bundle image clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "One test: $(BIN)/python -m pytest tests/jobs -k a_word_of_its_name"

test: check ## what a change must pass: check, then all tests with their coverage; minutes, fewest with Python 3.14
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(PARALLEL)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report $$($(BIN)/python -m tests.support.postgres)

check: lint types ## format, lint, imports, workflows and types; seconds

lint: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/zizmor --offline --quiet --persona=pedantic .github
	$(BIN)/tdqs lint --file tests/tools/tools.json --format text --fail-on warning

types: .venv/dev
	$(BIN)/mypy

# On the lowest versions: `make unit CONSTRAINTS=.ci/lowest.txt`.
unit: .venv/dev ## the tests alone, without coverage
	$(BIN)/python -m pytest $(PARALLEL)

format: .venv/dev ## put the format and the order of imports right
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

demo: .venv/runtime ## the main job from start to end, in the sandbox: no token, no network
	$(BIN)/useapi-mcp demo

# `NAMES="calls memory"`: only those.
bench: .venv/dev ## what the server costs, beside the bare SDK, curl and the disk: a table, some 10 minutes
	$(BIN)/python -m benchmarks $(NAMES)

offsets: .venv/dev ## the connection broken at every byte of a paid request and of its answer
	$(BIN)/python -m tests.stress.test_byte_offsets

# `DATABASE=postgres`: their journal is there.
kills: .venv/dev ## processes killed at any moment, ROUNDS of each of four ways: nothing is sent twice
	$(BIN)/python -m tests.stress.kills --rounds $(ROUNDS) $(if $(DATABASE),--database $(DATABASE))

# `MINUTES=5 REPLICAS=4 BY="pooler cuts failover"`.
replicas: .venv/dev ## servers on one PostgreSQL, killed at any moment, MINUTES of each way: nothing is sent twice
	$(BIN)/python -m tests.stress.replicas --minutes $(if $(filter command,$(origin MINUTES)),$(MINUTES),2) --replicas $(REPLICAS) \
		$(if $(BY),--by "$(BY)") $(if $(SEED),--seed $(SEED))

callers: .venv/dev ## callers that leave at any moment, over real sockets
	$(BIN)/python -m tests.stress.callers

# Each of three servers is restarted ROLLS times; `DATABASE=postgres`: their journal is there.
rolling: .venv/dev ## servers behind HAProxy restarted one after the other: no call fails; needs HAProxy
	@PATH="$$PATH:/usr/sbin" command -v haproxy >/dev/null || { $(call apt_install,haproxy,HAProxy was not found: install it.); }
	$(BIN)/python -m tests.stress.rolling --rounds $(ROLLS) $(if $(DATABASE),--database $(DATABASE))

# A package of Debian's, where it can be installed; else what to do instead.
apt_install = if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && apt-get install -y -qq $(1); \
	else \
		echo "$(2)" >&2; exit 1; \
	fi

# `SINCE=origin/main`: only what a change touches; `ONLY=jobs/submission.py:120`: one line.
mutants: .venv/dev ## the money code changed in one place at a time: which change no test notices
	$(BIN)/python -m tests.stress.mutants $(if $(filter command,$(origin MINUTES)),--minutes $(MINUTES)) $(if $(SINCE),--since $(SINCE)) \
		$(if $(ONLY),--only $(ONLY)) $(if $(SEED),--seed $(SEED)) $(if $(SECONDS_EACH),--seconds $(SECONDS_EACH))

# The seeds are printed; `SEED=7` begins with that one.
money: .venv/dev ## everything that can happen to a paid job at random, STEPS or MINUTES long
	$(BIN)/python -m tests.stress.fuzz_money --steps $(STEPS) --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

answers: .venv/dev ## so many ANSWERS of the vendor, mutated
	$(BIN)/python -m tests.support.corpora
	$(BIN)/python -m tests.stress.fuzz_responses $(ANSWERS)

hostile: .venv/dev ## answers of the vendor that are meant to harm, and the memory each takes
	$(BIN)/python -m tests.stress.hostile_bodies

properties: .venv/dev ## the property tests, with far more examples
	$(BIN)/python -m pytest -m hypothesis --hypothesis-profile=fuzz

fuzz: money answers hostile properties ## the last four, one after the other: about an hour

conformance: .venv/dev ## the protocol's own suite, in both of its versions, and its tasks scenarios
	$(BIN)/python -m tests.conformance

interop: .venv/dev ## clients that others wrote, over stdio and HTTP; CLIENT=word runs those it names
	$(BIN)/python -m tests.interop $(CLIENT)

oauth: .venv/dev ## a real OpenID provider, the official clients, and every token that must be refused
	$(BIN)/python -m tests.interop.oauth

viewer: .venv/runtime .viewer/made ## the page in the chat, in a real browser; CASES=word runs those it names
	@chromium=$$($(find_chromium)) || { $(call apt_install,chromium,$(no_chromium)); chromium=$$($(find_chromium)); } || exit 1; \
	CHROMIUM=$$chromium PYTHON=$(BIN)/python node tests/viewer/run.mjs $(CASES)

find_chromium := command -v "$${CHROMIUM:-chromium}" || command -v chromium-browser || command -v google-chrome
no_chromium := No Chromium was found: install it, or set CHROMIUM to its path.

bundle: .venv/made ## the one-file install for desktop hosts, in build/; needs Node.js
	$(BIN)/python mcpb/build.py

packages: .venv/dev ## each package is built, unpacked elsewhere and started; PACKAGES=wheel makes that one
	$(BIN)/python -m tests.packaging.packages $(PACKAGES)

examples: .venv/dev ## README's code for agent frameworks, with a stand-in for the model
	$(BIN)/python -m tests.packaging.readme_examples

image: ## the container's image, which must become healthy; needs a container engine
	docker build --tag $(IMAGE) .
	@container=$$(docker run --detach --rm --env USEAPI_SANDBOX=true --env USEAPI_HTTP_TOKEN=a-token-to-try-it $(IMAGE)) || exit 1; \
	for try in $$(seq 60); do \
		state=$$(docker inspect --format '{{.State.Health.Status}}' $$container); \
		[ "$$state" = healthy ] && break; \
		sleep 1; \
	done; \
	docker logs $$container; \
	docker stop $$container; \
	echo "$(IMAGE) is $$state"; \
	[ "$$state" = healthy ]

clean: ## delete what the other targets made
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
	@echo "Installing into .venv, with the versions in $(CONSTRAINTS): once, for a minute or so ..."
	$(call install,--editable .)
	@touch $@

.viewer/made: tests/viewer/package.json
	@command -v npm >/dev/null || { echo "Node.js 20 or newer, with npm, is needed." >&2; exit 1; }
	@echo "Installing the viewer's test tools into .viewer: once, for a minute or so ..."
	mkdir -p .viewer
	cp tests/viewer/package.json .viewer/
	npm install --prefix .viewer --no-audit --no-fund --no-package-lock --ignore-scripts --loglevel=error
	@touch $@

# --group needs a newer pip than Python 3.11 brings.
.venv/dev: .venv/made pyproject.toml $(CONSTRAINTS)
	@echo "Installing into .venv, with the versions in $(CONSTRAINTS): once, for a minute or so ..."
	$(call install,--upgrade pip)
	$(call install,--editable . --group dev)
	@touch .venv/runtime $@
