# shellcheck shell=bash disable=SC2034,SC2154
# Functions that all launchers share: errors, options, --dry-run and confirmation. Source it after `set -euo pipefail`.
# Runs in bash 3.2, the version of macOS.

dry_run='' yes=''
python=${PYTHON:-python3}

# Prints an error of the user in one sentence and exits with 2.
die() {
  say "error: $*"
  exit 2
}

# Prints a message on stderr, so that stdout holds only the output of commands.
say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

# Prints the comment at the head of the script that was called, which is its --help.
usage() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; }

# Handles an option that all launchers have; returns false for any other.
shared_option() {
  case $1 in
    --dry-run) dry_run=1 ;;
    --yes) yes=1 ;;
    --help | -h)
      usage
      exit 0
      ;;
    *) return 1 ;;
  esac
}

# Prints the value of an option --NAME=NUMBER.
number() {
  [[ ${1#*=} =~ ^[0-9]+$ ]] || die "$1 is not a number"
  echo "${1#*=}"
}

# Prints the words as one line, quoted for a shell.
quoted() {
  local line
  line=$(printf ' %q' "$@")
  printf '%s\n' "${line# }"
}

# Runs the command; with --dry-run, prints it instead.
run() {
  if [[ $dry_run ]]; then quoted "$@"; else "$@"; fi
}

# Compiles the step of `planned` for a topology of the planner. Sets `plan`, what it says in one line. Dies if the model does not fit,
# unless `anyway` is set: check_fit TOPOLOGY DONE DO, with the words for what would be done, such as created and create.
check_fit() {
  local status=0
  plan=$(JAX_PLATFORMS=cpu "$python" -m biggan_jax.plan --brief --topology="$1" "${planned[@]}") || status=$?
  ((status != 2)) || exit 2 # The planner has printed the reason.
  [[ $status -le 1 && $plan ]] || die "nothing was $2: the planner failed with status $status"
  ((status == 0)) || [[ $anyway ]] || die "$plan; use --anyway to $3 it nevertheless"
}

# Prints the cost and asks for confirmation on the terminal, unless --yes or --dry-run is given.
agree() {
  local answer=''
  printf '%s\n' "$@" >&2
  [[ $dry_run || $yes ]] && return
  [[ -t 0 ]] || die 'nothing was created: there is no terminal to confirm on; use --yes to skip the confirmation, or --dry-run to print the commands'
  read -r -p 'Go on? [y/N] ' answer || true
  case $answer in
    [yY] | [yY][eE][sS]) ;;
    *) die 'nothing was created' ;;
  esac
}
