#!/usr/bin/env bash
# hicra in a continuous-integration job: train briefly, evaluate, keep the report, and fail the job where accuracy is
# below a floor. Under --json each command prints one JSON document on stdout; progress goes to stderr, the job's log.
#
#   STEPS, QUESTIONS   length of the run and of the evaluation
#   FLOOR              accuracy that must be reached, as a share
#   HICRA_HOME         the registry; kept between jobs, an unchanged run is not repeated
set -euo pipefail

STEPS="${STEPS:-10}"
QUESTIONS="${QUESTIONS:-128}"
FLOOR="${FLOOR:-0.1}"

# The reference of the artifact that a command has made, from its JSON document on stdin.
made() { python3 -c 'import json, sys; print(json.load(sys.stdin)["artifacts"][0]["ref"])'; }

training=$(hicra train -c quickstart --algo hicra --name ci --steps "$STEPS" --json | made)
evaluation=$(hicra eval -c quickstart --policy policy:ci@last --name ci --json \
  --set "eval.countdown_questions=$QUESTIONS" | made)
diagnosis=$(hicra diagnose --training "$training" --evaluation "$evaluation" --name ci --json | made)

# An interrupted job leaves nothing half-published; a damaged artifact ends the job here with exit code 3.
hicra artifacts verify --quiet
rm -f hicra-ci.zip
hicra artifacts export "$diagnosis" "$evaluation" -o hicra-ci.zip --quiet

python3 - "$(hicra artifacts path "$diagnosis")/diagnosis.json" "$FLOOR" << 'PYTHON'
import json, sys

with open(sys.argv[1]) as file:
    row = json.load(file)["evaluations"][0]
print(f"{row['policy']} on {row['bench']}: {row['average']:.1%} ({row['low']:.1%} to {row['high']:.1%})")
sys.exit(0 if row["average"] >= float(sys.argv[2]) else f"below the floor of {float(sys.argv[2]):.1%}")
PYTHON
