package extract

import (
	"strings"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/event"
	"github.com/tiercel-project/tiercel/sensor/process"
)

// Fields of the parent, of ancestors, and of the leaders of session and process group.
var lineFields = class{
	field.ProcPname:    parent(imageName),
	field.ProcPexe:     parent(imageExe),
	field.ProcPexepath: parent(imageExePath),
	field.ProcPcmdline: parent(imageCmdline),
	field.ProcPvpid: func(e *Event, _ *field.Ref, _ field.Form, v *field.Value) bool {
		p := e.up()
		return p != nil && v.SetInt(int64(p.VPID))
	},
	field.ProcPpidDuration: unsigned(func(e *Event) (uint64, bool) {
		if p := e.up(); p != nil {
			return e.age(p.StartNS)
		}
		return 0, false
	}),
	field.ProcPpidTs: unsigned(func(e *Event) (uint64, bool) {
		if p := e.up(); p != nil {
			return e.wall(p.StartNS), true
		}
		return 0, false
	}),

	field.ProcAname:    ancestor(imageName),
	field.ProcAexe:     ancestor(imageExe),
	field.ProcAexepath: ancestor(imageExePath),
	field.ProcAcmdline: ancestor(imageCmdline),
	field.ProcAargs:    ancestor(imageArgs),
	field.ProcAenv:     ancestorEnv,
	field.ProcApid:     ancestorPID,

	field.ProcSname:        leader((*Event).sessionLeader, imageName),
	field.ProcSIDExe:       leader((*Event).sessionLeader, imageExe),
	field.ProcSIDExepath:   leader((*Event).sessionLeader, imageExePath),
	field.ProcVpgidName:    leader((*Event).vGroupLeader, imageName),
	field.ProcVpgidExe:     leader((*Event).vGroupLeader, imageExe),
	field.ProcVpgidExepath: leader((*Event).vGroupLeader, imageExePath),
	field.ProcPgidName:     leader((*Event).groupLeader, imageName),
	field.ProcPgidExe:      leader((*Event).groupLeader, imageExe),
	field.ProcPgidExepath:  leader((*Event).groupLeader, imageExePath),

	field.ProcLoginshellid: func(e *Event, _ *field.Ref, _ field.Form, v *field.Value) bool {
		pid := uint32(0)
		if strings.HasSuffix(e.name(), "sh") {
			pid = e.ev.Task.PID
		}
		for _, p := range e.all() {
			if strings.HasSuffix(e.imageOf(p).Name, "sh") {
				pid = p.PID
			}
		}
		return pid != 0 && v.SetInt(int64(pid))
	},
}

// ourFields are the fields of our own.
var ourFields = class{
	field.TiercelLineage: func(e *Event, ref *field.Ref, _ field.Form, v *field.Value) bool {
		return e.line(ref, v, e.forebears(), imageName)
	},
	field.TiercelIdentity:     text(func(e *Event) (string, bool) { return e.id.State.String(), true }),
	field.TiercelArgsUnstable: boolean(func(e *Event) bool { return e.ev.Flags&event.ArgsUnstable != 0 }),
	field.TiercelTruncated: boolean(func(e *Event) bool {
		return e.ev.Flags&(event.PathTruncated|event.ArgsTruncated|event.EnvTruncated) != 0 || e.image.Truncated
	}),
}

func imageName(im *process.Image) string    { return im.Name }
func imageExe(im *process.Image) string     { return im.Exe }
func imageExePath(im *process.Image) string { return im.ExePath }
func imageCmdline(im *process.Image) string { return im.Cmdline() }
func imageArgs(im *process.Image) string    { return im.ArgString() }

func parent(part func(*process.Image) string) getter {
	return func(e *Event, _ *field.Ref, _ field.Form, v *field.Value) bool {
		p := e.up()
		if p == nil {
			return false
		}
		s := part(e.imageOf(p))
		return s != "" && v.SetString(s)
	}
}

func ancestor(part func(*process.Image) string) getter {
	return func(e *Event, ref *field.Ref, _ field.Form, v *field.Value) bool {
		if ref.Index == 0 {
			return e.line(ref, v, nil, part)
		}
		return e.line(ref, v, e.all(), part)
	}
}

// line gives a part of one of ps, of the process itself for index 0, or of all of ps without an index.
func (e *Event) line(ref *field.Ref, v *field.Value, ps []*process.Process, part func(*process.Image) string) bool {
	switch {
	case ref.Index == 0:
		s := part(e.image)
		return s != "" && v.SetString(s)
	case ref.Index > 0:
		if ref.Index > len(ps) {
			return false
		}
		s := part(e.imageOf(ps[ref.Index-1]))
		return s != "" && v.SetString(s)
	case len(ps) == 0:
		return false
	}
	v.SetList()
	for _, p := range ps {
		v.AppendString(part(e.imageOf(p)))
	}
	return true
}

// ancestorEnv is proc.aenv: [N] is the environment of that ancestor, [NAME] the variable of the nearest ancestor that has it.
func ancestorEnv(e *Event, ref *field.Ref, _ field.Form, v *field.Value) bool {
	if ref.Arg == "" || ref.Index >= 0 {
		return e.line(ref, v, e.all(), (*process.Image).EnvString)
	}
	for _, p := range e.all() {
		if s, ok := e.imageOf(p).EnvVar(ref.Arg); ok && s != "" {
			return v.SetString(s)
		}
	}
	return false
}

func ancestorPID(e *Event, ref *field.Ref, _ field.Form, v *field.Value) bool {
	switch ps := e.all(); {
	case ref.Index == 0:
		return v.SetInt(int64(e.ev.Task.PID))
	case ref.Index > len(ps):
		return false
	case ref.Index > 0:
		return v.SetInt(int64(ps[ref.Index-1].PID))
	case len(ps) == 0:
		return false
	default:
		v.SetList()
		for _, p := range ps {
			v.List = append(v.List, field.Value{Kind: field.KindInt, Num: uint64(p.PID)})
		}
		return true
	}
}

func leader(find func(*Event) *process.Process, part func(*process.Image) string) getter {
	return func(e *Event, _ *field.Ref, _ field.Form, v *field.Value) bool {
		s := part(e.imageOf(find(e)))
		return s != "" && v.SetString(s)
	}
}

// inPidNS reports whether the process lives in a pid namespace of its own.
func (e *Event) inPidNS() bool { return e.ev.Task.VPID != e.ev.Task.PID }

// sessionLeader returns the leader of the process's session: on the host by its pid, in a pid namespace, or if it has ended, the highest
// ancestor of the same session.
func (e *Event) sessionLeader() *process.Process {
	if !e.inPidNS() {
		if p := e.living(e.ev.Task.SID); p != nil {
			return p
		}
	}
	return e.highest(func(p *process.Process) bool { return p.VSID == e.ev.Task.VSID })
}

// vGroupLeader returns the leader of the process's group in the same way.
func (e *Event) vGroupLeader() *process.Process {
	if !e.inPidNS() {
		if p := e.living(e.ev.Task.VPGID); p != nil {
			return p
		}
	}
	return e.highest(func(p *process.Process) bool { return p.VPGID == e.ev.Task.VPGID })
}

func (e *Event) groupLeader() *process.Process {
	if p := e.living(e.ev.Task.PGID); p != nil {
		return p
	}
	return e.highest(func(p *process.Process) bool { return p.PGID == e.ev.Task.PGID })
}

// living returns the process that had pid at the time of the event and had not ended.
func (e *Event) living(pid uint32) *process.Process {
	p := e.x.cfg.Table.ByPID(pid, e.ev.BootNS)
	if p == nil || (p.ExitNS != 0 && p.ExitNS <= e.ev.BootNS && p != e.proc) {
		return nil
	}
	return p
}

// highest returns the last of the process and its ancestors, going up, for which same holds without a gap.
func (e *Event) highest(same func(*process.Process) bool) *process.Process {
	best := e.proc
	for _, p := range e.all() {
		if !same(p) {
			break
		}
		best = p
	}
	return best
}
