#!/usr/bin/env bash
# Trains on the GPUs of a Slurm cluster, one process a GPU; from a machine that has sbatch:
#
#   launch/slurm.sh --nodes=2 --gpus-per-node=8 --time=12:00:00 --partition=gpu -- \
#       --config=biggan_imagenet128 --workdir=/shared/run --config.data.dir=/shared/data
#
# says what it will cost, asks, and submits launch/slurm.sbatch, which saves before the time limit and queues itself again until all
# steps are done. A run that is queued already is left alone.
#
# Before the --: --nodes, --gpus-per-node and --time, any other options of sbatch, and
#   --max-restarts=N      100: so often it queues itself again
#   --yes                 asks nothing                          --dry-run            prints the command instead
# After it: what biggan_jax.main takes, as --name=value. All nodes must see the workdir, the data, and this shell's Python.
set -euo pipefail
# shellcheck source=launch/common.sh
. "$(dirname "$0")/common.sh"

root=$(cd "$(dirname "$0")/.." && pwd)
nodes='' gpus='' time='' workdir=''
options=(--parsable) planned=() job=("$root/launch/slurm.sbatch")

main() {
  read_options "$@"
  limit=$(seconds "$time")
  ((limit >= 600)) || die "--time=$time is too short: five minutes before its end a job saves, and it takes minutes to begin"
  [[ $dry_run ]] || command -v sbatch >/dev/null || die 'there is no sbatch here; --dry-run shows what it would be given'
  name=biggan_jax:$workdir
  [[ $dry_run ]] || leave_alone
  steps=$(steps)
  agree "nodes x GPUs x time: $nodes x $gpus x $time, at most $((nodes * gpus * limit / 3600)) GPU-hours until the time limit," \
    "and again as many until its $steps steps are done; how fast they are, metrics.jsonl in the workdir will tell"
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
      --gpus-per-node=*) gpus=${1##*[=:]} ;; # Or TYPE:NUMBER.
      --time=*) time=${1#*=} ;;
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
  [[ ${planned[*]-} && $workdir ]] || die 'what is trained is said after --, such as -- --config=quickstart --workdir=/shared/run'
  [[ $workdir == /* || $workdir == *://* ]] || workdir=$PWD/$workdir
}

# Of a time as sbatch reads it: MINUTES[:SECONDS], HOURS:MINUTES:SECONDS or DAYS-HOURS[:MINUTES[:SECONDS]].
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

# How many, and whether the config can be trained on so many GPUs: rather now than after hours in a queue.
steps() {
  plan=$(mktemp)
  trap 'rm "$plan"' EXIT # Of the subshell that this runs in.
  JAX_PLATFORMS=cpu "$python" -m biggan_jax.plan --no-compile --devices="cpu:$((nodes * gpus))" --json="$plan" "${planned[@]}" >/dev/null || exit 2
  "$python" -c 'import json, sys; print(json.load(sys.stdin)["num_steps"])' <"$plan"
}

# Ends if the run is queued, or runs.
leave_alone() {
  local job named queued
  queued=$(squeue --me --noheader --format='%i %j') || die 'Slurm does not answer, as it says above'
  while read -r job named; do
    if [[ $named == "$name" ]]; then
      say "job $job trains in $workdir already"
      say_how_to_watch "$job"
      exit
    fi
  done <<<"$queued"
}

say_how_to_watch() {
  say "watch it: squeue --jobs=$1; tail -F $(quoted "$(scontrol show job "$1" | sed -n 's/^ *StdOut=//p')")"
  say "delete it: scancel $1; what was saved stays in $workdir, and this same command goes on from there"
}

main "$@"
