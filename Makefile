.PHONY: demo test test-real test-api test-kill check bench bench-train bench-train-gpu controls benchmarks select clean
PY ?= python3
VENV := .venv
READY := $(VENV)/.ready

# The main job with all its set-up: environment, downloads, nine researchers, confirmation, report.
demo: $(READY)
	@$(VENV)/bin/aar demo $(ARGS)

# All tests that need no download of weights, with all their set-up.
test: $(READY) check
	$(VENV)/bin/python -m pytest -n 2 --dist loadscope -m "not real_model and not schemathesis and not kill"

# The end-to-end test with the real student and the real ratings (about 95 MB once, then cached in AAR_HOME).
test-real: $(READY)
	$(VENV)/bin/python -m pytest -m real_model --timeout=1500

# Ten thousand generated requests against a real server process, by its OpenAPI description.
test-api: $(READY)
	$(VENV)/bin/python -m pytest -m schemathesis --timeout=1500

# kill -9 at every line of a submission, about five minutes.
test-kill: $(READY)
	$(VENV)/bin/python -m pytest -m kill --timeout=1500 -s

# Style, types of imports and walls.
check: $(READY)
	$(VENV)/bin/ruff check src tests benchmarks
	$(VENV)/bin/ruff format --check src tests benchmarks
	$(VENV)/bin/lint-imports

# All methods on all three problems: the README's table (set-up included; resumes).
bench: $(READY)
	$(VENV)/bin/aar bench $(ARGS)

# What fine-tuning in packs saves on one CPU thread, and whether it computes the same: minutes (docs/training.md).
bench-train: $(READY)
	$(VENV)/bin/python -m benchmarks.train --preset cpu $(ARGS)

# The same on the true shapes, with random weights: one H200 or H100, nine minutes.
bench-train-gpu: $(READY)
	$(VENV)/bin/python -m benchmarks.train --preset h200 $(ARGS)

# Break one thing at a time: the controls' table.
controls: $(READY)
	$(VENV)/bin/aar controls $(ARGS)

# Speed: ratios measured in one run; see LOG.md.
benchmarks: $(READY)
	$(VENV)/bin/python benchmarks/evaluator.py
	$(VENV)/bin/python benchmarks/features.py
	$(VENV)/bin/python benchmarks/gateway.py
	$(VENV)/bin/python benchmarks/server.py

# How the head's hyper-parameters were chosen, on the selection seed alone.
select: $(READY)
	$(VENV)/bin/python benchmarks/hyperparameters.py

$(READY): pyproject.toml constraints.txt
	$(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PY=python3.12")'
	test -x $(VENV)/bin/python || $(PY) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[claude,models,dev]'
	@touch $@

clean:
	rm -rf $(VENV)
