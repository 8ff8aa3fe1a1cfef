#!/usr/bin/env bash
# Trains on the GPUs of a Slurm cluster, one process per GPU. Run it on a machine that has sbatch:
#
#   launch/slurm.sh --nodes=2 --gpus-per-node=8 --time=12:00:00 --partition=gpu -- \
#       --config=biggan_imagenet128 --workdir=/shared/run --config.data.dir=/shared/data
#
# prints the cost, asks for confirmation, and submits launch/slurm.sbatch. The job saves before the time limit and requeues itself until
# all steps are done. If a run in the same workdir is queued already, nothing is submitted.
#
# Before the --: --nodes, --gpus-per-node and --time, any other options of sbatch, and
#   --gpu=NAME            compile the step for that GPU first, and submit nothing if it does not fit, such as --gpu=a100-80;
#                         takes minutes on this machine, and PYTHON needs biggan-jax[plan-gpu]
#   --anyway              submit it although the model does not fit
#   --max-restarts=N      how often the job may requeue itself; default 100
#   --yes                 skip the confirmation                 --dry-run            print the command instead of running it
# After the --: options of biggan_jax.main, as --name=value. All nodes must see the workdir, the data, and this shell's Python.
set -euo pipefail
# shellcheck source=launch/common.sh
. "$(dirname "$0")/common.sh"

root=$(cd "$(dirname "$0")/.." && pwd)
nodes='' gpus='' gpu='' time='' workdir='' anyway=''
options=(--parsable) planned=() job=("$root/launch/slurm.sbatch")

main() {
  read_options "$@"
  limit=$(seconds "$time")
  ((limit >= 600)) || die "--time=$time is too short: a job saves five minutes before its end, and takes minutes to start; use 10 minutes or more"
  [[ $dry_run ]] || command -v sbatch >/dev/null || die 'sbatch is missing; run this where Slurm is installed, or use --dry-run to print the command'
  name=biggan_jax:$workdir
  [[ $dry_run ]] || leave_alone
  steps=$(steps)
  if [[ $gpu ]]; then
    check_fit "$gpu:${nodes}x$gpus" submitted submit
    say "$plan"
  fi
  agree "nodes x GPUs x time: $nodes x $gpus x $time, at most $((nodes * gpus * limit / 3600)) GPU-hours until the time limit," \
    "and as many again until its $steps steps are done; metrics.jsonl in the workdir shows the speed"
  submit=(sbatch "${options[@]}" --ntasks-per-node="$gpus" --job-name="$name" "${job[@]}" "${training[@]}")
  if [[ $dry_run ]]; then
    run "${submit[@]}"
  else
    number=$("${submit[@]}")
    say_how_to_watch "${number%%;*}"
  fi
}

read_options() {
  while (($#)); do
    case $1 in
      --)
        shift
        break
        ;;
      --nodes=*) nodes=${1#*=} ;;
      --gpus-per-node=*) gpus=${1##*[=:]} ;; # NUMBER or TYPE:NUMBER.
      --time=*) time=${1#*=} ;;
      --gpu=*)
        gpu=${1#*=}
        shift && continue
        ;;
      --anyway)
        anyway=1
        shift && continue
        ;;
      --max-restarts=*)
        number "$1" >/dev/null
        job+=("$1")
        shift && continue
        ;;
      *) shared_option "$1" && shift && continue ;;
    esac
    options+=("$1")
    shift
  done
  [[ $nodes =~ ^[1-9][0-9]*$ ]] || die '--nodes is needed, a number, such as --nodes=2'
  [[ $gpus =~ ^[1-9][0-9]*$ ]] || die '--gpus-per-node is needed, a number, such as --gpus-per-node=8'
  [[ $time ]] || die '--time is needed: how long a job may take on your cluster, such as --time=12:00:00'
  training=("$@")
  for argument; do
    case $argument in
      --config*) planned+=("$argument") ;;
      --workdir=?*) workdir=${argument#*=} ;;
    esac
  done
  [[ ${planned[*]-} && $workdir ]] || die 'the options of training go after --, such as -- --config=quickstart --workdir=/shared/run'
  workdir=${workdir/#'~/'/${HOME-}/}
  [[ $workdir == /* || $workdir == *://* ]] || workdir=$PWD/$workdir
}

# Converts a time of sbatch to seconds: MINUTES[:SECONDS], HOURS:MINUTES:SECONDS or DAYS-HOURS[:MINUTES[:SECONDS]].
seconds() {
  local days=0 h=0 m=0 s=0
  [[ $1 =~ ^([0-9]+-)?[0-9]+(:[0-9]+){0,2}$ ]] || die "--time=$1 is not a time such as 12:00:00, or 2-00:00:00 for two days"
  case $1 in
    *-*) days=${1%%-*} && IFS=: read -r h m s <<<"${1#*-}" ;;
    *:*:*) IFS=: read -r h m s <<<"$1" ;;
    *) IFS=: read -r m s <<<"$1" ;;
  esac
  echo $((((10#$days * 24 + 10#$h) * 60 + 10#${m:-0}) * 60 + 10#${s:-0}))
}

# Prints the number of steps. Fails now, not after hours in a queue, if the config cannot be trained on so many GPUs.
steps() {
  plan=$(mktemp)
  trap 'rm "$plan"' EXIT # Runs at the end of this subshell.
  JAX_PLATFORMS=cpu "$python" -m biggan_jax.plan --nocompile --devices="cpu:$((nodes * gpus))" --json="$plan" "${planned[@]}" >/dev/null || exit 2
  "$python" -c 'import json, sys; print(json.load(sys.stdin)["num_steps"])' <"$plan"
}

# Exits if the run is queued or running.
leave_alone() {
  local job named queued
  queued=$(squeue --me --noheader --format='%i %j') || die 'squeue failed; its error is above'
  while read -r job named; do
    if [[ $named == "$name" ]]; then
      say "job $job trains in $workdir already; nothing was submitted"
      say_how_to_watch "$job"
      exit
    fi
  done <<<"$queued"
}

say_how_to_watch() {
  say "watch it: squeue --jobs=$1; tail -F $(quoted "$(scontrol show job "$1" | sed -n 's/^ *StdOut=//p')")"
  say "delete it: scancel $1; checkpoints stay in $workdir; rerun the same command to resume"
}

main "$@"
