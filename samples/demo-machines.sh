#!/usr/bin/env bash
# Three machines on one database, as processes of this one: a PostgreSQL of its own, a
# simulated gate that pays whatever it is asked to, three times masspay work, masspay serve,
# and one masspay run that only hands a file on. One worker is killed, and the database is
# stopped in the middle. In the end the gate's ledger is held against the result.
#
#   make demo-machines      or: samples/demo-machines.sh FOLDER, with masspay and gatesim in it
set -euo pipefail

bin=$(cd "${1:-bin}" && pwd)
PATH=$bin:$PATH
pg=$(dirname "$(command -v initdb || ls -d /usr/lib/postgresql/*/bin/initdb 2>/dev/null | sort -V | tail -1)") || true
[ -x "$pg/pg_ctl" ] || pg=$(dirname "$(readlink -f "$pg/initdb")")
if [ ! -x "$pg/pg_ctl" ]; then
	echo "PostgreSQL is not here: install it (Debian and Ubuntu: apt install postgresql), then the same again" >&2
	exit 1
fi

dir=$(mktemp -d "${TMPDIR:-/tmp}/masspay-machines.XXXXXX")
as=()
if [ "$(id -u)" = 0 ]; then # the server refuses to run as root
	as=(runuser -u postgres --)
	mkdir "$dir/db" && chown postgres "$dir/db" && chmod 711 "$dir"
else
	mkdir "$dir/db"
fi
server() { (cd / && "${as[@]}" "$pg/pg_ctl" -D "$dir/db/data" -w -s -l "$dir/db/log" -o "-c listen_addresses= -c unix_socket_directories=$dir/db" "$@"); }
end() {
	kill $(jobs -p) 2>/dev/null || true
	wait 2>/dev/null || true
	server -m immediate stop 2>/dev/null || true
	rm -rf "$dir"
}
trap end EXIT
say() { printf '\n== %s\n' "$*"; }

say "a PostgreSQL of its own"
(cd / && "${as[@]}" "$pg/initdb" -D "$dir/db/data" -U masspay -A trust -E UTF8 --locale=C --no-sync >/dev/null)
server start

cd "$dir"
port=$((20000 + RANDOM % 10000))
gatesim -project 1234=secret -callback "http://127.0.0.1:$port/callbacks" -listen 127.0.0.1:0 -manage 127.0.0.1:0 -pay-every -outcome-after 500ms -fault cut-after=0.02 -fault late=0.01 >gate.log 2>&1 &
for _ in $(seq 100); do grep -q 'API on' gate.log && break; sleep 0.05; done
api=$(grep -o 'http://[0-9.:]*' gate.log | sed -n 1p)
manage=$(grep -o 'http://[0-9.:]*' gate.log | sed -n 2p)
printf secret >1234.secret && chmod 600 1234.secret
cat >masspay.yaml <<YAML
gate: { base_url: "$api", rate: 60, timeout: 2s, status_after: 500ms, quiet_period: 9s } # longer than the gate may be late
projects: [ { id: 1234, secret_file: 1234.secret } ]
store: { url: "postgres://masspay@/postgres?host=$dir/db", key_file: store.key }
callbacks: { listen: "127.0.0.1:$port" }
YAML
masspay init
{
	echo "operation_type;general.project_id;method;general.payment_id;payment.amount;payment.currency;account.number;account.bank_code;customer.id;customer.ip_address;customer.first_name;customer.last_name;customer.email"
	for i in $(seq 400); do
		printf 'payout;1234;sbp-p2p;demo-%04d;%d;KGS;99655510%02d%02d;optima;emp-%d;198.51.100.11;Ainura;Kadyrova;a%d@example.com\n' "$i" $((100000 + i)) $((i % 100)) $((20 + i % 60)) "$i" "$i"
	done
} >payroll.csv

say "three machines, and serve"
masspay serve 2>serve.log &
for n in 1 2 3; do
	masspay work 2>"work$n.log" &
	eval "worker$n=$!"
done

say "one run hands a file of 400 payouts on"
masspay run payroll.csv --detach --yes || [ $? = 4 ]
sleep 2
masspay status

say "machine 1 is killed"
kill -9 "$worker1"
sleep 1
say "the database is stopped without a word, and started again"
server -m immediate stop
sleep 1
server start
say "and so it goes on"
until masspay status --watch payroll.csv || [ $? != 11 ]; do sleep 0.5; done
masspay report payroll.csv -o result.csv || true

say "the gate's ledger"
gatesim -judge "$manage" payroll.csv result.csv
