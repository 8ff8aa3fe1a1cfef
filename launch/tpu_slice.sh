# shellcheck shell=bash disable=SC2154
# State, creation and deletion of one slice of Cloud TPUs, as a queued resource. Sourced by tpu_pod.sh after it has read its options.

tpus() { run gcloud compute tpus "$1" "$2" "${@:3}" "${where[@]}"; }

# Prints one field of the slice, from `queued-resources` or `tpu-vm`; nothing if there is no slice. Unlike `describe`, `list` fails
# only if the cloud cannot be asked.
field() { tpus "$1" list --filter="name~\"/$name\$\"" --format="value($2)"; }

# Prints absent, waiting, ready, gone (preempted or suspended) or failed; returns false if the cloud cannot be asked.
slice_state() {
  local state
  state=$(field queued-resources state.state) || return
  case $state in
    '') echo absent ;;
    ACTIVE)
      state=$(field tpu-vm state) || return
      case $state in
        READY) echo ready ;;
        '' | PREEMPTED | TERMINATED | STOPPED | HIDDEN) echo gone ;;
        *) echo waiting ;; # UNKNOWN too: never delete a slice in an unknown state.
      esac
      ;;
    SUSPENDED) echo gone ;;
    FAILED) echo failed ;;
    *) echo waiting ;;
  esac
}

# Dies if the slice is not of the type that --type names: a replacement would be, at a cost that was not confirmed.
want_its_type() {
  local there
  there=$(field queued-resources 'tpu.nodeSpec[0].node.acceleratorType.basename()') || die 'gcloud failed; its error is above'
  [[ ! $there || $there == "$type" ]] || die "$name exists as $there, not as the $type of --type; $(how_to_delete)"
}

create() {
  tpus queued-resources create "$name" --node-id="$name" --accelerator-type="$type" --runtime-version="$runtime" "${create_flags[@]}"
}

# Returns false if the slice still exists and costs.
delete() {
  if [[ ! $dry_run && $(slice_state) == absent ]]; then
    say "there is no $name in $zone"
    return
  fi
  tpus queued-resources delete "$name" --force --quiet && return
  say "deleting failed; gcloud's error is above; $(how_to_delete)"
  return 1
}

how_to_delete() { echo "to delete the slice: $(command_line delete)"; }
