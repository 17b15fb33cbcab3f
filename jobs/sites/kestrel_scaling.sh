#!/usr/bin/env bash
# Submits jobs/sites/kestrel.slurm on N, 2N and 4N nodes, as the ESIF procurement requires, and names the runs.
# Run:      NODES=4 bash jobs/sites/kestrel_scaling.sh config/deepcam/esif_optimized.yaml data.data_dir_prefix=...
# Then:     python -m common.report runs/scaling-4 runs/scaling-8 runs/scaling-16 --html scaling.html
# SBATCH_OPTIONS in the environment is passed to sbatch. Source: ESIF procurement, DeepCAM benchmark.
set -euo pipefail
JOBS_FOLDER=$(cd "$(dirname "$0")/.." && pwd)
export JOBS_FOLDER
first=${NODES:-4}
read -ra options <<<"${SBATCH_OPTIONS:-}"
for nodes in "$first" "$((2 * first))" "$((4 * first))"; do
    RUN_NAME=scaling-$nodes sbatch --export=ALL --nodes="$nodes" "${options[@]}" "$JOBS_FOLDER/sites/kestrel.slurm" "$@"
done
