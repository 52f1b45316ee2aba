# Needs Python 3.11 or newer and a package index; everything else comes from the lock file into .venv.
SHELL := /bin/sh
BIN := .venv/bin
export UV_PYTHON_DOWNLOADS := never
export UV_PROJECT_ENVIRONMENT := .venv

.PHONY: run test lint bench drill setup spark clean

run: setup
	$(BIN)/pertask demo .demo

test: setup spark lint
	$(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/sqlfluff lint --processes 2 models tests/sql

# Hours, 60 GB of disk. The dependency group is what pertask is compared with.
bench: setup
	uv=$$(command -v uv || echo $(BIN)/uv); \
	$$uv sync --quiet --locked --inexact --group bench --python $(BIN)/python && $(BIN)/python bench/run.py

drill: setup spark
	$(BIN)/python -m pytest -m drill

# Spark's tests need Java 17 or newer and the extra `spark`, of 450 MB; without Java they are skipped and say so.
spark: setup
	@set -e; \
	major=$$("$${JAVA_HOME:+$$JAVA_HOME/bin/}java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -1); \
	if [ "$${major:-0}" -lt 17 ]; then echo "no Java 17 or newer: Spark's tests will be skipped"; \
	elif [ ! -e .venv/.spark ] || [ uv.lock -nt .venv/.spark ]; then \
		uv=$$(command -v uv || echo $(BIN)/uv); \
		$$uv sync --quiet --locked --inexact --extra spark --compile-bytecode --python $(BIN)/python; \
		touch .venv/.spark; \
	fi

setup: .venv/.installed

# uv where it is present; otherwise it is brought into .venv. The stamp keeps a second call from installing again.
.venv/.installed: pyproject.toml uv.lock
	@set -e; \
	python=; \
	for name in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
		if $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$name; break; fi; \
	done; \
	if [ -z "$$python" ]; then echo "pertask needs Python 3.11 or newer; set PYTHON to it (make PYTHON=... )" >&2; exit 2; fi; \
	if [ ! -x $(BIN)/python ]; then $$python -m venv .venv; fi; \
	uv=$$(command -v uv || true); \
	if [ -z "$$uv" ]; then $(BIN)/python -m pip install --quiet --disable-pip-version-check uv; uv=$(BIN)/uv; fi; \
	$$uv sync --quiet --locked --inexact --compile-bytecode --python $(BIN)/python; \
	touch $@

clean:
	rm -rf .venv .demo target logs
