#!/bin/sh
# Writes go.mod for one version of Kubernetes: k8s.io/kubernetes's own requirements, and a replace for each staging module, which it
# requires at v0.0.0. Then run: go mod tidy && go build ./...
set -e
KV=${1:-1.36.3}; SV=0.${KV#1.}
M=$(go mod download -json k8s.io/kubernetes@v$KV | sed -n 's/.*"GoMod": "\(.*\)".*/\1/p')
{
	echo "module github.com/tiercel-project/tiercel/test/kube"
	echo
	grep '^go ' "$M"
	echo
	grep '^godebug' "$M"
	echo
	echo "require ("
	echo "	k8s.io/kubernetes v$KV"
	sed -n '/^require (/,/^)/p' "$M" | grep '^	' | sed 's/ \/\/ indirect//' | sed -E "s#^(	k8s.io/[a-z-]+) v0\.0\.0\$#\1 v$SV#"
	echo ")"
	echo
	echo "replace ("
	sed -n '/^replace (/,/^)/p' "$M" | sed -nE "s#^	(k8s.io/[a-z-]+) => .*#	\1 => \1 v$SV#p"
	echo ")"
} > go.mod
