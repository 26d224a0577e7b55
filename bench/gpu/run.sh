#!/usr/bin/env bash
# All that is to be seen on a machine with a GPU, in one call of at most nine minutes:
#
#     OUT=folder bench/gpu/run.sh
#
# builds the package for the GPU that is there, runs the tests with new tensors on it, measures beside torch and jax, runs
# the guide's examples, and the kernels' tests under compute-sanitizer. Downloads nothing: needs nvcc, and a Python with
# numpy, pybind11, scikit-build-core, cmake, ninja and pytest (PYTHON says which; python3); pytest-xdist, hypothesis,
# mpmath, scipy, torch, jax and compute-sanitizer where they are there.
#
# A part that fails or takes too long is reported, and the others run all the same. In the folder: summary.md, measure.json,
# measure.md, and logs.tar.gz with what each part printed. The exit status is 0 if all parts passed.
#
# BUILT=folder-with-the-package, for a second run on the same machine, leaves out the build.
#
# Before that it is tried without a GPU: DRY=1 BUILT=… EVOLUTE_CUDA_PLUGIN=…/libevolute_cuda_emulated.so goes through all
# parts but the build, with tests that are collected and not run, and measurements of tiny sizes.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
: "${OUT:?names the folder for the results}"
python="${PYTHON:-python3}"
export PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 MPLBACKEND=Agg
readonly total=530 # seconds, of nine minutes
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
mkdir -p "$OUT" "$work/logs"
failed=0

say() { printf '%s\n' "$*" | tee -a "$OUT/summary.md"; }

# part NAME LIMIT COMMAND...: runs it for at most LIMIT seconds, or as many as are left.
part() {
  local name="$1" limit="$2" start="$SECONDS" status=0 left=$((total - SECONDS))
  shift 2
  ((limit <= left)) || limit="$left"
  if ((limit < 5)); then
    say "| $name | NOT RUN | 0 s | no time left |"
    failed=1
    return 1
  fi
  timeout --kill-after=5 "$limit" "$@" >"$work/logs/$name.log" 2>&1 || status=$?
  local verdict=passed last
  last="$(grep -v '^[[:space:]]*$' "$work/logs/$name.log" | tail -n 1 | tr '|' '/' | cut -c 1-160)"
  if ((status == 124 || status == 137)); then
    verdict="TOO LONG"
  elif ((status != 0)); then
    verdict="FAILED ($status)"
  fi
  ((status == 0)) || failed=1
  say "| $name | $verdict | $((SECONDS - start)) s | $last |"
  return "$status"
}

workers=() dry_tests=() dry_measure=()
! "$python" -c "import xdist" 2>/dev/null || workers=(-n 8)
if [[ -n "${DRY:-}" ]]; then
  : "${BUILT:?names the folder with the package}" "${EVOLUTE_CUDA_PLUGIN:?names the emulated plug-in}"
  dry_tests=(--collect-only -q) dry_measure=(--tiny)
  export EVOLUTE_EMULATED_COMPILER=1
  mkdir "$work/bin"
  printf '#!/bin/sh\nshift 4\nexec "$@"\n' >"$work/bin/compute-sanitizer"
  chmod +x "$work/bin/compute-sanitizer"
  PATH="$work/bin:$PATH"
fi

: >"$OUT/summary.md"
say "# Evolute on a GPU"
say ""
gpu="$(nvidia-smi --query-gpu=name,driver_version,memory.total,compute_cap --format=csv,noheader 2>/dev/null | head -n 1)"
say "${gpu:-no GPU that nvidia-smi knows of}; $(nproc) CPUs; $(nvcc --version 2>/dev/null | grep release || echo no nvcc)"
say ""
say "| part | | time | last line |"
say "|---|---|--:|---|"

# ---- Build -----------------------------------------------------------------------------------------------------------

capability="${gpu##*, }"
architecture="${capability//./}"
build() {
  CMAKE_BUILD_PARALLEL_LEVEL="$(nproc)" CMAKE_ARGS="-DEVOLUTE_CUDA=ON -DEVOLUTE_CUDA_ARCHITECTURES=${architecture:-90}-real" \
    "$python" -m pip install --no-build-isolation --no-deps --no-index --target "$work/site" .
}
export -f build
export python architecture work
[[ -n "${BUILT:-}" ]] || part build 240 bash -c build
# NVRTC's wheel, as torch brings it, where the toolkit has none.
EVOLUTE_NVRTC_PATH="$("$python" -c '
import glob, os, sysconfig
print(*[os.path.dirname(p) for p in glob.glob(sysconfig.get_path("purelib") + "/nvidia/*/lib/libnvrtc.so*")][:1])')"
export EVOLUTE_NVRTC_PATH
export PYTHONPATH="${BUILT:-$work/site}${PYTHONPATH:+:$PYTHONPATH}"
part "there is a GPU" 30 "$python" -c "
import evolute as ev
ev.set_context(device_target='GPU')
print('1 + 1 =', (ev.ops.ones((2,)) + 1).sum().item() / 2, 'on', ev.ops.ones((1,)).device)"

# ---- Tests and measurements: first what says most --------------------------------------------------------------------

# An interpreter in the place of kernels made at run time would pass all tests, and be slow.
part "kernels are made at run time" 30 env EVOLUTE_CUDA_COMPILER=1 "$python" -c "
import evolute as ev
ev.set_context(device_target='GPU')
print('sum', ev.jit(lambda x: ev.ops.sin(x) * x + 1)(ev.ops.ones((1000,)) * 2).sum().item(), '(2818.59 wanted)')"
part "kernel tests" 90 "$python" -m pytest "${workers[@]}" "${dry_tests[@]}" tests/test_gpu*.py
part measure 150 "$python" bench/gpu/measure.py "$OUT" --seconds 120 "${dry_measure[@]}"
part "all tests, on the GPU" 150 env EVOLUTE_TEST_DEVICE=GPU \
  "$python" -m pytest "${workers[@]}" "${dry_tests[@]}" --maxfail 50 tests
for mode in GRAPH_MODE PYNATIVE_MODE; do
  part "guide, $mode" 40 "$python" -c "
import sys
sys.path.insert(0, 'examples')
import evolute as ev
ev.set_context(device_target='GPU', mode=ev.$mode)
import guide
wrong = [e.run.__name__ for e in guide.EXAMPLES if not e.agrees(e.output(ev.$mode))]
print(len(guide.EXAMPLES), 'examples, wrong:', wrong or 'none')
sys.exit(bool(wrong))"
done

# ---- Sanitizers: each allocation by itself, so that what lies beyond one is nobody's -----------------------------------

export EVOLUTE_CUDA_CACHE=0
sanitize() {
  part "$1" "$2" compute-sanitizer --tool "$1" --error-exitcode 9 \
    "$python" -m pytest -p no:xdist -x "${dry_tests[@]}" "${@:3}"
}
sanitize memcheck 90 tests/test_gpu.py tests/test_gpu_sums.py tests/test_gpu_products.py -k \
  "not large and not made_at_run_time and not device_errors and not functions_of"
sanitize racecheck 60 tests/test_gpu.py tests/test_gpu_sums.py tests/test_gpu_products.py -k \
  "in_loops or not gpu_sums and (reductions or products or sums or positions or linear_algebra or large)"

# ---- Results ---------------------------------------------------------------------------------------------------------

say ""
[[ ! -e "$OUT/measure.md" ]] || tee -a "$OUT/summary.md" <"$OUT/measure.md"
for log in "$work"/logs/*.log; do
  if grep -qE '(^|[^a-zA-Z])(FAILED|ERROR|Error)' "$log"; then
    printf '\n==> %s\n' "$(basename "$log")"
    grep -E '(^|[^a-zA-Z])(FAILED|ERROR|Error)' "$log" | head -n 12 | cut -c 1-200
  fi
done
tar -czf "$OUT/logs.tar.gz" -C "$work" logs
printf '\n%d s in all\n' "$SECONDS"
exit "$failed"
