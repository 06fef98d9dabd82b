#!/bin/sh
# Hosts a model in one container, the way SageMaker runs it: serve_local.sh IMAGE [FOLDER]
#
# FOLDER/opt_ml/model is the model, as train_local.sh leaves it there; FOLDER is this folder when it is not given. Ask
# it on PORT, 8080 when it is not set: curl --data-binary @photo.jpg http://localhost:8080/invocations
# DOCKER_OPTIONS holds more options for `docker run`, such as "--gpus all" or "--env SAGEMAKER_SSD_SCORE=0.4".
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
if [ $# -lt 1 ] || [ $# -gt 2 ]; then
    echo "usage: serve_local.sh IMAGE [FOLDER]" >&2
    exit 64
fi
image=$1
base=${2:-$here}/opt_ml
if [ ! -d "$base/model" ]; then
    echo "$base/model: there is no model; train one with train_local.sh, or unpack a model.tar.gz there" >&2
    exit 1
fi
base=$(CDPATH='' cd -- "$base" && pwd)
set -- --rm --user "$(id -u):$(id -g)" --publish "${PORT:-8080}:8080" --volume "$base/model:/opt/ml/model:ro"
if [ -t 0 ] && [ -t 1 ]; then
    set -- "$@" --interactive --tty
fi
# shellcheck disable=SC2086
exec docker run "$@" ${DOCKER_OPTIONS:-} "$image" serve
