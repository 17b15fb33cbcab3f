#!/usr/bin/env bash
# A time to solution under MLPerf's rules: five runs, one after the other, each with a log and a seed from the clock.
#
#   bash jobs/five_runs.sh COMMAND...        RUNS=5 and NAME=five-DATE in the environment set number and name
#
# COMMAND starts one run and accepts key=value at its end, such as
#   python -m common.run -np 2 -- tf_deepcam train --config config/deepcam/demo.yaml
#   srun -n 64 python -m tf_deepcam train --config config/deepcam/rcp_128.yaml data.data_dir_prefix=$SCRATCH/All-Hist
#   sbatch --wait --nodes=16 jobs/sites/perlmutter.slurm config/deepcam/rcp_128.yaml
# In the closed division caches must be emptied before each run: give the site's command in FLUSH. Afterwards, for the
# olympic mean and MLPerf's folder: python -m common.report RUNS/NAME-* --package DIR
set -euo pipefail
[ $# -gt 0 ] || { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2; exit 2; }
runs=${RUNS:-5} name=${NAME:-five-$(date +%Y%m%d-%H%M%S)} seed=0
for ((number = 1; number <= runs; number++)); do
    while [ "$(date +%s)" = "$seed" ]; do sleep 0.1; done # each run has its own seed
    seed=$(date +%s)
    [ -z "${FLUSH:-}" ] || bash -c "$FLUSH"
    echo "== run $number of $runs: $name-$number, seed $seed"
    code=0 # the sites' scripts take the run's name from RUN_NAME
    RUN_NAME=$name-$number "$@" "training.seed=$seed" "output.run_name=$name-$number" || code=$?
    if [ "$code" != 0 ]; then
        echo "error: run $number of $runs ended with exit code $code; those before it are complete" >&2
        exit "$code"
    fi
done
