"""Benchmarks as TOML files: specs, their runs, and the records of their results.

Needs the extra `bench`. Start reading at `run_benchmark.run_benchmarks`; a spec is defined in
`spec`, a record in `records`, and the report in `report`.
"""

from graphfew.benchmark.experiments import (
    AnyExperiment,
    EpisodeExperiment,
    SemiSupervisedExperiment,
    list_experiments,
)
from graphfew.benchmark.loader import AnyBenchmark, load_spec
from graphfew.benchmark.protocol import EvaluationProtocol
from graphfew.benchmark.published import PublishedResult, read_published_results
from graphfew.benchmark.records import (
    BenchmarkRecord,
    UnreadableLine,
    append_record,
    read_records,
)
from graphfew.benchmark.run_benchmark import (
    BenchmarkStopped,
    JobStatus,
    ProgressDisplay,
    RunOptions,
    RunPlan,
    plan_run,
    run_benchmarks,
    run_status,
)
from graphfew.benchmark.semi_supervised import SemiSupervisedBenchmark
from graphfew.benchmark.spec import EpisodeBenchmark
from graphfew.benchmark.spec_fields import SpecError

__all__ = [
    "AnyBenchmark",
    "AnyExperiment",
    "BenchmarkRecord",
    "BenchmarkStopped",
    "EpisodeBenchmark",
    "EpisodeExperiment",
    "EvaluationProtocol",
    "JobStatus",
    "ProgressDisplay",
    "PublishedResult",
    "RunOptions",
    "RunPlan",
    "SemiSupervisedBenchmark",
    "SemiSupervisedExperiment",
    "SpecError",
    "UnreadableLine",
    "append_record",
    "list_experiments",
    "load_spec",
    "plan_run",
    "read_published_results",
    "read_records",
    "run_benchmarks",
    "run_status",
]
