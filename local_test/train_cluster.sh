#!/bin/sh
# Trains in N containers that are the hosts algo-1 to algo-N of one network: train_cluster.sh N IMAGE [FOLDER]
#
# Data and hyperparameters are those of FOLDER/opt_ml/input, which is drawn when it is not there; FOLDER is this folder
# when it is not given. Several hosts train with dist_sync unless kv_store says otherwise. FOLDER/opt_ml_cluster/algo-1
# and so on become the hosts' /opt/ml; the folder for checkpoints, FOLDER/opt_ml/checkpoints where there is one, is
# the same for all, as on SageMaker. Ends with every host's exit code and failure, and with the first exit code that is
# not 0. DOCKER_OPTIONS: more options for `docker run`.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
usage() {
    echo "usage: train_cluster.sh N IMAGE [FOLDER]" >&2
    exit 64
}
[ $# -eq 2 ] || [ $# -eq 3 ] || usage
case $1 in '' | *[!0-9]* | 0*) usage ;; esac
count=$1
image=$2
folder=${3:-$here}
user=$(id -u):$(id -g)

mkdir -p "$folder/opt_ml" "$folder/opt_ml_cluster"
base=$(CDPATH='' cd -- "$folder/opt_ml" && pwd)
cluster=$(CDPATH='' cd -- "$folder/opt_ml_cluster" && pwd)
if [ ! -d "$base/input" ]; then
    docker run --rm --user "$user" --network none --volume "$base:/opt/ml" \
        --volume "$here/draw_sample.py:/draw_sample.py:ro" --entrypoint python3 "$image" /draw_sample.py /opt/ml
fi

hosts=$(seq "$count" | sed 's/^/algo-/')
# SageMaker lists the hosts in the order of their names: algo-10 before algo-2.
names=$(echo "$hosts" | LC_ALL=C sort | sed 's/.*/"&"/' | paste -sd, -)
run=sagemaker-ssd-$$

containers() {
    for host in $hosts; do echo "$run-$host"; done
}
clean_up() {
    # shellcheck disable=SC2046
    docker rm --force --volumes $(containers) >/dev/null 2>&1 || true
    docker network rm "$run" >/dev/null 2>&1 || true
}
stop() {
    trap '' INT TERM
    # shellcheck disable=SC2046
    docker stop $(containers) >/dev/null 2>&1 || true
    exit 130
}
trap clean_up EXIT
trap stop INT TERM

docker network create "$run" >/dev/null
checkpoints=
[ ! -d "$base/checkpoints" ] || checkpoints=$base/checkpoints:/opt/ml/checkpoints
# Hosts of an earlier run too, which would look like some of this one.
rm -rf "$cluster"/algo-*
for host in $hosts; do
    own=$cluster/$host
    mkdir -p "$own/input/config" "$own/input/data" "$own/model" "$own/output"
    cp "$base/input/config/hyperparameters.json" "$base/input/config/inputdataconfig.json" "$own/input/config/"
    if [ "$count" -gt 1 ] && grep -q '"[[:space:]]*:' "$own/input/config/hyperparameters.json" \
        && ! grep -q '"kv_store"' "$own/input/config/hyperparameters.json"; then
        sed -i '0,/{/s//{"kv_store": "dist_sync", /' "$own/input/config/hyperparameters.json"
    fi
    printf '{"current_host": "%s", "hosts": [%s], "network_interface_name": "eth0"}\n' "$host" "$names" \
        > "$own/input/config/resourceconfig.json"
    # shellcheck disable=SC2086
    docker run --detach --name "$run-$host" --hostname "$host" --network "$run" --network-alias "$host" --user "$user" \
        --volume "$own:/opt/ml" --volume "$base/input/data:/opt/ml/input/data:ro" \
        ${checkpoints:+--volume "$checkpoints"} ${DOCKER_OPTIONS:-} "$image" train >/dev/null
done
for host in $hosts; do
    docker logs --follow "$run-$host" 2>&1 | sed "s/^/$host | /" &
done
wait

result=0
for host in $hosts; do
    code=$(docker wait "$run-$host")
    echo "$host ended with exit code $code"
    if [ -f "$cluster/$host/output/failure" ]; then
        sed "s/^/$host failed: /" "$cluster/$host/output/failure"
        echo
    fi
    [ "$result" -ne 0 ] || result=$code
done
exit "$result"
