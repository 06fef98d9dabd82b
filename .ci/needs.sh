#!/bin/sh
# Prints what this machine lacks for `make setup`, as Debian package names on one line; nothing when all is there.
# Usage: needs.sh PYTHON
python=$1
missing=
# A file `json.py` in this folder must not be taken for Python's own.
PYTHONSAFEPATH=1
export PYTHONSAFEPATH
need() { missing="$missing $1"; }

if ! "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
    need python3.11-venv
    need python3.11-dev
else
    "$python" -c 'import ensurepip' 2>/dev/null || need python3.11-venv
    # sagemaker-training is published as source with a C extension.
    "$python" -c 'import pathlib, sysconfig, sys
sys.exit(not (pathlib.Path(sysconfig.get_path("include")) / "Python.h").exists())' || need python3.11-dev
fi
command -v cc >/dev/null 2>&1 || need gcc
[ -e /usr/include/stdlib.h ] || need libc6-dev
# Both are linked by MXNet's library and not part of its wheel.
libraries=$(PATH="$PATH:/sbin:/usr/sbin" ldconfig -p)
case $libraries in *libgomp.so.1*) ;; *) need libgomp1 ;; esac
case $libraries in *libquadmath.so.0*) ;; *) need libquadmath0 ;; esac
echo "$missing" | sed 's/^ //'
