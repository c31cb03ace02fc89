package container

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
