#!/bin/sh
# Reports what the native libraries of an environment lack, and fails when that is more than the NVIDIA driver:
# check_libraries.sh ENVIRONMENT. Then imports MXNet and GluonCV, with the driver's stand-in for GPUs.
set -eu
environment=$1
stand_in=$environment/lib/driver-stand-in
site=$environment/lib/python3.11/site-packages
expected=
if [ -e "$stand_in/libcuda.so.1" ]; then
    expected=libcuda.so.1
fi

# A wheel's own .libs folder is searched for the modules beside it, which are looked at here.
find "$site" -name '*.libs' -prune -o \( -name '*.so' -o -name '*.so.[0-9]*' \) -print | sort > /tmp/libraries
echo "native libraries: $(wc -l < /tmp/libraries)"
missing=$(while read -r library; do ldd "$library" 2>/dev/null; done < /tmp/libraries |
    sed -n 's/^\t\(.*\) => not found$/\1/p' | sort -u | xargs)
echo "libraries not found: ${missing:-none}"
if [ "$missing" != "$expected" ]; then
    echo "expected: ${expected:-none}"
    exit 1
fi

# With the driver's stand-in too, whose every function is one of the driver's, nothing may be left.
undefined() {
    ldd -r "$site/mxnet/libmxnet.so" 2>&1 | sed -n 's/^undefined symbol: \([^\t ]*\).*/\1/p' | sort -u | xargs
}
without=$(undefined)
echo "symbols that libmxnet.so does not find: ${without:-none}"
export LD_LIBRARY_PATH="$stand_in"
with=$(undefined)
echo "the same with the NVIDIA driver's functions: ${with:-none}"
test -z "$with"
"$environment/bin/python" -B -c "
import mxnet, gluoncv
print('mxnet', mxnet.__version__, 'gluoncv', gluoncv.__version__, 'GPUs', mxnet.context.num_gpus())"
rm /tmp/libraries
