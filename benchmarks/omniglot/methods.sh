#!/usr/bin/env bash
# Omniglot (Vinyals' split, four rotations as classes): every other trainable method, beside prototypes, EGNN and GNN.
# Run from the repository's root, after run.sh: bash benchmarks/omniglot/methods.sh [FOLDER]. Finished parts are skipped;
# an interrupted one is resumed. Weights are not kept in the repository; configurations, metrics and results are.
set -euo pipefail
out=${1:-benchmarks/omniglot/results}
source "$(dirname "$0")/fit.sh"

# All stand on the prototypes' encoder, which stays as it is, so that what differs is the method; but for three that are
# about the encoder or have few weights beside it, and the relation network, which has an encoder of its own.
start=(--encoder conv4 --init-encoder "$out/prototypical")
frozen=("${start[@]}" --freeze-encoder)
tuned=("${start[@]}" --way 30 --shot 1 --query 3 --batch 1 --steps 3000 --lr 5e-4 --halve-every 1000
       --validate-every 1000)
many=(--way 20 --shot 1 --query 5)
fit siamese siamese "${frozen[@]}" "${many[@]}" --batch 8 --steps 1000 --halve-every 300 --validate-every 250
fit matching matching "${frozen[@]}" "${many[@]}" --batch 4 --steps 500 --halve-every 200 --validate-every 250 \
    --set scale=10 --set learn_scale=true
fit matching_fce matching_fce "${frozen[@]}" "${many[@]}" --batch 4 --steps 1500 --halve-every 500 --validate-every 500 \
    --set scale=10 --set learn_scale=true
fit feat feat "${frozen[@]}" "${many[@]}" --batch 8 --steps 3000 --halve-every 1000 --validate-every 1000 \
    --set learn_scale=true
fit induction induction "${frozen[@]}" "${many[@]}" --batch 8 --steps 3000 --halve-every 1000 --validate-every 1000
fit multi_metric multi_metric "${frozen[@]}" --way 20 --shot 5 --query 5 --batch 4 --steps 3000 --halve-every 1000 \
    --validate-every 1000
fit attention_attractor attention_attractor "${frozen[@]}" "${many[@]}" --batch 2 --steps 1500 --halve-every 500 \
    --validate-every 1000
for shot in 1 5; do
    fit "hybrid_attention-${shot}shot" hybrid_attention "${frozen[@]}" --way 20 --shot "$shot" --query 5 --batch 2 \
        --steps 2000 --halve-every 700 --validate-every 1000
done
fit dpgn-5way1shot dpgn "${frozen[@]}" --transductive --way 5 --shot 1 --query 5 --batch 16 --steps 3000 \
    --halve-every 1000 --validate-every 1000
fit dpgn-5way5shot dpgn "${frozen[@]}" --transductive --way 5 --shot 5 --query 5 --batch 8 --steps 2000 \
    --halve-every 700 --validate-every 1000
fit dpgn-20way1shot dpgn "${frozen[@]}" --transductive --way 20 --shot 1 --query 2 --batch 2 --steps 1500 \
    --halve-every 500 --validate-every 500 --validate-query 2
fit gnn-20way gnn "${frozen[@]}" --transductive --way 20 --shot 1 --query varied:1-40 --batch 4 --steps 2400 --lr 2e-3 \
    --halve-every 600 --validate-every 600 --validate-tasks 200 --validate-query 2
fit tadam tadam "${tuned[@]}"
fit tpn tpn "${tuned[@]}" --transductive
fit epnet epnet "${tuned[@]}" --transductive
fit relation relation --encoder relation_conv --set channels=64 "${many[@]}" --batch 1 --steps 10000 \
    --halve-every 2500 --validate-every 1000

python -m benchmarks.omniglot.measure --runs "$out"
