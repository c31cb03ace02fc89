package sensor

import (
	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/event"
	"github.com/tiercel-project/tiercel/sensor/process"
)

// argumentsPerSecond bounds how often long arguments are read from /proc, by the time of the events: they can be megabytes, and who has
// many such programs started is no reason to fall behind. Beyond, rules see what the kernel side copied, as for programs that have ended.
const argumentsPerSecond = 32

// A budget counts what was done in the present second.
type budget struct {
	since uint64
	n     int
}

// take reports whether there may be one more at boot time now.
func (b *budget) take(now uint64, perSecond int) bool {
	if now-b.since > 1e9 { // an earlier time too
		b.since, b.n = now, 0
	}
	b.n++
	return b.n <= perSecond
}

// readArguments returns all arguments of a program whose start is ev, if the kernel side has cut them; empty if they are not to be had.
func (p *pipeline) readArguments(ev *event.Event, proc *process.Process) string {
	started := (ev.Type == field.EventExecve || ev.Type == field.EventExecveat) && ev.Result >= 0
	if !started || ev.Flags&event.ArgsTruncated == 0 {
		return ""
	}
	if !p.seesProcesses || !p.arguments.take(ev.BootNS, argumentsPerSecond) {
		p.metrics.arguments.WithLabelValues(argumentsRefused).Inc()
		return ""
	}
	im := proc.Image(ev.Task.ExecGen)
	if im == nil {
		return ""
	}
	args, ok := process.Proc{}.Arguments(proc.Key, im)
	if !ok {
		p.metrics.arguments.WithLabelValues(argumentsGone).Inc()
		return ""
	}
	p.metrics.arguments.WithLabelValues(argumentsRead).Inc()
	return args
}

// showArguments has rules see args, which readArguments has returned for the start ev of a program, until the function it returns is called. What is
// kept and told of the process is short.
func showArguments(ev *event.Event, proc *process.Process, args string) (shorten func()) {
	im := proc.Image(ev.Task.ExecGen)
	if args == "" || im == nil {
		return func() {}
	}
	im.Complete(args)
	return im.Shorten
}
