package event

import (
	"bytes"
	"strings"
)

// Clone returns a copy of e that shares nothing with the ring e was read from.
func (e *Event) Clone() *Event {
	c := *e
	for _, s := range []*string{
		&c.Task.Comm, &c.Open.Path.Raw, &c.Open.Path.Dir, &c.Open.Path.Resolved, &c.Socket.UnixPath, &c.Exec.Filename, &c.Exec.ExePath,
		&c.Exec.Exe, &c.Exec.Cwd, &c.Path[0].Raw, &c.Path[0].Dir, &c.Path[0].Resolved, &c.Path[1].Raw, &c.Path[1].Dir,
		&c.Path[1].Resolved, &c.Cgroup.Path,
	} {
		*s = strings.Clone(*s)
	}
	c.Exec.Args, c.Exec.Env, c.Data = bytes.Clone(c.Exec.Args), bytes.Clone(c.Exec.Env), bytes.Clone(c.Data)
	c.Raw, c.Completion = bytes.Clone(c.Raw), bytes.Clone(c.Completion)
	return &c
}
