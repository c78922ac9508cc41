# The commands of this project. Each is one line you could type; what they do is in scripts/.
# A step that has nothing to do is skipped, so none of these is slow the second time.

.DEFAULT_GOAL := help
.PHONY: help run build test lint bench soak docs lock clean

help: ## Say what each command does
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

run: build ## Start everything on this machine and send a small demo; ARGS=--exit stops after it
	@exec .venv/bin/postalynk dev $(ARGS)

build: ## Build the engine (release) and leave postalynk and postalynk-worker in .venv/bin
	@scripts/build.sh

test: ## Check and test everything; ARGS go to pytest
	@scripts/test.sh $(ARGS)

lint: ## Only the checks: format, clippy, ruff, mypy, stubs, imports, licenses
	@scripts/lint.sh

bench: ## Run one benchmark, NAME=first-light; figures go to build/bench/NAME.json
	@scripts/bench.sh $(NAME) $(ARGS)

soak: ## The tests that run for many minutes
	@scripts/soak.sh $(ARGS)

docs: ## Build the reference of the Rust crates into build/docs
	@scripts/docs.sh

lock: ## Rewrite the lock files; UPGRADE=1 takes the newest versions
	@scripts/lock.sh

clean: ## Remove everything that was built, the virtual environment too
	@scripts/clean.sh
