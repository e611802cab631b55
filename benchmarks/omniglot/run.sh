#!/usr/bin/env bash
# Omniglot (Vinyals' split, four rotations as classes): trains prototypes, EGNN and GNN, and tests them.
# Run from the repository's root: bash benchmarks/omniglot/run.sh [FOLDER]. Finished parts are skipped; an interrupted
# one is resumed.
set -euo pipefail
out=${1:-benchmarks/omniglot/results}
source "$(dirname "$0")/fit.sh"

measure() { # measure NAME OPTIONS...
    local file="$out/$1.json"
    shift
    [[ -f "$file" ]] || graphfew evaluate "$@" --data omniglot --split test --shot 1 --tasks 1000 --seed 0 --out "$file"
}

fit prototypical prototypical --way 60 --shot 1 --query 5 --batch 1 --steps 4000 --halve-every 1000
# The two graph networks read the prototypes' features: the encoder stays as it is, so what differs is the method. Tasks of
# one alphabet are harder than tasks of any classes, and the number of queries varies, single ones included. EGNN learns on
# mirrored characters, which the encoder has not seen: their features are as unlike as those of new classes.
graph=(--transductive --way 5 --shot 1 --within-groups --init-encoder "$out/prototypical" --freeze-encoder
       --validate-every 1000 --validate-tasks 500)
fit egnn egnn --split train-mirrored --loss joint --query single+varied:1-30 --batch 64 --steps 6000 --lr 5e-4 \
    --halve-every 1200 --validate-query single+varied:1-75 "${graph[@]}"
fit gnn gnn --query varied:1-30 --batch 32 --steps 8000 --lr 2e-3 --halve-every 1600 --validate-query varied:1-75 \
    "${graph[@]}"

measure 5way "$out/prototypical" "$out/egnn" "$out/gnn" --way 5 --query 5
measure 5way-inductive "$out/egnn" "$out/gnn" --inductive --way 5 --query 5
measure 20way "$out/prototypical" "$out/egnn" --way 20 --query 5
measure queries "$out/prototypical" "$out/egnn" --way 5 --query single --query multinomial:5 --query multinomial:25 \
    --query balanced:15 --query dirichlet:75:2.0
