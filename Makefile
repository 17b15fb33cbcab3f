# The whole project in a few words: `make demo` and `make test` need nothing typed or installed before them
# but git, make, a C++ compiler and Python 3.9 to 3.13.
VENV ?= .venv
GPU ?=
TENSORFLOW ?=
PYTHON := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed-$(if $(filter-out 0,$(GPU)),gpu,cpu)$(if $(TENSORFLOW),-$(TENSORFLOW))

.PHONY: help demo test test-cluster fuzz test-slow lint bench docs venv clean
help:
	@echo "make demo       install, then train, infer and report on made-up scenes of the real size (2 ranks)"
	@echo "make test       install, then check style and types and run the tests"
	@echo "make test-cluster  the job scripts on a Slurm of three virtual hosts (root, Slurm, Open MPI; else skipped)"
	@echo "make fuzz       a hundred times as many damaged files as 'make test' tries"
	@echo "make test-slow  the tests that 'make test' leaves out: trainings on several ranks, and what takes long"
	@echo "make bench      measure speeds, each beside this machine's limit (an hour; writes bench/)"
	@echo "make docs       the documentation as a site, with its generated pages: site/html/index.html"
	@echo "make venv       install only, into $(VENV); 'make venv GPU=1' for NVIDIA GPUs with NCCL,"
	@echo "                'make venv TENSORFLOW=2.15' (or 2.21) for that one instead of 2.20,"
	@echo "                'make venv SYSTEM_TENSORFLOW=1' on the TensorFlow that python has"
	@echo "make clean      remove $(VENV) and what demo, bench and docs wrote"

venv: $(INSTALLED)
$(INSTALLED): requirements.txt requirements-dev.txt $(wildcard jobs/*.txt) jobs/install.sh jobs/horovod.sh jobs/horovod_edits.py
	@TENSORFLOW="$(TENSORFLOW)" bash jobs/install.sh "$(VENV)" "$(GPU)"

demo: $(INSTALLED)
	@PATH="$(abspath $(VENV))/bin:$$PATH" bash jobs/demo.sh

lint: $(INSTALLED)
	@$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check . && $(VENV)/bin/mypy && $(VENV)/bin/codespell

test: lint
	@$(PYTHON) -m pytest -n 2 --dist loadfile --ignore=tests/cluster

test-cluster: $(INSTALLED)
	@$(PYTHON) -m pytest tests/cluster

fuzz: $(INSTALLED)
	@LONG=1 $(PYTHON) -m pytest --timeout 7200 tests/test_damage.py

test-slow: $(INSTALLED)
	@$(PYTHON) -m pytest -n 2 --dist loadfile -m slow --ignore=tests/cluster

bench: $(INSTALLED)
	@$(PYTHON) -m tests.bench

docs: $(INSTALLED)
	@$(PYTHON) -m docs.site site/pages && $(PYTHON) -m mkdocs build --strict && echo "written: site/html/index.html"

clean:
	rm -rf "$(VENV)" demo bench site
