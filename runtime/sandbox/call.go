package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/tiercel-project/tiercel/functions/abi"
)

// A call is the state of one invocation, and the context that the guest is called with: so the host's functions find it.
type call struct {
	ctx      context.Context //nolint:containedctx // the caller's: an operation under way does not end with the guest's time
	own      Invocation      // room for inv
	inv      *Invocation
	host     Host
	report   *Report
	clock    stopwatch
	meter    meter
	watch    watch
	handling bool // initialisation is over

	output   []byte
	response []byte
	declared abi.Result
	logged   int                 // bytes of the log
	written  int                 // bytes that were to go into it
	where    func(string) string // replaces positions in what the guest says; nil: they are right

	fault  *Fault
	stop   *Stop
	exited bool
	exit   uint32

	ticks       uint64 // nanoseconds since inv.Time, on the guest's clock
	random      *rand.ChaCha8
	partial     [3][]byte // of stdout and stderr, by file descriptor: what has no line feed yet
	firstStderr string
}

type callKey struct{}

func current(ctx context.Context) *call {
	if c, ok := ctx.(*call); ok {
		return c
	}
	return ctx.Value(callKey{}).(*call)
}

// Deadline, Done, Err and Value make a context of a call.
func (c *call) Deadline() (time.Time, bool) { return c.ctx.Deadline() }

// Done implements context.Context.
func (c *call) Done() <-chan struct{} { return c.ctx.Done() }

// Err implements context.Context.
func (c *call) Err() error { return c.ctx.Err() }

// Value implements context.Context.
func (c *call) Value(key any) any {
	if key == (callKey{}) {
		return c
	}
	return c.ctx.Value(key)
}

// calls keeps calls that have come to their end: what one takes would else be most of what the host allocates for an event.
var calls = sync.Pool{New: func() any { return new(call) }}

// maxKeptOutput is what the buffer of a kept call may have.
const maxKeptOutput = 16 << 10

// newCall returns a call for an invocation.
func newCall(ctx context.Context, inv *Invocation, host Host) *call {
	c := calls.Get().(*call)
	c.ctx, c.own, c.host, c.report = ctx, *inv, host, &Report{}
	c.own.Limits = c.own.Limits.withDefaults()
	c.inv = &c.own
	return c
}

// recycle keeps a call for another invocation. Nothing of it may be used any more, and its guest must have come to its end by itself.
func (c *call) recycle() {
	output := c.output[:0]
	if cap(output) > maxKeptOutput {
		output = nil
	}
	*c = call{output: output}
	calls.Put(c)
}

// errEnd is what a host function panics with after it has said why in fault or stop.
var errEnd = errors.New("the invocation was ended by the host")

func (c *call) die(kind Kind, format string, args ...any) {
	c.fault = &Fault{kind, fmt.Sprintf(format, args...)}
	panic(errEnd)
}

// slice returns the guest's memory at p; the invocation ends if there is none. The upper halves of a stack's slots may hold anything.
func (c *call) slice(m api.Module, what string, p, n uint64) []byte {
	b, ok := m.Memory().Read(uint32(p), uint32(n))
	if !ok {
		c.die(FaultTrap, "%s: %d bytes at %#x are outside its memory of %d", what, uint32(n), uint32(p), m.Memory().Size())
	}
	return b
}

func instantiateABI(ctx context.Context, rt wazero.Runtime) error {
	b := rt.NewHostModuleBuilder(abi.ImportModule)
	for name, f := range map[string]func(*call, context.Context, api.Module, []uint64){
		abi.ImportInput:    (*call).doInput,
		abi.ImportOutput:   (*call).doOutput,
		abi.ImportCall:     (*call).doCall,
		abi.ImportResponse: (*call).doResponse,
		abi.ImportLog:      (*call).doLog,
	} {
		t := abiImports[name]
		b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(ctx context.Context, m api.Module, s []uint64) {
			f(current(ctx), ctx, m, s)
		}), []byte(t.Params), []byte(t.Results)).Export(name)
	}
	_, err := b.Instantiate(ctx)
	return err
}

func (c *call) doInput(_ context.Context, m api.Module, s []uint64) {
	s[0] = c.give(m, abi.ImportInput, s[0], s[1], c.inv.Event)
}

func (c *call) doResponse(_ context.Context, m api.Module, s []uint64) {
	s[0] = c.give(m, abi.ImportResponse, s[0], s[1], c.response)
}

// give copies what fits of data to the guest and returns its length.
func (c *call) give(m api.Module, what string, p, room uint64, data []byte) uint64 {
	n := min(uint64(uint32(room)), uint64(len(data)))
	copy(c.slice(m, what, p, n), data)
	return uint64(len(data))
}

func (c *call) doOutput(_ context.Context, m api.Module, s []uint64) {
	n := uint64(uint32(s[1]))
	if limit := c.inv.Limits.Output; uint64(len(c.output))+n > uint64(limit) {
		c.die(FaultOutput, "its result is larger than %s%s", size(limit), raise("output", size(abi.MaxOutput)))
	}
	c.output = append(c.output, c.slice(m, abi.ImportOutput, s[0], n)...)
}

func (c *call) doLog(_ context.Context, m api.Module, s []uint64) {
	n := min(uint64(uint32(s[2])), abi.MaxLogLine)
	c.slice(m, abi.ImportLog, s[1], s[2]) // all of it must be the guest's, though no more than a line is read
	c.wrote(int(n))
	c.log(abi.Level(int32(s[0])), c.slice(m, abi.ImportLog, s[1], n))
}

// wrote counts what was to go into the log, and ends a flood.
func (c *call) wrote(n int) {
	if c.written += n + 1; c.written > logFlood*c.inv.Limits.Log {
		c.die(FaultLog, "it wrote more than %d times its log's %s%s", logFlood, size(c.inv.Limits.Log), raise("log", size(abi.MaxLog)))
	}
}

// log appends text, a line for each of its own, or counts those that do not fit.
func (c *call) log(level abi.Level, text []byte) {
	if level < abi.LevelDebug || level > abi.LevelError {
		level = abi.LevelInfo
	}
	if c.logged+1 >= c.inv.Limits.Log {
		c.report.LogDropped += 1 + bytes.Count(bytes.TrimRight(text, "\n"), []byte("\n"))
		return
	}
	said := clean(cut(string(text), abi.MaxLogLine))
	if c.where != nil {
		said = c.where(said)
	}
	said = strings.TrimRight(said, "\n")
	for more := true; more; {
		var line string
		line, said, more = strings.Cut(said, "\n")
		if c.logged+len(line)+1 > c.inv.Limits.Log {
			c.report.LogDropped++
			continue
		}
		c.logged += len(line) + 1
		c.report.Log = append(c.report.Log, LogLine{level, line})
	}
}

func (c *call) doCall(_ context.Context, m api.Module, s []uint64) {
	if c.report.Calls++; c.report.Calls > c.inv.Limits.Calls {
		c.die(FaultCalls, "it made more than %d calls%s", c.inv.Limits.Calls, raise("calls", abi.MaxCalls))
	}
	name := c.slice(m, "call: the operation", s[0], s[1])
	request := c.slice(m, "call: the request", s[2], s[3])
	c.slice(m, "call: the response", s[4], s[5]) // before anything is done
	response, failure := c.perform(name, request)
	status := uint64(abi.CallOK)
	if failure == nil && len(response) > abi.MaxResponse {
		failure = abi.NewError(abi.CodeTooLarge, fmt.Sprintf("the response has %d bytes, more than %d", len(response), abi.MaxResponse))
	}
	if failure != nil {
		failure.Text = cut(clean(failure.Text), abi.MaxText)
		status = abi.CallError
		response, _ = json.Marshal(failure) // a struct of strings
	}
	c.response = response
	s[0] = status<<32 | c.give(m, "call: the response", s[4], s[5], response)
}

// perform answers local operations and passes others on.
func (c *call) perform(name, request []byte) ([]byte, *abi.Error) {
	switch {
	case !c.handling:
		return nil, abi.NewError(abi.CodeInvalid, "operations cannot be called during initialisation")
	case len(name) > abi.MaxOpName:
		return nil, abi.NewError(abi.CodeUnsupported, fmt.Sprintf("there is no operation with a name of %d bytes", len(name)))
	case len(request) > abi.MaxRequest:
		return nil, abi.NewError(abi.CodeTooLarge, fmt.Sprintf("the request has %d bytes, more than %d", len(request), abi.MaxRequest))
	}
	switch string(name) {
	case abi.OpInvocation:
		b, _ := json.Marshal(abi.Invocation{ID: c.inv.ID, Function: c.inv.Function}) // strings
		return b, nil
	case abi.OpConfig:
		if len(c.inv.Config) == 0 {
			return []byte("{}"), nil
		}
		return c.inv.Config, nil
	case abi.OpOutcome:
		res, err := decodeResult(request)
		if err != nil {
			return nil, abi.NewError(abi.CodeInvalid, err.Error())
		}
		c.declared = res
		return []byte("{}"), nil
	default:
		return c.ask(operationName(name), bytes.Clone(request))
	}
}

// operationName returns the name as text, without making one of a name that is known.
func operationName(name []byte) string {
	if op, ok := abi.Lookup(string(name)); ok {
		return op.Name
	}
	return string(name)
}

// ask has the host perform an operation. The guest's time stands still meanwhile.
func (c *call) ask(op string, request []byte) (response []byte, failure *abi.Error) {
	c.clock.stop()
	c.watch.pause()
	response, err := c.callHost(op, request)
	took := c.clock.start()
	c.watch.resume(took)
	c.report.Host += took
	answer, isAnswer := errors.AsType[*abi.Error](err)
	switch {
	case (err == nil || isAnswer) && c.ctx.Err() != nil:
		panic(errEnd)
	case err == nil:
		return response, nil
	case isAnswer:
		failure := *answer
		return nil, &failure
	}
	stop, ok := errors.AsType[*Stop](err)
	if !ok {
		stop = &Stop{err}
	}
	c.stop = stop
	panic(errEnd)
}

func (c *call) callHost(op string, request []byte) (response []byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &Stop{fmt.Errorf("operation %s panicked: %v\n%s", op, v, debug.Stack())}
		}
	}()
	return c.host.Call(c.ctx, op, request)
}
