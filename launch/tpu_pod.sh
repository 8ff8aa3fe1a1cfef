#!/usr/bin/env bash
# Trains on a slice of Cloud TPUs (v4, v5e, v5p, v6e), requested as a queued resource:
#
#   launch/tpu_pod.sh train NAME --zone=ZONE --type=v5litepod-256 --spot -- \
#       --config=biggan_deep_imagenet128 --workdir=gs://BUCKET/deep128
#
# prints the cost and asks for confirmation, creates the slice, waits for it, installs this package on all workers, and trains.
# After a preemption or another recoverable failure it resumes, on a new slice if necessary. At the end it fetches the logs into
# logs/NAME and deletes the slice. Training continues if this command is interrupted; rerun it to watch again.
#
#   create NAME    creates the slice and waits until it is ready    setup NAME    installs the package on its workers
#   run NAME       starts training on all workers and returns       attach NAME   follows the log of worker 0
#   status NAME    shows the slice and its workers                  logs NAME     fetches the workers' logs into logs/NAME
#   stop NAME      lets training save and ends it, and `train`      delete NAME   deletes the slice and everything on it
#
# Options, before the --:
#   --zone=ZONE           Google Cloud zone; required           --project=PROJECT    default: gcloud's
#   --type=TYPE           Cloud TPU's name of the slice, such as v4-128, v5litepod-256, v5p-128, v6e-256
#   --spot | --reserved   kind of capacity                      --create=--FLAG=X    extra flag of gcloud's create; repeatable
#   --ssh=--FLAG          extra flag of gcloud's ssh and scp, such as --ssh=--internal-ip; repeatable
#   --package=WHEEL|URL   package to install, such as git+https://HOST/REPOSITORY@COMMIT; default: a wheel of this checkout
#   --max-restarts=N      default 100; then exit with 75        --keep               keep the slice at the end
#   --poll=SECONDS        between two checks; default 60        --anyway             create it although the model does not fit
#   --yes                 skip the confirmation                 --dry-run            print the commands instead of running them
# After the --: options of biggan_jax.main, as --name=value. Files that --config and --config_json name are copied to the workers.
#
# Exit statuses: 0 done; 2 user error, or gcloud refused; 3 collapse; 1 three crashes in a row, each within an hour, or the slice could
# not be deleted and still costs; 75 --max-restarts used up, or stopped: rerun the same command to resume.
# gcloud reaches several workers through ssh-agent: ssh-add ~/.ssh/google_compute_engine
set -euo pipefail
# shellcheck source=launch/common.sh
. "$(dirname "$0")/common.sh"
# shellcheck source=launch/tpu.sh
. "$(dirname "$0")/tpu.sh"
# shellcheck source=launch/tpu_slice.sh
. "$(dirname "$0")/tpu_slice.sh"

name='' zone='' project='' type='' capacity='' package='' ours='' max_restarts=100 poll=60 keep='' anyway='' access=()
create_flags=(--quiet) ssh_flags=(--quiet) # Never empty: bash 3.2 treats an empty array as unset.
sent=("$root/launch/tpu_worker.sh")

main() {
  command=${1:-}
  case $command in
    train | create | setup | run | attach | status | logs | stop | delete) shift ;;
    -h | --help) usage && exit ;;
    '') usage >&2 && exit 2 ;;
    *) die "$command is not train, create, setup, run, attach, status, logs, stop or delete" ;;
  esac
  read_options "$@"
  case $command in
    train)
      ask
      train
      ;;
    create)
      ask
      acquire
      [[ $dry_run ]] || say "$name is ready; next: $(command_line setup); $(how_to_delete)"
      ;;
    setup) patiently setup || die "the package could not be installed on all workers of $name" ;;
    run)
      patiently start || die "training could not be started on all workers of $name"
      say_how_to_watch
      ;;
    attach) tpus tpu-vm ssh "$name" "${ssh_flags[@]}" --command="$(on_worker attach)" ;;
    status) status ;;
    logs) fetch_logs ;;
    stop)
      on_workers stop
      say "$(how_to_delete)"
      ;;
    delete) delete ;;
  esac
}

read_options() {
  while (($#)); do
    case $1 in
      --zone=?*) zone=${1#*=} ;;
      --project=?*) project=${1#*=} ;;
      --type=?*) type=${1#*=} ;;
      --spot | --reserved)
        [[ -z $capacity ]] || die 'one of --spot and --reserved is given, once'
        capacity=$1
        create_flags+=("$1")
        ;;
      --create=?*) create_flags+=("${1#*=}") ;;
      --ssh=?*)
        ssh_flags+=("${1#*=}")
        access+=("$1")
        ;;
      --package=?*) package=${1#*=} ;;
      --max-restarts=*) max_restarts=$(number "$1") ;;
      --poll=*) poll=$(number "$1") ;;
      --keep) keep=1 ;;
      --anyway) anyway=1 ;;
      --)
        shift
        read_training "$@"
        break
        ;;
      -*) shared_option "$1" || die "$1 is not an option of this command; see --help" ;;
      *)
        [[ -z $name ]] || die "one slice has one name, not both $name and $1"
        name=$1
        ;;
    esac
    shift
  done
  [[ $name =~ ^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$ ]] || die "a name is needed, of lower-case letters, digits and hyphens, not '$name'"
  [[ $zone ]] || die '--zone is needed, such as --zone=us-central2-b'
  where=(--zone="$zone")
  [[ -z $project ]] || where+=(--project="$project")
  access=("${where[@]}" ${access[@]+"${access[@]}"})
  case $command in
    train | create | run) ((${#training[@]})) || read_training ;;
  esac
  [[ ! $config_file ]] || sent+=("$config_file")
  if [[ ! $package ]]; then
    package=${BIGGAN_WHEELS:-$root/.cache/launch}/biggan_jax-$(sed -n 's/^__version__ = "\(.*\)"/\1/p' "$root/biggan_jax/__init__.py")-py3-none-any.whl
    ours=1
  elif [[ $package == *.whl && ! -f $package ]]; then
    die "--package=$package is not there"
  fi
  [[ $package != *.whl ]] || sent+=("$package")
}

# Prints this command with another verb, quoted for a shell.
command_line() { quoted "$0" "$1" "$name" "${access[@]}"; }

# --- Its workers ---------------------------------------------------------------------------------------------------------------

on_worker() { echo "bash biggan_jax/tpu_worker.sh $(quoted "$@")"; }

on_all() { tpus tpu-vm ssh "$name" --worker=all "${ssh_flags[@]}" "$@"; }

on_workers() { on_all --command="$(on_worker "$@")"; }

# Retries a command that may have failed because of a lost connection.
patiently() {
  local i status=0
  for i in 1 2 3; do
    "$@" && return
    status=$?
    ((i == 3)) || sleep "$((poll < 10 ? poll : 10))"
  done
  return "$status"
}

setup() {
  if [[ $ours ]]; then
    # Reproducible: an unchanged wheel is not installed again.
    run rm -rf "$root/build/lib" || return # It may hold deleted modules.
    run env SOURCE_DATE_EPOCH=1600000000 "$python" -m pip wheel --quiet --no-deps --wheel-dir="${package%/*}" "$root" || return
  fi
  on_all --command='mkdir -p biggan_jax' || return
  tpus tpu-vm scp "${sent[@]}" "$name:biggan_jax/" --worker=all "${ssh_flags[@]}" || return
  if [[ $package == *.whl ]]; then on_workers setup "${package##*/}"; else on_workers setup "$package"; fi
}

start() { on_workers run "${training[@]}"; }

# Prints one word per worker that answers: idle, running, lost, stopped, or the exit status of its training. Fails if a worker does
# not answer.
workers_say() {
  local folder status=0
  folder=$(mktemp -d)
  on_all --output-directory="$folder" --command="$(on_worker state) 2>/dev/null || echo biggan_jax: idle" 2>"$folder/errors" >&2 || status=$?
  ((!status)) || cat "$folder/errors" >&2
  cat "$folder"/*.log 2>/dev/null | sed -n 's/^biggan_jax: //p' | tr '\n' ' ' || true
  rm -r "$folder"
  return "$status"
}

fetch_logs() {
  run mkdir -p "logs/$name"
  on_all --output-directory="logs/$name" --command="$(on_worker log)" ||
    say 'not all logs could be fetched'
  say "the logs that could be fetched are in logs/$name, one file per worker"
}

status() {
  if [[ $dry_run ]]; then
    field queued-resources state.state
    field tpu-vm state
    on_workers state
  else
    say "$name is $(slice_state); its workers: $(workers_say || echo '(not all answer)')"
  fi
}

say_how_to_watch() { say "to watch: $(command_line attach); to end it: $(command_line stop); $(how_to_delete)"; }

# --- Training, and again -------------------------------------------------------------------------------------------------------

seen='' reached='' restarts=0

ask() {
  local state=absent
  look_up "$type"
  [[ $runtime != - ]] || die "$type is available only through GKE; use launch/gke_jobset.sh"
  [[ $dry_run ]] || state=$(slice_state) || die 'gcloud failed; its error is above'
  case $state in
    ready | waiting) want_its_type ;; # Confirmed when it was created.
    *) agree_to "$type" ;;
  esac
}

# Waits until the slice is ready; creates it if it is absent, and replaces it if it is gone.
acquire() {
  local state=''
  if [[ $dry_run ]]; then
    create
    return
  fi
  while :; do
    state=$(slice_state) || state=unknown
    case $state in
      ready) break ;;
      absent) create || refused 'gcloud refuses to create the slice; its error is above' ;;
      failed) refused "the queued resource failed: $(field queued-resources state.failedData.error.message)" ;;
      gone) replace 'the slice is gone' ;;
      *)
        say "waiting for $name ($state)"
        sleep "$poll"
        ;;
    esac
  done
  seen=1
}

# A refusal is a user error before there was a slice, and a lack of capacity afterwards.
refused() {
  [[ $seen ]] || die "$1; $(how_to_delete)"
  replace "$1"
}

train() {
  local crashes=0 began outcome
  trap 'say "the slice stays and training on it continues; rerun the same command to watch it"; say_how_to_watch; exit 130' INT TERM
  while :; do
    acquire
    began=$SECONDS
    if patiently setup && patiently start; then
      reached=1
      say_how_to_watch
      if [[ $dry_run ]]; then outcome=0; else follow; fi
    else
      find_cause
    fi
    ((SECONDS - began < 3600)) || crashes=0
    case $outcome in
      0) finish 0 'done' ;;
      2) finish 2 'training reported a user error; see its logs' ;;
      3) finish 3 'the run collapsed: see its logs' ;;
      stopped) finish 75 'training was stopped; rerun the same command to resume from the last checkpoint' ;;
      75) restart 'training was interrupted, or lost a worker' ;;
      gone) replace 'the slice or one of its workers is gone' ;;
      unreached) sleep "$poll" ;;
      *)
        ((++crashes < 3)) || finish 1 "training crashed three times (exit status $outcome): see its logs"
        restart "training crashed (exit status $outcome)"
        ;;
    esac
  done
}

# Finds out why training did not start. Sets `outcome` to "gone" if only some workers answer, or to "unreached" if none answers or
# the slice is not ready. Dies, and deletes nothing, if all answer: another training run may be the cause.
find_cause() {
  local words status=0
  outcome=unreached
  [[ $(slice_state) == ready ]] || return 0
  words=$(workers_say) || status=$?
  if ((!status)); then
    die "training could not be started; the workers' errors are above; $(how_to_delete)"
  elif [[ $words ]]; then
    outcome=gone
  elif [[ $reached ]]; then
    say "no worker of $name answers, though the slice is ready; waiting, nothing is deleted"
  else
    die "no worker of $name answers, though the slice is ready: the cause may be a firewall, or a network without external addresses, for which" \
      "there is --ssh=--internal-ip; training there continues; $(how_to_delete)"
  fi
}

# Waits until training has ended on all workers. Sets `outcome` to its exit status, to "stopped", or to "gone" if the slice is gone or
# some workers did not answer three times. If no worker answers, the connection is at fault. Do not call it in a subshell, where
# traps do not run.
follow() {
  local silent=0 state words word
  while :; do
    sleep "$poll"
    state=$(slice_state) || continue # No network here; training does not need this machine.
    case $state in
      ready) ;;
      waiting) continue ;;
      *)
        outcome=gone
        return
        ;;
    esac
    if ! words=$(workers_say); then
      if [[ ! $words ]]; then
        say "no worker of $name answers, though the slice is ready; waiting, nothing is deleted"
        silent=0
      elif ((++silent == 3)); then
        outcome=gone
        return
      fi
      continue
    fi
    silent=0
    [[ $words == *running* ]] || break
  done
  # User errors and collapses take precedence, since a new slice would not help; then crashes; 75 only follows from them.
  outcome=0
  for word in $words; do
    case $word in
      idle | lost) word=75 ;;
    esac
    case $word-$outcome in
      0-* | *-2 | *-3 | *-stopped) ;;
      2-* | 3-* | stopped-* | *-0 | *-75) outcome=$word ;;
    esac
  done
}

restart() {
  within_restarts "$1"
  restarts=$((restarts + 1))
  say "$1; again ($restarts of at most $max_restarts)"
}

# If deleting fails, it is tried again; that does not count as a restart.
replace() {
  within_restarts "$1"
  ! delete || restart "$1"
  sleep "$poll"
}

within_restarts() {
  ((restarts < max_restarts)) || finish 75 "$1, and --max-restarts=$max_restarts are used up; rerun the same command to resume from the last checkpoint"
}

finish() {
  local status=$1
  fetch_logs
  if [[ $keep ]]; then say "the slice is kept, and costs; $(how_to_delete)"; else patiently delete || status=1; fi
  [[ ! $dry_run ]] || exit 0
  say "$2"
  [[ $status == "$1" ]] || say "the slice could not be deleted, and costs; $(how_to_delete)"
  exit "$status"
}

main "$@"
