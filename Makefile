# `make run` and `make test` are enough on a fresh Debian or Ubuntu machine, as root or as a user with sudo; each
# installs what it needs. The rest are the steps they are made of.
SHELL := /bin/bash
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

.PHONY: help run test test-docker test-kubernetes build guest-image unit fuzz e2e cluster e2e-kubernetes image test-open-webui bench bench-kubernetes clean

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r name text; do printf '  make %-15s %s\n' "$$name" "$$text"; done

run: build ## build, make sure of an engine and a guest image, and serve on port 3000 (Ctrl-C ends it)
	@tools/ensure-docker
	@image=$$(tools/with-docker tools/ensure-guest-image) && \
	 TERMINALS_IMAGE=$$image exec tools/with-docker build/terminals serve

test: ## every test, against a real engine, a real cluster and real guests; ends with "N passed, N failed"
	@tools/install-packages build test docker go
	@tools/ensure-docker
	@tools/with-docker tools/run-tests unit fuzz e2e kubernetes

test-docker: ## every test but those that need a Kubernetes cluster
	@tools/install-packages build test docker
	@tools/ensure-docker
	@tools/with-docker tools/run-tests unit fuzz e2e

test-kubernetes: ## only the tests on a Kubernetes cluster, which is built and started from packages
	@tools/install-packages build test docker go
	@tools/ensure-docker
	@tools/with-docker tools/run-tests kubernetes

build: ## build/terminals
	@tools/install-packages build
	@tools/build build
	@ninja -C build src/terminals

guest-image: ## the real guest as open-terminal:local, from Debian and PyPI packages
	@tools/install-packages guest docker
	@tools/ensure-docker
	@tools/with-docker tests/guest/build-image

unit: ## only the unit tests: plain, under ASan and UBSan, and the threaded parts under TSan
	@tools/install-packages build test
	@tools/run-tests unit

fuzz: ## replay the corpus of every fuzz target
	@tools/install-packages build test
	@tools/run-tests fuzz

e2e: ## only the end-to-end tests; ARGS is passed to pytest
	@tools/install-packages build test docker
	@tools/ensure-docker
	@tools/with-docker tools/run-tests e2e

cluster: ## only the tests on a Kubernetes cluster of their own, which is started and ended
	@tools/install-packages build test docker go
	@tools/ensure-docker
	@tools/with-docker tools/run-tests cluster

e2e-kubernetes: ## the end-to-end tests over both Kubernetes backends; ARGS is passed to pytest
	@tools/install-packages build test docker go
	@tools/ensure-docker
	@tools/with-docker tools/run-tests e2e-kubernetes

image: ## the Docker image "terminals"
	@tools/install-packages docker
	@tools/ensure-docker
	@tools/with-docker docker build -f deploy/docker/Dockerfile -t terminals -t terminals:$$(cat VERSION) .

test-open-webui: ## the panel, files and settings of a real Open WebUI (installs 7 GB into the tests' cache)
	@tools/install-packages build test docker
	@tools/ensure-docker
	@tools/build build && ninja -C build --quiet
	@tools/with-docker tests/guest/build-image
	@tools/in-venv tests/open_webui/install
	@tools/with-docker tools/in-venv pytest -q tests/open_webui

bench: build ## side by side with nginx and HAProxy
	@tools/install-packages bench test docker
	@tools/ensure-docker
	@tools/with-docker tests/guest/build-image
	@tools/with-docker tools/in-venv python tests/bench/run.py $(ARGS)

bench-kubernetes: build ## first requests, crowds and a thousand resources on a Kubernetes cluster, which is started and ended
	@tools/install-packages bench test docker go
	@tools/ensure-docker
	@tools/with-docker tests/guest/build-image
	@tools/with-docker tools/with-cluster tools/in-venv python tests/bench/kubernetes.py $(ARGS)

clean: ## remove what was built
	rm -rf build build-asan build-tsan build-fuzz build-image
