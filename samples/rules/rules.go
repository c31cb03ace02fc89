// Package samplerules holds the rules that come with Tiercel and are loaded unless others are named. testdata has, for each rule, events
// that it must match and events that it must not.
package samplerules

import "embed"

// FS has the rules files at its root. They are loaded in the order of their names.
//
//go:embed *.yaml
var FS embed.FS
