# shellcheck shell=bash disable=SC2154
# One slice of Cloud TPUs, as a queued resource: what there is of it, its beginning and its end. Sourced by tpu_pod.sh, after it has
# read its options; must not know what is trained on it, nor what is tried again.

tpus() { run gcloud compute tpus "$1" "$2" "${@:3}" "${where[@]}"; }

# One field of the slice, of `queued-resources` or `tpu-vm`; nothing where there is none. Unlike `describe`, `list` fails only if it
# cannot know.
field() { tpus "$1" list --filter="name~\"/$name\$\"" --format="value($2)"; }

# absent, waiting, ready, gone (there was one, or will not be) or failed (never will be); false if that cannot be known now.
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
        *) echo waiting ;; # UNKNOWN, too: what nobody knows is not deleted.
      esac
      ;;
    SUSPENDED) echo gone ;;
    FAILED) echo failed ;;
    *) echo waiting ;;
  esac
}

# Dies if the slice that is there is not what --type says: the next one would be, at a cost that nobody has agreed to.
want_its_type() {
  local there
  there=$(field queued-resources 'tpu.nodeSpec[0].node.acceleratorType.basename()') || die 'gcloud cannot tell what there is, as it says above'
  [[ ! $there || $there == "$type" ]] || die "$name is there, and is a $there, not the $type of --type; $(how_to_delete)"
}

create() {
  tpus queued-resources create "$name" --node-id="$name" --accelerator-type="$type" --runtime-version="$runtime" "${create_flags[@]}"
}

# False if it is still there, and costs.
delete() {
  if [[ ! $dry_run && $(slice_state) == absent ]]; then
    say "there is no $name in $zone"
    return
  fi
  tpus queued-resources delete "$name" --force --quiet && return
  say "deleting failed, as gcloud says above; $(how_to_delete)"
  return 1
}

how_to_delete() { echo "to delete the slice: $(command_line delete)"; }
