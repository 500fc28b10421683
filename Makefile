# Deep Learning for Computer Vision. `make book` writes the book, `make test` proves it.

PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
STAMP  := $(VENV)/.installed

# As many tests at a time as there are cores; those of one file or notebook stay together.
PARALLEL := -n auto --dist loadscope

# One thread a process: a result does not depend on how many cores there are. Chapters run side by
# side instead; JOBS says how many.
export OMP_NUM_THREADS ?= 1

# Paths and texts are UTF-8, whatever LC_ALL says.
export PYTHONUTF8 ?= 1

# glibc gives blocks back to the system and gets them again, page by page, at every step of a
# training. Kept, they let convolutions train up to a fifth faster. Blocks of 256 MiB and more, and
# free memory beyond as much, go back at once: a chapter has to fit into 1,500 MiB.
export MALLOC_MMAP_THRESHOLD_ ?= 268435456
export MALLOC_TRIM_THRESHOLD_ ?= 268435456
export MALLOC_TOP_PAD_ ?= 67108864

.DEFAULT_GOAL := help
.PHONY: help book chapter test data notebooks repeat smoke serve lint format sabotage browser new-chapter pins clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version)'
	@echo "installing the pinned packages into $(VENV) (some gigabytes; minutes, once)"
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install --disable-pip-version-check --no-deps -r requirements.txt
	@$(PY) -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	@$(PY) -m pip check
	@touch $@

book: data ## install, fetch the data, run the chapters (JOBS=2 at a time), write _build/html
	@$(PY) -m dl4cv.book build

chapter: data ## run one chapter and write its page: make chapter NAME=gans
	@$(PY) -m dl4cv.book chapter "$(NAME)"

test: book lint browser ## prove it: lint, unit tests, every chapter's outputs, every page
	$(PY) -m pytest $(PARALLEL) tests/unit --cov --cov-report=term
	$(PY) -m pytest $(PARALLEL) --nbval --nbval-sanitize-with tests/chapters/sanitize.cfg book tests/chapters
	$(PY) -m pytest $(PARALLEL) tests/site

# The captioning chapters' pictures are composed here: a chapter that does it itself needs 100 MB more.
data: $(STAMP) ## fetch and check the data sets and the ImageNet networks, compose pictures
	@$(PY) -m dl4cv.data
	@$(PY) -m dl4cv.pretrained
	@$(PY) -c "from dl4cv import caption_training; caption_training.pictures()"

notebooks: $(STAMP) ## write the sibling notebook of every chapter
	@$(PY) -m dl4cv.book notebooks

repeat: data ## measure a chapter's recipe with three seeds: make repeat CHAPTER=gans
	@$(PY) -m dl4cv.book repeat "$(CHAPTER)"

smoke: data ## run every chapter in seconds, to see that it runs
	@$(PY) -m dl4cv.book smoke

serve: book ## build, then serve the book at http://localhost:8000
	@$(PY) -m http.server 8000 --bind 127.0.0.1 --directory _build/html

lint: $(STAMP) ## ruff, pyright, and the chapters' form
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/pyright
	@$(VENV)/bin/lint-imports --no-logo --no-cache
	@$(PY) -m dl4cv.book lint

format: $(STAMP) ## let ruff mend what it can
	@$(VENV)/bin/ruff check --fix .
	@$(VENV)/bin/ruff format .

sabotage: $(STAMP) ## break the code in known ways and see the tests turn red; what was caught is kept
	$(PY) -m pytest tests/sabotage

browser: $(STAMP) ## find or install the browser that the site test drives
	@$(PY) tests/site/browser.py

new-chapter: $(STAMP) ## skeleton: make new-chapter PART=foundations NAME=mlp TITLE="Fully connected networks"
	@$(PY) -m dl4cv.book new "$(PART)" "$(NAME)" "$(TITLE)"

pins: $(STAMP) ## compile requirements.txt anew from requirements.in (needs uv)
	@uv pip compile --universal --python-version 3.11 --no-emit-index-url --output-file requirements.txt requirements.in

clean: ## remove what was built (the data and trained models in the user's cache stay)
	@rm -rf _build
