#!/bin/sh
# Installs pre-trained weights into ./weights for the image: fetch_weights.sh ENVIRONMENT WEIGHTS LABEL
# WEIGHTS is NETWORK or NETWORK=SOURCE ..., LABEL what the image will say about them. Run in /build.
set -eu
environment=$1
weights=$2
label=$3

mkdir weights
export SAGEMAKER_SSD_WEIGHTS=$PWD/weights
# The environment has no pip of its own.
export PYTHONPATH=$PWD/src:$PWD/tools/lib/python3.11/site-packages
# The list is to be split into words.
# shellcheck disable=SC2086
"$environment/bin/python" -m sagemaker_ssd.weights ensure $weights || {
    echo "A build takes no FILE: build the image without these weights, and add them as" >&2
    echo "docs/starting-weights.md#an-image-in-a-closed-network says." >&2
    exit 1
}
# shellcheck disable=SC2086
told=$("$environment/bin/python" -m sagemaker_ssd.weights label $weights)
if [ "$told" != "$label" ]; then
    echo "WEIGHTS is '$weights', so WEIGHTS_LABEL must be: $told" >&2
    exit 1
fi
