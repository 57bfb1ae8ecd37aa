# make demo   the whole story against a simulator
# make demo-machines   the same with three machines on one database (needs PostgreSQL)
# make test   what every change must pass, on any machine with Go
# make check  what CI runs: lint, vet, tests with the race detector, demo
# make packages        archives, deb, rpm and apk of this commit, in dist/
# make image sbom      an OCI image of them, and lists of what is in them
# make vuln-packages   known vulnerabilities in the programs of those packages
# make packages-test   those packages in fresh systems (Debian, as root)
# make licenses        what masspay licenses prints, after a change of modules
# make vuln   known vulnerabilities in code that masspay reaches
#
# For a night, before a release:
#
# make storm SEEDS=10000               simulated nights
# make crash KILLS=500 CUTS=200        real processes killed, power cut, disks failing
# make storm-machines NIGHTS=100       nights of three machines on one database
# make fuzz FUZZTIME=10m               every fuzz target
# make bench-run                       whole processes, held against a load generator;
#                                      BEFORE=DIR: and against an older masspay there

GO      ?= go
BIN     := bin
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
BUILD   := $(GO) build -trimpath -ldflags "-X main.version=$(VERSION)"

SEEDS    ?= 1000
FIRST    ?= 1
KILLS    ?= 100
CUTS     ?= 50
FAULTS   ?= 50
FLIPS    ?= 10000
NIGHTS   ?= 100
FUZZTIME ?= 1m
RUNS     ?= 5
BENCH     = $(GO) test -run '^$$' -bench . -benchmem ./gate/... ./store/... ./batch/... ./web

FUZZ := gate/FuzzAnswer gate/transport/FuzzParsePlain gate/FuzzNatural gate/FuzzParse gate/FuzzParseCallback gate/FuzzCanonical payout/FuzzAmount payout/FuzzNext \
	store/bolt/FuzzRecords store/bolt/pages/FuzzPages batch/payfile/FuzzCheck cmd/masspay/FuzzConfig

# What go test -v says, but for the lines that only say that a test goes on.
SHELL       := /bin/bash
.SHELLFLAGS := -o pipefail -c
BRIEFLY     := awk '!/^ *(=== |--- PASS)/'

.PHONY: pictures hints all build demo demo-machines storm-machines test race lint vet vuln check storm crash fuzz bench bench-figures bench-compare bench-run man install packages packaging image sbom packages-test vuln-packages licenses clean

all: build

build:
	$(BUILD) -o $(BIN)/ ./cmd/...

demo: build
	$(BIN)/masspay demo

# Three machines on one database, as processes of this one; needs PostgreSQL.
demo-machines: build
	samples/demo-machines.sh $(BIN)

test:
	$(GO) test ./...

race:
	$(GO) test -race -timeout 19m ./...

vet:
	$(GO) vet ./...

lint: $(BIN)/golangci-lint
	$(BIN)/golangci-lint run --allow-parallel-runners ./...

# The linter has a module of its own, so that the product's go.mod stays small.
$(BIN)/golangci-lint: tools/go.mod tools/go.sum
	$(GO) build -modfile=tools/go.mod -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

hints:
	$(GO) test ./cmd/masspay -run '^TestHintsAreFollowed$$'

# The pictures of README.md, from the test of pages in a browser.
pictures:
	$(GO) test ./web -run '^TestBrowser$$' -count 1 -pictures $(CURDIR)/$(BIN)/pictures
	mkdir -p docs/images
	for name in files file payout; do cp $(BIN)/pictures/light-$$name.png docs/images/$$name.png; done

check: lint vet race hints demo

vuln:
	tools/vuln.sh

storm:
	$(GO) test ./batch -run '^TestStorm$$' -v -timeout 0 -storm.seeds=$(SEEDS) -storm.first=$(FIRST) | $(BRIEFLY)

crash:
	$(GO) test ./cmd/masspay -run '^(TestKills|TestPowerCuts|TestDiskFaults)$$' -v -timeout 0 \
		-crash.kills=$(KILLS) -crash.cuts=$(CUTS) -crash.faults=$(FAULTS) | $(BRIEFLY)
	$(GO) test ./store/bolt -run '^(TestFlippedBits|TestCutShort)$$' -v -timeout 0 -damage.flips=$(FLIPS) | $(BRIEFLY)

# Nights of many machines on one database, in real time; needs PostgreSQL.
storm-machines:
	$(GO) test ./cmd/masspay -run '^(TestMachines|TestWorkers)$$' -v -timeout 0 -machines.nights=$(NIGHTS) | $(BRIEFLY)
	$(GO) test ./store/postgres -run '^TestNights$$' -v -timeout 0 -nights=$(NIGHTS) | $(BRIEFLY)

fuzz:
	for target in $(FUZZ); do \
		$(GO) test ./$$(dirname $$target) -run '^$$$$' -fuzz "^$$(basename $$target)$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x || exit 1; \
	done

bench:
	$(BENCH)

# The committed figures, and what has changed since. Times are this machine's; what
# is allocated is the same everywhere.
bench-figures:
	$(BENCH) -count 6 > docs/bench.txt

bench-compare: $(BIN)/benchstat
	$(BENCH) -count 6 > $(BIN)/bench.txt
	$(BIN)/benchstat docs/bench.txt $(BIN)/bench.txt

# Whole processes, held against vegeta and seen from the gate: some twenty minutes.
bench-run: build $(BIN)/vegeta
	$(BIN)/benchrun -bin $(BIN) -runs $(RUNS) $(if $(BEFORE),-before $(BEFORE))

$(BIN)/benchstat: tools/go.mod tools/go.sum
	$(GO) build -modfile=tools/go.mod -o $@ golang.org/x/perf/cmd/benchstat

$(BIN)/vegeta: tools/go.mod tools/go.sum
	$(GO) build -modfile=tools/go.mod -o $@ github.com/tsenart/vegeta/v12

man: build
	$(BIN)/masspay man $(BIN)/man

# It builds nothing: make build as yourself, then sudo make install.
PREFIX ?= /usr/local

install:
	@test -x $(BIN)/masspay || { echo "make build first, as yourself; then sudo make install" >&2; exit 1; }
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/zsh/site-functions $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	install -m 755 $(BIN)/masspay $(DESTDIR)$(PREFIX)/bin/masspay
	$(BIN)/masspay man $(DESTDIR)$(PREFIX)/share/man/man1
	$(BIN)/masspay completion bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/masspay
	$(BIN)/masspay completion zsh > $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_masspay
	$(BIN)/masspay completion fish > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/masspay.fish

# The same bytes from every clone of a commit: nothing that is packed depends on when, where or
# by whom it was built. A commit with a tag v1.2.3 is version 1.2.3, any other one a snapshot.
EPOCH           ?= $(shell git log -1 --format=%ct)
PACKAGE_VERSION ?= $(or $(patsubst v%,%,$(shell git describe --tags --exact-match 2>/dev/null)),0.0.0-dev.$(EPOCH))

packages: $(BIN)/goreleaser
	GOTOOLCHAIN=auto EPOCH=$(EPOCH) COMMITTED=$$(TZ=UTC git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd) PACKAGE_VERSION=$(PACKAGE_VERSION) \
		$(BIN)/goreleaser release --snapshot --clean --skip=publish

# What packages have beside the program; goreleaser calls it.
packaging:
	GOTOOLCHAIN=auto $(GO) build -trimpath -ldflags "-X main.version=$(PACKAGE_VERSION)" -o build/bin/masspay ./cmd/masspay
	packaging/texts.sh build/bin/masspay build $(PACKAGE_VERSION) $(EPOCH)

# An OCI image of the programs in dist, without a daemon, in dist/image.
image:
	cd tools/release && GOTOOLCHAIN=auto $(GO) run ./image $(PACKAGE_VERSION) $(EPOCH) ../../dist ../../dist/image

# What is in each program that is shipped, as CycloneDX.
sbom:
	for program in dist/masspay_*/masspay; do \
		GOTOOLCHAIN=auto $(GO) run github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0 bin -json -noserial -output $$(dirname $$program).cdx.json $$program || exit 1; \
	done

packages-test:
	packaging/test.sh dist

# What must be clean before a release: the source and every program that is shipped.
vuln-packages:
	tools/vuln.sh dist/masspay_*/masspay

licenses:
	$(GO) test ./cmd/masspay -run '^TestThirdParty$$' -count 1 -licenses

# As the linter: in a module of its own.
$(BIN)/goreleaser: tools/release/go.mod tools/release/go.sum
	$(GO) build -modfile=tools/release/go.mod -o $@ github.com/goreleaser/goreleaser/v2

clean:
	rm -rf $(BIN) build dist
