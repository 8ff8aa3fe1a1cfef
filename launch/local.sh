#!/usr/bin/env bash
# Trains in N processes on this machine: launch/local.sh N --config=quickstart --workdir=DIR [--config.x=y ...]
# Ends with 0 done, 75 run me again, 2 a mistake; 137 if one was killed: the others end with 75 then, and the same command
# goes on. Whichever fails, the 75 of the others only follows from it.
set -euo pipefail

if [[ $# -lt 1 || ! $1 =~ ^[1-9][0-9]*$ ]]; then
  echo "usage: $0 N --config=CONFIG --workdir=DIR [--config.KEY=VALUE ...]" >&2
  exit 2
fi
processes=$1
shift
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("localhost", 0)); print(s.getsockname()[1])')

pids=()
trap 'kill -TERM "${pids[@]}" 2>/dev/null || true' TERM INT
for ((i = 0; i < processes; i++)); do
  "${PYTHON:-python}" -m biggan_jax.main --multihost --coordinator="localhost:$port" --num_processes="$processes" --process_id="$i" "$@" &
  pids+=($!)
done
worst=0
again=0
for pid in "${pids[@]}"; do
  # Waited for at least once, since the process may have ended before; and again when a trapped signal ended the wait.
  while :; do
    wait "$pid" && status=0 || status=$?
    kill -0 "$pid" 2>/dev/null || break
  done
  if ((status == 75)); then
    again=75
  elif ((status > worst)); then
    worst=$status
  fi
done
exit "$((worst ? worst : again))"
