package sandbox

import (
	"context"
	"encoding/hex"
	"errors"
	"sync"

	"github.com/tiercel-project/tiercel/functions/abi"
)

// A Module is a file that was made ready to run as a function. It is safe for concurrent use.
//
// Its initialisation is run once, when it is made ready; the state it comes to is what every event finds: an instance that has handled one
// without fault is brought back into it, any other is thrown away. A module whose state is not all in memory and globals gets a new
// instance for each event, which is initialised by itself. Modules of the same file share their code and that state, not their instances.
type Module struct {
	*published
	digest [32]byte

	idle map[int64]*idleList // that wait, by the size of their region; guarded by the engine's pool, nil once closed

	mu      sync.Mutex
	closed  bool // guarded by mu
	running int  // invocations; guarded by mu
}

// ErrClosed is the cause of a *Stop that Handle returns for a module that has been closed.
var ErrClosed = errors.New("the module has been closed")

// Validate checks a file as Compile does, short of compiling and initialising it, and returns its manifest.
func Validate(bin []byte) (abi.Manifest, error) {
	p, err := formatOf(bin).open(bin)
	if err != nil {
		return abi.Manifest{}, err
	}
	if !p.shared {
		_, err = rewrite(p.module)
	}
	return p.manifest, err
}

// Compile makes a file ready to run: it checks it, compiles it and initialises it. What the file has wrong is a *ModuleError, or several,
// joined; any other error is the machine's. The caller closes the Module.
func (e *Engine) Compile(ctx context.Context, bin []byte) (*Module, error) {
	digest := digestOf(bin)
	p, err := e.programs.get(digest, func() (*published, error) { return e.publish(context.WithoutCancel(ctx), bin, digest) })
	if err != nil {
		return nil, err
	}
	return &Module{published: p, digest: digest, idle: map[int64]*idleList{}}, nil
}

// Manifest returns the module's manifest.
func (m *Module) Manifest() abi.Manifest { return m.manifest }

// Memory returns the size in bytes that the module's memory begins with: the least Limits.Memory that it can run with.
func (m *Module) Memory() int64 { return m.memory() }

// Image returns the digest of the state that every event finds, which is the same on every machine: sha256: and 64 hexadecimal digits.
func (m *Module) Image() string { return "sha256:" + hex.EncodeToString(m.state[:]) }

// Close frees the compiled code and the memory, once the last running invocation has ended and if no other Module shares them. None
// starts afterwards. It may be called twice.
func (m *Module) Close() error {
	m.mu.Lock()
	closed, last := m.closed, m.running == 0
	m.closed = true
	m.mu.Unlock()
	for _, in := range m.engine.pool.close(m) {
		in.discard()
	}
	if closed || !last {
		return nil
	}
	return m.engine.programs.put(m.digest)
}

// begin counts an invocation in, unless m is closed.
func (m *Module) begin() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	m.running++
	return nil
}

// end counts an invocation out; the last one of a closed module frees it.
func (m *Module) end() {
	m.mu.Lock()
	m.running--
	last := m.closed && m.running == 0
	m.mu.Unlock()
	if last {
		_ = m.engine.programs.put(m.digest) // closing compiled code does not fail
	}
}
