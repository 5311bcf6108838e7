#!/usr/bin/env bash
# A cluster that ends by itself, wherever the laptop is that made it.
#
#   ttl.sh SECONDS REGION [STACK]
#
# With STACK, on the primary of a cluster of EC2 instances: a program is kept running that terminates
# every instance with that stack's tag once SECONDS have passed since this script first ran there,
# over stops and starts. Run with other SECONDS, it counts those from the same beginning. The node's
# role must be allowed ec2:DescribeInstances, and ec2:TerminateInstances on the stack's own.
#
# Else, on the primary node of an EMR cluster, a timer is started that terminates that cluster when
# SECONDS have passed; on every other node, and where there is no EMR (the emulator), nothing happens. Run
# twice, it keeps the first timer. The node's role must be allowed elasticmapreduce:TerminateJobFlows
# on its own cluster.
# TTL_SH_INFO: the folder of EMR's own account of the node (default /mnt/var/lib/info).
# TTL_SH_HOME: where the timer's program is put (default /var/lib/emrctl).
# TTL_SH_PAUSE_S: seconds between attempts to end the cluster (default 60).
# EMRCTL_NODE: where spark.sh left Spark, on EC2 instances (default ~/emrctl).
set -euo pipefail

say() { echo "ttl.sh: $*"; }
die() {
  echo "ttl.sh: error: $*" >&2
  exit 1
}

seconds=${1:-}
region=${2:-}
stack=${3:-}
[[ $seconds =~ ^[1-9][0-9]*$ && -n $region ]] || die "usage: ttl.sh SECONDS REGION [STACK]"
info=${TTL_SH_INFO:-/mnt/var/lib/info}
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
# Terminates the instances of $stack when their time is over. Written by emrctl's ttl.sh.
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
  say "$stack ends at $(date -u -d "@$(($(cat "$node/ttl/began") + seconds))" +%FT%TZ) at the latest"
  exit 0
fi

# --- EMR ------------------------------------------------------------------------------------------

if [[ ! -r $info/instance.json || ! -r $info/job-flow.json ]]; then
  say "no node of EMR here: nothing to end"
  exit 0
fi
if ! grep -Eq '"isMaster" *: *true' "$info/instance.json"; then
  say "not the primary: it keeps the time"
  exit 0
fi
cluster=$(grep -Eo '"jobFlowId" *: *"j-[A-Z0-9]+"' "$info/job-flow.json" | grep -Eo 'j-[A-Z0-9]+' | head -n 1) \
  || die "$info/job-flow.json names no cluster"

root=()
[[ $EUID -eq 0 ]] || root=(sudo -n)
as_root() { ${root[@]+"${root[@]}"} "$@"; }

# --- the program that ends it ---------------------------------------------------------------------

as_root mkdir -p "$home"
program=$home/end-cluster.sh
as_root tee "$program" >/dev/null <<END
#!/usr/bin/env bash
# Terminates $cluster: its time is over. Written by emrctl's ttl.sh.
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
    say "$cluster has its timer already"
    exit 0
  fi
  as_root systemd-run --quiet --unit="$unit" --on-active="${seconds}s" "$program"
else
  # Of a session of its own: it must outlive the bootstrap action.
  setsid nohup bash -c "sleep $seconds; exec ${root[*]-} $program" >/dev/null 2>&1 </dev/null &
fi
say "$cluster ends in $seconds s at the latest"
