#!/usr/bin/env bash
# Configure Spark standalone on a node, and keep its master or worker running.
#
#   standalone.sh ROLE --master=ADDRESS [--address=ADDRESS] [--cores=N] [--memory-mb=N]
#                 [--region=REGION] [--event-log=URI] [--spot] [--conf=KEY=VALUE…]
#
#   ROLE         primary (runs the master) or worker
#   --master     the primary's private address
#   --address    this node's private address (default: SPARK_LOCAL_IP, or the first of `hostname -I`)
#   --cores      cores of the worker (default: all)
#   --memory-mb  memory of the worker in MB (default: 90 %, leaving at least 1 GB)
#   --region     AWS region, for S3A and for programs (default: AWS_REGION)
#   --event-log  URI of the event logs, s3://…
#   --spot       decommission the worker when EC2 announces the interruption of the instance
#   --conf       further lines of spark-defaults.conf
#
# Needs spark.env, written by spark.sh, and the cluster's secret in the file `secret` with mode 600:
# without it nothing can connect to the cluster. A second run changes nothing; if an address or a
# setting differs, the daemon is restarted.
# Ports: master 7077 and 8080, worker 7078 and 8081, drivers 7100, 7200 and 4040, executors 7300; the
# following ports are used if a node has several of these.
# EMRCTL_NODE: the folder of the installation (default ~/emrctl).
set -euo pipefail

info() { echo "standalone.sh: $*"; }
die() {
  echo "standalone.sh: error: $*" >&2
  exit 1
}

# --- arguments ------------------------------------------------------------------------------------

usage="usage: standalone.sh primary|worker --master=ADDRESS [OPTION…]"
role=${1:-}
[[ $role == primary || $role == worker ]] || die "$usage"
shift
master=
address=${SPARK_LOCAL_IP:-}
cores=$(nproc)
memory=
region=${AWS_REGION:-}
events=
spot=
more=()
for argument in "$@"; do
  case $argument in
    --master=*) master=${argument#*=} ;;
    --address=*) address=${argument#*=} ;;
    --cores=*) cores=${argument#*=} ;;
    --memory-mb=*) memory=${argument#*=} ;;
    --region=*) region=${argument#*=} ;;
    --event-log=*) events=${argument#*=} ;;
    --spot) spot=1 ;;
    --conf=?*=*) more+=("${argument#--conf=}") ;;
    *) die "$usage" ;;
  esac
done
[[ -n $master ]] || die "$usage"
[[ -n $address ]] || address=$(hostname -I | awk '{ print $1 }')
if [[ -z $memory ]]; then # leave memory for the system and for Python processes
  memory=$(awk '/^MemTotal/ { m = $2 / 1024; k = m / 10; print int(m - (k > 1024 ? k : 1024)) }' /proc/meminfo)
fi

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
node=${EMRCTL_NODE:-$HOME/emrctl}
[[ -r $node/spark.env ]] || die "Spark is not installed: run spark.sh first"
[[ -s $node/secret ]] || die "the file $node/secret does not exist"
# shellcheck disable=SC1091 # written by spark.sh
. "$node/spark.env"
umask 077
mkdir -p "$node/conf" "$node/work" "$node/recovery" "$node/bin"

# --- configuration --------------------------------------------------------------------------------

# Exists until the daemon is restarted, even if this script is interrupted.
changed=$node/conf/changed
write_file() { # FILE: replace it with stdin if that differs
  cat >"$1.new"
  if cmp -s "$1.new" "$1"; then
    rm "$1.new"
  else
    touch "$changed"
    mv "$1.new" "$1"
  fi
}

s3a() {
  local filesystem=org.apache.hadoop.fs.s3a.S3AFileSystem scheme profiles
  for scheme in s3 s3n s3a; do echo "spark.hadoop.fs.$scheme.impl $filesystem"; done
  echo "spark.hadoop.fs.s3a.fast.upload.buffer bytebuffer"
  [[ -z $region ]] || echo "spark.hadoop.fs.s3a.endpoint.region $region"
  # By default S3A uses the instance profile and the region's endpoint.
  if [[ -n ${AWS_ENDPOINT_URL:-} ]]; then
    echo "spark.hadoop.fs.s3a.endpoint $AWS_ENDPOINT_URL"
    echo "spark.hadoop.fs.s3a.path.style.access true"
    [[ $AWS_ENDPOINT_URL == https* ]] || echo "spark.hadoop.fs.s3a.connection.ssl.enabled false"
  fi
  if [[ -n ${AWS_SHARED_CREDENTIALS_FILE:-} ]]; then
    profiles=com.amazonaws.auth.profile.ProfileCredentialsProvider
    [[ $EMRCTL_HADOOP == 3.3.* ]] || profiles=software.amazon.awssdk.auth.credentials.ProfileCredentialsProvider
    echo "spark.hadoop.fs.s3a.aws.credentials.provider $profiles"
  fi
}

defaults() {
  cat <<CONF
spark.master spark://$master:7077
spark.authenticate true
spark.authenticate.secret $(cat "$node/secret")
spark.driver.extraClassPath $node/jars/*
spark.executor.extraClassPath $node/jars/*
spark.driver.port 7100
spark.driver.blockManager.port 7200
spark.blockManager.port 7300
spark.port.maxRetries 64
spark.ui.killEnabled false
spark.decommission.enabled true
spark.storage.decommission.enabled true
spark.storage.decommission.rddBlocks.enabled true
spark.storage.decommission.shuffleBlocks.enabled true
spark.dynamicAllocation.shuffleTracking.enabled true
spark.hadoop.mapreduce.fileoutputcommitter.algorithm.version 2
spark.deploy.recoveryMode FILESYSTEM
spark.deploy.recoveryDirectory $node/recovery
spark.worker.cleanup.enabled true
CONF
  [[ -z $events ]] || printf 'spark.eventLog.enabled true\nspark.eventLog.dir %s\n' "$events"
  s3a
  if [[ -d $node/ui-filter ]]; then echo "spark.ui.filters emrctl.LocalUserFilter"; fi
  if [[ -n ${EMRCTL_JAVA_OPTIONS:-} ]]; then
    printf "spark.%s.extraJavaOptions $EMRCTL_JAVA_OPTIONS\n" driver executor
  fi
  if [[ ${#more[@]} -gt 0 ]]; then
    local line
    for line in "${more[@]}"; do echo "${line%%=*} ${line#*=}"; done
  fi
}

environment() { # for daemons, steps and logins: `. ~/emrctl/env.sh`
  local python
  python=$(dirname "$EMRCTL_PYTHON")
  cat <<ENV
export SPARK_HOME=$(printf %q "$SPARK_HOME") JAVA_HOME=$(printf %q "$JAVA_HOME")
export SPARK_CONF_DIR=$(printf %q "$node/conf") SPARK_LOG_DIR=$(printf %q "$node/log")
export SPARK_LOCAL_IP=$address SPARK_LOCAL_HOSTNAME=$address
export PYSPARK_PYTHON=python3 PYSPARK_DRIVER_PYTHON=python3
export SPARK_DAEMON_MEMORY=512m
# Small and quick to start: the daemons do little work.
export SPARK_DAEMON_JAVA_OPTS="-XX:+UseSerialGC -XX:TieredStopAtLevel=1"
# Without these, Java and Python do not decode arguments other than ASCII.
export LANG=C.UTF-8 LC_ALL=C.UTF-8
${region:+export AWS_REGION=$region AWS_DEFAULT_REGION=$region}
$([[ ! -d $node/ui-filter ]] || printf 'export SPARK_DIST_CLASSPATH=%q' "$node/ui-filter")
# PYSPARK_PYTHON is a name: its path may differ between nodes.
export PATH=$(printf %q "$python:$SPARK_HOME/bin:$JAVA_HOME/bin"):\$PATH
ENV
}

log4j() {
  cat <<'LOG'
rootLogger.level = info
rootLogger.appenderRef.stderr.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{yy/MM/dd HH:mm:ss} %p %c{1}: %m%n%ex
logger.jetty.name = org.sparkproject.jetty
logger.jetty.level = warn
logger.parquet.name = org.apache.parquet
logger.parquet.level = error
LOG
}

program() { # for daemon.sh
  local class=master options="--host $address --port 7077 --webui-port 8080"
  if [[ $role == worker ]]; then
    class=worker
    options="--host $address --port 7078 --webui-port 8081 --cores $cores --memory ${memory}m"
    options="$options --work-dir $(printf %q "$node/work") spark://$master:7077"
  fi
  echo ". $(printf %q "$node/env.sh")"
  if [[ $role == primary ]]; then
    # Keep the master's recovery data only for drivers that are still running. Entries of drivers
    # that are gone would block new drivers with the same address until they time out.
    printf 'bash %q running || rm -rf %q/*\n' "$node/bin/step" "$node/recovery"
  else
    # Wait for the master: a worker retries its registration only after ten seconds.
    echo "for _ in {1..300}; do (: </dev/tcp/$master/7077) 2>/dev/null && break; sleep 0.2; done"
  fi
  echo "exec spark-class org.apache.spark.deploy.$class.${class^} $options"
}

# On localhost every user of the machine can connect to the pages of master, workers and drivers.
if [[ -n ${EMRCTL_UI_FILTER:-} && ! -d $node/ui-filter ]]; then
  bash "$EMRCTL_UI_FILTER/compile.sh" "$SPARK_HOME" "$EMRCTL_UI_COMPILER" "$JAVA_HOME" "$node/ui-filter"
fi
defaults | write_file "$node/conf/spark-defaults.conf"
log4j | write_file "$node/conf/log4j2.properties"
environment | write_file "$node/env.sh"
daemon=master
[[ $role == primary ]] || daemon=worker
program | write_file "$node/bin/$daemon.sh"
if [[ $role == primary ]]; then
  for tool in step master; do
    printf '. %q && exec %q %q "$@"\n' "$node/env.sh" "$EMRCTL_PYTHON" "$here/$tool.py" >"$node/bin/$tool"
  done
fi

# --- daemon ---------------------------------------------------------------------------------------

if [[ ! -e $changed ]] && bash "$here/daemon.sh" status "$daemon"; then
  info "the $daemon is already running"
else
  bash "$here/daemon.sh" restart "$daemon" "$node/bin/$daemon.sh"
  rm -f "$changed"
  info "started the $daemon on $address"
fi

if [[ $role == worker && -n $spot ]]; then
  printf 'exec %q %q bash %q signal worker PWR\n' "$EMRCTL_PYTHON" "$here/spot.py" "$here/daemon.sh" \
    >"$node/bin/spot.sh"
  bash "$here/daemon.sh" start spot "$node/bin/spot.sh"
fi
