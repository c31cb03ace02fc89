package container

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// A reading is the reading of a root's files, or the wait for it.
type reading struct {
	root  Root
	fd    int // the root directory
	done  func()
	fresh *names // what stands until then
	timer *time.Timer
	over  bool // guarded by Users.mu
}

// Load has the files of root read if they were not, or are old. pid is a process that has that root; 0 is this one. It does not block:
// the root is opened at once, so that the process may end, and read in the background. done, if not nil, is called when that is over;
// Load reports whether it will be.
func (u *Users) Load(root Root, pid uint32, done func()) bool {
	u.mu.Lock()
	ok := u.admits(root)
	u.mu.Unlock()
	if !ok {
		return false
	}
	fd, err := u.open(pid)
	if err != nil { // the process has ended: another one of the container will do
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.admits(root) { // no longer
		_ = unix.Close(fd)
		return false
	}
	rd := &reading{root: root, fd: fd, done: done, fresh: &names{state: namesReading, read: u.now()}}
	if old := u.roots[root]; old != nil {
		rd.fresh.users, rd.fresh.groups, rd.fresh.bytes = old.users, old.groups, old.bytes
	} else if len(u.roots) >= u.cfg.MaxRoots {
		u.evict(root, func(s share) int { return s.roots })
	}
	u.set(root, rd.fresh)
	u.queue = append(u.queue, rd)
	rd.timer = time.AfterFunc(u.cfg.Timeout, func() { u.giveUp(rd) })
	u.next()
	return true
}

// admits reports whether the files of root want to be read and there is room in the queue. The caller holds mu.
func (u *Users) admits(root Root) bool {
	if n := u.roots[root]; n != nil && !n.stale {
		return false
	}
	own := 0
	for _, rd := range u.queue {
		if rd.root.Container == root.Container {
			own++
		}
	}
	if len(u.queue) >= u.cfg.Queue || own >= half(u.cfg.Queue) {
		u.stats.Refused++ // the next event tries again
		return false
	}
	return true
}

// half is what one container may have of n.
func half(n int) int { return max(1, n/2) }

// next gives the readers that are free to those who wait, first to the container that has the fewest. The caller holds mu.
func (u *Users) next() {
	for u.busy < u.cfg.Readers {
		first, fewest := -1, half(u.cfg.Readers)
		for i, rd := range u.queue {
			if n := u.readers[rd.root.Container]; n < fewest {
				first, fewest = i, n
			}
		}
		if first < 0 {
			return
		}
		rd := u.queue[first]
		u.queue = slices.Delete(u.queue, first, first+1)
		u.busy++
		u.readers[rd.root.Container]++
		go u.read(rd)
	}
}

// read reads the files of rd. One that blocks keeps the place of a reader until it gives way.
func (u *Users) read(rd *reading) {
	n := &names{state: namesRead, users: map[uint32]User{}, groups: map[uint32]string{}}
	passwd, skipped := u.lines(rd, "etc/passwd")
	parsePasswd(passwd, n.users)
	group, more := u.lines(rd, "etc/group")
	parseGroup(group, n.groups)
	_ = unix.Close(rd.fd)
	if rd.root != (Root{}) {
		n.bytes = size(n.users, n.groups)
	}
	n.read = u.now()

	u.mu.Lock()
	u.busy--
	if u.readers[rd.root.Container]--; u.readers[rd.root.Container] == 0 {
		delete(u.readers, rd.root.Container)
	}
	u.next()
	over := rd.over
	if !over {
		u.stats.Skipped += uint64(skipped + more)
		u.end(rd, n)
	}
	u.mu.Unlock()
	if !over && rd.done != nil {
		rd.done()
	}
}

// lines returns what counts of a file of rd, and how many lines do not; nothing if it cannot be read. The host's counts as a whole: who
// writes it owns the node.
func (u *Users) lines(rd *reading, path string) (b []byte, skipped int) {
	b, err := u.file(rd.fd, path, u.cfg.MaxSize)
	if err != nil {
		return nil, 0
	}
	if rd.root == (Root{}) {
		return b, 0
	}
	return firstLines(b, u.cfg.MaxLines)
}

// giveUp ends rd, whose time is up. What was known stands. A root that no reader was free for is tried again by the next event, which does
// not wait for it.
func (u *Users) giveUp(rd *reading) {
	u.mu.Lock()
	if rd.over {
		u.mu.Unlock()
		return
	}
	n := &names{state: namesRead, users: rd.fresh.users, groups: rd.fresh.groups, bytes: rd.fresh.bytes, read: u.now()}
	if i := slices.Index(u.queue, rd); i >= 0 {
		u.queue = slices.Delete(u.queue, i, i+1)
		_ = unix.Close(rd.fd)
		u.stats.Refused++
		if n.stale = true; n.users == nil {
			n.users = map[uint32]User{} // see Reading
		}
	} else {
		u.stats.Late++
	}
	u.end(rd, n)
	u.mu.Unlock()
	if rd.done != nil {
		rd.done()
	}
}

// end has n be what came of rd. The caller holds mu.
func (u *Users) end(rd *reading, n *names) {
	rd.over = true
	rd.timer.Stop()
	if u.roots[rd.root] == rd.fresh { // it may have been evicted meanwhile
		u.store(rd.root, n)
	}
}

// readBelow reads the regular file path below the directory dir, from which no link leads out.
func readBelow(dir int, path string, limit int64) ([]byte, error) {
	fd, err := unix.Openat2(dir, path, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("stat %s: %w", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	if st.Size > limit {
		return nil, fmt.Errorf("%s has %d bytes, more than %d", path, st.Size, limit)
	}
	b := bytes.NewBuffer(make([]byte, 0, st.Size+bytes.MinRead))
	_, err = b.ReadFrom(io.LimitReader(f, limit))
	return b.Bytes(), err
}
