# One command for each thing one does here; `make help` lists them.
PYTHON ?= python3
VENV ?= .venv
OUT ?= runs/demo
SEED ?= 0
# What the quick suite is run with: EXTRAS=dev,tf has TensorFlow there, too.
EXTRAS ?= dev
BIN := $(VENV)/bin
# Colab's TPU runtime has Python 3.13, and an environment of its own here.
COLAB_PYTHON ?= python3.13
COLAB := .venv-colab
QUICK := not slow and not plan and not tf and not browser and not docs and not slurm and not wheel and not notebook and not launch and not gke

# All that help lists.
.PHONY: $(shell sed -n 's/^\([a-z-]*\):.*\#\#.*/\1/p' $(MAKEFILE_LIST))
help:  ## This list.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

demo: $(VENV)/installed-demo  ## Train on real digits, draw samples, judge them. SEED=1 OUT=DIR vary it.
	$(BIN)/python -m biggan_jax.demo --seed=$(SEED) --out=$(OUT)

test: $(VENV)/installed-$(EXTRAS)  ## The whole quick suite.
	$(BIN)/python -m pytest -m "$(QUICK)" -n 2 --dist loadfile --durations=10

test-slow: $(VENV)/installed-dev  ## What takes minutes: the demo's quality bar, faults of real processes, collapses.
	$(BIN)/python -m pytest -m slow

test-plan: $(VENV)/installed-dev,plan  ## What compiles for TPUs, with none at hand. Installs their compiler.
	$(BIN)/python -m pytest -m plan

test-tf: $(VENV)/installed-dev,tf  ## What prepares data with TensorFlow: ImageNet from its tars. Installs it.
	$(BIN)/python -m pytest -m tf

test-torch: $(VENV)/installed-dev,efficientnet,torch  ## What needs PyTorch: its files, and peers that judge alike. Installs them.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement tests/evaluation/peers.txt
	$(BIN)/python -m pytest tests/convert tests/evaluation -m "not plan and not tf and not browser"

test-browser: $(VENV)/installed-dev,browser  ## The page in headless Chromium, which must be installed.
	$(BIN)/python -m pytest -m browser

test-launch: $(VENV)/installed-dev  ## launch/tpu_pod.sh, in all the moods of a stand-in cloud; against the real gcloud's parser, where it is.
	$(BIN)/python -m pytest tests/launch -m launch -rs

test-gke: $(VENV)/installed-dev $(VENV)-xpk/installed  ## launch/gke_jobset.sh's JobSets by Kubernetes' schema, and beside what xpk makes. Installs xpk.
	XPK_VENV=$(VENV)-xpk $(BIN)/python -m pytest tests/launch -m gke

# Of xpk's own environment: its dependencies are many, and old.
$(VENV)-xpk/installed:
	$(PYTHON) -m venv $(VENV)-xpk
	$(VENV)-xpk/bin/python -m pip install --quiet --disable-pip-version-check xpk==1.16.0 kubernetes-validate==1.37.0 jsonschema
	touch $@

test-slurm: $(VENV)/installed-dev  ## launch/slurm.sh on a real Slurm of two nodes on this machine: apt-get install slurm-wlm munge.
	$(BIN)/python -m pytest tests/launch -m slurm -rs

test-wheel: $(VENV)/installed-dev,release  ## The wheel, built, installed into an empty environment and run far from here.
	$(BIN)/python -m pytest tests/test_wheel.py -m wheel

test-notebooks: $(VENV)/installed-dev,notebook  ## The notebooks, cell by cell, on CPU and with few steps; minutes.
	$(BIN)/python -m pytest tests/notebooks -m notebook

# The notebook comes first and installs the package, from the last commit, as it does there: what is here already is taken away.
test-colab: $(COLAB)/installed  ## The package, and its notebook, on what Colab's TPU runtime has installed. COLAB_PYTHON says which Python.
	$(COLAB)/bin/python -m pip uninstall --quiet --yes biggan-jax tensorboardX ml-collections simplejpeg opencv-python-headless mlxtend
	$(COLAB)/bin/python -m pytest --noconftest tests/notebooks/test_colab_tpu.py -m notebook
	$(COLAB)/bin/python -m pytest -m "$(QUICK)" -n 2 --dist loadfile

notebooks: $(VENV)/installed-dev  ## Each notebooks/NAME.ipynb of its source, NAME.md.
	$(BIN)/python notebooks/build.py

test-docs: $(VENV)/installed-dev,docs  ## The site, and every command that README and docs/ show, run in a scratch folder; minutes.
	$(BIN)/python -m pytest tests/docs -m docs

parity: $(VENV)/installed-dev  ## How far recorded outputs of other implementations are from ours: docs/numerics.md.
	JAX_PLATFORMS=cpu $(BIN)/python -m tests.convert.parity

docs: $(VENV)/installed-docs  ## The pages of docs/ as a site, in docs/_build/html. Warnings are errors.
	$(BIN)/python -m sphinx -q -W --keep-going docs docs/_build/html
	@echo "the site: docs/_build/html/index.html"

linkcheck: $(VENV)/installed-docs  ## Whether what the pages link to on other sites is there. Needs a network.
	$(BIN)/python -m sphinx -q -b linkcheck docs docs/_build/linkcheck

pages: $(VENV)/installed-dev  ## The pages of docs/ that are made of code: every key, and recipes.
	$(BIN)/python docs/generate.py

plans: $(VENV)/installed-dev,plan  ## docs/plans.md: what of it is missing, planned; minutes each.
	$(BIN)/python benchmarks/plans.py

lint: $(VENV)/installed-dev  ## Style, types, spelling, shell scripts, notebooks without outputs: what pre-commit and CI check.
	$(BIN)/pre-commit run --all-files --color=always

hooks: $(VENV)/installed-dev  ## Has git check the same before each commit.
	$(BIN)/pre-commit install

clean:  ## Remove the environment and caches; runs/ stays.
	rm -rf $(VENV) $(VENV)-xpk $(COLAB) .cache .pytest_cache .ruff_cache .mypy_cache build dist docs/_build *.egg-info

$(COLAB)/installed: tests/colab/requirements.txt
	@$(COLAB_PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' || \
	  { echo "Colab has Python 3.13, $(COLAB_PYTHON) is none: make COLAB_PYTHON=/path/to/python3.13 ..." >&2; exit 2; }
	$(COLAB_PYTHON) -m venv --clear $(COLAB)
	$(COLAB)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

# One install for each set of extras; again only when the metadata changes.
$(VENV)/installed-%: setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed, $(PYTHON) is older: make PYTHON=python3.11 ..." >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	touch $@
