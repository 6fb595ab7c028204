# The entrance. Every target that needs the environment (.venv) makes it first; see tools/bootstrap.sh.
.DEFAULT_GOAL := help
.PHONY: help demo test test-slow lint format dashboard serve portal lock protos clean env

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

demo: env ## Run the pipelines on built-in sample data and say what came out
	.venv/bin/hexaface demo

# Two at a time, also where there are more cores: each process has TensorFlow and TFX in its memory.
test: env ## Run the tests (ARGS="-k word" chooses)
	.venv/bin/python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder $(ARGS)

test-slow: env ## Run the tests that take minutes or need the real data sets
	.venv/bin/python -m pytest -m "slow or realdata" $(ARGS)

lint: env ## Check style (ruff) and types (mypy)
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

format: env ## Put the code into the project's style
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

dashboard: env ## Open the MLflow dashboard of the runs
	.venv/bin/hexaface dashboard

serve: env ## Serve the pushed models (gRPC 8500, REST 8501)
	.venv/bin/hexaface serve

portal: env ## Open the web portal on the pushed models (port 8000)
	.venv/bin/hexaface portal

# Versions in the present locks are kept where the .in allows; ARGS=--upgrade takes the newest.
lock: env ## Make the locks again after a change in requirements/*.in
	for each in tfx-1.16 benchmarks; do \
		.venv/bin/uv pip compile -q --generate-hashes requirements/$$each.in -o requirements/$$each.txt \
			--no-emit-index-url --python-version 3.10 --python-platform x86_64-manylinux2014 \
			--no-header --no-annotate $(ARGS) || exit 1; \
	done

protos: ## Make serving/wire/wire_pb2.py again after a change in wire.proto (needs protoc 3.21)
	protoc --python_out=. serving/wire/wire.proto

clean: ## Remove what tests, lint and builds left (not .venv, runs or data)
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name .venv -prune -o -name .git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# Asked each time and answered from a stamp of contents: file times say little after a checkout.
env:
	@tools/bootstrap.sh
