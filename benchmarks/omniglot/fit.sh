# Sourced by run.sh and methods.sh, which set `out`: how they train.
# Training keeps its memory (see the Makefile); one thread repeats to the bit on any number of cores.
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=4000000000 OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

fit() { # fit NAME METHOD OPTIONS...
    local run="$out/$1"
    shift
    if [[ -f "$run/last.safetensors" ]]; then
        graphfew train --resume --out "$run"
    else
        graphfew train --data omniglot --split train --validate val --seed 0 --out "$run" "$@"
    fi
}
