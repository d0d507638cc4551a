# make demo   compress the sample photographs and look at the result
# make test   lint, types and all tests
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: demo test bench lint clean

demo: $(STAMP)
	$(BIN)/python -m bench.demo --out demo

test: lint
	$(BIN)/python -m pytest

bench: $(STAMP)
	$(BIN)/python -m bench.rate_distortion bench/samples --out results/samples.json
	$(BIN)/python -m bench.speed bench/samples

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/mypy

# Under the constraints pip takes the pinned torch, not the newest.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) demo results
