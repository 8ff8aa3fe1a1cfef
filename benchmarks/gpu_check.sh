#!/usr/bin/env bash
# Checks this code on a machine with a GPU, in at most 10 minutes:
#
#   benchmarks/gpu_check.sh --gpu=h200 runs/gpu_check [--batch=256] [--peer=FOLDER]
#
# 1. two steps equal the record within rounding, and repeated ones bit for bit, with deterministic operations
# 2. a run in two pieces equals one in one piece, bit for bit
# 3. BigGAN-128 in bfloat16: seconds a step, MFU, memory
# 4. BigGAN-PyTorch's step on the same GPU, if PyTorch sees it and --peer names a folder of its code
# 5. the plan's memory and bound on time, if biggan-jax[plan-gpu] is installed, beside what 3 measured
# 6. a training on real digits, with samples
#
# Parts that are not timed, and the compilation of the timed step, run side by side, then the timed ones alone. Each has a time limit; one that fails does not stop the
# others. OUT/report.md has the results, OUT/NAME.log the output, OUT/kernels.tsv the seconds of a step by kind of kernel.
# --gpu: as in biggan-plan --topology. --dry-run: the same on the CPU with a tiny model, to test this script.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 2

out='' gpu='' batch=256 peer='' platform=cuda python=${PYTHON:-python3}
for argument; do
  case $argument in
    --gpu=*) gpu=${argument#*=} ;;
    --batch=*) batch=${argument#*=} ;;
    --peer=*) peer=${argument#*=} ;;
    --dry-run) platform=cpu ;;
    --help | -h) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" && exit 0 ;;
    -*) echo "gpu_check.sh: error: $argument is unknown; known are --gpu, --batch, --peer and --dry-run" >&2 && exit 2 ;;
    *) out=$argument ;;
  esac
done
[[ $out ]] || { echo 'gpu_check.sh: error: give a folder for the results, such as runs/gpu_check' >&2 && exit 2; }
[[ ! -e $out/report.md ]] || { echo "gpu_check.sh: error: $out has results already; use another folder" >&2 && exit 2; }
mkdir -p "$out" || exit 2
: >"$out/parts.tsv"

export JAX_PLATFORMS=$platform TEST_PLATFORM=$platform
deterministic=--xla_gpu_deterministic_ops=true
model=(--config=biggan_imagenet128 --config.batch_size="$batch" --config.dtype=bfloat16)
timed=(--warmup=5 --steps=30 --kernels="$out/kernels.tsv")
training=(--config.num_steps=1200)
if [[ $platform == cpu ]]; then
  model=(--config="$PWD/tests/configs/tiny.py" --config.batch_size=8)
  timed=(--warmup=1 --steps=2 --peak=1e11 --kernels="$out/kernels.tsv")
  training=(--config.num_steps=2 --config.model.ch=2 --config.d_steps=1)
fi

# Runs a command as a part of the check: part NAME SECONDS COMMAND...
part() {
  local name=$1 limit=$2 began=$SECONDS status=0
  shift 2
  echo "== $name: $*"
  timeout --kill-after=10 "$limit" "$@" >"$out/$name.log" 2>&1 || status=$?
  printf '%s\t%s\t%s\n' "$name" "$status" $((SECONDS - began)) >>"$out/parts.tsv"
  ((status == 0)) || tail -5 "$out/$name.log"
}

resumed() {
  local run=("$python" -m biggan_jax.main --config="$PWD/tests/configs/tiny.py" --config.data.name=fake --config.sample_every=0)
  export XLA_FLAGS=$deterministic
  "${run[@]}" --workdir="$out/whole" --config.num_steps=4 &&
    "${run[@]}" --workdir="$out/pieces" --config.num_steps=2 &&
    "${run[@]}" --workdir="$out/pieces" --config.num_steps=4 &&
    "$python" -m biggan_jax.checkpoint compare "$out/whole" "$out/pieces"
}

# Several processes share the GPU, so none takes most of its memory at its start.
export XLA_PYTHON_CLIENT_PREALLOCATE=false
part device 60 "$python" benchmarks/gpu_check.py device
XLA_FLAGS=$deterministic JAX_DEFAULT_MATMUL_PRECISION=highest \
  part golden 200 "$python" -m pytest -q -p no:xdist tests/test_golden.py &
export -f resumed
export out python deterministic
part resume 200 bash -c resumed &
part training 200 "$python" -m biggan_jax.demo --out="$out/demo" "${training[@]}" &
# The timed step is compiled here and read from the cache below; XLA times kernels of each convolution for minutes.
export JAX_COMPILATION_CACHE_DIR=$out/cache JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0
JAX_PLATFORMS=$platform,cpu part compile 360 "$python" benchmarks/train_step.py "${model[@]}" --warmup=1 --steps=1 &
if [[ $gpu ]]; then
  JAX_PLATFORMS=cpu part plan 360 "$python" -m biggan_jax.plan --topology="$gpu:1" "${model[@]}" --noadvise --json="$out/plan.json" &
fi
wait
JAX_PLATFORMS=$platform,cpu part step 150 "$python" benchmarks/train_step.py "${model[@]}" "${timed[@]}" --json="$out/step.json"
if [[ $peer ]] && ! "$python" -c 'import torch' 2>/dev/null; then
  echo 'peer: skipped: PyTorch is not installed'
  peer=''
fi
[[ ! $peer ]] || part peer 150 "$python" benchmarks/gpu_check.py peer --peer="$peer" --batch="$batch" --json="$out/peer.json"
"$python" benchmarks/gpu_check.py report --out="$out"
