// Package function is the Function document: its strict YAML form with positions, its check against the manifest of the module it deploys,
// and the compiled Function that says which events are for it.
//
// It stores nothing (runtime/store) and decides nothing that needs state (runtime/guard). Read Document first, then Function.
package function
