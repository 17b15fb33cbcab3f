#!/usr/bin/env bash
# Machine:  a workstation or server, with or without NVIDIA GPUs; as many ranks as GPUs, else RANKS (2).
# Shape:    1 node
# Edit:     nothing.
# Run:      bash jobs/sites/workstation.sh config/deepcam/demo.yaml [key=value ...]
# Expected: the demo's config 1.5 minutes on 2 cores (its head). Source: our own.
set -euo pipefail
# shellcheck source=jobs/common.sh
. "$(dirname "$0")/../common.sh"
software
parse "$@"
gpus=$(gpus_here)
ranks=${RANKS:-$((gpus > 0 ? gpus : 2))}
environment
check "$gpus"
by_common_run "$ranks"
