#!/usr/bin/env bash
# Omniglot with few labels: 5-way tasks of 5 shots per class, of which 20, 40, 60 or 100 % keep their label. Trains EGNN
# and GNN on all four together, and tests them with the other shots as unlabelled nodes and with those dropped.
# Run after run.sh, from the repository's root: bash benchmarks/omniglot/semi.sh [FOLDER]. Finished parts are skipped; an
# interrupted one is resumed.
set -euo pipefail
out=${1:-benchmarks/omniglot/results}
source "$(dirname "$0")/fit.sh"

measure() { # measure RATIO MODE NAME
    local file="$out/semi/$1-${2#--}-$3.json"
    local dropped=()
    [[ "$3" == labelled-only ]] && dropped=(--labelled-only)
    [[ -f "$file" ]] || graphfew evaluate "$out/egnn-semi" "$out/gnn-semi" --data omniglot --split test --way 5 --shot 5 \
        --query 5 --labelled-ratio "$1" --tasks 1000 --seed 0 "$2" "${dropped[@]}" --out "$file"
}

few=(--transductive --way 5 --shot 5 --labelled-ratio 0.2,0.4,0.6,1 --within-groups --init-encoder "$out/prototypical"
     --freeze-encoder --batch 32 --validate-every 1000 --validate-tasks 500)
fit egnn-semi egnn --split train-mirrored --loss joint --query single+varied:1-30 --steps 5000 --lr 5e-4 \
    --halve-every 1000 --validate-query single+varied:1-75 "${few[@]}"
fit gnn-semi gnn --query single+varied:1-30 --steps 8000 --lr 2e-3 --halve-every 1600 \
    --validate-query single+varied:1-75 "${few[@]}"

mkdir -p "$out/semi"
for ratio in 0.2 0.4 0.6 1; do
    for mode in --inductive --transductive; do
        measure "$ratio" "$mode" semi
        measure "$ratio" "$mode" labelled-only
    done
done
