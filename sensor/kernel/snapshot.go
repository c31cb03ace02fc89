package kernel

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/cilium/ebpf/link"
	"github.com/tiercel-project/tiercel/bpf"
	"github.com/tiercel-project/tiercel/sensor/decode"
	"github.com/tiercel-project/tiercel/sensor/event"
)

// maxRecord bounds a record of the iterator: the programs' scratch.
const maxRecord = 32 << 10

// maxProcBytes bounds what is read of the arguments or the environment of a process, as the programs do.
const maxProcBytes = 4096

// Snapshot calls handle for each cgroup that holds a process, then for each process that was there when the sensor opened, parents before
// their children, as EventProcinfo. All of these events have ProcessOnly set. The event is handle's until it returns.
//
// What the iterator cannot read, arguments and environment, comes from /proc, where the process is still the same.
func (s *Sensor) Snapshot(handle func(*event.Event)) error {
	return s.Reread(func(*event.Event) bool { return false }, handle)
}

// Reread is Snapshot for when records were lost: handle gets every process that there is now. For those that known is true of /proc is not
// read, and their Exec is not whole. It is called while Run works, by one goroutine at a time.
func (s *Sensor) Reread(known func(*event.Event) bool, handle func(*event.Event)) error {
	if s.closed.Load() {
		return ErrClosed
	}
	records, err := s.iterate()
	if err != nil {
		return err
	}
	return s.handSnapshot(records, known, handle)
}

// iterate returns the records of all processes and their cgroups.
func (s *Sensor) iterate() ([][]byte, error) {
	s.iterating.Lock() // two at once would write to one scratch
	defer s.iterating.Unlock()
	it, err := link.AttachIter(link.IterOptions{Program: s.coll.Programs[bpf.SensorProgSnapshotTask]})
	if err != nil {
		return nil, fmt.Errorf("attach task iterator: %w", err)
	}
	defer it.Close()
	r, err := it.Open()
	if err != nil {
		return nil, fmt.Errorf("iterate tasks: %w", err)
	}
	defer r.Close()
	records, err := readRecords(r)
	if err != nil {
		return nil, fmt.Errorf("iterate tasks: %w", err)
	}
	return records, nil
}

// readRecords reads records, each after its length.
func readRecords(r io.Reader) ([][]byte, error) {
	var records [][]byte
	br := bufio.NewReader(r)
	for {
		var n uint32
		if err := binary.Read(br, binary.LittleEndian, &n); errors.Is(err, io.EOF) {
			return records, nil
		} else if err != nil {
			return nil, err
		}
		if n > maxRecord {
			return nil, fmt.Errorf("record of %d bytes", n)
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(br, b); err != nil {
			return nil, err
		}
		records = append(records, b)
	}
}

func (s *Sensor) handSnapshot(records [][]byte, known func(*event.Event) bool, handle func(*event.Event)) error {
	now := bootNS()
	var tasks []*event.Event
	seen := map[event.Cgroup]bool{}
	for _, b := range records {
		ev := new(event.Event)
		if err := decode.Record(b, ev); err != nil {
			return fmt.Errorf("snapshot: %w", err)
		}
		ev.ReadNS = now
		switch {
		case ev.Cgroup == event.Cgroup{}:
			tasks = append(tasks, ev)
		case !seen[ev.Cgroup]:
			seen[ev.Cgroup] = true
			s.noteCgroup(ev)
			handle(ev)
		}
	}
	slices.SortStableFunc(tasks, func(a, b *event.Event) int { return cmp.Compare(a.Task.StartNS, b.Task.StartNS) })
	for _, ev := range tasks {
		if !known(ev) {
			if err := readProc(ev); err != nil {
				return fmt.Errorf("snapshot: %w", err)
			}
		}
		ev.ReadNS = now
		handle(ev)
	}
	return nil
}

// readProc adds what only /proc tells, to the event and to its record.
func readProc(ev *event.Event) error {
	if ev.Exec.ExePath == "" {
		return nil // a kernel thread
	}
	dir := filepath.Join("/proc", strconv.Itoa(int(ev.Task.PID)))
	args, argsCut := readBounded(filepath.Join(dir, "cmdline"))
	env, envCut := readBounded(filepath.Join(dir, "environ"))
	raw := ev.Raw
	if bytes.IndexByte(args, 0) >= 0 {
		raw = decode.AppendSection(raw, bpf.SensorTagTAG_ARGS, args)
	}
	if len(env) > 0 {
		raw = decode.AppendSection(raw, bpf.SensorTagTAG_ENV, env)
	}
	if argsCut {
		decode.SetFlag(raw, bpf.SensorHeadFlagHEAD_ARGS_TRUNCATED)
	}
	if envCut {
		decode.SetFlag(raw, bpf.SensorHeadFlagHEAD_ENV_TRUNCATED)
	}
	return decode.Record(raw, ev)
}

// readBounded reads the first bytes of a file, and reports whether there are more. What cannot be read is empty: the process is gone.
func readBounded(name string) (b []byte, more bool) {
	f, err := os.Open(name)
	if err != nil {
		return nil, false
	}
	defer f.Close()
	b, err = io.ReadAll(io.LimitReader(f, maxProcBytes+1))
	if err != nil {
		return nil, false
	}
	if len(b) > maxProcBytes {
		return b[:maxProcBytes], true
	}
	return b, false
}
