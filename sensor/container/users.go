package container

import (
	"bytes"
	"cmp"
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
	// Timeout of reading the files of one container, the wait for a reader included. Positive. Default 100ms.
	Timeout time.Duration
	// MaxLines of a passwd or group file of a container that count; the rest is left out. Positive. Default 4096.
	MaxLines int
	// MaxRoots is how many containers' files are kept. Positive. Default 1024.
	MaxRoots int
	// MaxBytes is how much memory what is kept of containers' files may take. Positive. Default 8 MiB.
	MaxBytes int
	// Refresh is how old files may be before they are read again. Positive. Default 60s.
	Refresh time.Duration
	// HostRoot is where the files of the host are. Default: here.
	HostRoot host.Root
	// Readers is how many files may be read at the same time: one that blocks holds its place. One container has at most half of
	// them. Positive. Default 4.
	Readers int
	// Queue is how many roots may wait for a reader. One container has at most half of it. Positive. Default 64.
	Queue int
}

// DefaultUsersConfig returns the defaults of UsersConfig.
func DefaultUsersConfig() UsersConfig {
	return UsersConfig{
		MaxSize: 1 << 20, Timeout: 100 * time.Millisecond, MaxLines: 4096, MaxRoots: 1024, MaxBytes: 8 << 20, Refresh: time.Minute,
		Readers: 4, Queue: 64,
	}
}

// A Root says whose names are meant: the host's, or those of a container. The zero Root is the host.
type Root struct {
	Container string // id
	MntNS     uint32 // a container's processes may have other roots
}

// A User is an entry of a passwd file.
type User struct{ Name, Home, Shell string }

// UsersStats are counters of a Users, and its present size.
type UsersStats struct {
	Roots   int
	Bytes   int    // what containers' names take, about
	Evicted uint64 // roots forgotten for want of room
	Skipped uint64 // lines beyond UsersConfig.MaxLines
	Refused uint64 // loads that no reader was free for, in time
	Late    uint64 // loads that a reader did not end in time
}

// Users knows the names of users and groups, of the host and of containers as they see it themselves. It is safe for concurrent use.
type Users struct {
	cfg  UsersConfig
	open func(pid uint32) (int, error) // a root directory; replaced in tests
	file func(dir int, path string, limit int64) ([]byte, error)
	now  func() time.Time

	mu      sync.Mutex // guards all below
	roots   map[Root]*names
	shares  map[string]*share // by container
	stats   UsersStats
	queue   []*reading
	busy    int            // readers
	readers map[string]int // of them, by container
}

// names are the files of one root. What was read is replaced, never changed.
type names struct {
	users  map[uint32]User
	groups map[uint32]string
	bytes  int    // 0 for the host's
	share  *share // of its container, while they are kept
	read   time.Time
	state  namesState
	stale  bool // old enough to be read again; guarded by mu
}

// A share is what is kept of one container.
type share struct{ roots, bytes int }

type namesState uint8

const (
	namesReading namesState = iota
	namesRead
)

// NewUsers returns a Users that knows nothing yet.
func NewUsers(cfg UsersConfig) *Users {
	return &Users{
		cfg: cfg, file: readBelow, now: time.Now, roots: map[Root]*names{}, shares: map[string]*share{}, readers: map[string]int{},
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

// Stats returns the counters.
func (u *Users) Stats() UsersStats {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := u.stats
	s.Roots = len(u.roots)
	return s
}

// set has n be the names of root; with nil they are forgotten. The caller holds mu.
func (u *Users) set(root Root, n *names) {
	if old := u.roots[root]; old != nil {
		u.stats.Bytes -= old.bytes
		old.share.bytes -= old.bytes
		if old.share.roots--; old.share.roots == 0 {
			delete(u.shares, root.Container)
		}
		delete(u.roots, root)
	}
	if n == nil {
		return
	}
	if n.share = u.shares[root.Container]; n.share == nil {
		n.share = &share{}
		u.shares[root.Container] = n.share
	}
	n.share.roots++
	n.share.bytes += n.bytes
	u.stats.Bytes += n.bytes
	u.roots[root] = n
}

// store has n be the names of root, for which others may have to go. The caller holds mu.
func (u *Users) store(root Root, n *names) {
	u.set(root, n)
	for u.stats.Bytes > u.cfg.MaxBytes && u.evict(root, func(s share) int { return s.bytes }) {
	}
}

// evict forgets a root of the container that has most by weigh, so that none displaces what others have: its heaviest, of equal ones that
// which was read longest ago. keep comes last, and stays without names: it would be read again at once. evict reports whether there was
// one. The caller holds mu.
func (u *Users) evict(keep Root, weigh func(share) int) bool {
	var victim Root
	var most, heaviest int
	var read time.Time
	for r, n := range u.roots {
		all, own := weigh(*n.share), weigh(share{1, n.bytes})
		if r == (Root{}) || own == 0 {
			continue
		}
		if r == keep {
			own = 0
		}
		if cmp.Or(cmp.Compare(all, most), cmp.Compare(own, heaviest), read.Compare(n.read)) > 0 {
			victim, most, heaviest, read = r, all, own, n.read
		}
	}
	switch victim {
	case Root{}:
		return false
	case keep:
		u.set(keep, &names{state: namesRead, read: u.now()})
	default:
		u.set(victim, nil)
	}
	u.stats.Evicted++
	return true
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
	u.set(root, &names{users: users, groups: groups, read: u.now(), state: namesRead})
}

// maxName is how long a name, a home or a shell may be; longer entries are passed over.
const maxName = 256

// parsePasswd reads lines name:password:uid:gid:gecos:home:shell. The first entry of a uid counts.
func parsePasswd(b []byte, users map[uint32]User) {
	for line := range bytes.Lines(b) {
		if len(line) > 4*maxName {
			continue
		}
		f := strings.Split(strings.TrimSuffix(string(line), "\n"), ":")
		if len(f) < 7 || f[0] == "" || len(f[0]) > maxName {
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

// firstLines returns the first lines of b, at most limit, and how many follow them.
func firstLines(b []byte, limit int) (first []byte, more int) {
	end, n := 0, 0
	for line := range bytes.Lines(b) {
		if n++; n <= limit {
			end += len(line)
		}
	}
	return b[:end], max(0, n-limit)
}

// What names take besides their text, as measured: places in maps that are half full, and the rounding up of texts.
const (
	rootBytes  = 1024
	userBytes  = 192
	groupBytes = 96
)

// size is how much memory names take, about.
func size(users map[uint32]User, groups map[uint32]string) int {
	n := rootBytes + len(users)*userBytes + len(groups)*groupBytes
	for _, u := range users {
		n += len(u.Name) + len(u.Home) + len(u.Shell)
	}
	for _, g := range groups {
		n += len(g)
	}
	return n
}
