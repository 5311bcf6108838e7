#!/usr/bin/env bash
# Install Python packages on a node, for all users.
#
#   python.sh [PYTHON] [--PIP-OPTION=VALUE…] PACKAGE…
#
#   PYTHON    python3 (default), python3.11, or a path. On EMR 7 python3 is 3.9; 3.11 is available.
#   PACKAGE   a pip requirement: boto3, numpy==2.0.2, 'pandas>=2,<3'
#   options   passed to pip: --no-index --find-links=/mnt/wheels
#
# Installs only requirements that are not satisfied: a second run changes nothing and contacts no
# package index. Works as an EMR bootstrap action (Amazon Linux, passwordless sudo), over SSH on EC2
# instances, and on a node of the emulator, where the Python is a virtual environment.
# PYTHON_SH_PAUSE_S: seconds before the second and third download attempt (default 5).
set -euo pipefail

info() { echo "python.sh: $*"; }
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

# --- root -----------------------------------------------------------------------------------------

# Packages under ~/.local are invisible to other users, such as YARN's containers. With root access
# they do not count as installed (-s). `sudo -n` never prompts for a password.
root=()
isolated=()
if [[ $EUID -eq 0 ]]; then
  isolated=(-s)
elif sudo -n true 2>/dev/null; then
  root=(sudo -n)
  isolated=(-s)
fi

as_root() { ${root[@]+"${root[@]}"} "$@"; }

from_distribution() { # PACKAGE…: with the distribution's package manager, if there is one
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
  info "installing $python"
  from_distribution "${python##*/}" || die "cannot install $python: neither dnf nor yum provides it"
fi
python=$(command -v "$python") # sudo may have another PATH

if ! "$python" -m pip --version >/dev/null 2>&1; then
  info "installing pip for $python"
  as_root "$python" -m ensurepip --upgrade >/dev/null 2>&1 \
    || "$python" -m ensurepip --upgrade >/dev/null 2>&1 \
    || from_distribution "${python##*/}-pip" \
    || die "cannot install pip for $python: neither ensurepip nor the distribution provides it"
fi

# --- installed packages ---------------------------------------------------------------------------

# Prints one line per requirement: name and version, or the problem. Exits with 1 if a package is
# missing, has another version, or cannot be imported. A file or URL counts as missing until pip has
# installed it.
installed=0
check() { # PYTHON-OPTION… -- PACKAGE…
  local flags=()
  while [[ $1 != -- ]]; do
    flags+=("$1")
    shift
  done
  shift
  "$python" ${flags[@]+"${flags[@]}"} - "$installed" "$@" <<'PYTHON'
import importlib
import sys
from importlib import metadata

try:
    from packaging.requirements import InvalidRequirement, Requirement
except ImportError:
    from pip._vendor.packaging.requirements import InvalidRequirement, Requirement


def first_module(distribution):
    """Return the first public package or module of a distribution."""
    listed = (distribution.read_text("top_level.txt") or "").split()
    files = [str(file).split("/") for file in distribution.files or []]
    packages = [parts[0] for parts in files if parts[1:] == ["__init__.py"]]
    modules = [parts[0][:-3] for parts in files if len(parts) == 1 and parts[0].endswith(".py")]
    names = [name for name in listed + packages + modules if not name.startswith("_")]
    return next(iter(names), None)


def find_problem(requirement):
    """Return why a requirement is not satisfied; None if it is."""
    try:
        distribution = metadata.distribution(requirement.name)
    except metadata.PackageNotFoundError:
        return "not installed"
    if not requirement.specifier.contains(distribution.version, prereleases=True):
        return "is " + distribution.version
    module = first_module(distribution)
    try:
        if module:
            importlib.import_module(module)
    except Exception as error:
        return "cannot be imported: %s: %s" % (type(error).__name__, error)
    return None


bad = False
installed = sys.argv[1] == "1"
for text in sys.argv[2:]:
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        print(text + ": a file or URL, left to pip")
        bad = bad or not installed
        continue
    if requirement.marker and not requirement.marker.evaluate():
        continue
    problem = find_problem(requirement)
    bad = bad or problem is not None
    print("%s: %s" % (text, problem) if problem else
          "%s %s" % (requirement.name, metadata.version(requirement.name)))
sys.exit(bad)
PYTHON
}

# --- install --------------------------------------------------------------------------------------

log=$(mktemp)
trap 'rm -f "$log"' EXIT

pip_install() { # PYTHON…: three attempts, because of transient network errors
  local attempt pause=${PYTHON_SH_PAUSE_S:-5}
  for attempt in 1 2 3; do
    if "$@" -m pip install --no-cache-dir --disable-pip-version-check ${extra[@]+"${extra[@]}"} \
      ${options[@]+"${options[@]}"} "${packages[@]}" 2>&1 | tee "$log"; then
      installed=1
      return
    fi
    if grep -q "Cannot uninstall" "$log"; then
      extra+=(--ignore-installed) # the distribution's package: install a second copy
    elif [[ $attempt -lt 3 ]]; then
      sleep "$((pause * attempt))"
    fi
  done
  return 1
}

info "$python: $("$python" --version 2>&1) as $(id -un)"
if check ${isolated[@]+"${isolated[@]}"} -- "${packages[@]}"; then
  info "all requirements are satisfied"
  exit 0
fi

extra=()
if pip_install ${root[@]+"${root[@]}"} "$python"; then
  check ${isolated[@]+"${isolated[@]}"} -- "${packages[@]}" && exit 0
fi
# Last resort: for this user only, which suffices if it runs all steps, as in the emulator.
info "cannot install for all users; installing for $(id -un)"
extra=(--user)
pip_install "$python" || die "pip failed to install: ${packages[*]}"
check -- "${packages[@]}" || die "installed, but cannot be imported: ${packages[*]}"
