#!/usr/bin/env bash
# Terminate the cluster after its time to live, even if the machine that created it is gone.
#
#   ttl.sh SECONDS REGION [STACK]
#
# With STACK, on the primary of a cluster of EC2 instances: starts a daemon that terminates all
# instances with the stack's tag SECONDS after this script first ran there, whether or not they were
# stopped in between. With other SECONDS, the time counts from the same start. The node's role needs
# ec2:DescribeInstances, and ec2:TerminateInstances on the stack's instances.
#
# Without STACK, on the primary node of an EMR cluster: starts a timer that terminates the cluster
# after SECONDS. Does nothing on other nodes and where there is no EMR (the emulator). A second run
# keeps the first timer. The node's role needs elasticmapreduce:TerminateJobFlows on its cluster.
# `ttl_s` in emrctl.yaml adds it: emrctl/spec/emr.py to the bootstrap actions,
# emrctl/standalone/setup.py to the scripts of an EC2 primary.
#
# TTL_SH_INFO: EMR's folder of facts about the node (default /mnt/var/lib/info).
# TTL_SH_HOME: the folder of the timer's program (default /var/lib/emrctl).
# TTL_SH_PAUSE_S: seconds between attempts to terminate the cluster (default 60).
# EMRCTL_NODE: the folder of spark.sh, on EC2 instances (default ~/emrctl).
set -euo pipefail

info() { echo "ttl.sh: $*"; }
die() {
  echo "ttl.sh: error: $*" >&2
  exit 1
}

seconds=${1:-}
region=${2:-}
stack=${3:-}
[[ $seconds =~ ^[1-9][0-9]*$ && -n $region ]] || die "usage: ttl.sh SECONDS REGION [STACK]"
facts=${TTL_SH_INFO:-/mnt/var/lib/info}
home=${TTL_SH_HOME:-/var/lib/emrctl}
pause=${TTL_SH_PAUSE_S:-60}
unit=emrctl-ttl

# --- EC2 instances --------------------------------------------------------------------------------

if [[ -n $stack ]]; then
  here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
  node=${EMRCTL_NODE:-$HOME/emrctl}
  mkdir -p "$node/bin" "$node/ttl"
  [[ -s $node/ttl/began ]] || date +%s >"$node/ttl/began"
  python=python3
  # shellcheck disable=SC1091 # written by spark.sh
  [[ ! -r $node/spark.env ]] || python=$(. "$node/spark.env" && echo "$EMRCTL_PYTHON")
  cat >"$node/ttl/new" <<END
# Terminates the instances of $stack after their time to live. Written by emrctl's ttl.sh.
while true; do
  left=\$((\$(cat "$node/ttl/began") + $seconds - \$(date +%s)))
  if [[ \$left -le 0 ]]; then
    "$python" "$here/terminate.py" "$region" "$stack" || true
    left=$pause
  fi
  sleep "\$((left < 60 ? left : 60))"
done
END
  verb=start
  if ! cmp -s "$node/ttl/new" "$node/bin/ttl.sh"; then
    mv "$node/ttl/new" "$node/bin/ttl.sh"
    verb=restart
  fi
  bash "$here/daemon.sh" "$verb" ttl "$node/bin/ttl.sh"
  info "$stack will be terminated at $(date -u -d "@$(($(cat "$node/ttl/began") + seconds))" +%FT%TZ)"
  exit 0
fi

# --- EMR ------------------------------------------------------------------------------------------

if [[ ! -r $facts/instance.json || ! -r $facts/job-flow.json ]]; then
  info "not an EMR node: nothing to do"
  exit 0
fi
if ! grep -Eq '"isMaster" *: *true' "$facts/instance.json"; then
  info "not the primary node: nothing to do"
  exit 0
fi
cluster=$(grep -Eo '"jobFlowId" *: *"j-[A-Z0-9]+"' "$facts/job-flow.json" | grep -Eo 'j-[A-Z0-9]+' | head -n 1) \
  || die "no cluster id in $facts/job-flow.json"

root=()
[[ $EUID -eq 0 ]] || root=(sudo -n)
as_root() { ${root[@]+"${root[@]}"} "$@"; }

# --- the program that terminates it ---------------------------------------------------------------

as_root mkdir -p "$home"
program=$home/end-cluster.sh
as_root tee "$program" >/dev/null <<END
#!/usr/bin/env bash
# Terminates $cluster after its time to live. Written by emrctl's ttl.sh.
for attempt in 1 2 3 4 5 6 7 8 9 10; do
  aws emr terminate-clusters --region $region --cluster-ids $cluster && exit 0
  sleep $pause
done
exit 1
END
as_root chmod 755 "$program"

# --- the timer ------------------------------------------------------------------------------------

if command -v systemd-run >/dev/null && [[ -d /run/systemd/system || -n ${TTL_SH_SYSTEMD:-} ]]; then
  if as_root systemctl is-active --quiet "$unit.timer"; then
    info "$cluster already has a timer"
    exit 0
  fi
  as_root systemd-run --quiet --unit="$unit" --on-active="${seconds}s" "$program"
else
  # In its own session, so that it outlives the bootstrap action.
  setsid nohup bash -c "sleep $seconds; exec ${root[*]-} $program" >/dev/null 2>&1 </dev/null &
fi
info "$cluster will be terminated in $seconds s"
