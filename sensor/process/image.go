package process

import (
	"strings"
	"unsafe"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/event"
)

// An Image is what an exec made of a process. Forked children share the image of their parent. An image changes between Complete and
// Shorten, and where room is wanted.
type Image struct {
	Name     string // comm at exec
	Exe      string // argv[0]
	ExePath  string // walked in the kernel
	Filename string // as passed to exec
	Args     string // argv[1:], each ended by NUL
	Env      string // each ended by NUL
	Flags    uint32 // event.Exe…
	MntNS    uint32
	Ino      uint64
	CTimeNS  uint64 // since the epoch
	MTimeNS  uint64
	TimeNS   uint64 // boot time of the exec; 0: before the sensor
	// PidNSInitStartNS is the boot time at which the init of the pid namespace started; 0: unknown.
	PidNSInitStartNS uint64
	Truncated        bool // Args or Env were longer than what was copied, or than what is kept

	short   string // what is kept of Args, while Args are all of them
	tailed  bool   // that is what the kernel side copied, an ellipsis, and the end
	partial bool   // made of a name: the record of the exec has not been seen
	brief   bool   // abridged
	cmdline string // built at first use
	users   int    // processes in use that have it
	pins    int    // of them, those with an event that waits for it
	bytes   int    // as counted among those in use
}

// newImage copies what ev's exec says.
func newImage(ev *event.Event) *Image {
	x := &ev.Exec
	n := len(ev.Task.Comm) + len(x.Exe) + len(x.ExePath) + len(x.Filename) + len(x.Args)
	buf := make([]byte, 0, n) // one allocation for all strings but the environment, which goes first
	buf = append(buf, ev.Task.Comm...)
	buf = append(buf, x.Exe...)
	buf = append(buf, x.ExePath...)
	buf = append(buf, x.Filename...)
	buf = append(buf, x.Args...)
	all := unsafe.String(unsafe.SliceData(buf), len(buf))
	cut := func(n int) string {
		s := all[:n]
		all = all[n:]
		return s
	}
	im := &Image{
		Flags: x.Flags, MntNS: ev.Task.MntNS, Ino: x.Ino, CTimeNS: x.CTimeNS, MTimeNS: x.MTimeNS,
		PidNSInitStartNS: x.PidNSInitStartNS,
		Truncated:        ev.Flags&(event.ArgsTruncated|event.EnvTruncated) != 0,
	}
	im.Name = cut(len(ev.Task.Comm))
	im.Exe = cut(len(x.Exe))
	im.ExePath = cut(len(x.ExePath))
	im.Filename = cut(len(x.Filename))
	im.Args = cut(len(x.Args))
	im.Env = string(x.Env)
	if ev.Type != field.EventProcinfo {
		im.TimeNS = ev.BootNS
	}
	return im
}

// maxTail is how much of the end of long arguments is kept.
const maxTail = 1024

// Complete replaces arguments that the kernel side has cut by all of them, until Shorten: they can be megabytes.
func (im *Image) Complete(args string) {
	im.short, im.Args, im.cmdline = im.Args, args, ""
}

// Shorten cuts completed arguments again: to what the kernel side copied, an ellipsis, and their end.
func (im *Image) Shorten() {
	if !im.tailed {
		tail := im.Args[max(len(im.short), len(im.Args)-maxTail):]
		im.short = strings.TrimSuffix(im.short, "\x00") + "\x00\u2026\x00" + strings.Clone(tail)
		im.tailed = true
	}
	im.Args, im.short, im.cmdline = im.short, "", ""
}

// Cmdline is the name and the arguments, joined by blanks: Falco's proc.cmdline.
func (im *Image) Cmdline() string {
	if im.cmdline == "" {
		if im.Args == "" {
			im.cmdline = im.Name
		} else {
			im.cmdline = im.Name + " " + joined(im.Args)
		}
	}
	return im.cmdline
}

// ArgString is the arguments after argv[0], joined by blanks: Falco's proc.args.
func (im *Image) ArgString() string {
	c := im.Cmdline()
	if len(c) <= len(im.Name) {
		return ""
	}
	return c[len(im.Name)+1:]
}

// Arg returns the argument i after argv[0], from 0.
func (im *Image) Arg(i int) (string, bool) { return nth(im.Args, i) }

// NumArgs is the number of arguments after argv[0].
func (im *Image) NumArgs() int { return strings.Count(im.Args, "\x00") }

// ArgsLen is the length of all arguments after argv[0], without separators.
func (im *Image) ArgsLen() int { return len(im.Args) - im.NumArgs() }

// EnvString is the environment, joined by blanks.
func (im *Image) EnvString() string { return joined(im.Env) }

// EnvVar returns the value of the environment variable name.
func (im *Image) EnvVar(name string) (string, bool) {
	for rest := im.Env; rest != ""; {
		var kv string
		kv, rest, _ = strings.Cut(rest, "\x00")
		if v, ok := strings.CutPrefix(kv, name); ok && strings.HasPrefix(v, "=") {
			return v[1:], true
		}
	}
	return "", false
}

// size is about how many bytes im takes, its command line included, which rules may ask for.
func (im *Image) size() int {
	return int(unsafe.Sizeof(*im)) + 2*(len(im.Name)+len(im.Args)) + len(im.Exe) + len(im.ExePath) + len(im.Filename) + len(im.Env)
}

// lean drops what only its own events are asked for.
func (im *Image) lean() { im.Env, im.cmdline = "", "" }

// maxBrief is how much of argv[0] and of the other arguments an abridged image has.
const maxBrief = 512

// abridged is what is kept of an image for long.
func (im *Image) abridged() *Image {
	l := *im
	l.users, l.pins, l.bytes = 0, 0, 0
	l.abridge()
	return &l
}

// abridge leaves which program it was, and what of its arguments tells most. The path of the program is whole, since half of it would be
// another's.
func (im *Image) abridge() {
	im.Truncated = im.Truncated || len(im.Args) > maxBrief || len(im.Exe) > maxBrief || im.Env != ""
	im.Name, im.ExePath = strings.Clone(im.Name), strings.Clone(im.ExePath) // all were one allocation
	im.Exe = strings.Clone(im.Exe[:min(len(im.Exe), maxBrief)])
	if n := len(im.Args); n > maxBrief {
		const tail = maxBrief / 4
		im.Args = im.Args[:maxBrief-tail] + "\x00\u2026\x00" + im.Args[n-tail:]
	} else {
		im.Args = strings.Clone(im.Args)
	}
	im.Filename, im.Env, im.short, im.cmdline, im.brief = "", "", "", "", true
}

// stub is the part of an image that lineage needs.
func (im *Image) stub() *Image {
	return &Image{Name: strings.Clone(im.Name), Exe: strings.Clone(im.Exe), ExePath: strings.Clone(im.ExePath), TimeNS: im.TimeNS}
}

// joined replaces the NULs between the parts of s by blanks and drops the last one.
func joined(s string) string { return strings.ReplaceAll(strings.TrimSuffix(s, "\x00"), "\x00", " ") }

// nth returns part i of s, whose parts are each ended by NUL.
func nth(s string, i int) (string, bool) {
	if i < 0 {
		return "", false
	}
	for s != "" {
		part, rest, _ := strings.Cut(s, "\x00")
		if i == 0 {
			return part, true
		}
		s, i = rest, i-1
	}
	return "", false
}
