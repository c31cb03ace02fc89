// Package engine holds the JavaScript engine: QuickJS-NG as a WASI reactor, as the npm package quickjs-wasi has it, byte for byte.
// make engine fetches it anew and compares. Its licence is in LICENSE.
package engine

import _ "embed"

// Where the module is from.
const (
	Package = "quickjs-wasi" // of npm; its quickjs.wasm
	Version = "3.6.2"
	SHA256  = "d4c9375f2b1ca4dc95f72c8aa2982a7a9951ac8011490d79c6582df732b4bbd9" // of the module
)

// Wasm is the module. It is not to be changed.
//
//go:embed quickjs.wasm
var Wasm []byte
