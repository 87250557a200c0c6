# One door to everything; `make` lists it.
ENV ?= dev
PYTHON := .venv/bin/python
SUDO := $(shell [ "$$(id -u)" -eq 0 ] || echo sudo -E)
REHEARSAL := $(SUDO) $(PYTHON) -m rehearsal --stack $(ENV)

.DEFAULT_GOAL := help
.PHONY: help setup check test test-long rehearse demo rehearse-down preview policy policy-setup recover destroy bench docs sbom lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: .venv/.ready ## install what the project needs into its own folder, and missing programs by apt
	@rehearsal/system-packages.sh

.venv/.ready: requirements.lock
	@rehearsal/system-packages.sh
	@[ -x $(PYTHON) ] || python3 -m venv .venv
	@.venv/bin/pip install -q --require-hashes -r requirements.lock
	@$(PYTHON) -c 'from rehearsal.kubernetes import build; build.go()' 2>/dev/null || .venv/bin/pip install -q --require-hashes -r rehearsal/kubernetes/go.lock
	@touch $@

check: setup ## lint, types and unit tests: no root, no network, about a minute
	@$(PYTHON) -m ruff format --check -q
	@$(PYTHON) -m ruff check -q
	@$(PYTHON) -m mypy
	@$(PYTHON) docs/generate.py --check
	@$(PYTHON) -m pytest -q -n 2 --dist loadfile -m 'not long'

test: policy-setup check ## every test, the rehearsal's included
	@$(SUDO) $(PYTHON) -m pytest tests/rehearsal -m 'not long' --durations=40
	@# Skipped above on a new machine: they need helm, which the rehearsal has built since, and promtool.
	@$(SUDO) $(PYTHON) -c 'from rehearsal.kubernetes import build, programs; build.build(programs.PROMTOOL)'
	@$(SUDO) $(PYTHON) -m pytest -q -rfE tests/unit/test_platform_alerts.py tests/unit/test_argo_stand_ins.py

test-long: setup ## the tests that take many minutes each, such as the loss of a whole platform
	@$(PYTHON) -m pytest tests/unit -q -n 2 -m long
	@# On a platform of its own: what production answered within an hour counts, whichever test asked.
	@$(SUDO) $(PYTHON) -m pytest tests/rehearsal/test_platform_drift.py -m long
	@$(SUDO) $(PYTHON) -m pytest tests/rehearsal -m long --durations=40 --ignore=tests/rehearsal/test_platform_drift.py

rehearse: setup ## deploy Pulumi.dev.yaml (ENV=name: another) on this computer; leaves it running
	@$(REHEARSAL) rehearse

demo: setup ## tell a model's way to production, and who is stopped on it, on the stack of `make rehearse`
	@$(REHEARSAL) demo

rehearse-down: setup ## end everything that a rehearsal started; what it made is kept for the next one
	@$(REHEARSAL) cloud down

preview: setup ## what a deployment would change (ENV=name); touches nothing
	@$(REHEARSAL) preview

policy: setup ## what the rules of docs/policy.md object to (ENV=name); asks no cloud, makes nothing
	@$(PYTHON) -m rehearsal --stack $(ENV) policy

policy-setup: policy/.venv/.ready ## install the pack's own environment, for `pulumi preview --policy-pack policy`

policy/.venv/.ready: policy/requirements.lock | .venv/.ready
	@[ -x policy/.venv/bin/python ] || python3 -m venv policy/.venv
	@policy/.venv/bin/pip install -q --require-hashes -r policy/requirements.lock
	@touch $@

recover: setup ## bring an interrupted or half-dead rehearsed stack back under control, then up (docs/recovery.md)
	@$(REHEARSAL) recover

destroy: setup ## remove everything that the rehearsed stack made
	@$(REHEARSAL) destroy

bench: setup ## graph building against its goals, as ratios
	@$(PYTHON) -m tests.bench

docs: setup ## write the generated pages
	@$(PYTHON) docs/generate.py

sbom: setup ## write sbom.cdx.json: all that is pinned, with its digests, as CycloneDX
	@$(PYTHON) docs/sbom.py

lock: ## renew the lock files after a change of pyproject.toml or of a requirements file
	@.venv/bin/uv pip compile -q pyproject.toml --extra rehearsal --extra dev --generate-hashes --no-header \
		--no-emit-index-url --python-version 3.11 -o requirements.lock
	@.venv/bin/uv pip compile -q rehearsal/cloud/requirements.in --universal --generate-hashes --no-header \
		--no-emit-index-url --python-version 3.11 -o rehearsal/cloud/requirements.lock
	@.venv/bin/uv pip compile -q policy/requirements.in --universal --generate-hashes --no-header \
		--no-emit-index-url --python-version 3.11 -o policy/requirements.lock
	@.venv/bin/uv pip compile -q rehearsal/kubernetes/go.in --universal --generate-hashes --no-header \
		--no-emit-index-url --python-version 3.11 -o rehearsal/kubernetes/go.lock
	@for name in $(addprefix rehearsal/images/,mlflow tools locust streamlit ray) examples/model/requirements examples/exploration/requirements; do .venv/bin/uv pip compile -q $$name.in \
		--generate-hashes --no-header --no-emit-index-url --python-version 3.11 --python-platform x86_64-manylinux_2_36 -o $$name.lock \
		|| exit 1; done

clean: rehearse-down ## remove everything the project installed and made in its folder
	@$(SUDO) rm -rf .rehearsal .venv policy/.venv
