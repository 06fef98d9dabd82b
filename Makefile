# The commands of the project. `make setup` first, or let the others call it.
.DEFAULT_GOAL := help
.PHONY: help setup train test lint format lock clean image image-gpu test-long test-container test-image-gpu test-gpu test-check-gpu test-accuracy test-weights test-sdk test-serving test-faults bench bench-accuracy bench-torchvision

# Python 3.11 is the last one that MXNet 1.9.1 runs on. With -P, and PYTHONSAFEPATH=1 where it may be an older one, a file
# `json.py` in this folder is not taken for Python's own.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
JOB := local_test/opt_ml
# Options of local_test/draw_sample.py, for `make train`.
SAMPLE ?=
UV_VERSION := 0.13.9

# Weights to install, NETWORK or NETWORK=SOURCE ..., of several sources of a network the one to use first;
# `python -m sagemaker_ssd.weights list` names the sources. resnet-50's are on no package registry, so that a build
# does not ask for them by itself: it must not fail where their addresses cannot be reached.
WEIGHTS_BY_DEFAULT := vgg-16
WEIGHTS ?= $(WEIGHTS_BY_DEFAULT)
# Checksums and licences of other weights than those by default, whose label the Dockerfile has: so that a build needs no
# Python, which is often older. No label is a wrong WEIGHTS, which the image's build would find out at its end.
WEIGHTS_LABEL = $(or $(shell PYTHONSAFEPATH=1 PYTHONPATH=src "$(PYTHON)" -m sagemaker_ssd.weights label $(WEIGHTS)),$(error \
    WEIGHTS="$(WEIGHTS)" has no label, or what should find it, PYTHON=$(or $(PYTHON),(none)), is not Python 3.11 or newer))

DOCKER ?= docker
# More options for `docker build`, such as --cache-from or --build-arg BASE=...
BUILD_OPTIONS ?=
# The commit, marked where the files differ from it; nothing outside of a clone.
REVISION = $(shell GIT_OPTIONAL_LOCKS=0 git describe --always --dirty --abbrev=12 --exclude '*' 2>/dev/null)
RELEASE = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
# A local version in Python's sense, which allows no hyphens: 0.1.0+g1a2b3c4d5e6f.dirty
VERSION = $(RELEASE)+$(if $(REVISION),g$(subst -,.,$(REVISION)),unknown)
BUILD = $(DOCKER) build --build-arg VERSION=$(VERSION) --build-arg REVISION=$(or $(REVISION),unknown) \
    --build-arg WEIGHTS="$(WEIGHTS)" $(BUILD_OPTIONS) \
    $(if $(subst ;$(WEIGHTS_BY_DEFAULT);,,;$(strip $(WEIGHTS));),--build-arg WEIGHTS_LABEL="$(WEIGHTS_LABEL)")

help:
	@echo "make setup   make the environment in $(VENV) from the lock files, with weights (WEIGHTS=\"$(WEIGHTS)\")"
	@echo "make train   draw a small data set and train on it, here"
	@echo "make test    run the tests that need no Docker"
	@echo "make lint    check style and types"
	@echo "make format  write the style"
	@echo "make lock    resolve the lock files again (after a change of the dependencies in pyproject.toml)"
	@echo "make image   build the image sagemaker-ssd:cpu; make image-gpu: sagemaker-ssd:gpu"
	@echo "make test-long   run the tests that need minutes each: interrupted jobs, several hosts"
	@echo "make test-weights   compare the conversion of torchvision's SSD300 with torchvision, in 6 GB of its own"
	@echo "make test-container   build sagemaker-ssd:cpu and test it; make test-image-gpu: sagemaker-ssd:gpu"
	@echo "make test-check-gpu   run that program on two CPU devices; make test-accuracy: make bench-accuracy on a few images"
	@echo "make test-gpu   try this machine's NVIDIA GPUs with sagemaker-ssd:gpu, in ten minutes"
	@echo "make test-faults   kill jobs and hosts at every stage; they must go on, or end and say why"
	@echo "make test-sdk   train and host with sagemaker-ssd:cpu in the local mode of SageMaker's SDK, versions 2 and 3"
	@echo "make test-serving   load and good and bad requests on a server, for twenty minutes; SOAK=\"--minutes 2\": for two"
	@echo "make bench   speed and memory beside mx.mod.Module, GluonCV and PyTorch"
	@echo "make bench-accuracy DATA=folder   mAP by epoch beside the original recipe and GluonCV"
	@echo "make clean   remove the environment and what make train left"

setup: $(VENV)/.complete
	@$(VENV)/bin/python -P -m sagemaker_ssd.weights ensure $(WEIGHTS)

# Made anew where it is another folder's, which was copied or had another name, or where its Python is gone.
ifneq ($(wildcard $(VENV)/.complete),)
ifeq ($(shell test "$$($(VENV)/bin/python -P -c 'import sagemaker_ssd; print(sagemaker_ssd.__file__)' 2>/dev/null)" \
    -ef src/sagemaker_ssd/__init__.py && echo own),)
.PHONY: $(VENV)/.complete
endif
endif

$(VENV)/.complete: requirements-build.lock requirements-dev.lock pyproject.toml
	@test "$$(uname -sm)" = "Linux x86_64" || { echo "MXNet 1.9.1 has wheels for Linux on x86-64 only"; exit 1; }
	@missing=$$(sh .ci/needs.sh "$(PYTHON)"); test -z "$$missing" || { \
	    echo "This machine lacks what the setup needs. On Debian 12:"; \
	    echo "    sudo apt-get install -y --no-install-recommends $$missing"; exit 1; }
	rm -rf $(VENV)
	PYTHONSAFEPATH=1 "$(PYTHON)" -m venv $(VENV)
	$(VENV)/bin/pip install -q --disable-pip-version-check --no-deps --require-hashes -r requirements-build.lock
	$(VENV)/bin/pip install -q --no-deps --no-build-isolation --require-hashes -r requirements-dev.lock
	$(VENV)/bin/pip install -q --no-deps --no-build-isolation --no-index -e .
	$(VENV)/bin/python -P -c "import mxnet, gluoncv; print('mxnet', mxnet.__version__, 'gluoncv', gluoncv.__version__)"
	touch $@

train: setup
	$(VENV)/bin/python local_test/draw_sample.py "$(JOB)" $(SAMPLE)
	SAGEMAKER_BASE_DIR="$$(realpath "$(JOB)")" ./train

# Two at once; tests/conftest.py gives each its share of the cores. The tests of a file stay together: they share jobs.
PYTEST := $(VENV)/bin/python -P -m pytest -n 2 --dist loadfile --ignore tests/torchvision_weights \
    --ignore tests/container --ignore tests/image_gpu --ignore tests/sdk

test: setup
	$(PYTEST) tests -m "not long"

# What takes longer than `make test` may: whole jobs that are stopped, resumed or fed, and several hosts.
test-long: setup
	$(PYTEST) tests -m long --ignore tests/check_gpu --ignore tests/accuracy

# check-gpu on two CPU devices, whole and with every check broken once; ten minutes and more on two cores.
test-check-gpu: setup
	$(VENV)/bin/python -P -m pytest tests/check_gpu

# The comparison of accuracy, on a few drawn images in VOC form.
test-accuracy: setup
	$(VENV)/bin/python -P -m pytest tests/accuracy

# The conversion of torchvision's SSD300 beside torchvision itself, on random values.
test-weights: setup .venv-torchvision/.complete
	$(VENV)/bin/python -P -m pytest tests/torchvision_weights

# SOAK: options of the program, such as --minutes 2.
test-serving: setup
	$(VENV)/bin/python tests/soak/serving_soak.py $(SOAK)

# Takes half an hour on two cores with AVX512, more than an hour without.
test-faults: setup image
	$(VENV)/bin/python tests/faults/resume_every_epoch.py
	$(VENV)/bin/python tests/faults/kill_at_random.py --kills 50
	$(VENV)/bin/python tests/faults/repeated_starts.py
	$(VENV)/bin/python tests/faults/host_faults.py
	$(VENV)/bin/python tests/faults/container_faults.py

# Takes about an hour on two cores that do nothing else; PyTorch and gunicorn have environments of their own.
bench: setup .venv-torch/.complete .venv-gunicorn/.complete
	$(VENV)/bin/python tests/benchmarks/machine_peak.py
	$(VENV)/bin/python tests/benchmarks/training_step.py
	$(VENV)/bin/python tests/benchmarks/operator_profile.py
	$(VENV)/bin/python tests/benchmarks/input_pipeline.py
	$(VENV)/bin/python tests/benchmarks/reader_scale.py
	$(VENV)/bin/python tests/benchmarks/job_memory.py
	$(VENV)/bin/python tests/benchmarks/check_speed.py
	$(VENV)/bin/python tests/benchmarks/evaluation_speed.py
	OMP_NUM_THREADS=1 $(VENV)/bin/python tests/benchmarks/detections_of_all_classes.py
	$(VENV)/bin/python tests/benchmarks/epoch_speed.py
	$(VENV)/bin/python tests/benchmarks/whole_job.py
	$(VENV)/bin/python tests/benchmarks/report_cost.py
	$(VENV)/bin/python tests/benchmarks/serving_speed.py
	$(VENV)/bin/python tests/benchmarks/serving_speed.py --network vgg-16 --rounds 3
	$(VENV)/bin/python tests/benchmarks/several_models.py
	$(VENV)/bin/python tests/benchmarks/host_overhead.py
	$(VENV)/bin/python tests/benchmarks/host_overhead.py --rate 2gbit --rounds 2

# Hours on two cores: a run is ten minutes to an hour, and there are ten for each set. What is in tests/accuracy/results
# is not run again. DATA: a folder of sets in VOC form; ACCURACY: options of the program, such as --limit 50, or
# --voc my_set --results my_results --page my_results/page.md.
bench-accuracy: setup
	$(VENV)/bin/python tests/accuracy/bench_accuracy.py $(if $(DATA),--data "$(DATA)") --page docs/accuracy.md $(ACCURACY)

# The input compared with torchvision's, in an environment of 6 GB: torchvision's wheels bring CUDA.
bench-torchvision: setup .venv-torchvision/.complete
	$(VENV)/bin/python tests/benchmarks/input_pipeline.py

# 6 GB: torchvision's wheels bring CUDA.
.venv-torchvision/.complete:
	rm -rf .venv-torchvision
	"$(PYTHON)" -m venv .venv-torchvision
	.venv-torchvision/bin/pip install -q --disable-pip-version-check torch==2.14.1 torchvision==0.29.1
	touch $@

.venv-torch/.complete:
	rm -rf .venv-torch
	PYTHONSAFEPATH=1 "$(PYTHON)" -m venv .venv-torch
	.venv-torch/bin/pip install -q --disable-pip-version-check torch==2.13.0 "numpy<2"
	touch $@

# Its packages are used with those of $(VENV), which the detector needs.
.venv-gunicorn/.complete: tests/benchmarks/requirements-gunicorn.lock
	rm -rf .venv-gunicorn
	PYTHONSAFEPATH=1 "$(PYTHON)" -m venv .venv-gunicorn
	.venv-gunicorn/bin/pip install -q --disable-pip-version-check --no-deps --require-hashes -r $<
	touch $@

image:
	$(BUILD) --tag sagemaker-ssd:cpu .

image-gpu:
	$(BUILD) --build-arg MXNET=mxnet-cu112 --tag sagemaker-ssd:gpu .

test-container: setup image
	$(VENV)/bin/python -P -m pytest tests/container

test-image-gpu: setup image-gpu
	$(VENV)/bin/python -P -m pytest tests/image_gpu

# On a machine with NVIDIA GPUs and their container toolkit; takes ten minutes.
test-gpu: setup image-gpu
	$(DOCKER) run --rm --gpus all sagemaker-ssd:gpu check-gpu

# With SageMaker's SDK, versions 2 and 3, each in an environment of its own: .venv-sdk2, .venv-sdk3.
test-sdk: setup image
	$(VENV)/bin/python -P -m pytest tests/sdk

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
	PYTHONSAFEPATH=1 "$(PYTHON)" -m venv .venv-lock
	.venv-lock/bin/pip install -q uv==$(UV_VERSION)
	.venv-lock/bin/$(LOCK) pyproject.toml --extra cpu -o requirements.lock
	.venv-lock/bin/$(LOCK) pyproject.toml --extra gpu -c requirements.lock -o requirements-gpu.lock
	printf 'pip\nsetuptools<81\nwheel\n' | .venv-lock/bin/$(LOCK) - -c requirements.lock -o requirements-build.lock
	.venv-lock/bin/$(LOCK) pyproject.toml --extra cpu --extra dev -c requirements.lock -c requirements-build.lock -o requirements-dev.lock
	printf 'sagemaker[local]<3\n' | .venv-lock/bin/$(LOCK) - -o tests/sdk/requirements-v2.lock
	printf 'sagemaker-train\n' | .venv-lock/bin/$(LOCK) - -o tests/sdk/requirements-v3.lock
	printf 'flask\ngunicorn\n' | .venv-lock/bin/$(LOCK) - -o tests/benchmarks/requirements-gunicorn.lock
	rm -rf .venv-lock

clean:
	rm -rf $(VENV) .venv-sdk2 .venv-sdk3 .venv-torch .venv-torchvision .venv-gunicorn $(JOB) local_test/opt_ml_cluster

