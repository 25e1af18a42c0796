# Short names for what people do here; Bazel does the work. `make help` lists them.

BAZEL ?= bazel
PREFIX ?= /usr/local
RUNSC := build/runsc
PLATFORM ?= systrap
CMD ?= uname -a
TESTS ?= //...
# Passed to the shell through the environment, so that CMD needs no second quoting.
export CMD
# More arguments of bench/run.py.
ARGS ?=

CXX_FILES = $(shell git ls-files '*.cc' '*.h')

.DEFAULT_GOAL := help
.PHONY: help deps build run test programs bench fmt lint install clean

help: ## list these targets
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' Makefile

deps: ## install the Debian packages that the build needs
	@tools/deps.sh

build: deps ## build the static release binary, build/runsc
	@$(BAZEL) build --config=opt //runsc
	@mkdir -p build
	@install -m 755 bazel-bin/runsc/runsc $(RUNSC)

run: build ## run CMD='…' in a sandbox over this machine's files; writes are discarded
	@$(RUNSC) --platform=$(PLATFORM) do sh -c "$$CMD"

test: deps ## build everything and run all tests (TESTS=//base/... for some)
	@tools/run_tests.py $(TESTS)

programs: build ## compare real programs in a Debian root file system with a plain chroot (needs root)
	@tools/deps.sh --dev
	@tests/programs/run.py --runsc $(RUNSC)

bench: bench-programs ## benchmarks against native, runc, crun and gVisor; report in bench/report (ARGS=… for bench/run.py)
	@bench/run.py $(ARGS)

bench-quick: bench-programs ## the same in a few minutes
	@bench/run.py --quick $(ARGS)

.PHONY: bench-quick bench-programs
bench-programs: build
	@tools/deps.sh --bench
	@bench/peers.sh >/dev/null
	@$(BAZEL) build --config=opt //bench/guest:guest //bench/guest:static_true

fmt: ## format all C++ files in place
	@tools/deps.sh --dev
	@clang-format -i $(CXX_FILES)

lint: ## format check, layer and header checks, clang's lock analysis, clang-tidy
	@tools/deps.sh --dev
	@tools/lint.sh

install: build ## install runsc to $(PREFIX)/bin
	@install -D -m 755 $(RUNSC) $(DESTDIR)$(PREFIX)/bin/runsc

clean: ## drop what the build made
	@$(BAZEL) clean
	@rm -f $(RUNSC)
