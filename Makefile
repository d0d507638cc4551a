# make demo   compress the sample photographs, show a table and pictures
# make test   lint, types and all tests
# make test-all   lint, types and all tests, also those with large numbers of cases (hours)
# make bench  compare codecs on the sample photographs: results/samples/report.html
# make figures KODAK=folder    table and plots of README, from the 24 Kodak pictures (twenty minutes)
PYTHON ?= python3
VENV   ?= .venv
KODAK  ?= kodak
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: demo test test-all bench figures lint clean

demo: $(STAMP)
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m bench.studies.demo --out demo

test: lint
	$(BIN)/python -m pytest -n auto --dist worksteal

test-all: lint
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,ray]'
	$(BIN)/python -m pytest -n auto --dist worksteal -rP -m "nightly or not nightly"

bench: $(STAMP)
	$(BIN)/python -m bench bench/samples --points 5 --out results/samples

figures: $(STAMP)
	$(BIN)/python -m bench "$(KODAK)" --points 6 --out results/kodak \
		--codecs codec-visual,codec-mse,jpeg,avif,webp,jpegxl
	$(BIN)/python -m bench.suite.figures results/kodak/json --keep

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/mypy

# With the constraints file, pip installs the pinned torch instead of the newest one.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) demo results
