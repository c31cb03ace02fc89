package container

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tiercel-project/tiercel/sensor/host"
)

// A UsersConfig bounds a Users.
type UsersConfig struct {
	// MaxSize of a passwd or group file. Positive. Default 1 MiB.
	MaxSize int64
	// Timeout of reading the files of one container. Positive. Default 100ms.
	Timeout time.Duration
	// MaxRoots is how many containers' files are kept. Positive. Default 1024.
	MaxRoots int
	// Refresh is how old files may be before they are read again. Positive. Default 60s.
	Refresh time.Duration
	// HostRoot is where the files of the host are. Default: here.
	HostRoot host.Root
	// Readers is how many files may be read at the same time: one that blocks holds its place. Positive. Default 4.
	Readers int
}

// DefaultUsersConfig returns the defaults of UsersConfig.
func DefaultUsersConfig() UsersConfig {
	return UsersConfig{MaxSize: 1 << 20, Timeout: 100 * time.Millisecond, MaxRoots: 1024, Refresh: time.Minute, Readers: 4}
}

// A Root says whose names are meant: the host's, or those of a container. The zero Root is the host.
type Root struct {
	Container string // id
	MntNS     uint32 // a container's processes may have other roots
}

// A User is an entry of a passwd file.
type User struct{ Name, Home, Shell string }

// Users knows the names of users and groups, of the host and of containers as they see it themselves. It is safe for concurrent use.
type Users struct {
	cfg  UsersConfig
	open func(pid uint32) (int, error) // a root directory; replaced in tests
	now  func() time.Time
	busy chan struct{} // one token per reader

	mu    sync.Mutex
	roots map[Root]*names // guarded by mu
}

// names are the files of one root. What was read is replaced, never changed.
type names struct {
	users  map[uint32]User
	groups map[uint32]string
	read   time.Time
	state  namesState
	stale  bool // old enough to be read again; guarded by mu
}

type namesState uint8

const (
	namesReading namesState = iota
	namesRead
)

// NewUsers returns a Users that knows nothing yet.
func NewUsers(cfg UsersConfig) *Users {
	return &Users{
		cfg: cfg, now: time.Now, busy: make(chan struct{}, cfg.Readers), roots: map[Root]*names{},
		open: func(pid uint32) (int, error) {
			path := cfg.HostRoot.Path("/")
			if pid != 0 {
				path = "/proc/" + strconv.FormatUint(uint64(pid), 10) + "/root"
			}
			return unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		},
	}
}

// Age lets files that are old be read again at their next use. It wants to be called now and then.
func (u *Users) Age() {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := u.now()
	for _, n := range u.roots {
		if n.state == namesRead && now.Sub(n.read) >= u.cfg.Refresh {
			n.stale = true
		}
	}
}

// Load has the files of root read if they were not, or are old. pid is a process that has that root; 0 is this one. It does not block:
// the root is opened at once, so that the process may end, and read in the background. done, if not nil, is called when that is over;
// Load reports whether it will be.
func (u *Users) Load(root Root, pid uint32, done func()) bool {
	u.mu.Lock()
	old := u.roots[root]
	if old != nil && !old.stale {
		u.mu.Unlock()
		return false
	}
	select {
	case u.busy <- struct{}{}:
	default: // all readers are taken: the next event tries again
		u.mu.Unlock()
		return false
	}
	fresh := &names{state: namesReading, read: u.now()}
	if old != nil {
		fresh.users, fresh.groups = old.users, old.groups
	} else if len(u.roots) >= u.cfg.MaxRoots {
		u.evict()
	}
	u.roots[root] = fresh
	u.mu.Unlock()

	fd, err := u.open(pid)
	if err != nil { // the process has ended: another one of the container will do
		<-u.busy
		u.mu.Lock()
		defer u.mu.Unlock()
		if old == nil {
			delete(u.roots, root)
		} else {
			u.roots[root] = old
		}
		return false
	}
	go u.read(root, fd, done)
	return true
}

// read reads the files below the directory fd, which it closes. A file that blocks keeps the place of a reader until it gives way.
func (u *Users) read(root Root, fd int, done func()) {
	result := make(chan *names, 1)
	go func() {
		defer func() { <-u.busy }()
		defer func() { _ = unix.Close(fd) }()
		n := &names{state: namesRead, users: map[uint32]User{}, groups: map[uint32]string{}}
		if b, err := readBelow(fd, "etc/passwd", u.cfg.MaxSize); err == nil {
			parsePasswd(b, n.users)
		}
		if b, err := readBelow(fd, "etc/group", u.cfg.MaxSize); err == nil {
			parseGroup(b, n.groups)
		}
		result <- n
	}()
	ctx, cancel := context.WithTimeout(context.Background(), u.cfg.Timeout)
	defer cancel()
	select {
	case n := <-result:
		n.read = u.now()
		u.store(root, n)
	case <-ctx.Done():
		u.store(root, &names{state: namesRead, read: u.now()})
	}
	if done != nil {
		done()
	}
}

func (u *Users) store(root Root, n *names) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.roots[root] != nil { // it may have been evicted meanwhile
		u.roots[root] = n
	}
}

// evict forgets the files that were read longest ago. The caller holds mu.
func (u *Users) evict() {
	var oldest Root
	var at time.Time
	for r, n := range u.roots {
		if r != (Root{}) && (at.IsZero() || n.read.Before(at)) {
			oldest, at = r, n.read
		}
	}
	delete(u.roots, oldest)
}

// Known reports whether the files of root were read, or are being read.
func (u *Users) Known(root Root) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.roots[root] != nil
}

// Reading reports whether the first answer for root is still on its way.
func (u *Users) Reading(root Root) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	n := u.roots[root]
	return n != nil && n.state == namesReading && n.users == nil
}

// User returns the user uid of root.
func (u *Users) User(root Root, uid uint32) (User, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if n := u.roots[root]; n != nil {
		user, ok := n.users[uid]
		return user, ok
	}
	return User{}, false
}

// Group returns the name of the group gid of root.
func (u *Users) Group(root Root, gid uint32) (string, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if n := u.roots[root]; n != nil {
		name, ok := n.groups[gid]
		return name, ok
	}
	return "", false
}

// Each calls f with the users and groups of every root that was read. f must not change them.
func (u *Users) Each(f func(root Root, users map[uint32]User, groups map[uint32]string)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for r, n := range u.roots {
		if n.state == namesRead {
			f(r, n.users, n.groups)
		}
	}
}

// Put says what the users and groups of root are, for replays.
func (u *Users) Put(root Root, users map[uint32]User, groups map[uint32]string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.roots[root] = &names{users: users, groups: groups, read: u.now(), state: namesRead}
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
	return io.ReadAll(io.LimitReader(f, limit))
}

// maxName is how long a name, a home or a shell may be; longer entries are passed over.
const maxName = 256

// parsePasswd reads lines name:password:uid:gid:gecos:home:shell. The first entry of a uid counts.
func parsePasswd(b []byte, users map[uint32]User) {
	for line := range bytes.Lines(b) {
		f := strings.Split(strings.TrimSuffix(string(line), "\n"), ":")
		if len(f) < 7 || len(line) > 4*maxName || f[0] == "" || len(f[0]) > maxName {
			continue
		}
		uid, err := strconv.ParseUint(f[2], 10, 32)
		if err != nil {
			continue
		}
		if _, ok := users[uint32(uid)]; !ok {
			users[uint32(uid)] = User{Name: strings.Clone(f[0]), Home: strings.Clone(f[5]), Shell: strings.Clone(f[6])}
		}
	}
}

// parseGroup reads lines name:password:gid:members.
func parseGroup(b []byte, groups map[uint32]string) {
	for line := range bytes.Lines(b) {
		name, rest, _ := bytes.Cut(line, []byte(":"))
		_, rest, _ = bytes.Cut(rest, []byte(":"))
		num, _, _ := bytes.Cut(bytes.TrimSuffix(rest, []byte("\n")), []byte(":"))
		gid, err := strconv.ParseUint(string(num), 10, 32)
		if err != nil || len(name) == 0 || len(name) > maxName {
			continue
		}
		if _, ok := groups[uint32(gid)]; !ok {
			groups[uint32(gid)] = string(name)
		}
	}
}
