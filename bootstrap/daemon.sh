#!/usr/bin/env bash
# Keep a program of a node running: as a systemd unit, or in a loop if systemd is not running.
#
#   daemon.sh start NAME PROGRAM     run PROGRAM (a bash script), and again whenever it exits
#   daemon.sh restart NAME PROGRAM   the same, but stop it first if it is running
#   daemon.sh stop NAME              stop it and all processes that it started
#   daemon.sh status NAME            exit with 0 if it is kept running
#   daemon.sh signal NAME SIGNAL     send a signal to the program itself
#
# The systemd unit emrctl-NAME is enabled: it starts again after a reboot of the node.
# EMRCTL_NODE: the folder of logs and process ids (default ~/emrctl).
# DAEMON_SH_UNITS: the folder of units (default /etc/systemd/system, if systemd is running).
# DAEMON_SH_PAUSE_S: seconds before a restart (default 2).
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
pid_file=$node/run/$name.pid
unit=emrctl-$name
self=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/$(basename "${BASH_SOURCE[0]}")
mkdir -p "$node/log" "$node/run"

systemd() { # an emulated node has none, even if the machine has
  [[ -n ${DAEMON_SH_UNITS:-} ]] || [[ -d /run/systemd/system && -z ${EMRCTL_NODE_ROOT:-} ]]
}
as_root() { if [[ $EUID -eq 0 ]]; then "$@"; else sudo -n "$@"; fi; }

# --- with systemd ---------------------------------------------------------------------------------

unit_file() { # PROGRAM
  cat <<UNIT
[Unit]
Description=emrctl: Spark $name
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
  local file=${DAEMON_SH_UNITS:-/etc/systemd/system}/$unit.service
  case $verb in
    start | restart)
      if [[ $(unit_file "$program") != "$(cat "$file" 2>/dev/null)" ]]; then
        unit_file "$program" | as_root tee "$file" >/dev/null
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

# --- with a loop ----------------------------------------------------------------------------------

loop_pid() { # of the running loop; the file's number may belong to another process by now
  local pid
  pid=$(cat "$pid_file" 2>/dev/null) && [[ -n $pid ]] \
    && { tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null | grep -qF "$self loop $name " && echo "$pid"
}

run_loop() { # PROGRAM: until SIGTERM
  local child=
  trap 'kill -TERM "$child" 2>/dev/null; wait "$child" 2>/dev/null; exit 0' TERM
  while true; do
    bash "$1" &
    child=$!
    echo "$child" >"$node/run/$name.child"
    wait "$child" || true
    echo "daemon.sh: $name exited at $(date -u +%FT%TZ); restarting it" >&2
    sleep "${DAEMON_SH_PAUSE_S:-2}" &
    child=$!
    wait "$child" || true
  done
}

is_alive() { # GROUP: whether it has any process other than zombies
  local file stat state group
  for file in /proc/[0-9]*/stat; do
    { read -r stat <"$file"; } 2>/dev/null || continue
    # The fields after the name, which may contain anything, are: state, parent, group.
    read -r state _ group _ <<<"${stat##*) }"
    [[ $group != "$1" || $state == Z ]] || return 0
  done
  return 1
}

stop_loop() {
  local pid
  pid=$(loop_pid) || return 0
  kill -TERM -- "-$pid" 2>/dev/null || true # the group: a script does not forward the signal
  for _ in $(seq 100); do
    is_alive "$pid" || break
    sleep 0.1
  done
  kill -KILL -- "-$pid" 2>/dev/null || true
  rm -f "$pid_file" "$node/run/$name.child"
}

with_loop() {
  case $verb in
    start | restart)
      if loop_pid >/dev/null; then
        [[ $verb == restart ]] || return 0
        stop_loop
      fi
      # In its own session, without the caller's files, so that it outlives the connection.
      setsid nohup bash "$self" loop "$name" "$program" >>"$log" 2>&1 </dev/null &
      echo "$!" >"$pid_file"
      ;;
    stop) stop_loop ;;
    status) loop_pid >/dev/null ;;
    signal) kill -s "$signal" "$(cat "$node/run/$name.child")" ;;
  esac
}

case $verb in
  start | restart) program=${3:?$(usage)} ;;
  signal) signal=${3:?$(usage)} ;;
  stop | status) ;;
  loop)
    echo $$ >"$pid_file"
    run_loop "$3"
    ;;
  *) usage ;;
esac
if systemd; then with_systemd; else with_loop; fi
