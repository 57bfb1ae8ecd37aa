# make demo   the whole story against a simulator
# make test   what every change must pass, on any machine with Go
# make check  what CI runs: lint, vet, tests with the race detector, demo

GO      ?= go
BIN     := bin
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
BUILD   := $(GO) build -trimpath -ldflags "-X main.version=$(VERSION)"

.PHONY: all build demo test race lint vet check bench man install clean

all: build

build:
	$(BUILD) -o $(BIN)/ ./cmd/...

demo: build
	$(BIN)/masspay demo

test:
	$(GO) test ./...

race:
	$(GO) test -race -timeout 15m ./...

vet:
	$(GO) vet ./...

lint: $(BIN)/golangci-lint
	$(BIN)/golangci-lint run ./...

# The linter has a module of its own, so that the product's go.mod stays small.
$(BIN)/golangci-lint: tools/go.mod tools/go.sum
	$(GO) build -modfile=tools/go.mod -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

check: lint vet race demo

bench:
	$(GO) test -run '^$$' -bench . -benchmem ./gate ./store/... ./batch ./web

man: build
	$(BIN)/masspay man $(BIN)/man

install: build
	install -d $(DESTDIR)/usr/local/bin
	install -m 755 $(BIN)/masspay $(DESTDIR)/usr/local/bin/masspay

clean:
	rm -rf $(BIN)
