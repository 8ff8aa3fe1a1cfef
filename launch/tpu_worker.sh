#!/usr/bin/env bash
# What each worker of a TPU slice does when launch/tpu_pod.sh, from elsewhere, says so. It lies in a folder that is the run's
# alone: the environment, the log, and the exit status of the training, which no lost connection can lose. Linux only.
#   setup PACKAGE   installs it, unless it is what is installed, or a training runs
#   run ARGUMENTS   starts training and returns; where it runs already, nothing is done
#   state           prints one line: "biggan_jax: " and idle, running, lost (ended without a word), stopped, or the exit status
#   stop            lets it save and end
#   log, attach     prints the log; follows it until the training has ended
set -euo pipefail
cd "$(dirname "$0")"

# A training holds the lock, so that a number of a process that another has by now, after a restart of the machine, deceives nobody.
running() { ! flock --shared --nonblock lock true; }

# The training's process, which is known a moment after `run` has returned.
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
    # The machines' own Python, 3.10, is too old for jax.
    [[ -x venv/bin/python ]] || { python3 -m pip install --quiet --user uv && python3 -m uv venv --quiet --python 3.12 venv; }
    if [[ -f $package ]]; then
      wanted="./${package}[tpu,gcs]"
    else
      wanted="biggan-jax[tpu,gcs] @ $package"
    fi
    python3 -m uv pip install --quiet --python venv/bin/python --reinstall-package biggan-jax "$wanted"
    printf '%s\n' "$content" >installed
    ;;
  run) # Waiting a moment: who asks for the state holds the lock, too, for as long as that takes.
    exec 9>>lock
    if ! flock --timeout 1 9; then
      [[ "$(printf '%q ' "${@:2}")" == "$(cat arguments)" ]] && exit
      echo "a training with other arguments runs here: $(cat arguments)" >&2
      exit 2
    fi
    printf '%q ' "${@:2}" >arguments
    rm -f status stopped pid
    setsid bash "${0##*/}" train "${@:2}" </dev/null >>train.log 2>&1 &
    ;;
  train) # What `run` leaves behind; it has inherited the lock.
    venv/bin/python -m biggan_jax.main "${@:2}" &
    echo $! >pid.new
    mv pid.new pid
    wait $! && status=0 || status=$?
    echo "$status" >status.new
    mv status.new status
    exit # Bash reads scripts as it goes, and by now another version of this one may lie here.
    ;;
  state)
    if running; then
      state=running
    elif [[ -e arguments ]]; then
      state=$(cat status 2>/dev/null || echo lost)
      # Also one that was told to before it listened, which ends with 143. What it said itself counts: 0, 2, 3.
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
