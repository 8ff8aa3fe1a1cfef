#!/usr/bin/env bash
# Trains on a slice of Cloud TPUs (v4, v5e, v5p, v6e), which is asked for as a queued resource:
#
#   launch/tpu_pod.sh train NAME --zone=ZONE --type=v5litepod-256 --spot -- \
#       --config=biggan_deep_imagenet128 --workdir=gs://BUCKET/deep128
#
# does all of it: says what it will cost and asks, creates the slice, waits for it, installs this package on all its workers, trains,
# and begins anew, with another slice if need be, after preemptions and whatever else can be gone on from. When the run has ended it
# fetches the logs into logs/NAME and deletes the slice. Training does not hang on this command: given again, it goes on watching.
#
#   create NAME    creates the slice, and waits until it is there   setup NAME    installs the package on its workers
#   run NAME       starts training on all of them, and returns      attach NAME   shows worker 0's log as it grows
#   status NAME    of the slice and its workers                     logs NAME     fetches the workers' logs into logs/NAME
#   stop NAME      lets it save and end, and `train`, too                   delete NAME   deletes the slice, and what runs on it
#
# Options, before the --:
#   --zone=ZONE           of Google Cloud; always needed        --project=PROJECT    gcloud's default otherwise
#   --type=TYPE           the slice, as Cloud TPU calls it, such as v4-128, v5litepod-256, v5p-128, v6e-256
#   --spot | --reserved   what kind of capacity                 --create=--FLAG=X    one more flag of gcloud's create; repeatable
#   --ssh=--FLAG          one more flag of gcloud's ssh and scp, such as --ssh=--internal-ip; repeatable
#   --package=WHEEL|URL   what is installed, such as git+https://HOST/REPOSITORY@COMMIT; a wheel of this checkout otherwise
#   --max-restarts=N      100: then it ends with 75             --keep               the slice, when the run has ended
#   --poll=SECONDS        60: between two looks                 --anyway             although it will not fit
#   --yes                 asks nothing                          --dry-run            prints the commands instead
# After the --: what biggan_jax.main takes, as --name=value. Files that --config and --config_json name are sent along.
#
# Exit statuses: 0 done; 2 your mistake, or what gcloud refuses; 3 the run collapsed; 1 it crashed three times, never after an hour;
# 75 --max-restarts are used up, or it was told to stop: the same command goes on; 1, too, if the slice could not be deleted, and costs.
# Several workers are reached by ssh's agent: ssh-add ~/.ssh/google_compute_engine
set -euo pipefail
# shellcheck source=launch/common.sh
. "$(dirname "$0")/common.sh"
# shellcheck source=launch/tpu.sh
. "$(dirname "$0")/tpu.sh"
# shellcheck source=launch/tpu_slice.sh
. "$(dirname "$0")/tpu_slice.sh"

name='' zone='' project='' type='' capacity='' package='' ours='' max_restarts=100 poll=60 keep='' anyway='' access=()
create_flags=(--quiet) ssh_flags=(--quiet) # Never empty, which an older bash would take for unset.
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
      [[ $dry_run ]] || say "$name is there; what comes next: $(command_line setup); $(how_to_delete)"
      ;;
    setup) patiently setup || die "it could not be installed on all workers of $name" ;;
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
      -*) shared_option "$1" || die "$1 is no option of this command; --help tells of all" ;;
      *)
        [[ -z $name ]] || die "one slice has one name, not both $name and $1"
        name=$1
        ;;
    esac
    shift
  done
  [[ $name =~ ^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$ ]] || die "a name is needed, of small letters, digits and hyphens, not '$name'"
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

# This command with another verb, as a shell reads it.
command_line() { quoted "$0" "$1" "$name" "${access[@]}"; }

# --- Its workers ---------------------------------------------------------------------------------------------------------------

on_worker() { echo "bash biggan_jax/tpu_worker.sh $(quoted "$@")"; }

on_all() { tpus tpu-vm ssh "$name" --worker=all "${ssh_flags[@]}" "$@"; }

on_workers() { on_all --command="$(on_worker "$@")"; }

# Tries again what a lost connection may have made fail.
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
    # A wheel of the same files is the same file, so that it is not installed again.
    run rm -rf "$root/build/lib" || return # Modules that are no more would travel along.
    run env SOURCE_DATE_EPOCH=1600000000 "$python" -m pip wheel --quiet --no-deps --wheel-dir="${package%/*}" "$root" || return
  fi
  on_all --command='mkdir -p biggan_jax' || return
  tpus tpu-vm scp "${sent[@]}" "$name:biggan_jax/" --worker=all "${ssh_flags[@]}" || return
  if [[ $package == *.whl ]]; then on_workers setup "${package##*/}"; else on_workers setup "$package"; fi
}

start() { on_workers run "${training[@]}"; }

# A word from each that answers: idle, running, lost, stopped, or the exit status of its training. Fails if one does not answer: of
# gcloud's exit status, which depends on how many there are, only that is taken.
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
  say "what could be had of the logs is in logs/$name, a file a worker"
}

status() {
  if [[ $dry_run ]]; then
    field queued-resources state.state
    field tpu-vm state
    on_workers state
  else
    say "$name is $(slice_state); its workers: $(workers_say || echo '(not all of them answer)')"
  fi
}

say_how_to_watch() { say "to watch: $(command_line attach); to end it: $(command_line stop); $(how_to_delete)"; }

# --- Training, and again -------------------------------------------------------------------------------------------------------

seen='' reached='' restarts=0

ask() {
  local state=absent
  look_up "$type"
  [[ $runtime != - ]] || die "$type is had from GKE alone: launch/gke_jobset.sh"
  [[ $dry_run ]] || state=$(slice_state) || die 'gcloud cannot tell what there is, as it says above'
  case $state in
    ready | waiting) want_its_type ;; # It was agreed to when it was created.
    *) agree_to "$type" ;;
  esac
}

# Until the slice is ready: one that is there is used, one that is gone is replaced.
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
      absent) create || refused 'gcloud refuses to create it, as it says above' ;;
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

# What may be a mistake is one until there was a slice; later it is a lack of capacity.
refused() {
  [[ $seen ]] || die "$1; $(how_to_delete)"
  replace "$1"
}

train() {
  local crashes=0 began outcome
  trap 'say "the slice stays, and what runs on it goes on; the same command watches it again"; say_how_to_watch; exit 130' INT TERM
  while :; do
    acquire
    began=$SECONDS
    if patiently setup && patiently start; then
      reached=1
      say_how_to_watch
      if [[ $dry_run ]]; then outcome=0; else follow; fi
    else
      judge
    fi
    ((SECONDS - began < 3600)) || crashes=0
    case $outcome in
      0) finish 0 'done' ;;
      2) finish 2 'the training says that there is a mistake: see its logs' ;;
      3) finish 3 'the run collapsed: see its logs' ;;
      stopped) finish 75 'the training was told to stop; the same command goes on from the last checkpoint' ;;
      75) restart 'the training was stopped, or lost a worker' ;;
      gone) replace 'the slice is gone, or a worker of it' ;;
      unreached) sleep "$poll" ;;
      *)
        ((++crashes < 3)) || finish 1 "the training crashed three times (exit status $outcome): see its logs"
        restart "the training crashed (exit status $outcome)"
        ;;
    esac
  done
}

# Why the workers could not be made to train. Sets `outcome` to "gone" if only some of them answer, to "unreached" if none does or
# the slice is not there now. Dies, and deletes nothing, if all answer: another training may be why.
judge() {
  local words status=0
  outcome=unreached
  [[ $(slice_state) == ready ]] || return 0
  words=$(workers_say) || status=$?
  if ((!status)); then
    die "the workers could not be made to train, as they say above; $(how_to_delete)"
  elif [[ $words ]]; then
    outcome=gone
  elif [[ $reached ]]; then
    say "no worker of $name answers, though the slice is ready; it is left alone, and waited for"
  else
    die "no worker of $name answers, though the slice is ready: a firewall may be why, or a network without external addresses, for which" \
      "there is --ssh=--internal-ip; what runs there goes on; $(how_to_delete)"
  fi
}

# Sets `outcome` to the training's exit status once it has ended on all workers, to "stopped" if it was told to, or to "gone" if
# the slice is, or three times some of its workers did not answer. If none does, the way there is at fault. Not in a subshell, in which signals would not be heard.
follow() {
  local silent=0 state words word
  while :; do
    sleep "$poll"
    state=$(slice_state) || continue # No network here; the training does not need this machine.
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
        say "no worker of $name answers, though the slice is ready; it is left alone, and waited for"
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
  # A mistake and a collapse are the same on the next slice; a crash is worse than what follows from it, an end with 75.
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

# What could not be deleted is tried again, and is no restart.
replace() {
  within_restarts "$1"
  ! delete || restart "$1"
  sleep "$poll"
}

within_restarts() {
  ((restarts < max_restarts)) || finish 75 "$1, and --max-restarts=$max_restarts are used up; the same command goes on from the last checkpoint"
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
