#!/usr/bin/env bash
# Known vulnerabilities in code that masspay reaches, by govulncheck, with the
# toolchain that go.mod names. Where the vulnerability database's server cannot be
# reached, the database is made from its Go module, which takes a minute more.
set -euo pipefail
cd "$(dirname "$0")/.."
export GOTOOLCHAIN="${GOTOOLCHAIN:-auto}"
check=(go run golang.org/x/vuln/cmd/govulncheck@v1.9.0)

if curl -fsS --max-time 10 -o /dev/null https://vuln.go.dev/index/db.json 2>/dev/null; then
	exec "${check[@]}" ./...
fi
echo "vuln.go.dev cannot be reached: the database is made from the module golang.org/x/vulndb"
db=$(mktemp -d)
trap 'rm -rf "$db"' EXIT
vulndb=$(go mod download -json golang.org/x/vulndb@latest)
source=$(sed -n 's/^.*"Dir": "\(.*\)".*$/\1/p' <<<"$vulndb")
sed -n 's/^.*"Version": "\(.*\)".*$/database: \1/p' <<<"$vulndb"
(cd "$db" && go run golang.org/x/vulndb/cmd/indexdb@latest -vulns "$source/data/osv" -out "$db/v1")
"${check[@]}" -db "file://$db/v1" ./...
