// Package javascript makes the JavaScript engine a guest of the sandbox: it adds to the engine's module what functions/abi asks of one
// (Module), starts the engine in an instance and loads a function's source into it (Boot, Load). From then on the instance is like any
// other. How instances are made, reset and bounded is package sandbox's matter.
package javascript

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"

	"github.com/tiercel-project/tiercel/functions/sdk/javascript/engine"
	"github.com/tiercel-project/tiercel/runtime/sandbox/wasm"
)

// A Linked is the engine as a guest.
type Linked struct {
	Wasm  []byte
	Table uint32 // where the shim's functions begin in the table
}

// Module returns the engine with the shim. What it returns is shared and not to be changed.
var Module = sync.OnceValues(func() (*Linked, error) {
	if sum := sha256.Sum256(engine.Wasm); hex.EncodeToString(sum[:]) != engine.SHA256 {
		return nil, errors.New("the JavaScript engine in this program is not the one that it names")
	}
	sections, err := wasm.Parse(engine.Wasm)
	if err != nil {
		return nil, fmt.Errorf("the JavaScript engine: %w", err)
	}
	sections, table, err := wasm.Extend(sections, shim)
	if err != nil {
		return nil, fmt.Errorf("the JavaScript engine: %w", err)
	}
	return &Linked{wasm.Encode(sections), table}, nil
})

// An Error is what a source has wrong: it does not parse, or its top level throws.
type Error struct {
	Text  string `json:"text"`
	At    string `json:"at"`    // file:line:column; may be empty
	Stack string `json:"stack"` // with the text
}

func (e *Error) Error() string {
	if e.At == "" {
		return e.Text
	}
	return e.At + ": " + e.Text
}

// Exports are what a program exports, as JSON, beside its handler. Empty: it is not exported.
type Exports struct {
	Manifest string
	Spec     string
}
