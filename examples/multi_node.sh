#!/usr/bin/env bash
# hicra train on several machines: start this script once on each of them, with its own NODE_RANK.
#
#   NODES, NODE_RANK   how many machines, and which of them this is (0, 1 …)
#   PROCESSES          processes per machine: one per GPU
#   MAIN, PORT         name or address of machine 0, and a free port there
#   HICRA_HOME         the registry, on a file system that all machines share; the first process alone writes to it
#   LAUNCHER           torchrun or accelerate; both start the same processes
#
# All further words go to `hicra train`. What is equal everywhere: the words, the configuration, the installed versions.
# After an interruption (SIGTERM, a lost machine) start all of them again with --resume, also on fewer or more machines.
#
#   NODES=2 NODE_RANK=0 MAIN=node0 PROCESSES=8 HICRA_HOME=/shared/hicra ./multi_node.sh -c qwen3-4b-base
set -euo pipefail

NODES="${NODES:-1}"
NODE_RANK="${NODE_RANK:-0}"
PROCESSES="${PROCESSES:-8}"
MAIN="${MAIN:-127.0.0.1}"
PORT="${PORT:-29500}"
LAUNCHER="${LAUNCHER:-torchrun}"
HERE="$(cd "$(dirname "$0")" && pwd)"

# `auto` copies the model to each process where weights, gradients and moments fit half a GPU, and shards it elsewhere.
WORDS=(train --set train.parallel=auto "$@")

case "$LAUNCHER" in
  torchrun)
    exec torchrun --nnodes "$NODES" --node-rank "$NODE_RANK" --nproc-per-node "$PROCESSES" \
      --master-addr "$MAIN" --master-port "$PORT" -m hicra_cli "${WORDS[@]}"
    ;;
  accelerate)
    exec accelerate launch --config_file "$HERE/accelerate_fsdp.yaml" --num_machines "$NODES" \
      --machine_rank "$NODE_RANK" --num_processes "$((NODES * PROCESSES))" --main_process_ip "$MAIN" \
      --main_process_port "$PORT" -m hicra_cli "${WORDS[@]}"
    ;;
  *)
    echo "LAUNCHER is torchrun or accelerate, not $LAUNCHER" >&2
    exit 2
    ;;
esac
