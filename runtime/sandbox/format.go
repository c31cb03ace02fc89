package sandbox

import (
	"context"

	"github.com/tetratelabs/wazero"

	"github.com/tiercel-project/tiercel/functions/abi"
)

// A format is a kind of file that can be deployed as a function. A WebAssembly module that speaks tiercel_v1 is one ([plainFormat]). A
// language whose source text is what is deployed is another: its format names the language's engine module, which is compiled once for all
// functions in it, and a driver that brings the text into an instance. To add one, write its format and driver in a file of their own and
// add it to [formats].
type format interface {
	// name is what people call it.
	name() string
	// recognise reports whether bin is of this format, by what it begins with; it need not be in order.
	recognise(bin []byte) bool
	// open checks bin as far as can be told without running it. The error is a *ModuleError, or several, joined.
	open(bin []byte) (*program, error)
	// host adds what the code of its programs imports beside tiercel_v1 and WASI. It is called once for each Engine.
	host(ctx context.Context, rt wazero.Runtime) error
}

// formats lists all of them; the first that recognises a file has it. The plain one is the last: it says what a file is that is nothing.
var formats = []format{javascriptFormat{}, plainFormat{}}

func formatOf(bin []byte) format {
	for _, f := range formats[:len(formats)-1] {
		if f.recognise(bin) {
			return f
		}
	}
	return formats[len(formats)-1]
}

// A program is a file that was opened: the code to run it on, and how.
type program struct {
	manifest abi.Manifest
	// module is the WebAssembly that it runs on. It exports its memory.
	module []byte
	// shared says that module is an engine of ours, the same for many programs: it is compiled once for all of them, and may import and
	// export what a user's module may not.
	shared bool
	// basis is the digest of what the sealed state comes of beside the file: an engine of ours and what it loads first. Zero: nothing.
	basis  [32]byte
	driver driver
}

// A driver runs the instances of one program. All it learns and does goes through the instance's exports (instance.export) and the call,
// which is what the host's functions find in their context (current): call.inv holds the event, call.perform does an operation,
// call.output takes the result, call.log the log. Its methods are called with an instance to itself, and panics of host functions of its
// own end the invocation as those of tiercel_v1 do.
type driver interface {
	// seal is called once for each program, on an instance whose start function and _initialize have been run. It brings the instance into
	// the state that is sealed: what every event finds. Operations cannot be called in it, its clock and random numbers are the same each time.
	seal(ctx context.Context, c *call, in *instance) error
	// handle has the instance, which is in the sealed state, handle the event. It returns the status as tiercel_handle does, with the
	// result in call.output. An error, or a panic of a host function, ends the invocation as a fault.
	handle(ctx context.Context, c *call, in *instance) (status uint32, err error)
}

// plainFormat is WebAssembly that speaks tiercel_v1.
type plainFormat struct{}

func (plainFormat) name() string          { return "WebAssembly" }
func (plainFormat) recognise([]byte) bool { return true }

func (plainFormat) open(bin []byte) (*program, error) {
	m, err := validate(bin)
	if err != nil {
		return nil, err
	}
	return &program{manifest: m, module: bin, driver: plainDriver{}}, nil
}

func (plainFormat) host(context.Context, wazero.Runtime) error { return nil }

// plainDriver calls the exports of tiercel_v1.
type plainDriver struct{}

func (plainDriver) seal(ctx context.Context, _ *call, in *instance) error {
	warm := in.export(abi.ExportWarm)
	if warm == nil {
		return nil
	}
	_, err := warm.Call(ctx)
	return err
}

func (plainDriver) handle(ctx context.Context, c *call, in *instance) (uint32, error) {
	in.stack[0] = uint64(len(c.inv.Event))
	err := in.export(abi.ExportHandle).CallWithStack(ctx, in.stack[:])
	return uint32(in.stack[0]), err
}
