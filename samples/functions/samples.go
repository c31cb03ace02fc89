// Package functions holds function documents to begin with: the bundled responders in dryRun, as make run loads them. The documents
// are the YAML files; this package is their test.
package functions

import "embed"

// FS has the documents at its root.
//
//go:embed *.yaml
var FS embed.FS
