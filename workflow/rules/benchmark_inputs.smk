# Folds and paths of a benchmark, and what may be refused before any of its jobs runs.
from acdc_medsam.stages.folds import BenchmarkRule, require_folds

BENCHMARK_RULE = BenchmarkRule(**config["benchmark"])
FOLDS = BENCHMARK_RULE.plan(SPLIT_RULE.scheme)

# A benchmark on few patients has a folder of its own, so that the results of several numbers of patients can be compared.
BUDGET = config["train"]["patients"]
BENCHMARK = f"training/{ENCODER}/benchmark" + (f"_{BUDGET}_patients" if BUDGET else "")
FOLD_PATIENTS = out(f"{BENCHMARK}/{{fold}}/patients.tsv")
FOLDS_INDEX = out(f"{BENCHMARK}/folds.tsv")
FOLD_TRAINED = out(f"{BENCHMARK}/{{fold}}/trained.tsv")
FOLD_EVALUATED = out(f"{BENCHMARK}/{{fold}}/evaluated.tsv")
BENCHMARK_TABLE = out(f"{BENCHMARK}/benchmark.tsv")
BENCHMARK_RESULTS = out(f"{BENCHMARK}/benchmark.json")
BENCHMARK_PAGE = out(f"{BENCHMARK}/benchmark.html")
BENCHMARK_INDEX = out(f"{BENCHMARK}/index.tsv")
BENCHMARK_INDEXES = [FOLDS_INDEX, *expand([FOLD_TRAINED, FOLD_EVALUATED], fold=FOLDS), BENCHMARK_INDEX]


@refusals()
def divisible_manifest(wildcards):
    """The manifest, or an error before any job runs if there would be nothing to measure in some fold."""
    require_whole_patients(config["split"]["unit"])
    splits = plan_split(SPLIT_RULE, SPLIT_FILE, SUBSETS, KNOWN_PATIENTS) or SUBSETS
    tested = sum(split in ("test", "testing") for split in splits.values())
    training = list(SUBSETS.values()).count("training")
    require_folds(BENCHMARK_RULE, SPLIT_RULE, training, tested)
    return MANIFEST
