# `make run` and `make test` need only python3 (3.11+) and make; the rest is for developers.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# $(NEW_ENOUGH) refuses a Python that cannot run it, before anything is made of it.
NEW_ENOUGH = $(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit( \
	"zart needs Python 3.11 or newer, and $(PYTHON) is %d.%d: make $(or $(MAKECMDGOALS),run) PYTHON=python3.11" \
	% sys.version_info[:2])'
# $(call venv,FOLDER) makes an environment of $(PYTHON), anew where that of another version is, or one
# that does not run: venv by itself keeps the other version for ever.
VERSION := -c 'import sys; print(sys.version_info[:2])'
venv = $(PYTHON) -m venv $$([ "$$($1/bin/python $(VERSION) 2> /dev/null)" = "$$($(PYTHON) $(VERSION))" ] \
	|| echo --clear) $1

# Built by the oldest tools whose output we accept: see docs/adr/0004-generated-code.md.
PROTO_VENV := build/proto-venv
PROTOS := $(wildcard protos/zart/v1/*.proto)

.PHONY: help run test test-under-load lint fmt types proto proto-publish proto-check lock lock-check sql sql-check check settings bench fuzz dist docs clean

help: ## show this
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

$(VENV)/.installed: requirements.lock pyproject.toml
	@$(NEW_ENOUGH)
	@echo "making $(VENV), once: it takes a minute or three"
	@$(call venv,$(VENV))
	@echo "installing what requirements.lock names: $$(grep -c == requirements.lock) packages, the longest part"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

run: $(VENV)/.installed ## start everything with example work; Ctrl-C stops it
	@exec $(BIN)/python -m examples.run

test: $(VENV)/.installed ## run the tests; ARGS='-k pause' some of them
	$(BIN)/python -m pytest -n 4 --dist worksteal $(ARGS)

test-under-load: $(VENV)/.installed ## run the tests three times beside six busy loops; ARGS='--times 1 -k pause' once, some of them
	$(BIN)/python tools/under_load.py $(ARGS)

# What callers were built with: no change of the protos may break them.
PUBLISHED := protos/published.binpb
lint: $(VENV)/.installed build/protos ## style, import rules, protos
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code protos
	$(BIN)/buf breaking --against $(PUBLISHED)

fmt: $(VENV)/.installed ## format code and protos, and mend what can be mended
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/buf format -w protos

types: $(VENV)/.installed ## mypy --strict
	$(BIN)/mypy

# The protos of google/api and google/rpc that ours import, from the package that has them.
GOOGLE_PROTOS := api/annotations api/http rpc/code rpc/status
build/protos: $(VENV)/.installed Makefile
	mkdir -p $@/google/api $@/google/rpc
	google="$$($(BIN)/python -c 'import google.rpc, os; print(os.path.dirname(next(iter(google.rpc.__path__))))')"; \
	for name in $(GOOGLE_PROTOS); do cp "$$google/$$name.proto" "$@/google/$$name.proto" || exit 1; done
	touch $@

$(PROTO_VENV)/.installed: requirements-proto.lock
	@$(NEW_ENOUGH)
	@$(call venv,$(PROTO_VENV))
	$(PROTO_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-proto.lock
	touch $@

OPENAPI := $(BIN)/buf build -o build/zart.binpb && $(BIN)/python tools/openapi.py build/zart.binpb

proto: $(PROTO_VENV)/.installed build/protos ## generate client/zart/v1 and the OpenAPI from protos/
	$(PROTO_VENV)/bin/python tools/generate.py client
	$(OPENAPI) client/zart/gateway/openapi.json

proto-publish: $(VENV)/.installed build/protos ## callers may rely on the protos as they are: compare with these from now on
	$(BIN)/buf build --path protos/zart --exclude-source-info -o $(PUBLISHED)

proto-check: $(PROTO_VENV)/.installed build/protos ## is the generated code up to date?
	rm -rf build/generated && mkdir -p build/generated
	$(PROTO_VENV)/bin/python tools/generate.py build/generated
	diff -r --exclude=__pycache__ build/generated/zart/v1 client/zart/v1
	$(OPENAPI) build/generated/openapi.json
	diff build/generated/openapi.json client/zart/gateway/openapi.json

sql: $(VENV)/.installed ## write the server's statements, as they are sent, into docs/sql
	$(BIN)/python tools/sql.py docs/sql

sql-check: $(VENV)/.installed ## are the statements in docs/sql those that are sent?
	$(BIN)/python tools/sql.py build/sql
	diff -r build/sql docs/sql

settings: $(VENV)/.installed ## write docs/settings.md from what is read
	$(BIN)/python tools/settings.py docs/settings.md

lock: $(VENV)/.installed ## choose versions anew
	$(BIN)/python tools/lock.py --upgrade

lock-check: $(VENV)/.installed ## do the lock files fit pyproject.toml?
	$(BIN)/python tools/lock.py --check

# The peers of the benchmark, and what draws its plots. Without npm there is no Restate beside them,
# without cargo no Zart itself.
PEERS := build/bench-peers
$(PEERS)/.installed: bench/peers/requirements.lock bench/peers/package.json $(wildcard bench/peers/zart/* bench/peers/zart/src/*)
	@$(NEW_ENOUGH)
	@$(call venv,$(PEERS))
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r bench/peers/requirements.lock
	mkdir -p build/bench-restate && cp bench/peers/package.json build/bench-restate/
	cd build/bench-restate && { command -v npm > /dev/null || { echo 'no npm: no Restate'; exit 0; }; \
		npm install --no-package-lock --no-audit --no-fund --ignore-scripts; }
	mkdir -p build/bench-zart && cp -R bench/peers/zart/Cargo.toml bench/peers/zart/src build/bench-zart/
	cd build/bench-zart && { command -v cargo > /dev/null || { echo 'no cargo: no Zart itself'; exit 0; }; \
		cargo build --quiet --release --target-dir .; }
	touch $@

bench: $(VENV)/.installed $(if $(findstring --quick,$(ARGS)),,$(PEERS)/.installed) ## measure; ARGS='--quick' only proves that it runs
	$(BIN)/python -m bench $(ARGS)

fuzz: $(VENV)/.installed ## send 100,000 random calls and 20,000 requests; ARGS='--seed 7' repeats a run
	PYTHONPATH=tests $(BIN)/python -m fuzzing $(ARGS)
	ZART_TEST_PHASES=coverage,fuzzing $(BIN)/python -m pytest -n 0 -q -o faulthandler_timeout=0 tests/gateway/test_openapi.py

dist: $(VENV)/.installed ## build wheel and sdist into dist/: the same bytes from the same commit
	rm -rf dist
	SOURCE_DATE_EPOCH="$$(git log -1 --format=%ct)" $(BIN)/hatchling build -d dist
	cd dist && sha256sum * | tee SHA256SUMS

# What builds the site, in an environment of its own.
DOCS := build/docs-venv
$(DOCS)/.installed: tools/docs/requirements.lock
	@$(NEW_ENOUGH)
	@$(call venv,$(DOCS))
	$(DOCS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	touch $@

docs: $(DOCS)/.installed ## build the site of the documents, the protos and the Python API into build/site
	$(DOCS)/bin/python tools/docs/assemble.py build/docs
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/python -m mkdocs build --quiet --config-file tools/docs/mkdocs.yml

check: lint types proto-check lock-check sql-check test docs ## everything that CI checks

clean: ## remove what was built, not the data
	rm -rf $(VENV) build dist
