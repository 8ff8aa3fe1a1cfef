# shellcheck shell=bash disable=SC2034,SC2154
# Functions that the TPU launchers share: training options, slices by name, and the planner's cost. Source it after common.sh.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
training=() planned=() config_file=''

# Reads the options of biggan_jax.main. Sets `training` (the workers' options), `planned` (those that the planner needs) and
# `config_file` (a local config file, which workers find by its name without folders).
read_training() {
  local argument workdir='' config='' file
  training=(--multihost --on_damage=fallback) # Later options win.
  for argument; do
    case $argument in
      --workdir=*) workdir=${argument#*=} ;;
      --config=* | --config_json=*)
        [[ ! $config ]] || die 'one of --config and --config_json is given, once'
        config=${argument#*=}
        planned+=("$argument")
        file=$config
        [[ $argument == --config_json=* ]] || file=${config%%:*} # NAME:ARGUMENT without the argument.
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
  [[ $config ]] || die 'the options of training go after --, such as -- --config=quickstart --workdir=gs://BUCKET/run'
  [[ $workdir == gs://?* ]] || die "--workdir must be in a bucket, such as gs://BUCKET/run, not '$workdir': workers share no disk, and a slice may be preempted"
}

# Looks a slice up by Cloud TPU's or the planner's name. Sets `type` (Cloud TPU's name), `shape`, `hosts`, `chips_per_host`,
# `accelerator` and `runtime`. Dies if there is no such slice.
look_up() {
  local fields chips status=0
  [[ $1 ]] || die '--type is needed, such as --type=v5litepod-256'
  fields=$("$python" -m biggan_jax.plan.slices "$1") || status=$?
  ((status != 2)) || exit 2 # It has listed the known slices.
  ((status == 0)) || die "$python cannot run the planner; set PYTHON to a Python that has it: pip install -e '${root}[plan]'"
  read -r type _ shape chips hosts accelerator runtime <<<"$fields"
  chips_per_host=$((chips / hosts))
}

# Prints the cost of training on the slice and asks for confirmation. Dies if the model does not fit, unless `anyway` is set.
agree_to() {
  check_fit "$1" created create
  agree "$plan"
}
