package sandbox

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/tetratelabs/wazero/api"

	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/runtime/sandbox/wasm"
)

// Limits of a program's initialisation.
const (
	initTimeout = 10 * time.Second // of a machine that does other things too
	initMemory  = abi.MaxInitial
)

// A published program is ready to run: compiled code and the state that every event finds. Functions of the same program share it.
type published struct {
	engine   *Engine
	driver   driver
	manifest abi.Manifest
	code     *code
	shared   bool         // the code is an engine's of ours
	release  func() error // gives the code back

	// The sealed state. Of a program whose instances are initialised one by one it is the state before.
	image   *image
	globals []uint64 // values by code.globals
	state   [32]byte // digest of it
}

// publish checks a file, compiles it and brings it into the state that is sealed.
func (e *Engine) publish(ctx context.Context, bin []byte, digest [32]byte) (*published, error) {
	prog, err := formatOf(bin).open(bin)
	if err != nil {
		return nil, err
	}
	return e.publishProgram(ctx, prog, digest)
}

// publishProgram makes a program ready from what an earlier process made of its file, or from the file, and keeps what comes of that.
func (e *Engine) publishProgram(ctx context.Context, prog *program, digest [32]byte) (*published, error) {
	if kept := e.load(digest, prog.basis); kept != nil {
		p, err := e.restore(ctx, prog, kept)
		if !errors.Is(err, errProduct) {
			return p, err
		}
		e.metrics.products.WithLabelValues("damaged").Inc()
	}
	p, err := e.fromFile(ctx, prog, digest)
	if err == nil {
		e.keep(digest, p, prog.basis)
	}
	return p, err
}

// fromFile compiles a program and brings it into the state that is sealed.
func (e *Engine) fromFile(ctx context.Context, prog *program, digest [32]byte) (*published, error) {
	p, err := e.prepare(ctx, prog)
	if err != nil {
		return nil, err
	}
	if !p.code.each() {
		err = p.seal(ctx, digest)
	}
	if err != nil {
		return nil, errors.Join(err, p.free())
	}
	memory, err := p.image.content()
	if err != nil {
		return nil, errors.Join(err, p.free())
	}
	p.state = stateDigest(memory, p.globals)
	if !prog.shared {
		p.code.data = nil // nobody else begins from it
	}
	return p, nil
}

// prepare compiles a program and gives it the memory that its initialisation begins with.
func (e *Engine) prepare(ctx context.Context, prog *program) (p *published, err error) {
	p = &published{engine: e, driver: prog.driver, manifest: prog.manifest, shared: prog.shared}
	if prog.shared {
		p.code, p.release, err = e.engineCode(ctx, prog.module)
	} else {
		var r *rewritten
		if r, err = rewrite(prog.module); err == nil {
			p.code, err = e.compile(ctx, r)
		}
		if err == nil {
			p.release = p.code.free
		}
	}
	if err != nil {
		return nil, err
	}
	if p.image, err = newImage(p.code.data, e.Slots(), e.way); err != nil {
		return nil, errors.Join(err, p.release())
	}
	return p, nil
}

// restore makes a program ready from what an earlier process made of it.
func (e *Engine) restore(ctx context.Context, prog *program, kept *product) (*published, error) {
	memory, err := kept.memory()
	if err != nil {
		return nil, err
	}
	if stateDigest(memory, kept.Values) != kept.Digest {
		return nil, errProduct
	}
	p := &published{engine: e, driver: prog.driver, manifest: prog.manifest, shared: prog.shared, globals: kept.Values, state: kept.Digest}
	if prog.shared {
		p.code, p.release, err = e.engineCode(ctx, prog.module)
	} else {
		r := &rewritten{module: kept.Module, globals: kept.Globals, start: kept.Start, init: kept.Init, traits: kept.Traits}
		if p.code, err = e.compile(ctx, r); err == nil {
			p.release = p.code.free
		}
	}
	if err != nil {
		return nil, err
	}
	if p.image, err = newImage(memory, e.Slots(), e.way); err != nil {
		return nil, errors.Join(err, p.release())
	}
	return p, nil
}

// memory is what an instance's memory has in bytes at first.
func (p *published) memory() int64 { return int64(p.image.size) }

func (p *published) free() error {
	p.image.close()
	return p.release()
}

// seal runs the initialisation and makes the state it comes to the one that instances begin from. It has the same clock and random
// numbers on every machine, so that it comes to the same state.
func (p *published) seal(ctx context.Context, seed [32]byte) error {
	inv := &Invocation{Seed: seed, Time: time.Unix(1, 0), Limits: Limits{Timeout: initTimeout, Memory: initMemory}.withDefaults()}
	c := &call{ctx: ctx, inv: inv, report: &Report{}, clock: newStopwatch(initTimeout)}
	r, err := p.image.take(initMemory)
	if err != nil {
		return err
	}
	in := &instance{memory: r}
	defer in.discard()
	if err = p.initialise(c, c, in); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if _, ok := errors.AsType[*ModuleError](err); ok {
			return err
		}
		c.flush()
		return &ModuleError{Text: fmt.Sprintf("its initialisation: %v", c.reason(ctx, r, err)), Hint: "what needs an event belongs into the handler"}
	}
	image, err := newImage(r.base[:r.size], p.engine.Slots(), p.engine.way)
	if err != nil {
		return err
	}
	p.image.close() // r is freed when it is given back
	p.image = image
	for _, name := range p.code.globals {
		p.globals = append(p.globals, in.mod.ExportedGlobal(name).Get())
	}
	return nil
}

func (p *published) initialise(ctx context.Context, c *call, in *instance) (err error) {
	defer recoverTo(&err)
	if err := p.instantiate(ctx, in); err != nil {
		return err
	}
	if err := p.runInit(ctx, in); err != nil {
		return err
	}
	return p.driver.seal(ctx, c, in)
}

// runInit runs what an instance has to run before it is used.
func (p *published) runInit(ctx context.Context, in *instance) error {
	var first []api.Function
	if p.code.start {
		first = append(first, in.export(wasm.StartExport))
	}
	if p.code.init {
		first = append(first, in.export(abi.ExportInitialize))
	}
	for _, f := range first {
		if _, err := f.Call(ctx); err != nil {
			return err
		}
	}
	return nil
}

// digestOf is what the products of a file are known by.
func digestOf(bin []byte) [32]byte { return sha256.Sum256(bin) }
