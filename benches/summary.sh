#!/bin/sh
# Runs every criterion bench briefly and prints one line each: what it took, what it may take (benches/budgets.tsv). A figure
# beyond its budget is marked; that is for people to judge, since the machine may have been busy.
set -eu
cd "$(dirname "$0")/.."

figures=$(mktemp)
trap 'rm -f "$figures"' EXIT

${CARGO:-cargo} bench --workspace --locked --bench '*' -- \
	--warm-up-time 0.3 --measurement-time 1 --sample-size 20 --noplot --output-format bencher >"$figures"

awk -F '\t' '
	function shown(ns) {
		if (ns < 1000) return sprintf("%d ns", ns)
		if (ns < 1000000) return sprintf("%.2f us", ns / 1000)
		return sprintf("%.2f ms", ns / 1000000)
	}
	FNR == NR { if ($0 !~ /^#/) budget[$1] = $2; next }
	match($0, / \.\.\. bench: +/) {
		name = substr($0, 6, RSTART - 6)
		figure = substr($0, RSTART + RLENGTH)
		sub(/ ns\/iter.*/, "", figure)
		gsub(/,/, "", figure)
		figure += 0
		limit = name in budget ? shown(budget[name]) : ""
		over = name in budget && figure > budget[name] ? "OVER" : ""
		seen[name] = 1
		printf "%-52s %12s %12s %s\n", name, shown(figure), limit, over
	}
	END {
		for (name in budget) if (!(name in seen)) { print "no bench of this name: " name; missing = 1 }
		exit missing
	}
' benches/budgets.tsv "$figures"
