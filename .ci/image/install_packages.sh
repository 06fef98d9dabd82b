#!/bin/sh
# Installs the locked packages into a Python environment without pip: install_packages.sh MXNET ENVIRONMENT
# MXNET is mxnet or mxnet-cu112, which gets a stand-in for the NVIDIA driver, one that knows of no GPU, in
# ENVIRONMENT/lib/driver-stand-in. Run in /build, where it leaves cuda.conf, the path to CUDA's libraries, empty for
# CPUs.
set -eu
mxnet=$1
environment=$2
site=$environment/lib/python3.11/site-packages
stand_in=$environment/lib/driver-stand-in

case $mxnet in
    mxnet) lock=requirements.lock ;;
    mxnet-cu112) lock=requirements-gpu.lock ;;
    *) echo "MXNET is '$mxnet'; it must be mxnet or mxnet-cu112" >&2; exit 1 ;;
esac

python3.11 -m venv --without-pip "$environment"
rm "$environment"/bin/[Aa]ctivate*
tools/bin/pip install -q --no-cache-dir --no-compile --no-deps --no-build-isolation --require-hashes \
    --target "$site" -r "$lock"

# Console scripts, among them sagemaker-training's own `train`, and pip, which sagemaker-training asks for so that it
# can install what a user's script needs.
rm -rf "${site:?}/bin" "$site/pip" "$site"/pip-*.dist-info
# The packages' own tests: a tenth of the image.
find "$site" -type d -name tests -prune -exec rm -rf {} +

: > cuda.conf
if [ "$mxnet" = mxnet-cu112 ]; then
    ls -d "$site"/nvidia/*/lib > cuda.conf
    mkdir "$stand_in"
    # All that libmxnet.so takes from the driver; 100 is CUDA_ERROR_NO_DEVICE.
    for name in cuDeviceGet cuDevicePrimaryCtxRetain cuGetErrorString cuGraphKernelNodeGetParams cuGraphNodeGetType \
        cuLaunchKernel cuModuleGetFunction cuModuleLoadData cuModuleLoadDataEx cuModuleUnload; do
        echo "int $name(void) { return 100; }"
    done | gcc -shared -fPIC -x c - -Wl,-soname,libcuda.so.1 -s -o "$stand_in/libcuda.so.1"
    cp cuda.conf /etc/ld.so.conf.d/
    ldconfig
fi
# Bytecode of what a job imports, and of nothing else.
LD_LIBRARY_PATH="$stand_in" "$environment/bin/python" -c \
    "import mxnet, gluoncv, pydantic, tqdm.contrib.logging, sagemaker_training.environment"
