# Needs Rust and Go. The scripts under deploy/local install the Debian packages they need, and say so.
SHELL := /bin/bash
MAKEFLAGS += --no-print-directory
export PATH := $(CURDIR)/.cluster/bin:$(PATH):$(HOME)/.cargo/bin:/usr/local/go/bin
# Where a cluster that is not the local one gets its images from: make install REGISTRY=registry.example.com/team
export REGISTRY

LOCAL := deploy/local
# A layer of `make test` finds everything installed; the same layer on its own sees to it first.
INSTALLED ?= $(if $(NIGHTSHIFT_TESTING),,install)
TESTS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test bench check cluster cluster-down install uninstall crds image \
	test-unit test-chart test-api test-e2e test-chaos test-install rust

help: ## This list
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo '  demo, install and uninstall act on the cluster of $$KUBECONFIG; where it is not set, on the local one.'
	@echo '  A cluster elsewhere needs the images from a registry: make install REGISTRY=registry.example.com/team'

demo: install ## See it work: a cluster, the operator, and a nightly import that runs in it
	@$(LOCAL)/images.sh ensure shell import
	@$(LOCAL)/with-cluster.sh $(LOCAL)/demo.sh

test: ## Everything, on this machine's local cluster
	@$(LOCAL)/test.sh

bench: rust ## What a run costs beside bare Jobs, on a cluster of its own; CASE=name runs one, CASE=list names them
	@deploy/bench/run.sh $(CASE)

check: rust ## Format, lints, unit and property tests, generated files up to date; needs no cluster
	cargo fmt --all --check
	cargo clippy --quiet --all-targets --locked -- -D warnings
	$(LOCAL)/crds.sh check
	@$(MAKE) test-unit

cluster: ## Start the local cluster, or see that it is up
	@$(LOCAL)/up.sh

cluster-down: ## Stop the local cluster and remove what it left behind
	@$(LOCAL)/down.sh

install: rust ## The operator of this working tree, into the current cluster
	@$(LOCAL)/operator.sh install

uninstall: ## Remove the operator; tasks, runs and their kinds stay
	@$(LOCAL)/operator.sh uninstall

crds: rust ## Generate the CRDs anew from the Rust types
	$(LOCAL)/crds.sh write
	@if command -v helm >/dev/null; then deploy/manifests.sh write; else echo '  deploy/manifests/install.yaml: left as it is, there is no helm here (make cluster builds it)'; fi

image: rust ## Build the operator's image, and load it where the local cluster is up
	@$(LOCAL)/images.sh operator

test-unit: rust ## Unit tests, property tests, and the architecture
	cargo test --quiet --locked --lib --test architecture -- --test-threads 6

test-chart: ## The Helm chart, and the plain manifests made from it
	helm lint --strict charts/nightshift
	deploy/manifests.sh check
	@$(LOCAL)/chart.sh

# The layers below change the cluster they run on: always the local one.
test-api test-e2e test-chaos test-install: export KUBECONFIG := $(CURDIR)/.cluster/kubeconfig

test-api: $(INSTALLED) ## Against the real API server; TESTS=name runs some of it
	cargo test --locked --test api -- $(TESTS)

# Tests wait more than they work: threads are many, cores are few.
test-e2e: $(INSTALLED) ## On the real cluster, with real pods
	@$(LOCAL)/images.sh ensure import
	@$(LOCAL)/stories.sh e2e --test-threads 12 --skip operator_down $(TESTS) --then operator_down

# What fails here is not run again: a rare race is the very thing that is looked for.
test-chaos: $(INSTALLED) ## The operator stopped at every write, and started again; one of two, and the API server, killed and frozen
	cargo test --locked --test chaos -- --test-threads 5 --skip failover --skip outage $(TESTS)
	cargo test --locked --test chaos -- --test-threads 3 --nocapture failover
	cargo test --locked --test chaos -- --nocapture outage

test-install: $(INSTALLED) ## Upgrade, uninstall and plain manifests keep what users have
	@$(LOCAL)/lifecycle.sh

rust:
	@$(LOCAL)/rust.sh
