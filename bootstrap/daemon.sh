#!/usr/bin/env bash
# A program of a node that is kept running: by systemd where that runs, else by a loop of its own.
#
#   daemon.sh start NAME PROGRAM     PROGRAM (a bash script) runs, and again whenever it ends
#   daemon.sh restart NAME PROGRAM   the same, begun anew where it ran already
#   daemon.sh stop NAME              it has ended, with all that it started
#   daemon.sh status NAME            exit code 0 where it is kept running
#   daemon.sh signal NAME SIGNAL     the program itself has got the signal
#
# With systemd it is the unit emrctl-NAME, enabled: it comes back after a reboot, a stop and a start.
# EMRCTL_NODE: where logs and process ids are kept (default ~/emrctl).
# DAEMON_SH_UNITS: where units are put (default /etc/systemd/system, where systemd runs).
# DAEMON_SH_PAUSE_S: seconds before it is begun again (default 2).
set -euo pipefail

usage() {
  sed -n 's/^#   //p' "${BASH_SOURCE[0]}" >&2
  exit 1
}

verb=${1:-}
name=${2:-}
[[ -n $verb && $name =~ ^[a-z]+$ ]] || usage
node=${EMRCTL_NODE:-$HOME/emrctl}
log=$node/log/$name.log
own=$node/run/$name.pid
unit=emrctl-$name
self=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/$(basename "${BASH_SOURCE[0]}")
mkdir -p "$node/log" "$node/run"

systemd() { # an emulated node has none of its own, whatever the machine has
  [[ -n ${DAEMON_SH_UNITS:-} ]] || [[ -d /run/systemd/system && -z ${EMRCTL_NODE_ROOT:-} ]]
}
as_root() { if [[ $EUID -eq 0 ]]; then "$@"; else sudo -n "$@"; fi; }

# --- by systemd -----------------------------------------------------------------------------------

unit_file() { # PROGRAM
  cat <<UNIT
[Unit]
Description=emrctl: $name of Spark
After=network-online.target
Wants=network-online.target

[Service]
User=$(id -un)
ExecStart=/usr/bin/env bash $1
Restart=always
RestartSec=${DAEMON_SH_PAUSE_S:-2}
LimitNOFILE=65536
StandardOutput=append:$log
StandardError=append:$log

[Install]
WantedBy=multi-user.target
UNIT
}

with_systemd() {
  local place=${DAEMON_SH_UNITS:-/etc/systemd/system}/$unit.service
  case $verb in
    start | restart)
      if [[ $(unit_file "$program") != "$(cat "$place" 2>/dev/null)" ]]; then
        unit_file "$program" | as_root tee "$place" >/dev/null
        as_root systemctl daemon-reload
        as_root systemctl enable --quiet "$unit"
      fi
      as_root systemctl "$verb" "$unit"
      ;;
    stop) as_root systemctl disable --quiet --now "$unit" ;;
    status) systemctl is-active --quiet "$unit" ;;
    signal) kill -s "$signal" "$(systemctl show --property=MainPID --value "$unit")" ;;
  esac
}

# --- by a loop ------------------------------------------------------------------------------------

kept() { # the loop's process id, where it runs: another process may have got its number since
  local pid
  pid=$(cat "$own" 2>/dev/null) && [[ -n $pid ]] \
    && { tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null | grep -qF "$self loop $name " && echo "$pid"
}

keep() { # PROGRAM: until TERM
  local child=
  trap 'kill -TERM "$child" 2>/dev/null; wait "$child" 2>/dev/null; exit 0' TERM
  while true; do
    bash "$1" &
    child=$!
    echo "$child" >"$node/run/$name.child"
    wait "$child" || true
    echo "daemon.sh: $name ended at $(date -u +%FT%TZ): beginning it again" >&2
    sleep "${DAEMON_SH_PAUSE_S:-2}" &
    child=$!
    wait "$child" || true
  done
}

lives() { # GROUP: whether any of its processes does; what nobody has waited for yet does not
  local file stat state group
  for file in /proc/[0-9]*/stat; do
    { read -r stat <"$file"; } 2>/dev/null || continue
    # After the name, in which there may be anything: state, parent, group.
    read -r state _ group _ <<<"${stat##*) }"
    [[ $group != "$1" || $state == Z ]] || return 0
  done
  return 1
}

end() {
  local pid
  pid=$(kept) || return 0
  kill -TERM -- "-$pid" 2>/dev/null || true # a script's own commands hear nothing of its end
  for _ in $(seq 100); do
    lives "$pid" || break
    sleep 0.1
  done
  kill -KILL -- "-$pid" 2>/dev/null || true
  rm -f "$own" "$node/run/$name.child"
}

with_loop() {
  case $verb in
    start | restart)
      if kept >/dev/null; then
        [[ $verb == restart ]] || return 0
        end
      fi
      # Of a session of its own, with none of the caller's files: it outlives the connection.
      setsid nohup bash "$self" loop "$name" "$program" >>"$log" 2>&1 </dev/null &
      echo "$!" >"$own"
      ;;
    stop) end ;;
    status) kept >/dev/null ;;
    signal) kill -s "$signal" "$(cat "$node/run/$name.child")" ;;
  esac
}

case $verb in
  start | restart) program=${3:?$(usage)} ;;
  signal) signal=${3:?$(usage)} ;;
  stop | status) ;;
  loop)
    echo $$ >"$own"
    keep "$3"
    ;;
  *) usage ;;
esac
if systemd; then with_systemd; else with_loop; fi
