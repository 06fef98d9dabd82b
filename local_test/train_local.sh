#!/bin/sh
# Trains in one container, the way SageMaker runs it: train_local.sh IMAGE [FOLDER]
#
# FOLDER/opt_ml is mounted as /opt/ml; FOLDER is this folder when it is not given. Where there is no FOLDER/opt_ml/input
# a small data set is drawn first. DOCKER_OPTIONS holds more options for `docker run`, such as "--gpus all".
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
if [ $# -lt 1 ] || [ $# -gt 2 ]; then
    echo "usage: train_local.sh IMAGE [FOLDER]" >&2
    exit 64
fi
image=$1
base=${2:-$here}/opt_ml

mkdir -p "$base/model" "$base/output"
base=$(CDPATH='' cd -- "$base" && pwd)
# What the container writes shall belong to the person who started it.
set -- --rm --user "$(id -u):$(id -g)" --volume "$base:/opt/ml"
if [ ! -d "$base/input" ]; then
    docker run "$@" --network none --volume "$here/draw_sample.py:/draw_sample.py:ro" --entrypoint python3 \
        "$image" /draw_sample.py /opt/ml
fi
if [ -t 0 ] && [ -t 1 ]; then
    set -- "$@" --interactive --tty
fi
# shellcheck disable=SC2086
exec docker run "$@" ${DOCKER_OPTIONS:-} "$image" train
