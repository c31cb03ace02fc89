package sandbox

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/tetratelabs/wazero"

	"github.com/tiercel-project/tiercel/functions/abi/manifest"
	sdk "github.com/tiercel-project/tiercel/functions/sdk/javascript"
	"github.com/tiercel-project/tiercel/runtime/sandbox/javascript"
)

// javascriptFormat is a function's source in JavaScript, packed with its manifest (sdk.Program). It runs on an engine module that
// speaks tiercel_v1 itself.
type javascriptFormat struct{}

func (javascriptFormat) name() string { return "JavaScript" }

func (javascriptFormat) recognise(bin []byte) bool {
	_, err := sdk.Open(bin)
	return !errors.Is(err, sdk.ErrNotProgram)
}

func (javascriptFormat) open(bin []byte) (*program, error) {
	source, err := sdk.Open(bin)
	if err != nil {
		return nil, &ModuleError{Text: err.Error()}
	}
	m, err := manifest.Read(bin)
	if err != nil {
		return nil, &ModuleError{Text: fmt.Sprintf("its manifest: %v", err)}
	}
	p, err := javascriptProgram(source)
	if err != nil {
		return nil, err
	}
	p.manifest = m
	return p, nil
}

func (javascriptFormat) host(context.Context, wazero.Runtime) error { return nil }

func javascriptProgram(source *sdk.Program) (*program, error) {
	engine, err := javascript.Module()
	if err != nil {
		return nil, err
	}
	return &program{module: engine.Wasm, shared: true, basis: javascriptBasis(), driver: &javascriptDriver{table: engine.Table, source: source}}, nil
}

var javascriptBasis = sync.OnceValue(func() [32]byte {
	engine, _ := javascript.Module() // it has been asked for before
	sum := sha256.Sum256(engine.Wasm)
	return sha256.Sum256(append(sum[:], sdk.SDK...))
})

// javascriptDriver loads the source into an engine and then leaves it to the exports of tiercel_v1.
type javascriptDriver struct {
	plainDriver
	table   uint32
	source  *sdk.Program
	exports javascript.Exports // after seal; a program that was restored has none
}

func (d *javascriptDriver) seal(ctx context.Context, _ *call, in *instance) error {
	h, err := javascript.Boot(ctx, in.mod, in.export, d.table)
	if err != nil {
		return err
	}
	d.exports, err = h.Load(d.source)
	if e, ok := errors.AsType[*javascript.Error](err); ok {
		return &ModuleError{Text: d.place(e), Hint: sourceHint(e.Text)}
	}
	return err
}

// place is the error with the place where the source has it. Of an import that fails the engine does not say it.
func (d *javascriptDriver) place(e *javascript.Error) string {
	text := d.source.Where(e.Error())
	_, rest, ok := strings.Cut(e.Text, "could not load module '")
	if name, _, closed := strings.Cut(rest, "'"); ok && closed {
		return d.source.Import(name) + strings.TrimPrefix(text, d.source.File)
	}
	return text
}

// sourceHint says what to do about an error of a source.
func sourceHint(text string) string {
	switch {
	case strings.Contains(text, "could not load module"):
		return "a function is one file: there is nothing that it can import"
	case strings.Contains(text, "during initialisation"):
		return "operations belong into the handler: the top level is run once, before any event"
	}
	return ""
}

// outOfMemory is what a result begins with whose handler did not get the memory it asked for.
const outOfMemory = `{"outcome":"failed","text":"InternalError: out of memory`

// handle runs the handler. Positions in what a script of TypeScript says are those of its source.
func (d *javascriptDriver) handle(ctx context.Context, c *call, in *instance) (uint32, error) {
	if d.source.Map != "" {
		c.where = d.source.Where
	}
	status, err := d.plainDriver.handle(ctx, c, in)
	if c.where != nil {
		c.output = []byte(c.where(string(c.output)))
	}
	if bytes.HasPrefix(c.output, []byte(outOfMemory)) {
		in.memory.refused = true // the engine itself refuses what could never be had
	}
	return status, err
}
