#!/usr/bin/env bash
# Trains in N processes on this machine.
#
#   launch/local.sh [--dry-run] N --config=CONFIG --workdir=DIR [--config.KEY=VALUE ...]
#
# Exits with 0 (done), 75 (interrupted; rerun the same command to resume), 3 (collapse), 2 (user error), or 137 if a process was killed.
# When one process fails, the others exit with 75, so the status of the failed process is reported.
set -euo pipefail
# shellcheck source=launch/common.sh
. "$(dirname "$0")/common.sh"

while shared_option "${1-}"; do shift; done
[[ ${1-} =~ ^[1-9][0-9]*$ ]] || die "how many processes? Such as: $0 2 --config=quickstart --workdir=runs/two"
processes=$1
shift
command -v "$python" >/dev/null || die "$python is missing; activate the environment of biggan_jax, or set PYTHON"
port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("localhost", 0)); print(s.getsockname()[1])')

pids=()
trap 'told=1; kill -TERM "${pids[@]}" 2>/dev/null || true' TERM INT
for ((i = 0; i < processes; i++)); do
  command=("$python" -m biggan_jax.main --multihost --coordinator="localhost:$port" --num_processes="$processes" --process_id="$i" --on_damage=fallback "$@")
  if [[ $dry_run ]]; then
    run "${command[@]}"
  else
    "${command[@]}" &
    pids+=($!)
  fi
done
[[ $dry_run ]] && exit
say "$processes processes; progress is in metrics.jsonl in the workdir; Ctrl-C, or kill $$, saves and exits with 75"

worst=0 again=0
for pid in "${pids[@]}"; do
  told=1
  while [[ $told ]]; do # A signal ends `wait` early, with the signal's status; wait again.
    told=''
    wait "$pid" && status=0 || status=$?
  done
  if ((status == 75 || status == 143)); then # 143: terminated before its signal handler was installed.
    again=75
  elif ((status > worst)); then
    worst=$status
  fi
done
((worst || !again)) || say 'interrupted; rerun the same command to resume'
exit "$((worst ? worst : again))"
