#!/usr/bin/env bash
# Trains in N processes on this machine.
#
#   launch/local.sh [--dry-run] N --config=CONFIG --workdir=DIR [--config.KEY=VALUE ...]
#
# Asks nothing: it rents nothing. Ends with 0 done, 75 run me again, 3 the run collapsed, 2 a mistake; 137 if one was killed: the
# others end with 75 then, and the same command goes on. Whichever fails, the 75 of the others only follows from it.
set -euo pipefail
# shellcheck source=launch/common.sh
. "$(dirname "$0")/common.sh"

while shared_option "${1-}"; do shift; done
[[ ${1-} =~ ^[1-9][0-9]*$ ]] || die "how many processes? Such as: $0 2 --config=quickstart --workdir=runs/two"
processes=$1
shift
command -v "$python" >/dev/null || die "there is no $python; activate the environment that biggan_jax is in, or set PYTHON"
port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("localhost", 0)); print(s.getsockname()[1])')

pids=()
trap 'told=1; kill -TERM "${pids[@]}" 2>/dev/null || true' TERM INT
for ((i = 0; i < processes; i++)); do
  command=("$python" -m biggan_jax.main --multihost --coordinator="localhost:$port" --num_processes="$processes" --process_id="$i" "$@")
  if [[ $dry_run ]]; then
    run "${command[@]}"
  else
    "${command[@]}" &
    pids+=($!)
  fi
done
[[ $dry_run ]] && exit
say "$processes processes; metrics.jsonl in the workdir grows as it trains; Ctrl-C, or kill $$, saves and ends it with 75"

worst=0 again=0
for pid in "${pids[@]}"; do
  told=1
  while [[ $told ]]; do # Waited for again when it was a signal that ended the wait, whose status is then the signal's.
    told=''
    wait "$pid" && status=0 || status=$?
  done
  if ((status == 75 || status == 143)); then # 143 is 75 of one that was told to end before it could listen.
    again=75
  elif ((status > worst)); then
    worst=$status
  fi
done
((worst || !again)) || say 'stopped before its end; the same command goes on'
exit "$((worst ? worst : again))"
