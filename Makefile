# Hanatalk. Everything is set up inside the checkout (.venv) and under ~/.cache/hanatalk; nothing else is touched.

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2
RUST := rust/hanatalk-mls
export CARGO_TARGET_DIR ?= $(HOME)/.cache/hanatalk/target
export PATH := $(CURDIR)/$(BIN):$(HOME)/.cargo/bin:$(HOME)/.cache/hanatalk/cargo-deny/bin:$(PATH)
DENY := cargo-deny --locked --manifest-path $(RUST)/Cargo.toml --config rust/deny.toml
export PYTHONUTF8 := 1

.PHONY: help setup test lint rust-lint pytest demo bench fuzz soak sbom deny audit words threat-table lock clean

help:
	@echo "make setup         .venv with everything in it, hana included (quick when nothing changed)"
	@echo "make demo          two people, one relay, this machine: every claim shown (DEMO=\"--headless --json\" to script it)"
	@echo "make test          setup, lint and all tests"
	@echo "make lint          ruff, mypy, import contracts, rustfmt, clippy, catalogues"
	@echo "make fuzz          every parser, SECONDS=60 each (FUZZ=\"--target envelope\" for one; fuzz/README.md)"
	@echo "make bench         benchmarks, side by side with their peers"
	@echo "make soak          the long tests"
	@echo "make sbom          build/sbom.cdx.json: every locked package, its hashes and licence"
	@echo "make deny          licences and sources of the crates, by cargo-deny"
	@echo "make audit         known flaws, licences and sources of what is locked (needs the net)"
	@echo "make words         compile the sentence catalogues after editing a .po file"
	@echo "make threat-table  rewrite the 'where tested' column of spec/threat-model.md"
	@echo "make lock          resolve the locked requirements anew"
	@echo "make clean         remove .venv, caches and build results of this checkout"

setup:
	@scripts/setup

test: setup lint pytest

lint: setup rust-lint
	$(BIN)/python scripts/compile_catalogues.py
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy scripts/*.py
	$(BIN)/mypy -p fuzz
	$(BIN)/lint-imports
	$(BIN)/python scripts/check_catalogues.py
	$(BIN)/python scripts/threat_table.py --check

rust-lint:
	cargo fmt --manifest-path $(RUST)/Cargo.toml --check
	cargo clippy --manifest-path $(RUST)/Cargo.toml --locked --all-targets --quiet -- -D warnings

pytest:
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -m "not soak" $(PYTEST)

demo: setup
	@$(BIN)/hana demo $(DEMO)

bench: setup
	@if [ -e bench/__main__.py ]; then $(BIN)/python -m bench $(BENCH); else echo "no benchmarks yet (docs/roadmap.md)"; exit 1; fi

fuzz: setup
	@$(BIN)/python -m fuzz --seconds $(or $(SECONDS),60) $(FUZZ)

soak: setup
	$(BIN)/pytest -m soak --timeout 0 $(PYTEST)

words:
	$(BIN)/python scripts/compile_catalogues.py

threat-table:
	$(BIN)/python scripts/threat_table.py

# hanatalk-mls is ours and built from rust/, so it is resolved but not listed. No index is named: use your own pip settings.
LOCK := $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-package hanatalk-mls \
	--quiet --custom-compile-command "make lock"
lock:
	$(LOCK) --extra client --extra dev -o requirements.txt
	$(LOCK) -o requirements-relay.txt
	echo "pip-audit>=2.9" | $(subst pyproject.toml,-,$(LOCK)) -o requirements-audit.txt

sbom: setup
	@$(BIN)/python scripts/sbom.py

# Licences, sources and versions of the crates: what cargo-deny knows without its database of flaws (a test asks the same).
deny:
	@command -v cargo-deny >/dev/null || { \
		echo "cargo-deny is missing: cargo install --locked --root ~/.cache/hanatalk/cargo-deny cargo-deny"; exit 1; }
	$(DENY) check bans licenses sources

# Known flaws too. Both look them up in databases on the net, and fail if they cannot.
audit: setup deny
	@[ -x build/audit/bin/pip-audit ] || { $(BIN)/python -m venv build/audit && \
		build/audit/bin/pip install --quiet --require-hashes -r requirements-audit.txt; }
	build/audit/bin/pip-audit --strict --require-hashes --disable-pip -r requirements.txt
	$(DENY) check advisories

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist build tests/interop/node_modules
	find src tests scripts -name '__pycache__' -prune -exec rm -rf {} +
	rm -f src/hanatalk/words/*.mo
