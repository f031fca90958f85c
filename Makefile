# What one does with this project. `make` alone tells.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test check peers rust-checks rust-tests interop licences bench soak fuzz install

CARGO ?= cargo
PYTHON := .venv/bin/python
PREFIX ?= /usr/local
FUZZ_SECONDS ?= 60
SOAK_SECONDS ?= 3600

say = @printf '\n==> %s\n' '$(1)'

help:
	@echo 'make demo     builds, shows a real call with a real engine on this machine, stays up'
	@echo 'make test     installs the peers that are missing, then every check and test there is'
	@echo 'make check    format, lints, tests, docs, layers, licences: before a change is handed in'
	@echo 'make bench    what everything costs: criterion benches and calls under load, with their budgets'
	@echo 'make soak     calls under load for an hour (SOAK_SECONDS)'
	@echo 'make fuzz     every fuzz target for a minute (FUZZ_SECONDS); needs nightly and cargo-fuzz'
	@echo 'make install  binary, unit and an example configuration (PREFIX, DESTDIR)'

demo:
	@tests/peers.sh build
	$(call say,building)
	@$(CARGO) build --release --locked
	@"$$($(CARGO) metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')/release/callingedge" demo

test: peers rust-checks rust-tests interop
	$(call say,everything passed)

check: rust-checks rust-tests licences
	$(call say,everything passed)

peers:
	$(call say,what tests need: tests/peers.sh)
	@tests/peers.sh build test

rust-checks:
	$(call say,format)
	@$(CARGO) fmt --all --check
	@$(CARGO) fmt --manifest-path tests/differential/Cargo.toml --check
	$(call say,lints: clippy with all targets)
	@$(CARGO) clippy --workspace --all-targets --locked --quiet -- -D warnings
	@CARGO_TARGET_DIR=target $(CARGO) clippy --manifest-path tests/differential/Cargo.toml --all-targets --locked --quiet -- -D warnings
	$(call say,documentation without broken links)
	@RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps --locked --quiet
	$(call say,fuzz targets keep up with the code)
	@CARGO_TARGET_DIR=target $(CARGO) check --manifest-path fuzz/Cargo.toml --locked --quiet

# Unit, property, simulation, layers, documentation and documented examples: one build, one profile.
rust-tests:
	$(call say,Rust tests: units; properties; simulation; API; command line; layers)
	@$(CARGO) test --workspace --locked
	$(call say,our reading of SIP beside that of two other parsers: tests/differential)
	@CARGO_TARGET_DIR=target $(CARGO) test --manifest-path tests/differential/Cargo.toml --locked -- --nocapture

# Other people's software against ours: SIPp, baresip, PJSIP, Kamailio, Pipecat, verifiers of webhooks, a browser.
interop:
	$(call say,interoperation: tests/interop)
	@$(CARGO) build --locked --quiet
	@$(PYTHON) -m pytest tests/interop

licences:
	$(call say,licences and bans)
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny --locked check bans licenses sources; \
	else echo 'cargo-deny is not installed, so licences were NOT checked: cargo install cargo-deny --locked'; fi

bench:
	@benches/summary.sh
	@$(CARGO) run --release --locked --quiet -- bench --calls 200

soak:
	@$(CARGO) run --release --locked -- bench --calls 200 --seconds $(SOAK_SECONDS)

fuzz:
	@mkdir -p fuzz/corpus
	@for target in $$($(CARGO) +nightly fuzz list); do \
		printf '\n==> fuzz %s\n' "$$target"; \
		mkdir -p "fuzz/corpus/$$target"; \
		$(CARGO) +nightly fuzz run "$$target" "fuzz/corpus/$$target" -- -max_total_time=$(FUZZ_SECONDS) -max_len=8192; \
	done

install:
	@$(CARGO) build --release --locked
	@target="$$($(CARGO) metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')"; \
	install -D -m 0755 "$$target/release/callingedge" '$(DESTDIR)$(PREFIX)/bin/callingedge'
	@install -d '$(DESTDIR)/etc/systemd/system' '$(DESTDIR)/etc/callingedge'
	@sed 's|/usr/local/bin/|$(PREFIX)/bin/|g' systemd/callingedge.service >'$(DESTDIR)/etc/systemd/system/callingedge.service'
	@if [ ! -e '$(DESTDIR)/etc/callingedge/callingedge.toml' ]; then \
		install -m 0644 src/config/example.toml '$(DESTDIR)/etc/callingedge/callingedge.toml'; fi
	@echo 'installed; next: edit /etc/callingedge/callingedge.toml, callingedge check, systemctl enable --now callingedge'
