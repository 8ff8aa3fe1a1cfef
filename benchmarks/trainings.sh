#!/usr/bin/env bash
# Trains the small models of families.py, translation.py and small_data.py side by side on one GPU, and measures them:
#
#   benchmarks/trainings.sh runs/trainings [--seconds=600] [--only=families,translation,small]
#
# Each training is a process with a log, OUT/NAME.log. What is not done after --seconds is stopped. OUT/families-NAME.json,
# OUT/translation-NAME.json and OUT/small-NAME/results.json have the figures, OUT/NAME/samples.png and the like the pictures.
# translation and small need prepared sets in OUT/pairs and OUT/unpaired, and in OUT/small/data; see the two benchmarks.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 2

out='' seconds=600 only=families,translation,small python=${PYTHON:-python3}
for argument; do
  case $argument in
    --seconds=*) seconds=${argument#*=} ;;
    --only=*) only=${argument#*=} ;;
    --help | -h) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" && exit 0 ;;
    -*) echo "trainings.sh: error: $argument is unknown; known are --seconds and --only" >&2 && exit 2 ;;
    *) out=$argument ;;
  esac
done
[[ $out ]] || { echo 'trainings.sh: error: give a folder for the results, such as runs/trainings' >&2 && exit 2; }
mkdir -p "$out" || exit 2

# Processes share the GPU, so none takes most of its memory at its start.
export XLA_PYTHON_CLIENT_PREALLOCATE=false

# Runs a training: start NAME COMMAND...
start() {
  local name=$1 began=$SECONDS status=0
  shift
  timeout --kill-after=10 "$seconds" "$@" >"$out/$name.log" 2>&1 || status=$?
  printf '%s\t%s\t%s\n' "$name" "$status" $((SECONDS - began)) | tee -a "$out/trainings.tsv"
}

if [[ ,$only, == *,families,* ]]; then
  for name in wgan_gp sngan_projection sngan_ac sngan_contrastive sngan_d2dce sngan_multi_hinge sagan r3gan; do
    start "$name" "$python" benchmarks/families.py --only=$name --out="$out" --results="$out/families-$name.json" &
  done
fi
if [[ ,$only, == *,translation,* ]]; then
  start cyclegan "$python" benchmarks/translation.py --only=cyclegan --steps=12000 --out="$out" \
    --results="$out/translation-cyclegan.json" &
fi
if [[ ,$only, == *,small,* ]]; then
  for name in plain ada lecam ada_lecam diffaugment; do
    mkdir -p "$out/small-$name"
    ln -sfn "$(realpath "$out/small/data")" "$out/small-$name/data"
    start "small-$name" "$python" benchmarks/small_data.py --only=$name --seeds=0 --steps=6000 --out="$out/small-$name" &
  done
fi
wait
