#!/usr/bin/env bash
# Known vulnerabilities in code that masspay reaches, by govulncheck, with the
# toolchain that go.mod names; of programs that are built, in all that is in them.
# Where the vulnerability database's server cannot be reached, the database is made from its Go
# module, which takes a minute more.
#   tools/vuln.sh [PROGRAM...]
set -euo pipefail
for program in "$@"; do [ -f "$program" ] || { echo "$program: no such program" >&2; exit 1; }; done
programs=()
for program in "$@"; do programs+=("$(realpath "$program")"); done
cd "$(dirname "$0")/.."
export GOTOOLCHAIN="${VULN_TOOLCHAIN:-auto}"
db=()

if ! curl -fsS --max-time 10 -o /dev/null https://vuln.go.dev/index/db.json 2>/dev/null; then
	echo "vuln.go.dev cannot be reached: the database is made from the module golang.org/x/vulndb"
	folder=$(mktemp -d)
	trap 'rm -rf "$folder"' EXIT
	vulndb=$(go mod download -json golang.org/x/vulndb@latest)
	source=$(sed -n 's/^.*"Dir": "\(.*\)".*$/\1/p' <<<"$vulndb")
	sed -n 's/^.*"Version": "\(.*\)".*$/database: \1/p' <<<"$vulndb"
	(cd "$folder" && go run golang.org/x/vulndb/cmd/indexdb@latest -vulns "$source/data/osv" -out "$folder/v1")
	db=(-db "file://$folder/v1")
fi
check() { go run golang.org/x/vuln/cmd/govulncheck@v1.9.0 "${db[@]}" "$@"; }
if [ ${#programs[@]} -eq 0 ]; then
	check ./...
fi
for program in "${programs[@]}"; do
	echo "$program: $(go version "$program" | sed 's/^.*: //')"
	check -mode binary "$program"
done
