.PHONY: demo quick style test test-long test-browser test-sinks test-cluster test-real test-api test-kill test-agents check bench bench-train bench-train-gpu controls benchmarks select clean
PY ?= python3
VENV := .venv
# Hundreds of processes are started, and each would compile what it imports.
unexport PYTHONDONTWRITEBYTECODE
READY := $(VENV)/.ready
# Tests without any for `make quick`: to collect them imports torch.
TORCH := models/tuned bench/test_tuned_bench.py $(patsubst %,models/test_%.py,smollm states_of_snippets minilm workers remote train_bench)

# The main job with all its set-up: environment, downloads, nine researchers, confirmation, report.
demo: $(READY)
	@$(VENV)/bin/aar demo --web $(ARGS)

# While you work: style, layers, and the tests that start no process and take less than a third of a second of processor time
# (the others are in `make test`), with a fifth of the generated examples; their files are in memory, where fsync costs nothing. About a minute
# on two cores.
quick: $(READY) style
	@place=$$(mktemp -d -p "$$(test -w /dev/shm && echo /dev/shm || echo "$${TMPDIR:-/tmp}")" aar-XXXX) && trap 'rm -rf "$$place"' EXIT && \
		$(VENV)/bin/python -m pytest -n 2 --dist worksteal --hypothesis-profile=quick --basetemp="$$place/t" \
		-m "not process and not slow and not long and not cluster and not real_model" $(TORCH:%=--ignore=tests/%)

# All tests that need no download of weights and take less than three seconds each (see test-long), with all their set-up.
test: $(READY) style
	$(VENV)/bin/python -m pytest -n 3 --hypothesis-profile=same --dist loadscope --no-loadscope-reorder \
		-m "not real_model and not schemathesis and not kill and not agents and not long and not cluster"

# Tests that take long: nine agents, kills, whole studies, sets of items and trainings made from nothing. Half an hour.
test-long: $(READY)
	$(VENV)/bin/python -m pytest -n 2 --dist loadscope -m "long and not real_model" --timeout=600

# The pages in a real Chromium alone (they are part of test and test-long); a picture of each page goes to .aar/browser.
test-browser: $(READY)
	AAR_SCREENSHOTS=1 $(VENV)/bin/python -m pytest -m browser -n 0 -rs --timeout=600

# Exports for other tools with their real libraries, in an environment of its own (uvloop and others of theirs stay out).
test-sinks:
	test -x .aar/sinks/bin/python || $(PY) -m venv .aar/sinks
	.aar/sinks/bin/python -m pip install --quiet --disable-pip-version-check -e '.[wandb,trackio,inspect]' \
		hypothesis pytest pytest-timeout pytest-xdist
	.aar/sinks/bin/python -m pytest -m sinks -n 0 -rs --timeout=600 tests/programs/test_trackers.py

# Parts of a real Ray cluster of two nodes and of a real Slurm (where Debian's slurm-wlm and munge are) killed while they work, and of a whole campaign
# of nine researchers on three nodes with PostgreSQL and S3: a quarter of an hour and more. Ray (80 MB) is installed here and by .ci/run; where it is, `make test` has its quick tests, too.
test-cluster: $(READY)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[cluster]'
	$(VENV)/bin/python -m pytest -n 0 -m cluster --timeout=600 -s

# The end-to-end test with the real student and the real ratings (about 95 MB once, then cached in AAR_HOME).
test-real: $(READY)
	$(VENV)/bin/python -m pytest -m real_model --timeout=1500

# Ten thousand generated requests against a real server process, by its OpenAPI description.
test-api: $(READY)
	$(VENV)/bin/python -m pytest -m schemathesis --timeout=1500

# kill -9 at every line of a submission: one process a line, more than a quarter of an hour.
test-kill: $(READY)
	$(VENV)/bin/python -m pytest -m kill --timeout=1500 -s

# The real agent CLIs of all presets, installed by npm (Node 20 or newer) and pip into .agents (1 GB), each through a session
# with a scripted model API, no key and no network: ten minutes.
test-agents: $(READY)
	$(VENV)/bin/python -m tests.agents.install_agents .agents
	PATH="$(CURDIR)/.agents/node_modules/.bin:$(CURDIR)/.agents/python/bin:$$PATH" $(VENV)/bin/python -m pytest tests/agents -m agents -n 0 -q

# Style, and the layers of the package without its tests (tests/walls checks the same contracts).
check: $(READY) style
	$(VENV)/bin/lint-imports

style: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

# All methods on all three problems: the README's table (set-up included; resumes).
bench: $(READY)
	$(VENV)/bin/aar bench $(ARGS)

# What fine-tuning in packs saves on one CPU thread, and whether it computes the same: minutes (docs/training.md).
bench-train: $(READY)
	$(VENV)/bin/python -m experiments.train --preset cpu $(ARGS)

# The same on the true shapes, with random weights: one H200 or H100, nine minutes.
bench-train-gpu: $(READY)
	$(VENV)/bin/python -m experiments.train --preset h200 $(ARGS)

# Break one thing at a time: the controls' table.
controls: $(READY)
	$(VENV)/bin/aar controls $(ARGS)

# Speed: ratios measured in one run; see LOG.md.
benchmarks: $(READY)
	$(VENV)/bin/python experiments/evaluator.py
	$(VENV)/bin/python experiments/features.py
	$(VENV)/bin/python experiments/gateway.py
	$(VENV)/bin/python experiments/server.py

# How the head's hyper-parameters were chosen, on the selection seed alone.
select: $(READY)
	$(VENV)/bin/python experiments/hyperparameters.py

$(READY): pyproject.toml constraints.txt
	$(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PY=python3.12")'
	test -x $(VENV)/bin/python || $(PY) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e '.[claude,models,dev]'
	$(VENV)/bin/python -m compileall -q src
	@# On all cores, which pip does not. Some packages carry files for other Pythons, which are no failure here.
	@$(VENV)/bin/python -m compileall -qq -j 0 $(VENV)/lib || true
	mkdir -p .aar
	@touch $@

clean:
	rm -rf $(VENV)
