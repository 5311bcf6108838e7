#!/usr/bin/env bash
# Python packages on a node, for every user of it.
#
#   python.sh [PYTHON] [--PIP-OPTION=VALUE…] PACKAGE…
#
#   PYTHON    python3 (default), python3.11, or a path. EMR 7 has 3.9 as python3, and 3.11 beside it.
#   PACKAGE   as pip has it: boto3, numpy==2.0.2, 'pandas>=2,<3'
#   options   go to pip as they are: --no-index --find-links=/mnt/wheels
#
# Installs what is not there in the wanted version, and only that: run twice, it changes nothing the
# second time and asks no index. Works as an EMR bootstrap action (Amazon Linux, passwordless sudo),
# over SSH on ec2, and on a node of the emulator, where the Python is a virtual environment.
# PYTHON_SH_PAUSE_S: seconds before the second and third attempt at a download (default 5).
set -euo pipefail

say() { echo "python.sh: $*"; }
die() {
  echo "python.sh: error: $*" >&2
  exit 1
}

# --- arguments ------------------------------------------------------------------------------------

python=python3
if [[ "${1:-}" =~ ^(.*/)?python[0-9.]*$ ]]; then
  python=$1
  shift
fi
options=()
packages=()
for argument in "$@"; do
  if [[ $argument == -* ]]; then options+=("$argument"); else packages+=("$argument"); fi
done
[[ ${#packages[@]} -gt 0 ]] || die "usage: python.sh [PYTHON] PACKAGE…"

# --- who may install ------------------------------------------------------------------------------

# Packages under ~/.local are invisible to other users, YARN's containers among them: where root can
# be had, they do not count as installed (-s). `sudo -n` never asks for a password.
root=()
isolated=()
if [[ $EUID -eq 0 ]]; then
  isolated=(-s)
elif sudo -n true 2>/dev/null; then
  root=(sudo -n)
  isolated=(-s)
fi

as_root() { ${root[@]+"${root[@]}"} "$@"; }

from_distribution() { # PACKAGE…: by the distribution's own package manager, where there is one
  local manager
  for manager in dnf yum; do
    if command -v "$manager" >/dev/null; then
      as_root "$manager" install -y -q "$@"
      return
    fi
  done
  return 1
}

# --- Python and pip -------------------------------------------------------------------------------

if ! command -v "$python" >/dev/null; then
  say "no $python here: installing it"
  from_distribution "${python##*/}" || die "no $python, and no dnf or yum that has it"
fi
python=$(command -v "$python") # sudo may search another PATH

if ! "$python" -m pip --version >/dev/null 2>&1; then
  say "no pip for $python: installing it"
  as_root "$python" -m ensurepip --upgrade >/dev/null 2>&1 \
    || "$python" -m ensurepip --upgrade >/dev/null 2>&1 \
    || from_distribution "${python##*/}-pip" \
    || die "no pip for $python: neither ensurepip nor the distribution has it"
fi

# --- what is there --------------------------------------------------------------------------------

# Prints one line for each package: its name and version, or what is wrong with it. Exit status 1
# when any is missing, in another version, or installed and not importable. What is no name (a
# file, an address) counts as missing before pip has run, and as there when pip has taken it.
taken=0
check() { # PYTHON-OPTION… -- PACKAGE…
  local flags=()
  while [[ $1 != -- ]]; do
    flags+=("$1")
    shift
  done
  shift
  "$python" ${flags[@]+"${flags[@]}"} - "$taken" "$@" <<'PYTHON'
import importlib
import sys
from importlib import metadata

try:
    from packaging.requirements import InvalidRequirement, Requirement
except ImportError:
    from pip._vendor.packaging.requirements import InvalidRequirement, Requirement


def module_of(found):
    """The first public package or module that a distribution brings."""
    listed = (found.read_text("top_level.txt") or "").split()
    files = [str(file).split("/") for file in found.files or []]
    packages = [parts[0] for parts in files if parts[1:] == ["__init__.py"]]
    modules = [parts[0][:-3] for parts in files if len(parts) == 1 and parts[0].endswith(".py")]
    names = [name for name in listed + packages + modules if not name.startswith("_")]
    return next(iter(names), None)


def problem(wanted):
    """What is wrong with one requirement; None when nothing is."""
    try:
        found = metadata.distribution(wanted.name)
    except metadata.PackageNotFoundError:
        return "not installed"
    if not wanted.specifier.contains(found.version, prereleases=True):
        return "is " + found.version
    module = module_of(found)
    try:
        if module:
            importlib.import_module(module)
    except Exception as error:
        return "cannot be imported: %s: %s" % (type(error).__name__, error)
    return None


bad = False
taken = sys.argv[1] == "1"
for text in sys.argv[2:]:
    try:
        wanted = Requirement(text)
    except InvalidRequirement:
        print(text + ": a file or address, left to pip")
        bad = bad or not taken
        continue
    if wanted.marker and not wanted.marker.evaluate():
        continue
    trouble = problem(wanted)
    bad = bad or trouble is not None
    print("%s: %s" % (text, trouble) if trouble else
          "%s %s" % (wanted.name, metadata.version(wanted.name)))
sys.exit(bad)
PYTHON
}

# --- install --------------------------------------------------------------------------------------

log=$(mktemp)
trap 'rm -f "$log"' EXIT

pip_install() { # PYTHON…: three attempts, as an index, or the way to it, may fail for a moment
  local attempt pause=${PYTHON_SH_PAUSE_S:-5}
  for attempt in 1 2 3; do
    if "$@" -m pip install --no-cache-dir --disable-pip-version-check ${extra[@]+"${extra[@]}"} \
      ${options[@]+"${options[@]}"} "${packages[@]}" 2>&1 | tee "$log"; then
      taken=1
      return
    fi
    if grep -q "Cannot uninstall" "$log"; then
      extra+=(--ignore-installed) # the distribution's own package: leave it, install beside it
    elif [[ $attempt -lt 3 ]]; then
      sleep "$((pause * attempt))"
    fi
  done
  return 1
}

say "$python: $("$python" --version 2>&1) as $(id -un)"
if check ${isolated[@]+"${isolated[@]}"} -- "${packages[@]}"; then
  say "all there already"
  exit 0
fi

extra=()
if pip_install ${root[@]+"${root[@]}"} "$python"; then
  check ${isolated[@]+"${isolated[@]}"} -- "${packages[@]}" && exit 0
fi
# Last resort: for this user alone. Enough where this user runs everything, as in the emulator.
say "not installed for all users: trying for $(id -un) alone"
extra=(--user)
pip_install "$python" || die "pip could not install: ${packages[*]}"
check -- "${packages[@]}" || die "installed, but not usable: ${packages[*]}"
