package sandbox

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/functions/abi/manifest"
	sdk "github.com/tiercel-project/tiercel/functions/sdk/javascript"
)

// A Packed is a source that was made a file for [Engine.Compile].
type Packed struct {
	Module   []byte
	Manifest abi.Manifest
	Spec     []byte // the export "spec" as JSON: the spec of a Function document; nil if there is none
	Program  *sdk.Program
}

// Pack makes a function's source in JavaScript or TypeScript, read from file, a file for Compile. It runs the source's top level, in a
// sandbox and without any operation, for the exports "manifest" and "spec". What the source has wrong is a *ModuleError that begins with
// file:line:column.
func (e *Engine) Pack(ctx context.Context, file string, source []byte) (*Packed, error) {
	p, err := sdk.New(filepath.Base(file), source)
	if err != nil {
		return nil, &ModuleError{Text: err.Error()}
	}
	prog, err := javascriptProgram(p)
	if err != nil {
		return nil, err
	}
	driver := prog.driver.(*javascriptDriver)
	ready, err := e.fromFile(ctx, prog, sha256.Sum256(source))
	if err != nil {
		return nil, err
	}
	if err := ready.free(); err != nil {
		return nil, err
	}
	text, err := completeManifest(driver.exports.Manifest, p)
	if err != nil {
		return nil, sourceError(p, "manifest", err)
	}
	out := &Packed{Program: p}
	if out.Manifest, err = manifest.Parse(text); err != nil {
		return nil, sourceError(p, "manifest", err)
	}
	if spec := driver.exports.Spec; spec != "" {
		out.Spec = []byte(spec)
	}
	if out.Module, err = p.Pack(text); err != nil {
		return nil, &ModuleError{Text: fmt.Sprintf("%s: %v", p.File, err)}
	}
	return out, nil
}

// sourceError is an error in one of the source's exports.
func sourceError(p *sdk.Program, export string, err error) error {
	var errs []error
	for _, err := range flatten(err) {
		errs = append(errs, &ModuleError{Text: fmt.Sprintf("%s:%d: %s: %v", p.File, p.ExportLine(export), export, err)})
	}
	return errors.Join(errs...)
}

// flatten returns the errors that errors.Join put together.
func flatten(err error) []error {
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		return j.Unwrap()
	}
	return []error{err}
}

// completeManifest fills in what a source need not say: the contract, the name, which is the file's, and a version, which is the text's.
func completeManifest(text string, p *sdk.Program) ([]byte, error) {
	m := map[string]json.RawMessage{}
	if text != "" {
		if err := json.Unmarshal([]byte(text), &m); err != nil || m == nil {
			return nil, errors.New("is not an object")
		}
	}
	sum := sha256.Sum256([]byte(p.Source))
	name, _, _ := strings.Cut(p.File, ".")
	for key, value := range map[string]any{"abi": abi.ImportModule, "name": name, "version": hex.EncodeToString(sum[:6]), "needs": abi.Needs{}} {
		if _, given := m[key]; !given {
			b, err := json.Marshal(value)
			if err != nil {
				return nil, err
			}
			m[key] = b
		}
	}
	return json.Marshal(m)
}
