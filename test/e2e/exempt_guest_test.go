//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// guestUser is the user of a runtime that is not root, as in images that have nobody else.
const guestUser = 65532

// A runtime that is not root, alone in a container, is exempt if the sensor is told of its user; the same one below a shell is refused and seen.
func TestGuestRuntimeIsExempt(t *testing.T) {
	dir, port := publicDir(t), freePort(t)
	rules, nats := filepath.Join(dir, "rules.yaml"), fmt.Sprintf("nats://127.0.0.1:%d", port)
	for _, name := range []string{"alone", "below"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, name, "broken.yaml"), "of which the runtime says that it has read it")
	}
	writeFile(t, rules, strings.ReplaceAll(folderRule, "FOLDER", "/functions-"))
	outsideNATS(t, port, t.TempDir())
	sensor := start(t, "sensor", "--nats", nats, "--data", t.TempDir(), "--http", "", "--node", "e2e", "--rules", rules,
		"--self-socket", filepath.Join(dir, "self", "self.sock"), "--self-users", fmt.Sprint(guestUser))
	sensor.stderr.waitFor(t, 2*time.Minute, `msg="watching the kernel"`)
	runtime := func(name string, before ...string) *process {
		t.Helper()
		args := append(before, "/tiercel", "runtime", "--nats", nats, "--data", "/tmp/data", "--http", "", "--node", "e2e",
			"--functions", "/functions-"+name, "--self-socket", "/self/self.sock")
		return guestContainer(t, dir, name, args)
	}
	alone := runtime("alone")
	alone.stderr.waitFor(t, time.Minute, "the sensor on this machine passes over what this process does")
	sensor.stderr.waitFor(t, time.Minute, fmt.Sprintf(`a process is exempt.* exe=\S*/tiercel uid=%d`, guestUser))
	alone.stderr.waitFor(t, 2*time.Minute, "functions-alone/broken.yaml")
	below := runtime("below", "/bin/sh", "-c", `"$@" & wait`, "sh")
	below.stderr.waitFor(t, time.Minute, "refused: not the first process of a container")
	sensor.stdout.waitFor(t, 2*time.Minute, "opened /functions-below")
	if n := sensor.stdout.count("opened /functions-alone"); n != 0 {
		t.Errorf("rules saw %d opens of the exempt runtime:\n%s", n, sensor.stdout)
	}
}

// publicDir is a directory of the test that every user may pass.
func publicDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tiercel-e2e-guest-") //nolint:usetesting // that of the test is root's alone
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// guestContainer runs args as guestUser in a container in the host's network, with the program, its libraries, a folder of functions called name
// and the socket's folder. It ends with the test.
func guestContainer(t *testing.T, dir, name string, args []string) *process {
	t.Helper()
	c := &container{t: t, id: newContainerID(), bundle: publicDir(t)}
	c.makeRoot()
	if err := os.Chmod(filepath.Join(c.bundle, "rootfs", "tmp"), 0o777); err != nil { // of which the mount takes the mode
		t.Fatal(err)
	}
	top := fmt.Sprintf("/tiercel-e2e-%d-%s", os.Getpid(), name)
	spec := c.spec(top+"/"+c.id, netns{})
	type object = map[string]any
	spec["process"] = object{
		"args": args, "cwd": "/", "env": []string{"PATH=/bin", "HOME=/tmp"}, "user": object{"uid": guestUser, "gid": guestUser}, "noNewPrivileges": true,
	}
	bind := func(from, to string) object {
		return object{"destination": to, "type": "bind", "source": from, "options": []string{"bind", "ro"}}
	}
	mounts := append(spec["mounts"].([]object), object{"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"},
		bind(binary, "/tiercel"), bind(filepath.Join(dir, name), "/functions-"+name), bind(filepath.Join(dir, "self"), "/self"))
	for _, lib := range []string{"/lib", "/lib64"} { // the program may be linked to the machine's
		if at, err := filepath.EvalSymlinks(lib); err == nil {
			mounts = append(mounts, bind(at, lib))
		}
	}
	spec["mounts"] = mounts
	linux := spec["linux"].(object)
	linux["namespaces"] = []object{{"type": "pid"}, {"type": "mount"}, {"type": "uts"}, {"type": "ipc"}}
	b, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(c.bundle, "config.json"), string(b))
	t.Cleanup(func() { removeCgroups(top) })
	t.Cleanup(func() { _ = c.runc("delete", "--force", c.id).Run() })
	return startCommand(t, "container "+name, c.runc("run", "--bundle", c.bundle, c.id))
}
