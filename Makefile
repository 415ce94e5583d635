# The loop: `make run`, `make test`, `make check`. Each target installs what it lacks and says what it installs.
# `make help` lists the targets; CONTRIBUTING.md explains the lanes.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# An own Node.js in .node when the machine's is too old (tools/setup/node.sh); otherwise the machine's.
node_arch := $(if $(filter aarch64 arm64,$(shell uname -m)),arm64,x64)
export PATH := $(CURDIR)/.node/node_modules/node-linux-$(node_arch)/bin:$(CURDIR)/node_modules/.bin:$(PATH):/usr/sbin:/sbin
# Early releases of 24 say at each start that stripping types is an experiment.
node := node --disable-warning=ExperimentalWarning

stamps := .cache/stamps
lanes := unit golden conformance netlink bpf pods interop faults kernels

##@ Every day

.PHONY: help
help: ## This list
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@ / { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z][a-z-]*:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@printf '\nLanes of test-<lane>: $(lanes)\n'

.PHONY: run
run: $(stamps)/system-run node_modules/.package-lock.json bpf ## Run pipeline.yaml against this machine
	@tools/setup/mounts.sh
	@exec $(node) cli/main.ts run --config $(or $(CONFIG),pipeline.yaml)

.PHONY: dev
dev: $(stamps)/system-run node_modules/.package-lock.json bpf ## As run, and start again when a source file changes
	@tools/setup/mounts.sh
	@exec $(node) --watch cli/main.ts run --config $(or $(CONFIG),pipeline.yaml)

.PHONY: test
test: $(stamps)/system-test node_modules/.package-lock.json bpf ## Every lane this machine can run, and why not the others
	@tools/setup/mounts.sh
	@exec $(node) tools/test.ts $(LANES)

.PHONY: check
check: node_modules/.package-lock.json bpf ## Types, lint, walls, generated files, links: seconds
	@$(node) tools/check.ts

##@ One thing

.PHONY: $(addprefix test-,$(lanes))
$(addprefix test-,$(lanes)): test-%: $(stamps)/system-test node_modules/.package-lock.json bpf
	@tools/setup/mounts.sh
	@exec $(node) tools/test.ts $*

.PHONY: fix
fix: node_modules/.package-lock.json ## Format and apply safe lint fixes
	@biome check --write .

.PHONY: golden
golden: node_modules/.package-lock.json ## Write the golden files anew; look at the diff before you commit it
	@UPDATE_GOLDEN=1 $(node) tools/test.ts golden

.PHONY: generate
generate: $(stamps)/system-run node_modules/.package-lock.json bpf ## Write every generated file anew
	@$(node) tools/generate.ts

.PHONY: proofs
proofs: $(stamps)/system-test node_modules/.package-lock.json bpf ## Each alert with the fault that fired it, each dashboard panel with its number of series
	@tools/setup/mounts.sh
	@$(node) tools/test.ts interop --file interop/alerts --file interop/dashboards || status=$$?; \
	  sed -n 's/^ *ℹ \(.*|.*\)/\1/p' .output/test/interop.log; exit $${status:-0}

.PHONY: docs-captures
docs-captures: $(stamps)/system-test node_modules/.package-lock.json bpf ## What the commands of docs/how-to-find show, and skoopline top beside a fault, anew
	@tools/setup/mounts.sh
	@UPDATE_CAPTURES=1 $(node) tools/test.ts pods --file how-to-find
	@$(node) tools/captures/top.ts

.PHONY: bench
bench: $(stamps)/system-test node_modules/.package-lock.json bpf ## The figures the README quotes
	@tools/setup/mounts.sh
	@exec $(node) bench/main.ts $(BENCH)

.PHONY: soak
soak: $(stamps)/system-test node_modules/.package-lock.json bpf ## The fault lane, long: 1000 kills instead of 200
	@tools/setup/mounts.sh
	@SOAK=1 exec $(node) tools/test.ts faults

.PHONY: screenshots
screenshots: $(stamps)/system-test node_modules/.package-lock.json bpf ## docs/images/ anew, from a real run with real faults
	@tools/setup/mounts.sh
	@exec $(node) tools/screenshots.ts

##@ Build

.PHONY: build
build: node_modules/.package-lock.json bpf ## dist/: JavaScript and BPF objects, what the image and the package ship
	@$(node) tools/build.ts

.PHONY: bpf
bpf: $(stamps)/system-run ## The BPF objects, what changed only
	@if command -v clang > /dev/null; then bpf/build.sh objects; \
	 else echo 'bpf: there is no clang here, so the BPF objects are not built and the ebpf receiver will be off.'; fi

.PHONY: new-receiver new-processor new-exporter
new-receiver new-processor new-exporter: new-%: node_modules/.package-lock.json
	@$(node) tools/new-component.ts $* "$(NAME)"

.PHONY: clean
clean: ## Remove what was built; keeps node_modules, .node and .cache
	@rm -rf dist .output

##@ Scaffolding
## make new-receiver NAME=x, new-processor, new-exporter: a component that is green from its first minute

$(stamps)/node: tools/setup/node.sh
	@tools/setup/node.sh
	@mkdir -p $(@D) && touch $@

$(stamps)/system-%: tools/setup/system.sh
	@tools/setup/system.sh $* $@

node_modules/.package-lock.json: package.json package-lock.json .npmrc | $(stamps)/node
	@tools/setup/packages.sh
