package container

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// rooted returns a Users whose only root is the directory dir.
func rooted(dir string, cfg UsersConfig) *Users {
	u := NewUsers(cfg)
	u.open = func(uint32) (int, error) { return unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0) }
	return u
}

// load loads root and waits for the end of it.
func load(t *testing.T, u *Users, root Root) {
	t.Helper()
	done := make(chan struct{})
	if !u.Load(root, 1, func() { close(done) }) {
		t.Fatal("not loaded")
	}
	<-done
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestUsers(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "etc/passwd", "root:x:0:0:root:/root:/bin/sh\nbroken\nweb:x:33:33::/srv:/bin/false\ntwin:x:33:1::/:/x\nneg:x:-1:0::/:/x\n")
	write(t, dir, "etc/group", "root:x:0:\nwww:x:33:web\n")
	u := rooted(dir, DefaultUsersConfig())
	root := Root{Container: idA, MntNS: 5}
	if u.Reading(root) {
		t.Error("reading before it was asked to")
	}
	load(t, u, root)
	if got, ok := u.User(root, 33); !ok || got != (User{"web", "/srv", "/bin/false"}) {
		t.Errorf("user 33: %+v %v", got, ok)
	}
	if got, ok := u.Group(root, 33); !ok || got != "www" {
		t.Errorf("group 33: %q %v", got, ok)
	}
	if _, ok := u.User(root, 34); ok {
		t.Error("user 34 is known")
	}
	if _, ok := u.User(Root{}, 33); ok {
		t.Error("the host has the container's users")
	}
	if u.Load(root, 1, nil) {
		t.Error("loaded again at once")
	}
}

// TestUsersRefresh: after a while the files are read again, and what was known stands until then.
func TestUsersRefresh(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "etc/passwd", "a:x:1:1::/:/x\n")
	u := rooted(dir, DefaultUsersConfig())
	now := time.Now()
	u.now = func() time.Time { return now }
	load(t, u, Root{})
	write(t, dir, "etc/passwd", "b:x:1:1::/:/x\n")
	u.Age()
	if u.Load(Root{}, 1, nil) {
		t.Error("read again before it is old")
	}
	now = now.Add(2 * time.Minute)
	u.Age()
	if got, _ := u.User(Root{}, 1); got.Name != "a" {
		t.Errorf("before: %q", got.Name)
	}
	load(t, u, Root{})
	if got, _ := u.User(Root{}, 1); got.Name != "b" {
		t.Errorf("after: %q", got.Name)
	}
}

// TestUsersHostile: a container cannot make us read what is not its own, what is no file, or too much.
func TestUsersHostile(t *testing.T) {
	secret := t.TempDir()
	write(t, secret, "passwd", "leak:x:1:1::/:/x\n")
	tests := map[string]func(t *testing.T, dir string){
		"absolute link": func(t *testing.T, dir string) {
			link(t, filepath.Join(secret, "passwd"), filepath.Join(dir, "etc/passwd"))
		},
		"dotted link": func(t *testing.T, dir string) {
			link(t, strings.Repeat("../", 20)+filepath.Join(secret, "passwd"), filepath.Join(dir, "etc/passwd"))
		},
		"linked directory": func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, "etc")); err != nil {
				t.Fatal(err)
			}
			link(t, secret, filepath.Join(dir, "etc"))
		},
		"pipe": func(t *testing.T, dir string) {
			if err := unix.Mkfifo(filepath.Join(dir, "etc/passwd"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"directory": func(t *testing.T, dir string) { write(t, dir, "etc/passwd/x", "") },
		"too large": func(t *testing.T, dir string) {
			write(t, dir, "etc/passwd", "leak:x:1:1::/:/x\n"+strings.Repeat("#", 1<<20))
		},
		"long name": func(t *testing.T, dir string) { write(t, dir, "etc/passwd", strings.Repeat("n", 300)+":x:1:1::/:/x\n") },
	}
	for name, prepare := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, "etc"), 0o700); err != nil {
				t.Fatal(err)
			}
			prepare(t, dir)
			u := rooted(dir, DefaultUsersConfig())
			load(t, u, Root{})
			if got, ok := u.User(Root{}, 1); ok {
				t.Errorf("read %+v", got)
			}
		})
	}
}

func link(t *testing.T, target, name string) {
	t.Helper()
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
}

// TestUsersGone: a process that has ended before its root could be opened leaves nothing behind, so that the next one is asked.
func TestUsersGone(t *testing.T) {
	u := NewUsers(DefaultUsersConfig())
	u.open = func(uint32) (int, error) { return -1, errors.New("no such process") }
	if u.Load(Root{Container: idA}, 1, nil) || u.Reading(Root{Container: idA}) || len(u.roots) != 0 {
		t.Error("a root that could not be opened counts as read")
	}
}

// large returns a file of as many entries as fit into 1 MiB.
func large(entry string) string {
	var b strings.Builder
	for n := 0; ; n++ {
		line := fmt.Sprintf(entry, n)
		if b.Len()+len(line) > 1<<20 {
			return b.String()
		}
		b.WriteString(line)
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestUsersMemory: a container that makes mount namespaces with large files is bounded in memory and takes no other's names.
func TestUsersMemory(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	write(t, dir, "etc/passwd", large("ab::%d::::\n"))
	write(t, dir, "etc/group", large("ab::%d:\n"))
	write(t, other, "etc/passwd", "web:x:33:33::/srv:/bin/false\n")
	cfg := DefaultUsersConfig()
	cfg.Timeout = time.Minute // the machine may be slow
	u, b := rooted(other, cfg), Root{Container: idB, MntNS: 1}
	load(t, u, b)
	u.open = rooted(dir, cfg).open
	before := heap()
	for ns := range uint32(30) {
		load(t, u, Root{Container: idA, MntNS: 100 + ns})
	}
	grown := int64(heap()) - int64(before)
	s := u.Stats()
	t.Logf("%d bytes of heap; %+v", grown, s)
	if grown > 12<<20 || s.Bytes > 8<<20 || int64(s.Bytes) < grown {
		t.Errorf("%d bytes of heap for what counts as %d", grown, s.Bytes)
	}
	if got, _ := u.User(b, 33); got.Name != "web" {
		t.Errorf("user 33 of the other container: %q", got.Name)
	}
	last := Root{Container: idA, MntNS: 129}
	if got, _ := u.User(last, 4095); got.Name != "ab" {
		t.Errorf("user 4095 of the last namespace: %q", got.Name)
	}
	if _, ok := u.User(last, 4096); ok || s.Skipped == 0 || s.Evicted == 0 {
		t.Errorf("user 4096 is known: %v; %+v", ok, s)
	}
}

// TestUsersLargest: names that have no room without displacing those of others are left out, and not read again at once.
func TestUsersLargest(t *testing.T) {
	dir, small := t.TempDir(), t.TempDir()
	write(t, dir, "etc/passwd", large("ab::%d::::\n"))
	write(t, small, "etc/passwd", "web:x:33:33::/srv:/bin/false\n")
	cfg := DefaultUsersConfig()
	cfg.Timeout, cfg.MaxBytes = time.Minute, 4*(rootBytes+1024)
	u, a := rooted(small, cfg), Root{Container: idA, MntNS: 1}
	for ns := range uint32(3) {
		load(t, u, Root{Container: idB, MntNS: ns})
	}
	u.open = rooted(dir, cfg).open
	load(t, u, a)
	if _, ok := u.User(a, 1); ok || u.Load(a, 1, nil) || u.Stats().Bytes > cfg.MaxBytes {
		t.Errorf("user 1: %v; %+v", ok, u.Stats())
	}
	for ns := range uint32(3) {
		if _, ok := u.User(Root{Container: idB, MntNS: ns}, 33); !ok {
			t.Errorf("the other container's namespace %d has gone", ns)
		}
	}
}

// TestUsersNewest: what was just read stays, though it is the largest, if there is another of its container to forget.
func TestUsersNewest(t *testing.T) {
	cfg := DefaultUsersConfig()
	cfg.MaxBytes = 4 * (rootBytes + userBytes)
	u, newest := NewUsers(cfg), Root{Container: idA, MntNS: 9}
	for ns := range uint32(4) {
		u.store(Root{Container: idA, MntNS: ns}, &names{state: namesRead, read: time.Unix(int64(ns), 0), bytes: rootBytes})
	}
	u.store(newest, &names{state: namesRead, users: map[uint32]User{1: {Name: "web"}}, bytes: rootBytes + 5*userBytes})
	if _, ok := u.User(newest, 1); !ok || u.Known(Root{Container: idA, MntNS: 0}) || !u.Known(Root{Container: idA, MntNS: 3}) {
		t.Errorf("user 1: %v; %+v", ok, u.Stats())
	}
}

// TestUsersRoots: a container that makes many mount namespaces displaces its own, the one first that was read longest ago.
func TestUsersRoots(t *testing.T) {
	cfg := DefaultUsersConfig()
	cfg.MaxRoots = 8
	u := rooted(t.TempDir(), cfg)
	load(t, u, Root{})
	load(t, u, Root{Container: idB, MntNS: 1})
	for ns := range uint32(20) {
		load(t, u, Root{Container: idA, MntNS: ns})
	}
	for _, r := range []Root{{}, {Container: idB, MntNS: 1}, {Container: idA, MntNS: 14}, {Container: idA, MntNS: 19}} {
		if !u.Known(r) {
			t.Errorf("%+v has gone", r)
		}
	}
	if s := u.Stats(); s.Roots != 8 || s.Evicted != 14 {
		t.Errorf("%+v", s)
	}
}

// The processes that blocked knows.
const slowPID, quickPID = 1, 2

// blocked returns a Users for which the files of slowPID's root are read once free lets them.
func blocked(t *testing.T, free <-chan struct{}) *Users {
	slow, quick := t.TempDir(), t.TempDir()
	write(t, quick, "etc/passwd", "web:x:33:33::/srv:/bin/false\n")
	u := NewUsers(DefaultUsersConfig())
	u.open = func(pid uint32) (int, error) {
		return rooted(map[uint32]string{slowPID: slow, quickPID: quick}[pid], u.cfg).open(pid)
	}
	u.file = func(dir int, path string, limit int64) ([]byte, error) {
		if at, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", dir)); at == slow && path == "etc/passwd" {
			<-free
		}
		return readBelow(dir, path, limit)
	}
	return u
}

// TestUsersBusy: a container whose files take long keeps no other one from its names, and waits no longer than the timeout itself.
func TestUsersBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		u, began, over := blocked(t, free), time.Now(), make(chan struct{}, 100)
		loads := 0
		for ns := range uint32(100) {
			if u.Load(Root{Container: idA, MntNS: ns}, slowPID, func() { over <- struct{}{} }) {
				loads++
			}
		}
		if s := u.Stats(); loads != 2+32 || s.Refused != 66 {
			t.Errorf("%d loads; %+v", loads, s)
		}
		named := func(mntNS uint32) {
			t.Helper()
			b := Root{Container: idB, MntNS: mntNS}
			if !u.Load(b, quickPID, func() { over <- struct{}{} }) || !u.Reading(b) {
				t.Fatal("not loaded")
			}
			synctest.Wait()
			if got, _ := u.User(b, 33); got.Name != "web" {
				t.Errorf("user 33 of the other container: %q", got.Name)
			}
			<-over
		}
		named(1)
		if d := time.Since(began); d != 0 {
			t.Errorf("the other container waited for %v", d)
		}
		for range loads {
			<-over
		}
		if d, s := time.Since(began), u.Stats(); d != u.cfg.Timeout || s.Late != 2 || s.Refused != 66+32 {
			t.Errorf("after %v: %+v", d, s)
		}
		named(2) // two readers are blocked still

		a := Root{Container: idA, MntNS: 5}
		if !u.Load(a, quickPID, nil) || u.Reading(a) {
			t.Error("an event waits for its names a second time, or they are not asked for again")
		}
		close(free)
		synctest.Wait()
		if got, _ := u.User(a, 33); got.Name != "web" || len(u.queue)+u.busy+len(u.readers) != 0 {
			t.Errorf("user 33: %q; %d wait, %d readers of %d containers", got.Name, len(u.queue), u.busy, len(u.readers))
		}
	})
}

// TestUsersTurns: the reader that is free next is for the container that has the fewest.
func TestUsersTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		u, c := blocked(t, free), Root{Container: "c"}
		for ns := range uint32(10) {
			u.Load(Root{Container: idA, MntNS: ns}, slowPID, nil)
			u.Load(Root{Container: idB, MntNS: ns}, slowPID, nil)
		}
		u.Load(c, quickPID, nil)
		synctest.Wait()
		if !u.Reading(c) {
			t.Error("a reader was free")
		}
		free <- struct{}{}
		synctest.Wait()
		if got, _ := u.User(c, 33); got.Name != "web" || u.busy != u.cfg.Readers {
			t.Errorf("user 33: %q; %d readers", got.Name, u.busy)
		}
		close(free)
	})
}

// TestUsersRefreshLate: what was known stands if the files cannot be read again in time.
func TestUsersRefreshLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		u, a := blocked(t, free), Root{Container: idA}
		u.Load(a, quickPID, nil)
		time.Sleep(u.cfg.Refresh)
		u.Age()
		done := make(chan struct{})
		u.Load(a, slowPID, func() { close(done) })
		<-done
		if got, _ := u.User(a, 33); got.Name != "web" || u.Stats().Late != 1 {
			t.Errorf("user 33: %q; %+v", got.Name, u.Stats())
		}
		close(free)
	})
}

// BenchmarkUsersEvict is what a container takes that makes mount namespaces, beyond the most there may be.
func BenchmarkUsersEvict(b *testing.B) {
	u := NewUsers(DefaultUsersConfig())
	for n := range u.cfg.MaxRoots {
		r := Root{Container: fmt.Sprint(n % 100), MntNS: uint32(n)}
		u.store(r, &names{read: time.Unix(int64(n), 0), bytes: rootBytes})
	}
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		r := Root{Container: "new", MntNS: uint32(n)}
		u.evict(r, func(s share) int { return s.roots })
		u.store(r, &names{read: time.Unix(int64(n), 0), bytes: rootBytes})
	}
}

func FuzzPasswd(f *testing.F) {
	f.Add([]byte("root:x:0:0:root:/root:/bin/sh\n"), []byte("root:x:0:\n"))
	f.Add([]byte("::::::\n\x00:a:4294967296:1:1:1:1"), []byte(":::"))
	f.Fuzz(func(t *testing.T, passwd, group []byte) {
		users, groups := map[uint32]User{}, map[uint32]string{}
		parsePasswd(passwd, users)
		parseGroup(group, groups)
		for uid, u := range users {
			if u.Name == "" || len(u.Name) > maxName {
				t.Fatalf("user %d is called %q", uid, u.Name)
			}
		}
	})
}
