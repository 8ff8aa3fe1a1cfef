#!/usr/bin/env bash
# Runs on each worker of a TPU slice, called by launch/tpu_pod.sh through ssh. Its folder holds the environment, the log and the exit
# status of training, so that a lost connection loses nothing. Linux only.
#   setup PACKAGE   installs the package, unless it is installed already or training runs
#   run ARGUMENTS   starts training and returns; does nothing if it runs already
#   state           prints "biggan_jax: " and idle, running, lost (no exit status), stopped, or the exit status
#   stop            lets training save and ends it
#   log, attach     prints the log; follows it until training has ended
set -euo pipefail
cd "$(dirname "$0")"

# Training holds the lock. A process id alone would mislead: after a reboot another process may have it.
running() { ! flock --shared --nonblock lock true; }

# Prints training's process id, which is written shortly after `run` returns.
pid() {
  while running && [[ ! -s pid ]]; do sleep 0.1; done
  cat pid
}

case $1 in
  setup)
    running && exit
    package=$2
    content=$package
    [[ -f $package ]] && content+=" $(sha256sum <"$package")"
    [[ $content == "$(cat installed 2>/dev/null)" ]] && exit
    # The Python of the TPU image, 3.10, is too old for jax.
    [[ -x venv/bin/python ]] || { python3 -m pip install --quiet --user uv && python3 -m uv venv --quiet --python 3.12 venv; }
    if [[ -f $package ]]; then
      wanted="./${package}[tpu,gcs]"
    else
      wanted="biggan-jax[tpu,gcs] @ $package"
    fi
    python3 -m uv pip install --quiet --python venv/bin/python --reinstall-package biggan-jax "$wanted"
    printf '%s\n' "$content" >installed
    ;;
  run) # The timeout: `state` holds the lock for a moment, too.
    exec 9>>lock
    if ! flock --timeout 1 9; then
      [[ "$(printf '%q ' "${@:2}")" == "$(cat arguments)" ]] && exit
      echo "a training run with other arguments runs here: $(cat arguments)" >&2
      exit 2
    fi
    printf '%q ' "${@:2}" >arguments
    rm -f status stopped pid
    setsid bash "${0##*/}" train "${@:2}" </dev/null >>train.log 2>&1 &
    ;;
  train) # Started by `run` in the background; inherits the lock.
    venv/bin/python -m biggan_jax.main "${@:2}" &
    echo $! >pid.new
    mv pid.new pid
    wait $! && status=0 || status=$?
    echo "$status" >status.new
    mv status.new status
    exit # Bash reads scripts while running them, and `setup` may have replaced this file.
    ;;
  state)
    if running; then
      state=running
    elif [[ -e arguments ]]; then
      state=$(cat status 2>/dev/null || echo lost)
      # 143, terminated before its signal handler was installed, is "stopped" too. The statuses 0, 2 and 3 stand.
      [[ ! -e stopped || $state == [023] ]] || state=stopped
    else
      state=idle
    fi
    echo "biggan_jax: $state"
    ;;
  stop)
    touch stopped
    if running; then kill -TERM "$(pid)"; fi
    ;;
  log) cat train.log ;;
  attach) tail --lines=100 --follow --pid="$(pid)" train.log ;;
esac
