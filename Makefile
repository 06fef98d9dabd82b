# The commands of the project. `make setup` first, or let the others call it.
.DEFAULT_GOAL := help
.PHONY: help setup train test lint format lock clean

# Python 3.11 is the last one that MXNet 1.9.1 runs on.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
JOB := local_test/opt_ml
UV_VERSION := 0.13.9

help:
	@echo "make setup   make the environment in $(VENV) from the lock files"
	@echo "make train   draw a small data set and train on it, here"
	@echo "make test    run the tests that need no Docker"
	@echo "make lint    check style and types"
	@echo "make format  write the style"
	@echo "make lock    resolve the lock files again (after a change of the dependencies in pyproject.toml)"
	@echo "make clean   remove the environment and what make train left"

setup: $(VENV)/.complete

$(VENV)/.complete: requirements-build.lock requirements-dev.lock pyproject.toml
	@test "$$(uname -sm)" = "Linux x86_64" || { echo "MXNet 1.9.1 has wheels for Linux on x86-64 only"; exit 1; }
	@missing=$$(sh .ci/needs.sh "$(PYTHON)"); test -z "$$missing" || { \
	    echo "This machine lacks what the setup needs. On Debian 12:"; \
	    echo "    sudo apt-get install -y --no-install-recommends $$missing"; exit 1; }
	rm -rf $(VENV)
	"$(PYTHON)" -m venv $(VENV)
	$(VENV)/bin/pip install -q --disable-pip-version-check --no-deps --require-hashes -r requirements-build.lock
	$(VENV)/bin/pip install -q --no-deps --no-build-isolation --require-hashes -r requirements-dev.lock
	$(VENV)/bin/pip install -q --no-deps --no-build-isolation --no-index -e .
	$(VENV)/bin/python -c "import mxnet, gluoncv; print('mxnet', mxnet.__version__, 'gluoncv', gluoncv.__version__)"
	touch $@

train: setup
	$(VENV)/bin/python local_test/draw_sample.py $(JOB)
	SAGEMAKER_BASE_DIR=$(CURDIR)/$(JOB) ./train

test: setup
	$(VENV)/bin/python -m pytest tests

lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: setup
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

# Locks hold no index addresses, so that any mirror serves; opencv-python is replaced (see pyproject.toml).
LOCK := uv pip compile --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate -q
lock:
	"$(PYTHON)" -m venv .venv-lock
	.venv-lock/bin/pip install -q uv==$(UV_VERSION)
	.venv-lock/bin/$(LOCK) pyproject.toml --extra cpu -o requirements.lock
	.venv-lock/bin/$(LOCK) pyproject.toml --extra cpu --extra dev -c requirements.lock -o requirements-dev.lock
	printf 'pip\nsetuptools<81\nwheel\n' | .venv-lock/bin/$(LOCK) - -c requirements.lock -o requirements-build.lock
	rm -rf .venv-lock

clean:
	rm -rf $(VENV) $(JOB)

