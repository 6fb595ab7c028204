#!/usr/bin/env bash
# Makes the environment (.venv) that every make target runs in, from the hashed lock. Nothing to do takes no time.
#
#   tools/bootstrap.sh                  make it, or bring it up to date
#   tools/bootstrap.sh --check          say whether this machine has what that needs; change nothing
#   tools/bootstrap.sh --find-python    print the Python 3.10 it would use
set -euo pipefail

# The lock alone decides what is installed, so what a user's settings add to it or redirect is left out.
unset CDPATH PYTHONHOME PYTHONPATH PIP_CONSTRAINT PIP_BUILD_CONSTRAINT PIP_USER PIP_TARGET PIP_PREFIX
unset UV_CONSTRAINT UV_BUILD_CONSTRAINT UV_OVERRIDE

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
cd -- "$root"
lock=requirements/tfx-1.16.txt
# The stamp holds "<fingerprint> <project folder>" when .venv is complete, "unfinished" while it is being changed.
stamp=.venv/.hexaface

say() { printf '%s\n' "$*"; }
refuse() { printf 'hexaface: %s\n' "$*" >&2 && exit 2; }
have() { command -v "$1" >/dev/null 2>&1; }

# --- What the machine has -------------------------------------------------------------------------------------------

# Prints the interpreter behind $1 if it is a Python 3.10 that can make the environment: it starts (a pyenv shim may
# not), has venv and pip (Debian packs them apart) and the C headers that pyfarmhash is built with. Behind an active
# .venv that is the one it was made with, as .venv itself may be about to go.
working_python() {
    "$1" -I -c '
import ensurepip, os, pathlib, sys, sysconfig, venv
if sys.version_info[:2] != (3, 10) or not pathlib.Path(sysconfig.get_path("include"), "Python.h").exists():
    sys.exit(1)
print(os.path.realpath(sys.executable))' 2>/dev/null
}

find_python() {
    local uv_pythons=${UV_PYTHON_INSTALL_DIR:-${XDG_DATA_HOME:-${HOME:-}/.local/share}/uv/python}
    local candidate
    while read -r candidate; do
        if [ -x "$candidate" ] && working_python "$candidate"; then return; fi
    done < <(
        type -aP python3.10 || true
        printf '%s\n' "${PYENV_ROOT:-${HOME:-}/.pyenv}"/versions/3.10*/bin/python3.10 | sort -rV
        printf '%s\n' "$uv_pythons"/cpython-3.10*/bin/python3.10 | sort -rV
        if have uv; then uv python find 3.10 2>/dev/null || true; fi
    )
    return 1
}

# The command that installs Python 3.10 here. Ubuntu 22.04 carries it even while its package lists are still empty.
python_install_command() {
    if grep -qs '^VERSION_CODENAME=jammy' /etc/os-release || apt-cache show python3.10 >/dev/null 2>&1; then
        say "$(apt_install python3.10 python3.10-venv python3.10-dev)"
    elif have pyenv; then
        say "pyenv install 3.10"
    elif have uv; then
        say "uv python install 3.10"
    elif have apt-get && ! have pipx; then
        say "$(apt_install pipx) && pipx run uv python install 3.10"
    else
        say "pipx run uv python install 3.10"
    fi
}

apt_install() {
    local sudo="sudo "
    if [ "$(id -u)" = 0 ]; then sudo=""; fi
    say "${sudo}apt-get update && ${sudo}apt-get install -y $*"
}

# Asked before anything is downloaded: each of these would otherwise fail minutes later, and less plainly.
check_machine() {
    local machine
    machine=$(uname -sm)
    if [ "$machine" != "Linux x86_64" ]; then
        refuse "TFX 1.16 has packages for Linux on x86_64 only and this is $machine; work in a linux/amd64 container"
    fi
    if ! have "${CXX:-g++}"; then
        local command="install gcc-c++ with this system's package manager"
        if have apt-get; then command=$(apt_install g++); fi
        refuse "a C++ compiler is needed (pyfarmhash is built from source); install it with: $command"
    fi
}

need_python() {
    find_python || refuse "no working Python 3.10 was found; install it with: $(python_install_command)"
}

# --- The environment ------------------------------------------------------------------------------------------------

# Everything the environment follows from. The list of rooms counts because an editable install maps each by name.
fingerprint() {
    {
        cat "$lock" setup.py tools/bootstrap.sh
        printf '%s\n' */__init__.py
        .venv/bin/python -ISc 'import sys; print(sys.version)'
    } | sha256sum | cut -d' ' -f1
}

ready() { [ -s "$stamp" ] && [ -x .venv/bin/python ] && [ "$(cat "$stamp")" = "$(fingerprint) $root" ]; }

# True if .venv only needs other packages: it is complete (or was made by hand), works, and stands where it was made.
reusable() {
    case $(cat "$stamp" 2>/dev/null || echo "by hand") in
    "by hand" | *" $root") working_python .venv/bin/python >/dev/null && .venv/bin/uv --version >/dev/null 2>&1 ;;
    *) return 1 ;;
    esac
}

step() {
    local what=$1 started=$SECONDS
    shift
    say "  $what ..."
    "$@" || { printf 'hexaface: that failed (see above). Run the same command again to start afresh.\n' >&2 && exit 1; }
    say "      $((SECONDS - started)) s"
}

# Removes all but the stamp, so that a folder that was half removed is still known as unfinished.
empty_venv() { find .venv/ -mindepth 1 ! -path .venv/.hexaface -delete; }

# uv and what builds the source packages, in the lock's versions and by its hashes.
install_uv() {
    awk '/^[^ ]/ { keep = /^(uv|setuptools|wheel|packaging)==/ } keep' "$lock" >.venv/first.txt
    .venv/bin/python -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r .venv/first.txt
}

make_environment() {
    local started=$SECONDS python
    check_machine
    # uv does not read pip's settings; these two decide whether it reaches a package index at all.
    if [ -z "${SSL_CERT_FILE:-}" ] && [ -n "${PIP_CERT:-}" ]; then export SSL_CERT_FILE=$PIP_CERT; fi
    if [ -z "${UV_DEFAULT_INDEX:-}" ] && [ -n "${PIP_INDEX_URL:-}" ]; then export UV_DEFAULT_INDEX=$PIP_INDEX_URL; fi

    if reusable; then
        say "Bringing the environment (.venv) up to date:"
        echo unfinished >"$stamp"
    else
        if ! find_python >/dev/null && have uv; then
            step "Python 3.10 is not here: uv fetches one" uv python install -q 3.10
        fi
        python=$(need_python)
        say "Making the environment (.venv) with $python:"
        local old
        old=$(find .venv/ -mindepth 1 -maxdepth 1 ! -name .hexaface 2>/dev/null || true)
        mkdir -p .venv
        echo unfinished >"$stamp"
        if [ -n "$old" ]; then step "Removing the old one" empty_venv; fi
        step "Creating an empty environment" "$python" -m venv .venv
        step "Installing uv, which installs the rest" install_uv
    fi
    # No build isolation: the source packages are built by the setuptools of the lock, not by whichever is newest today.
    step "Installing the packages of $lock (about 1 GB the first time: some minutes)" \
        .venv/bin/uv pip sync -q --python .venv/bin/python --require-hashes --no-build-isolation --compile-bytecode "$lock"
    step "Installing hexaface itself, editable" \
        .venv/bin/uv pip install -q --python .venv/bin/python --no-build-isolation --no-deps --reinstall -e .
    say "$(fingerprint) $root" >"$stamp"
    say "The environment is ready, after $((SECONDS - started)) s."
}

case ${1:-} in
--find-python) need_python ;;
--check)
    check_machine
    python=$(need_python)
    say "This machine has what the environment needs: $python, ${CXX:-g++}."
    if ready; then
        say "The environment is ready."
    else
        say "The environment is missing or out of date; tools/bootstrap.sh makes it."
    fi
    ;;
"")
    if ready; then exit 0; fi
    # The folder itself is the lock: one set-up at a time, released by the kernel however the set-up ends.
    exec 9<.
    if ! flock -n 9; then
        say "Another set-up is at work in this folder; waiting for it ..."
        flock 9
    fi
    if ! ready; then make_environment; fi
    ;;
*) refuse "unknown option $1; there are --check and --find-python" ;;
esac
