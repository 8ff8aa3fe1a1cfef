# shellcheck shell=bash disable=SC2034,SC2154
# What the launchers for TPUs share: what is trained, on which slice, and what that costs by the planner's word. Sourced, after
# common.sh; must not know who rents the slice out.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
training=() planned=() config_file=''

# Reads the arguments of biggan_jax.main: into `training`, as the workers are given them; of them, into `planned`, those of which the
# planner needs to know. A file of this machine that one of them names is `config_file`, which workers find by its name alone.
read_training() {
  local argument workdir='' config='' file
  training=(--multihost)
  for argument; do
    case $argument in
      --workdir=*) workdir=${argument#*=} ;;
      --config=* | --config_json=*)
        [[ ! $config ]] || die 'one of --config and --config_json is given, once'
        config=${argument#*=}
        planned+=("$argument")
        file=$config
        [[ $argument == --config_json=* ]] || file=${config%%:*} # Of NAME:ARGUMENT.
        if [[ -f $file ]]; then
          config_file=$file
          argument=${argument%%=*}=${file##*/}${config#"$file"}
        fi
        ;;
      --config.*=*) planned+=("$argument") ;;
      --*) ;;
      *) die "after --, every option is given as --name=value, not '$argument'" ;;
    esac
    training+=("$argument")
  done
  [[ $config ]] || die 'what is trained is said after --, such as -- --config=quickstart --workdir=gs://BUCKET/run'
  [[ $workdir == gs://?* ]] || die "--workdir is in a bucket, such as gs://BUCKET/run, not '$workdir': workers share no disk, and slices go"
}

# Sets `type`, which is what Cloud TPU calls the slice, `shape`, `hosts`, `chips_per_host`, `accelerator` and `runtime` of a slice by that
# name or the planner's. Dies where there is no such slice.
look_up() {
  local fields chips status=0
  [[ $1 ]] || die '--type is needed, such as --type=v5litepod-256'
  fields=$("$python" -m biggan_jax.plan.slices "$1") || status=$?
  ((status != 2)) || exit 2 # It has said which slices there are.
  ((status == 0)) || die "$python has no planner; PYTHON=... names a Python in which there is one: pip install -e '${root}[plan]'"
  read -r type _ shape chips hosts accelerator runtime <<<"$fields"
  chips_per_host=$((chips / hosts))
}

# Says what training costs on a slice by its name, and asks; with `anyway`, even where it does not fit.
agree_to() {
  local line status=0
  line=$(JAX_PLATFORMS=cpu "$python" -m biggan_jax.plan --brief --topology="$1" "${planned[@]}") || status=$?
  ((status != 2)) || exit 2 # The planner has said why.
  [[ $status -le 1 && $line ]] || die "nothing was created: the planner broke off with status $status and without an answer"
  ((status == 0)) || [[ $anyway ]] || die "$line; --anyway creates it all the same"
  agree "$line"
}
