# Every task of this repository; `make help` lists them.
PYTHON ?= python3
VENV ?= .venv
OUT ?= runs/demo
SEED ?= 0
# The extras that the quick suite runs with; EXTRAS=dev,tf adds TensorFlow.
EXTRAS ?= dev
BIN := $(VENV)/bin
# Colab's TPU runtime has Python 3.13; its packages are installed in an environment of their own.
COLAB_PYTHON ?= python3.13
COLAB := .venv-colab
# Without it, each process of the tests would compile every module of ours again, and pytest each file of tests.
unexport PYTHONDONTWRITEBYTECODE
QUICK := not slow and not plan and not plan_gpu and not tf and not browser and not docs and not slurm and not wheel and not notebook and not launch and not gke and not families and not parity

# All targets of tests but test-all.
TARGETS = $(filter-out test-all,$(shell sed -n 's/^\(test[a-z-]*\):.*/\1/p' $(MAKEFILE_LIST)))

# Every target that help lists.
.PHONY: $(shell sed -n 's/^\([a-z-]*\):.*\#\#.*/\1/p' $(MAKEFILE_LIST))
help:  ## List these targets.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

demo: $(VENV)/installed-demo  ## Train on real digits, draw samples, evaluate them. Options: SEED=1 OUT=DIR.
	$(BIN)/python -m biggan_jax.demo --seed=$(SEED) --out=$(OUT)

# worksteal: each worker takes its share of the tests in order, so that it sets up few of the modules' fixtures, and idle ones take
# over. Three workers, since tests of processes wait; four compile no faster on two cores.
test: $(VENV)/installed-$(EXTRAS)  ## Run the quick suite.
	$(BIN)/python -m pytest -m "$(QUICK)" -n 3 --dist worksteal --durations=10

test-all:  ## Run every other test target; print a line for each: result, seconds, what was skipped and why. Hours; continues. AGAIN=1: all.
	@COLAB_PYTHON="$(COLAB_PYTHON)" $(PYTHON) tests/all_targets.py $(TARGETS)

test-slow: $(VENV)/installed-dev  ## Run tests that take minutes (quality bars, faults of real processes, collapses), and further cases of quick ones.
	$(BIN)/python -m pytest -m slow

test-plan: $(VENV)/installed-dev,plan  ## Run tests that compile for TPUs, without a TPU. Installs the TPU compiler.
	$(BIN)/python -m pytest -m plan

test-plan-gpu: $(VENV)/installed-dev,plan-gpu  ## Run tests that compile for GPUs, without a GPU. Installs XLA's compiler for them.
	$(BIN)/python -m pytest -m plan_gpu

test-tf: $(VENV)/installed-dev,tf  ## Run tests that prepare data with TensorFlow, such as ImageNet from its tars. Installs TensorFlow.
	$(BIN)/python -m pytest -m tf

test-families: $(VENV)/installed-dev  ## Run every tool on a small model of every family; compare with docs/families.md. UPDATE=1 writes it.
	$(BIN)/python -m pytest tests/families -m families

test-parity: $(VENV)/installed-dev  ## Compare with all recordings of other implementations that are here, not only those in tests/data/parity.
	$(BIN)/python -m pytest tests/convert -m parity

test-torch: $(VENV)/installed-dev,efficientnet,torch  ## Run tests that need PyTorch: its weight files, and peer implementations of metrics. Installs both.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement tests/evaluation/peers.txt
	$(BIN)/python -m pytest tests/convert tests/evaluation -m "not plan and not tf and not browser"

test-browser: $(VENV)/installed-dev,browser  ## Test the local page in headless Chromium, which must be installed.
	$(BIN)/python -m pytest -m browser

test-launch: $(VENV)/installed-dev  ## Test launch/tpu_pod.sh against a simulated cloud, and against gcloud's parser if gcloud is installed.
	$(BIN)/python -m pytest tests/launch -m launch -rs

test-gke: $(VENV)/installed-dev $(VENV)-xpk/installed  ## Validate launch/gke_jobset.sh's JobSets with Kubernetes' schema, and compare them with xpk's. Installs xpk.
	XPK_VENV=$(VENV)-xpk $(BIN)/python -m pytest tests/launch -m gke

# An environment of its own: xpk has many old dependencies.
$(VENV)-xpk/installed:
	$(PYTHON) -m venv $(VENV)-xpk
	$(VENV)-xpk/bin/python -m pip install --quiet --disable-pip-version-check xpk==1.16.0 kubernetes-validate==1.37.0 jsonschema
	touch $@

test-slurm: $(VENV)/installed-dev  ## Test launch/slurm.sh on a Slurm cluster of two nodes on this machine. Needs: apt-get install slurm-wlm munge.
	$(BIN)/python -m pytest tests/launch -m slurm -rs

test-wheel: $(VENV)/installed-dev,release  ## Build the wheel, install it into an empty environment, and run the commands outside the checkout.
	$(BIN)/python -m pytest tests/test_wheel.py -m wheel

test-notebooks: $(VENV)/installed-dev,notebook  ## Run the notebooks, cell by cell, on CPU with few steps; minutes.
	$(BIN)/python -m pytest tests/notebooks -m notebook

# The notebook runs first and installs the package from the last commit, as on Colab, so installed packages are removed before.
test-colab: $(COLAB)/installed  ## Test the package and its notebook with the packages of Colab's TPU runtime. Needs Python 3.13: COLAB_PYTHON.
	$(COLAB)/bin/python -m pip uninstall --quiet --yes biggan-jax clu tensorboardX ml-collections simplejpeg opencv-python-headless mlxtend
	$(COLAB)/bin/python -m pytest --noconftest tests/notebooks/test_colab_tpu.py -m notebook
	$(COLAB)/bin/python -m pytest -m "$(QUICK)" -n 2 --dist worksteal

notebooks: $(VENV)/installed-dev  ## Build each notebooks/NAME.ipynb from its source, NAME.md.
	$(BIN)/python notebooks/build.py

test-docs: $(VENV)/installed-dev,docs  ## Build the site, and run every command that README and docs/ show, in a scratch folder; minutes.
	$(BIN)/python -m pytest tests/docs -m docs

parity: $(VENV)/installed-dev  ## Print the differences from recordings of other implementations: docs/numerics.md. RECORDINGS=DIR: those in DIR.
	JAX_PLATFORMS=cpu $(BIN)/python -m tests.convert.parity $(RECORDINGS)

docs: $(VENV)/installed-docs  ## Build the pages of docs/ as a site, in docs/_build/html. Warnings are errors.
	$(BIN)/python -m sphinx -q -W --keep-going docs docs/_build/html
	@echo "the site: docs/_build/html/index.html"

linkcheck: $(VENV)/installed-docs  ## Check the pages' links to other sites. Needs a network.
	$(BIN)/python -m sphinx -q -b linkcheck docs docs/_build/linkcheck

pages: $(VENV)/installed-dev  ## Generate the pages of docs/ that come from code: config keys, configs and recipes.
	$(BIN)/python docs/generate.py

plans: $(VENV)/installed-dev,plan  ## Compute the missing rows of docs/plans.md; minutes each.
	$(BIN)/python benchmarks/plans.py

lint: $(VENV)/installed-dev  ## Check style, types, spelling, shell scripts, and that notebooks hold no outputs, as pre-commit and CI do.
	$(BIN)/pre-commit run --all-files --color=always

hooks: $(VENV)/installed-dev  ## Make git run `make lint` before each commit.
	$(BIN)/pre-commit install

clean:  ## Remove the environments and caches; runs/ stays.
	rm -rf $(VENV) $(VENV)-xpk $(COLAB) .cache .pytest_cache .ruff_cache .mypy_cache build dist docs/_build *.egg-info

$(COLAB)/installed: tests/colab/requirements.txt
	@$(COLAB_PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' || \
	  { echo "Colab has Python 3.13, and $(COLAB_PYTHON) is not Python 3.13; use make COLAB_PYTHON=/path/to/python3.13 ..." >&2; exit 2; }
	$(COLAB_PYTHON) -m venv --clear $(COLAB)
	$(COLAB)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

# One install for each set of extras, repeated only when the metadata changes.
$(VENV)/installed-%: setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed, and $(PYTHON) is older; use make PYTHON=python3.11 ..." >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	touch $@
