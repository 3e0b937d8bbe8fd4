# Needs Python 3.11 or newer and make; everything else is installed into .venv.
ROWS ?= 1000000
SEEDS ?= 2000
FROM ?= 0

# The processes that tests start read compiled modules: they take half a second less each.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo test simulate guarantees check format docs bench bench-many bench-peers clean

setup: .venv/.test

demo: .venv/.core
	.venv/bin/levada demo

test: .venv/.test check
	.venv/bin/python -m pytest -n 2 --dist loadgroup --durations=15

simulate: .venv/.test
	PYTHONPATH=tests .venv/bin/python -m simulation --seeds $(SEEDS) --from $(FROM) $(if $(filter command line,$(origin ROWS)),--rows $(ROWS))

# Every claim of docs/guarantees.md at its full size, and the figures put into the page: some hours on two cores. What is drawn
# is drawn more often by LEVADA_CUTS, LEVADA_PAIRS, LEVADA_POINTS and LEVADA_ROWS: see docs/internals.
guarantees: .venv/.test
	mkdir -p build && rm -f build/figures.jsonl
	LEVADA_FULL=1 LEVADA_FIGURES=$(CURDIR)/build/figures.jsonl .venv/bin/python -m pytest -n 2 -m claim
	PYTHONPATH=tests .venv/bin/python -m claims build/figures.jsonl docs/guarantees.md

check: .venv/.test
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

format: .venv/.test
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

docs: .venv/.test
	.venv/bin/python -m levada.cli.reference docs/reference/cli.md
	.venv/bin/python -m levada.cli.endings docs/reference/exit-codes.md
	.venv/bin/python -m levada.testing.reference docs/reference/conformance-kit.md

bench: .venv/.test
	.venv/bin/python benchmarks/bench.py --rows $(ROWS)

bench-many: .venv/.test
	.venv/bin/python benchmarks/many.py

bench-peers: .venv/.test
	.venv/bin/python benchmarks/peers.py --rows $(firstword $(ROWS))

.venv/.core .venv/.test: pyproject.toml uv.lock packaging/install.sh
	packaging/install.sh $(patsubst .venv/.%,%,$@)

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist demo
