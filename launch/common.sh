# shellcheck shell=bash disable=SC2034
# What all launchers share: which Python, how a mistake is said, how commands are shown instead of run, and the question before
# anything is created. Sourced, with `set -euo pipefail` in force; must not know where anything is launched. Runs in bash 3.2, macOS's, too.

dry_run='' yes=''
python=${PYTHON:-python3}

# A mistake of the user: one sentence, exit status 2.
die() {
  say "error: $*"
  exit 2
}

# Word to people, which a command's own output on stdout must not hold.
say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

# The comment at the head of the script that was called, which is its --help.
usage() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; }

# Takes an option that all launchers have; false if it is none of them.
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

# The value of an option --NAME=VALUE that is a number.
number() {
  [[ ${1#*=} =~ ^[0-9]+$ ]] || die "$1 is not a number"
  echo "${1#*=}"
}

# The words as one line that a shell reads back as the same words.
quoted() {
  local line
  line=$(printf ' %q' "$@")
  printf '%s\n' "${line# }"
}

# Runs the command; with --dry-run prints it, as it would be run.
run() {
  if [[ $dry_run ]]; then quoted "$@"; else "$@"; fi
}

# Says what it costs, and goes on if that is agreed to: by --yes, or by a yes on a terminal. Nothing is asked with --dry-run.
agree() {
  local answer=''
  printf '%s\n' "$@" >&2
  [[ $dry_run || $yes ]] && return
  [[ -t 0 ]] || die 'nothing was created: there is no terminal to ask on; --yes agrees beforehand, --dry-run shows the commands'
  read -r -p 'Go on? [y/N] ' answer || true
  case $answer in
    [yY] | [yY][eE][sS]) ;;
    *) die 'nothing was created' ;;
  esac
}
